"""Change between the two visits of real knees, plate by plate, as a table in Markdown.

    python scripts/study_of_labels.py LABELS STUDY --side right
    kneeimg run LABELS -o RESULTS --study STUDY/study.toml
    python benchmarks/real_pairs.py RESULTS

Nothing here is known truth. The volume of each tissue, voxels counted at each visit on their own,
stands beside the thickness over the baseline's bone area: both must tell one story.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

#: Tissue to the plates that make it up.
TISSUES = {"FC": ("MF", "LF", "TrF"), "TC": ("MT", "LT"), "PC": ("P",)}
PLATES = ("MT", "LT", "cMF", "cLF", "MF", "LF", "TrF", "P", "MFTC", "LFTC", "FTJ")


def main() -> int:
    """Print both tables; 1 if a pair was not compared."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="folder that kneeimg run wrote")
    tables = parser.parse_args().results / "tables"
    change = pd.read_parquet(tables / "change.parquet")
    measured = pd.read_parquet(tables / "measurements.parquet")
    pairs = change[["participant", "side", "visit_from", "visit_to"]].drop_duplicates()
    thickness = change[change["quantity"] == "ThCtAB_aMe"]
    whole = thickness[(thickness["region"] == "FTJ") & thickness["change"].notna()]
    print(f"{len(pairs)} pairs, {len(whole)} with a change of FTJ; tAB: {_counts(thickness)}")
    print(f"class of FTJ: {whole['change_class'].value_counts().to_dict()}\n")
    _thickness(thickness)
    _volumes(measured, pairs)
    return 0 if len(whole) == len(pairs) else 1


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {str(k): int(n) for k, n in rows["tab_source"].value_counts().items()}


def _thickness(rows: pd.DataFrame) -> None:
    print("| plate | n | ThCtAB mm, baseline | change, % (95 % CI) | change, µm | SRM |")
    print("|---|---|---|---|---|---|")
    for plate in PLATES:
        own = rows[(rows["region"] == plate) & rows["change"].notna()]
        um = 1000.0 * own["change"]
        print(
            f"| {plate} | {len(own)} | {own['baseline'].mean():.2f} | "
            f"{interval(own['change_pct'])} | {interval(um, 0)} | {um.mean() / um.std():+.2f} |"
        )


def _volumes(measured: pd.DataFrame, pairs: pd.DataFrame) -> None:
    print("\n| tissue | n | volume mm³, baseline | change of the volume, % (95 % CI) |")
    print("|---|---|---|---|")
    volumes = measured[(measured["quantity"] == "VC") & (measured["scan"] == "")]
    for tissue, plates in TISSUES.items():
        own = volumes[volumes["region"].isin(plates)]
        keys = ["participant", "side", "visit"]
        total: Any = own.groupby(keys)["value"].agg(lambda v: v.sum(skipna=False))
        ends = [
            (total[p, side, before], total[p, side, after])
            for p, side, before, after in pairs.itertuples(index=False)
        ]
        both = np.array(ends, dtype=np.float64)
        percent = pd.Series(100.0 * (both[:, 1] - both[:, 0]) / both[:, 0]).dropna()
        print(f"| {tissue} | {len(percent)} | {both[:, 0].mean():.0f} | {interval(percent)} |")


def interval(values: pd.Series[Any], digits: int = 1) -> str:
    """Mean and its 95 % interval, Student's t over knees."""
    known = values.dropna()
    half = float(t.ppf(0.975, len(known) - 1)) * float(known.std()) / math.sqrt(len(known))
    mean = float(known.mean())
    low, high = mean - half, mean + half
    return f"{mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
