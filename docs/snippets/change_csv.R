# Base R only. Rscript change_csv.R RESULTS/tables
folder <- commandArgs(trailingOnly = TRUE)[1]
ids <- c(participant = "character", visit_from = "character", visit_to = "character")
change <- read.csv(file.path(folder, "change.csv"), colClasses = ids, na.strings = "")

mt <- subset(change, region == "MT" & quantity == "ThCtAB_aMe" & status == "ok")
cat(sprintf("%d rows, %d changes, mean %.6f mm\n", nrow(change), nrow(mt), mean(mt$change)))
