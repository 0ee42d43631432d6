# SRM by boot: the resamples themselves are written, so that the limits must agree exactly.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))), "common.R"))
library(boot)
change <- at("M12")$change[at("M12")$arm == "A"]
srm <- function(x, rows) mean(x[rows]) / sd(x[rows])
set.seed(7)
b <- boot(change, srm, R = 399)
jack <- empinf(b, type = "jack")
emit(list(srm = b$t0, indices = as.vector(t(boot.array(b, indices = TRUE))), n = length(change),
          percentile = boot.ci(b, type = "perc")$percent[4:5],
          bca = boot.ci(b, type = "bca", L = jack)$bca[4:5]))
