"""True against measured: what the pipeline found in the synthetic trial, beside what is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["participant", "kind", "region", "quantity"]

#: Rows of the two tables: kind, region, quantity; all in mm.
SHOWN = (
    ("mri", "MT", "ThCtAB_aMe"),
    ("mri", "LT", "ThCtAB_aMe"),
    ("mri", "cMF", "ThCtAB_aMe"),
    ("mri", "cLF", "ThCtAB_aMe"),
    ("mri", "TrF", "ThCtAB_aMe"),
    ("mri", "P", "ThCtAB_aMe"),
    ("mri", "FTJ", "ThCtAB_aMe"),
    ("film", "medial", "mJSW"),
    ("film", "lateral", "mJSW"),
)


_SPREAD = ("bias µm", "SD µm", "worst µm")


@dataclass(frozen=True)
class Comparison:
    """One printed table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_json(self) -> list[dict[str, str]]:
        """Rows as objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def compare_values(truth: pd.DataFrame, measurements: pd.DataFrame) -> Comparison:
    """Single visits: error of every measured value, in µm."""
    both = truth.merge(
        measurements, on=[*KEYS, "visit"], suffixes=("_true", ""), validate="one_to_one"
    )
    rows = []
    for kind, region, quantity in SHOWN:
        part = both[(both.kind == kind) & (both.region == region) & (both.quantity == quantity)]
        error = 1000.0 * (part["value"] - part["value_true"])
        rows.append(
            (
                f"{region} {quantity}",
                f"{error.notna().sum()} of {len(part)}",
                f"{part['value_true'].mean():.3f}",
                f"{part['value'].mean():.3f}",
                *_spread(error),
            )
        )
    columns = ("quantity", "measured", "true mm", "found mm", *_SPREAD)
    return Comparison("True against measured, every visit", columns, tuple(rows))


def compare_change(truth: pd.DataFrame, change: pd.DataFrame, arms: pd.DataFrame) -> Comparison:
    """Change since baseline per arm and visit, in µm."""
    true_change = truth.merge(
        truth[truth.visit == "BL"].drop(columns="visit"), on=KEYS, suffixes=("", "_baseline")
    ).assign(true_change=lambda t: t["value"] - t["value_baseline"])
    found = change.rename(columns={"visit_to": "visit"})
    both = true_change[[*KEYS, "visit", "true_change"]].merge(
        found, on=[*KEYS, "visit"], validate="one_to_one"
    )
    both = both.merge(arms, on="participant")
    rows = []
    for arm in sorted(both.arm.unique()):
        for visit in sorted(both.visit.unique()):
            for kind, region, quantity in SHOWN:
                chosen = (both.kind == kind) & (both.region == region)
                chosen &= (both.quantity == quantity) & (both.arm == arm) & (both.visit == visit)
                part = both[chosen]
                error = 1000.0 * (part["change"] - part["true_change"])
                rows.append(
                    (
                        arm,
                        visit,
                        f"{region} {quantity}",
                        f"{error.notna().sum()} of {len(part)}",
                        f"{1000 * part['true_change'].mean():+.0f}",
                        f"{1000 * part['change'].mean():+.0f}",
                        *_spread(error),
                    )
                )
    columns = (
        *("arm", "visit", "quantity", "measured", "true µm", "found µm"),
        *("bias µm", "SD µm", "worst µm"),
    )
    return Comparison("True against measured, change since baseline", columns, tuple(rows))


def _spread(error_um: pd.Series[Any]) -> tuple[str, str, str]:
    """Bias, SD and the largest absolute error, as text; "-" where nothing was measured."""
    known = error_um.dropna()
    if known.empty:
        return ("-", "-", "-")
    sd = f"{known.std():.0f}" if len(known) > 1 else "-"
    return (f"{known.mean():+.0f}", sd, f"{known.abs().max():.0f}")


def read_tables(truth_file: Path, arms_file: Path, results: Path) -> tuple[Comparison, ...]:
    """Both tables from the files on disk, as a trial analyst would make them."""
    import pandas as pd

    truth, arms = pd.read_csv(truth_file), pd.read_csv(arms_file)
    tables = results / "tables"
    measured = pd.read_parquet(tables / "measurements.parquet")
    change = pd.read_parquet(tables / "change.parquet")
    return compare_values(truth, measured), compare_change(truth, change, arms)
