"""python adknee_csv.py RESULTS/tables/adam"""

import sys
from pathlib import Path

import pandas as pd

folder = Path(sys.argv[1])
ids = dict.fromkeys(("STUDYID", "USUBJID", "SUBJID", "SITEID"), str)
adknee = pd.read_csv(
    folder / "ADKNEE.csv", dtype=ids, keep_default_na=False, na_values=[""], low_memory=False
)

mt = adknee[(adknee["PARAMCD"] == "MTTTME") & (adknee["ANL01FL"] == "Y") & adknee["CHG"].notna()]
print(f"{len(adknee)} rows, {len(mt)} changes, mean {mt['CHG'].mean():.6f} mm")
