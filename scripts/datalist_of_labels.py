"""Write the datalist of a folder of label maps, for `kneeimg train`.

    python scripts/datalist_of_labels.py LABELS -o labels.json

LABELS holds `index.csv` with the columns file, participant and month; all knees are of one side.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path


def main() -> None:
    """Read the index, write the list."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("labels", type=Path, help="folder with label maps and index.csv")
    parser.add_argument("-o", "--out", type=Path, required=True, help="datalist to write")
    parser.add_argument("--side", choices=("left", "right"), default="right")
    parser.add_argument("--scheme", default="knee-v1")
    given = parser.parse_args()
    with (given.labels / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    entries = [
        {
            "label": os.path.relpath(given.labels / row["file"], given.out.parent),
            "participant": row["participant"],
            "visit": f"M{int(row['month']):02d}",
            "side": given.side,
            "scheme": given.scheme,
        }
        for row in rows
    ]
    given.out.write_text(json.dumps({"training": entries}, indent=1) + "\n", encoding="utf-8")
    print(f"{len(entries)} knees in {given.out}")


if __name__ == "__main__":
    main()
