# Needs jsonlite. Rscript adknee_json.R RESULTS/tables/adam
folder <- commandArgs(trailingOnly = TRUE)[1]
dataset <- jsonlite::fromJSON(file.path(folder, "ADKNEE.json"), simplifyVector = FALSE)
names <- vapply(dataset$columns, function(column) column$name, "")
column <- function(n) {
  values <- lapply(dataset$rows, function(row) if (is.null(row[[n]])) NA else row[[n]])
  unlist(values)
}
adknee <- as.data.frame(setNames(lapply(seq_along(names), column), names))

mt <- subset(adknee, PARAMCD == "MTTTME" & ANL01FL == "Y" & !is.na(CHG))
cat(sprintf("%d rows, %d changes, mean %.6f mm\n", nrow(adknee), nrow(mt), mean(mt$CHG)))
