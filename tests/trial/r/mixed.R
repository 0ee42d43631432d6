# Mixed model by nlme: REML, random intercept, tight convergence.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))), "common.R"))
library(nlme)
trial$visit <- factor(trial$visit)
fit <- lme(followup ~ 0 + visit + visit:in_arm + baseline, random = ~ 1 | participant, data = trial,
           method = "REML", control = lmeControl(tolerance = 1e-12, msTol = 1e-14, niterEM = 200,
                                                 msMaxIter = 500, maxIter = 500))
b <- fixef(fit)
# lme scales its covariance of the fixed effects as REML does
se <- sqrt(diag(vcov(fit)))
emit(list(
  M06 = list(value = b[["visitM06:in_arm"]], se = se[["visitM06:in_arm"]]),
  M12 = list(value = b[["visitM12:in_arm"]], se = se[["visitM12:in_arm"]]),
  baseline_slope = b[["baseline"]],
  sd_participants = sqrt(getVarCov(fit)[1, 1]),
  sd_residual = fit$sigma))
