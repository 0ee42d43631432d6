# Needs haven. Rscript adknee_xpt.R RESULTS/tables/adam
folder <- commandArgs(trailingOnly = TRUE)[1]
adknee <- haven::read_xpt(file.path(folder, "ADKNEE.xpt"))

mt <- subset(adknee, PARAMCD == "MTTTME" & ANL01FL == "Y" & !is.na(CHG))
cat(sprintf("%d rows, %d changes, mean %.6f mm\n", nrow(adknee), nrow(mt), mean(mt$CHG)))
