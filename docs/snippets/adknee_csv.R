# Base R only. Rscript adknee_csv.R RESULTS/tables/adam
folder <- commandArgs(trailingOnly = TRUE)[1]
ids <- c(STUDYID = "character", USUBJID = "character", SUBJID = "character", SITEID = "character")
adknee <- read.csv(file.path(folder, "ADKNEE.csv"), colClasses = ids, na.strings = "")

mt <- subset(adknee, PARAMCD == "MTTTME" & ANL01FL == "Y" & !is.na(CHG))
cat(sprintf("%d rows, %d changes, mean %.6f mm\n", nrow(adknee), nrow(mt), mean(mt$CHG)))
