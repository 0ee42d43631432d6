# Welch's t test, t interval of a mean, noncentral t.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))), "common.R"))
rows <- at("M12")
w <- t.test(rows$change[rows$arm == "B"], rows$change[rows$arm == "A"])
m <- t.test(rows$change[rows$arm == "A"])
ncp <- function(t, df) vapply(c(0.975, 0.025), function(level)
  suppressWarnings(uniroot(function(d) pt(t, df, d) - level, c(t - 15, t + 15), tol = 1e-13)$root), 0)
points <- rbind(c(2, 10, 1), c(-1.5, 3, 2), c(40, 3, 30), c(2, 20000, 1.2), c(0, 5, 0.7))
emit(list(
  welch = list(value = w$estimate[[1]] - w$estimate[[2]], t = w$statistic[[1]], df = w$parameter[[1]],
               p = w$p.value, low = w$conf.int[1], high = w$conf.int[2]),
  mean = list(value = m$estimate[[1]], low = m$conf.int[1], high = m$conf.int[2]),
  noncentral_cdf = apply(points, 1, function(v) pt(v[1], v[2], v[3])),
  noncentral_interval_2_10 = ncp(2, 10),
  noncentral_interval_minus_4_22 = ncp(-4, 22)))
