# Reads the small trial and writes results as JSON with all digits, in base R.
arguments <- commandArgs(trailingOnly = FALSE)
here <- dirname(sub("^--file=", "", grep("^--file=", arguments, value = TRUE)))
trial <- read.csv(file.path(here, "trial.csv"), stringsAsFactors = FALSE)
trial$change <- trial$followup - trial$baseline
trial$in_arm <- as.numeric(trial$arm == "B")
at <- function(name) trial[trial$visit == name, ]

json <- function(x) {
  if (is.list(x)) {
    inside <- vapply(names(x), function(n) paste0("\"", n, "\": ", json(x[[n]])), "")
    return(paste0("{", paste(inside, collapse = ", "), "}"))
  }
  cell <- function(v) {
    if (is.character(v)) paste0("\"", v, "\"")
    else if (is.na(v)) "null"
    else if (is.infinite(v)) "\"Inf\""
    else formatC(v, digits = 15, format = "g", flag = "", width = 1)
  }
  cells <- vapply(unname(x), cell, "")
  if (length(cells) == 1) cells else paste0("[", paste(cells, collapse = ", "), "]")
}
emit <- function(x) cat(json(x), "\n", sep = "")
