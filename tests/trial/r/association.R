# Pearson and Spearman correlation of the changes.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))), "common.R"))
one <- function(rows) {
  p <- cor.test(rows$change, rows$vas_change)
  s <- cor.test(rows$change, rows$vas_change, method = "spearman", exact = FALSE)
  list(pearson = p$estimate[[1]], pearson_p = p$p.value, low = p$conf.int[1], high = p$conf.int[2],
       spearman = s$estimate[[1]], spearman_p = s$p.value)
}
emit(list(M06 = one(at("M06")), M12 = one(at("M12"))))
