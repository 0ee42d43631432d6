"""python adknee_xpt.py RESULTS/tables/adam"""

import sys
from pathlib import Path

import pyreadstat

folder = Path(sys.argv[1])
adknee, about = pyreadstat.read_xport(folder / "ADKNEE.xpt")
labels = about.column_names_to_labels

mt = adknee[(adknee["PARAMCD"] == "MTTTME") & (adknee["ANL01FL"] == "Y") & adknee["CHG"].notna()]
print(f"{len(adknee)} rows, {len(mt)} changes, mean {mt['CHG'].mean():.6f} mm")
