"""True against measured: what the pipeline found in the synthetic trial, beside what is there.

Two questions: how far is a single value off, and does the interval that an analyst would state
around a mean change hold the true one?
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["participant", "side", "kind", "region", "quantity"]

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


def joined_change(truth: pd.DataFrame, change: pd.DataFrame, arms: pd.DataFrame) -> pd.DataFrame:
    """True and found change since baseline of every planned follow-up, with the arm.

    A follow-up without a value has NaN in `change`, as in the change table.
    """
    baseline = truth[truth["visit"] == "BL"].drop(columns="visit")
    since = truth.merge(baseline, on=KEYS, suffixes=("", "_baseline"))
    since["true_change"] = since["value"] - since["value_baseline"]
    found = change.rename(columns={"visit_to": "visit"})
    both = since[[*KEYS, "visit", "true_change"]].merge(
        found, on=[*KEYS, "visit"], validate="one_to_one"
    )
    return both.merge(arms, on="participant")


def compare_change(both: pd.DataFrame) -> Comparison:
    """Change since baseline per arm and visit, in µm, from :func:`joined_change`."""
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
                        _mean_um(part["true_change"]),
                        _mean_um(part["change"]),
                        *_spread(error),
                    )
                )
    columns = (
        *("arm", "visit", "quantity", "measured", "true µm", "found µm"),
        *("bias µm", "SD µm", "worst µm"),
    )
    return Comparison("True against measured, change since baseline", columns, tuple(rows))


def _mean_um(values_mm: pd.Series[Any]) -> str:
    """Signed mean in µm, "-" without a value."""
    known = values_mm.dropna()
    return f"{1000 * known.mean():+.0f}" if len(known) else "-"


def _spread(error_um: pd.Series[Any]) -> tuple[str, str, str]:
    """Bias, SD and the largest absolute error, as text; "-" where nothing was measured."""
    known = error_um.dropna()
    if known.empty:
        return ("-", "-", "-")
    sd = f"{known.std():.0f}" if len(known) > 1 else "-"
    return (f"{known.mean():+.0f}", sd, f"{known.abs().max():.0f}")


@dataclass(frozen=True)
class Coverage:
    """Whether the true mean change of an arm lies in the interval around the measured one.

    Attributes
    ----------
    arm, visit, kind, region, quantity : Whose change.
    n : Participants with a measured change.
    true_mm : Their true mean change.
    found_mm, low_mm, high_mm : Measured mean change and its 95 % interval (Student's t over
        participants).
    within_sdc : Participants whose true change lies within the smallest detectable change of the
        measured one; None where the table has no SDC.
    """

    arm: str
    visit: str
    kind: str
    region: str
    quantity: str
    n: int
    true_mm: float
    found_mm: float
    low_mm: float
    high_mm: float
    within_sdc: int | None

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low_mm <= self.true_mm <= self.high_mm


def mean_interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of a mean, Student's t; unbounded with fewer than two values.

    >>> low, high = mean_interval([1.0, 2.0, 3.0])
    >>> round(low, 4), round(high, 4)
    (-0.4841, 4.4841)
    """
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = float(t.ppf(0.975, n - 1)) * math.sqrt(variance / n)
    return mean - half, mean + half


def coverage(both: pd.DataFrame) -> tuple[Coverage, ...]:
    """Every arm, follow-up visit and region: mean thickness, and joint-space width on films.

    Parameters
    ----------
    both : From :func:`joined_change`.
    """
    judged = both[both["quantity"].isin(("ThCtAB_aMe", "mJSW")) & (both["visit"] != "BL")]
    keys = ["arm", "visit", "kind", "region", "quantity"]
    cells = (
        _cell(tuple(map(str, key)), rows.dropna(subset=["change", "true_change"]))
        for key, rows in judged.groupby(keys, sort=True)
    )
    return tuple(cell for cell in cells if cell is not None)


def _cell(key: tuple[str, ...], rows: pd.DataFrame) -> Coverage | None:
    if len(rows) < 2:
        return None
    found = [float(value) for value in rows["change"]]
    low, high = mean_interval(found)
    arm, visit, kind, region, quantity = key
    error = (rows["change"] - rows["true_change"]).abs()
    known = rows["sdc"].notna()
    return Coverage(
        arm=arm,
        visit=visit,
        kind=kind,
        region=region,
        quantity=quantity,
        n=len(rows),
        true_mm=float(rows["true_change"].mean()),
        found_mm=math.fsum(found) / len(found),
        low_mm=low,
        high_mm=high,
        within_sdc=int((error <= rows["sdc"]).sum()) if known.all() else None,
    )


@dataclass(frozen=True, eq=False)
class DemoTables:
    """The demo's truth and what the pipeline made of it, as a trial analyst would read them.

    Attributes
    ----------
    truth, arms : From OUT/input.
    measured, change, disposition : From OUT/results; text cells are strings.
    """

    truth: pd.DataFrame
    arms: pd.DataFrame
    measured: pd.DataFrame
    change: pd.DataFrame
    disposition: pd.DataFrame

    def joined(self) -> pd.DataFrame:
        """True and found change."""
        return joined_change(self.truth, self.change, self.arms)

    def comparisons(self) -> tuple[Comparison, ...]:
        """Both printed tables."""
        return compare_values(self.truth, self.measured), compare_change(self.joined())


def read_tables(source: Path, results: Path) -> DemoTables:
    """Read what :func:`kneeimg.demo.run_demo` and the pipeline wrote.

    Parameters
    ----------
    source : OUT/input.
    results : OUT/results.
    """
    import pandas as pd

    tables = results / "tables"
    return DemoTables(
        truth=pd.read_csv(source / "truth.csv"),
        arms=pd.read_csv(source / "arms.csv"),
        measured=pd.read_parquet(tables / "measurements.parquet"),
        change=pd.read_parquet(tables / "change.parquet"),
        disposition=pd.read_csv(results / "disposition.csv", dtype=str, keep_default_na=False),
    )
