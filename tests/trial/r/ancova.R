# Analysis of covariance by lm, at each visit.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))), "common.R"))
one <- function(rows) {
  fit <- lm(followup ~ in_arm + baseline, data = rows)
  s <- coef(summary(fit))["in_arm", ]
  ci <- confint(fit)["in_arm", ]
  middle <- predict(fit, data.frame(in_arm = c(1, 0), baseline = mean(rows$baseline))) - mean(rows$baseline)
  list(difference = s[[1]], se = s[[2]], t = s[[3]], p = s[[4]], df = fit$df.residual,
       low = ci[[1]], high = ci[[2]], baseline_slope = coef(fit)[["baseline"]],
       residual_sd = summary(fit)$sigma,
       adjusted_change_arm = middle[[1]], adjusted_change_reference = middle[[2]])
}
emit(list(M06 = one(at("M06")), M12 = one(at("M12"))))
