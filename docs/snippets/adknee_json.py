"""python adknee_json.py RESULTS/tables/adam"""

import json
import sys
from pathlib import Path

import pandas as pd

folder = Path(sys.argv[1])
dataset = json.loads((folder / "ADKNEE.json").read_text(encoding="utf-8"))
adknee = pd.DataFrame(dataset["rows"], columns=[column["name"] for column in dataset["columns"]])

mt = adknee[(adknee["PARAMCD"] == "MTTTME") & (adknee["ANL01FL"] == "Y") & adknee["CHG"].notna()]
print(f"{len(adknee)} rows, {len(mt)} changes, mean {mt['CHG'].mean():.6f} mm")
