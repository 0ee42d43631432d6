# Fisher's exact test, Wilson's interval, adjusted p-values.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))), "common.R"))
tables <- list(c(7, 13, 2, 12), c(1, 13, 9, 12), c(5, 13, 0, 12), c(3, 4, 1, 4))
# fisher.test finds its odds ratio to 4 digits only: the same equations, solved to 12
test <- function(v) {
  m <- v[2]; n <- v[4]; k <- v[1] + v[3]; x <- v[1]
  support <- max(0, k - n):min(k, m)
  density <- function(log_or) {
    d <- dhyper(support, m, n, k, log = TRUE) + support * log_or
    d <- exp(d - max(d)); d / sum(d)
  }
  solve_for <- function(f) exp(uniroot(f, c(-40, 40), tol = 1e-13)$root)
  highest <- x == max(support); lowest <- x == min(support)
  or <- if (highest) Inf else if (lowest) 0 else solve_for(function(l) sum(support * density(l)) - x)
  low <- if (lowest) 0 else solve_for(function(l) sum(density(l)[support >= x]) - 0.025)
  high <- if (highest) Inf else solve_for(function(l) sum(density(l)[support <= x]) - 0.025)
  f <- fisher.test(rbind(c(v[1], v[2] - v[1]), c(v[3], v[4] - v[3])))
  stopifnot(all.equal(c(low, high), f$conf.int[1:2], tolerance = 1e-2))
  c(f$p.value, or, low, high)
}
wilson <- function(k, n) suppressWarnings(prop.test(k, n, correct = FALSE)$conf.int[1:2])
p <- c(0.001, 0.2, 0.013, 0.013, 0.04, 0.9, 0.05, 0.0007)
emit(list(fisher_1 = test(tables[[1]]), fisher_2 = test(tables[[2]]), fisher_3 = test(tables[[3]]),
          fisher_4 = test(tables[[4]]),
          wilson_7_13 = wilson(7, 13), wilson_0_12 = wilson(0, 12), wilson_12_12 = wilson(12, 12),
          p = p, holm = p.adjust(p, "holm"), bh = p.adjust(p, "BH")))
