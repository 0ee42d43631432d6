"""python adknee_parquet.py RESULTS/tables/adam"""

import sys
from pathlib import Path

import pandas as pd

folder = Path(sys.argv[1])
adknee = pd.read_parquet(folder / "ADKNEE.parquet")

mt = adknee[(adknee["PARAMCD"] == "MTTTME") & (adknee["ANL01FL"] == "Y") & adknee["CHG"].notna()]
print(f"{len(adknee)} rows, {len(mt)} changes, mean {mt['CHG'].mean():.6f} mm")
