"""Many real label maps measured: thickness beside published normals, and two visits that agree.

    python scripts/study_of_labels.py LABELS STUDY --side right
    kneeimg run LABELS -o RESULTS --study STUDY/study.toml
    python benchmarks/real_maps.py RESULTS

No truth is known. But bone does not grow: the tAB of two visits, each found on its own, should be
the same; and the change of thickness should follow the change of volume, which counts voxels and
knows neither rays nor borders. Prints maps measured, ThCtAB and tAB of the plates at the first
visit, the change of tAB, and the correlation of both changes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: Mean of normal knees, mm: Framingham, doi:10.1016/j.joca.2010.07.010.
NORMAL_MM = {"MT": 1.73, "LT": 2.09, "cMF": 1.86, "cLF": 1.77, "MFTC": 3.59, "LFTC": 3.86}
PLATES = ("MT", "LT", "cMF", "cLF", "MF", "LF", "TrF", "P", "MFTC", "LFTC", "FTJ")
#: Plates that do not overlap, for what is added or counted over plates.
WHOLE = ("MT", "LT", "MF", "LF", "TrF", "P")
_KEYS = ["participant", "side"]
_TAB_LIMIT_PCT, _LEAST_R = 2.0, 0.9


def main() -> int:
    """Print the tables; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="folder that kneeimg run wrote")
    tables = parser.parse_args().results / "tables"
    rows = pd.read_parquet(tables / "measurements.parquet")
    rows = rows[(rows["kind"] == "mri") & (rows["scan"] == "")]
    days = rows.groupby([*_KEYS, "visit"], as_index=False)["day"].first()
    done = rows[(rows["region"] == "FTJ") & (rows["quantity"] == "ThCtAB_aMe")]
    print(f"{int(done['value'].notna().sum())} of {len(days)} maps measured\n")
    first = days.loc[days.groupby(_KEYS)["day"].idxmin(), [*_KEYS, "visit"]]
    last = days.loc[days.groupby(_KEYS)["day"].idxmax(), [*_KEYS, "visit"]]
    before, after = (_wide(rows.merge(visits)) for visits in (first, last))
    show_levels(before)
    kept = show_areas(before, after)
    change = pd.read_parquet(tables / "change.parquet")
    return 0 if show_agreement(before, after, change) and kept else 1


def _wide(rows: pd.DataFrame) -> Any:
    """A row for each knee, a column for each (quantity, region)."""
    return rows.pivot(index=_KEYS, columns=["quantity", "region"], values="value")


def show_levels(before: Any) -> None:
    """Thickness and area of the plates at the first visit."""
    print("| plate | n | ThCtAB, mm: mean ± SD | normal knees, mm | tAB, mm²: mean ± SD |")
    print("|---|---|---|---|---|")
    for plate in PLATES:
        mm, mm2 = before["ThCtAB_aMe", plate].dropna(), before["tAB", plate].dropna()
        normal = f"{NORMAL_MM[plate]:.2f}" if plate in NORMAL_MM else "–"
        print(
            f"| {plate} | {len(mm)} | {mm.mean():.2f} ± {mm.std():.2f} | {normal} "
            f"| {mm2.mean():.0f} ± {mm2.std():.0f} |"
        )


def show_areas(before: Any, after: Any) -> bool:
    """Change of tAB between two visits that know nothing of each other."""
    print("\n| tAB, last against first visit | n | mean ± SD, % | worst, % |\n|---|---|---|---|")
    percent = {p: 100.0 * (after["tAB", p] / before["tAB", p] - 1.0) for p in WHOLE}
    total = sum(after["tAB", p] for p in WHOLE) / sum(before["tAB", p] for p in WHOLE)
    percent["all plates of a knee"] = 100.0 * (total - 1.0)
    for name, values in percent.items():
        known = values.dropna()
        worst = known.loc[known.abs().idxmax()]
        print(f"| {name} | {len(known)} | {known.mean():+.1f} ± {known.std():.1f} | {worst:+.1f} |")
    mean = float(percent["all plates of a knee"].mean())
    print(f"\nmean within ± {_TAB_LIMIT_PCT:g} %: {_verdict(abs(mean) <= _TAB_LIMIT_PCT)}")
    return abs(mean) <= _TAB_LIMIT_PCT


def show_agreement(before: Any, after: Any, change: pd.DataFrame) -> bool:
    """Correlation of the change of thickness with that of volume, over plates of all knees."""
    carried = change[change["quantity"] == "ThCtAB_aMe"].pivot(
        index=_KEYS, columns="region", values="change"
    )
    volume, own, compared = [], [], []
    for plate in WHOLE:
        volume.append((after["VC", plate] - before["VC", plate]) / before["tAB", plate])
        own.append(after["ThCtAB_aMe", plate] - before["ThCtAB_aMe", plate])
        compared.append(carried[plate].reindex(before.index))
    found, compared_name = {}, "change as reported, over the bone area of the first visit"
    for name, values in (("each visit on its own", own), (compared_name, compared)):
        both = np.array([np.concatenate(volume), np.concatenate(values)])
        both = both[:, np.isfinite(both).all(axis=0)]
        found[name] = float(np.corrcoef(both)[0, 1])
        print(f"r of changes of VC / tAB and ThCtAB, {name}: {found[name]:.3f} (n {both.shape[1]})")
    kept = found[compared_name] >= _LEAST_R
    print(f"{compared_name}, at least {_LEAST_R:g}: {_verdict(kept)}")
    return kept


def _verdict(kept: bool) -> str:
    return "kept" if kept else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
