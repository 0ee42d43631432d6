# Sample size per arm of a two-sided two-sample t test, both tails counted.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))), "common.R"))
effects <- c(0.1, 0.25, 0.42, 0.62, 1.17, 2.5)
size <- function(d, power) power.t.test(delta = d, sd = 1, power = power, strict = TRUE, tol = 1e-12)$n
emit(list(effects = effects,
          n80 = vapply(effects, size, 0, power = 0.8),
          n90 = vapply(effects, size, 0, power = 0.9),
          power_of_12_each = vapply(effects, function(d)
            power.t.test(n = 12, delta = d, sd = 1, strict = TRUE)$power, 0)))
