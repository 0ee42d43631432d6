"""python change_parquet.py RESULTS/tables"""

import sys
from pathlib import Path

import pandas as pd

folder = Path(sys.argv[1])
change = pd.read_parquet(folder / "change.parquet")

mt = change.query("region == 'MT' and quantity == 'ThCtAB_aMe' and status == 'ok'")
print(f"{len(change)} rows, {len(mt)} changes, mean {mt['change'].mean():.6f} mm")
