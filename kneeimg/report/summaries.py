"""Means and intervals of single changes, grouped as the figures show them.

A description of the rows in tables/change over knees, without arms. What depends on arms is never
made here: it is read from tables/trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kneeimg.report.overview import visit_order
from kneeimg.report.results import Results

if TYPE_CHECKING:
    import pandas as pd

THICKNESS = "ThCtAB_aMe"
#: Regions of the forest plot: sums first, then plates.
FOREST_REGIONS = (
    "FTJ", "MFTC", "LFTC", "cMFTC", "cLFTC", "MT", "cMF", "LT", "cLF", "TrF", "P",
)  # fmt: skip
#: (region, quantity) of the panels of the spaghetti plot.
COURSE_PANELS = (
    ("FTJ", THICKNESS), ("MFTC", THICKNESS), ("LFTC", THICKNESS), ("medial", "mJSW"),
    ("MT", THICKNESS), ("cMF", THICKNESS), ("LT", THICKNESS), ("cLF", THICKNESS),
)  # fmt: skip
#: What the waterfall shows.
WATERFALLS = (("FTJ", THICKNESS), ("MFTC", THICKNESS), ("medial", "mJSW"))

#: Published thresholds of medial joint space: quantity, what the column `progression` reads beyond
#: it, and the threshold in words.
FILM_CUTOFFS = (
    ("mJSW", ("progression",), "mJSW loss of 0.7 mm or more"),
    ("fJSW_0250", ("strict",), "fJSW(0.25) loss of more than 1.05 mm a year"),
    ("fJSW_0250", ("lenient", "strict"), "fJSW(0.25) loss of more than 0.25 mm a year"),
)
#: The first of them as a change in mm: a line in the plot of single changes.
MJSW_LOSS_MM = 0.7


@dataclass(frozen=True, slots=True)
class MeanChange:
    """Mean change of one region at one visit with its 95 % interval, and the SDC of one knee.

    Attributes
    ----------
    region, quantity, unit, visit : Of what; `visit` is the follow-up.
    n : Knees with a value.
    mean, low, high : In the unit; the limits are NaN with fewer than two knees.
    sdc : Smallest detectable change of a single knee; NaN without repeatability data, the largest
        where rows differ.
    """

    region: str
    quantity: str
    unit: str
    visit: str
    n: int
    mean: float
    low: float
    high: float
    sdc: float


@dataclass(frozen=True, slots=True)
class Single:
    """Change of one knee, as the waterfall shows it."""

    participant: str
    side: str
    change: float
    change_class: str
    sdc: float


@dataclass(frozen=True, slots=True)
class FilmProgression:
    """Knees beyond one published threshold at one visit."""

    meaning: str
    visit: str
    beyond: int
    n: int
    who: tuple[str, ...]


def measured_change(results: Results, region: str, quantity: str) -> pd.DataFrame:
    """Rows of the change table with a value, of one quantity of one region."""
    table = results.change
    chosen = (table["region"] == region) & (table["quantity"] == quantity)
    chosen &= (table["status"] == "ok") & table["change"].notna()
    return table[chosen]


def follow_ups(results: Results) -> list[str]:
    """Visits with a change, in the order of their days."""
    return visit_order(results, results.change["visit_to"])


def mean_changes(
    results: Results, regions: Sequence[str] = FOREST_REGIONS, quantity: str = THICKNESS
) -> list[MeanChange]:
    """Mean change per region and follow-up visit, where any knee has a value."""
    found = []
    for region in regions:
        rows = measured_change(results, region, quantity)
        for visit in follow_ups(results):
            part = rows[rows["visit_to"] == visit]
            if len(part):
                found.append(_mean(region, quantity, visit, part))
    return found


def _mean(region: str, quantity: str, visit: str, rows: pd.DataFrame) -> MeanChange:
    values = [float(value) for value in rows["change"]]
    mean = math.fsum(values) / len(values)
    half = half_width(values)
    return MeanChange(
        region=region,
        quantity=quantity,
        unit=str(rows["unit"].iloc[0]),
        visit=visit,
        n=len(values),
        mean=mean,
        low=mean - half,
        high=mean + half,
        sdc=float(rows["sdc"].max()),
    )


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean (Student's t); NaN with fewer than two values.

    >>> round(half_width([1.0, 2.0, 3.0]), 4)
    2.4841
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return math.nan
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return float(stdtrit(n - 1, 0.975)) * math.sqrt(variance / n)


def singles(results: Results, region: str, quantity: str, visit: str) -> list[Single]:
    """Change of every knee at a visit, most loss first."""
    rows = measured_change(results, region, quantity)
    rows = rows[rows["visit_to"] == visit].sort_values(["change", "participant"], kind="stable")
    return [
        Single(
            str(row["participant"]),
            str(row["side"]),
            float(row["change"]),
            str(row["change_class"]),
            float(row["sdc"]),
        )
        for row in rows.to_dict("records")
    ]


def film_progression(results: Results) -> list[FilmProgression]:
    """How many knees lose more medial joint space than the published thresholds, per visit.

    As the column `progression` of the change table says; rows where it is empty do not count.
    """
    found = []
    for quantity, beyond, meaning in FILM_CUTOFFS:
        rows = measured_change(results, "medial", quantity)
        rows = rows[rows["progression"] != ""]
        for visit in follow_ups(results):
            part = rows[rows["visit_to"] == visit]
            if len(part):
                chosen = part["progression"].isin(beyond)
                who = tuple(sorted(map(str, part.loc[chosen, "participant"])))
                found.append(FilmProgression(meaning, visit, len(who), len(part), who))
    return found


def sdc_kind(sources: Iterable[str]) -> str:
    """What must be said beside an SDC: that it is simulated, wholly or in part; else nothing.

    Parameters
    ----------
    sources : Values of a column `sdc_source`; empty where there is no SDC.

    Examples
    --------
    >>> sdc_kind(["simulated: label maps re-posed, n=12", ""]), sdc_kind(["retest: RT1, n=20"])
    ('simulated', '')
    """
    kinds = {str(source).partition(":")[0] for source in sources if source}
    if "simulated" not in kinds:
        return ""
    return "simulated" if len(kinds) == 1 else "partly simulated"


def sdc_sources(results: Results) -> Mapping[str, int]:
    """Where the smallest detectable changes come from, and how many rows have them."""
    sources = results.change["sdc_source"]
    return {str(name): int(n) for name, n in sources[sources != ""].value_counts().items()}
