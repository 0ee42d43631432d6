"""From repeated scans to repeatability: one row for every quantity of every region.

Two questions are answered apart, see :class:`kneeimg.core.precision.Procedure`. How well do scans
agree that were measured each on its own? And how large is the change that the change table finds
where nothing changed? Only the second is the smallest detectable change of that table.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.measurement import Measurement
from kneeimg.core.precision import PrecisionRow, PrecisionStudy, Procedure
from kneeimg.core.surface import Surface
from kneeimg.longitudinal.precision import (
    Interval,
    bland_altman,
    icc_2_1,
    icc_2_1_interval,
    icc_3_1,
    icc_3_1_interval,
    rms_cv_percent,
    sdc95_interval,
)
from kneeimg.longitudinal.rows import ChangeRow, PrecisionTable, Repeatability
from kneeimg.longitudinal.vertices import VERTEX_QUANTITY, vertex_spread_mm

FloatArray = NDArray[np.float64]
T = TypeVar("T")
#: Quantity whose method tells how a knee on MR was measured.
CARTILAGE = "ThCtAB_aMe"
_QUANTITY = attrgetter("kind", "method", "region", "quantity")
_KNEE = attrgetter("participant", "side")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """One quantity of one knee, from its repeated scans.

    Attributes
    ----------
    kind, method, region, quantity, unit : As in the measurements.
    sample : Who or what was repeated.
    participant, side : Whose knee.
    """

    kind: str
    method: str
    region: str
    quantity: str
    unit: str
    sample: str
    participant: str
    side: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedValue(Repeated):
    """A quantity at one of the repeated scans, measured on its own.

    Attributes
    ----------
    scan : Which of the scans; they are compared in the order in which they are given.
    value : Finite.
    """

    scan: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedChange(Repeated):
    """The change of a quantity from the first to another scan of an unchanged knee.

    Attributes
    ----------
    baseline, followup : Values over the same bone area; NaN for quantities that are changes.
    change : Finite. For a spread over points (always positive) its root mean square.
    """

    baseline: float
    followup: float
    change: float


def precision_rows(
    values: Iterable[RepeatedValue], changes: Iterable[RepeatedChange] = ()
) -> tuple[PrecisionRow, ...]:
    """Repeatability of everything that at least two scans of a knee were measured for.

    Parameters
    ----------
    values : Values of scans measured on their own, scans of a knee in their order.
    changes : Changes between scans of one knee, as the change table finds them.

    Returns
    -------
    Independent rows, then paired ones, each in the order in which the quantities first appear.
    """
    independent = [_independent(own) for own in _grouped(values, _QUANTITY)]
    paired = [_paired(own) for own in _grouped(changes, _QUANTITY)]
    return (*(row for row in independent if row is not None), *paired)


def table_of(study: PrecisionStudy, kind: str, method: str) -> PrecisionTable:
    """The smallest detectable changes of the change table: the paired rows of one method."""
    return PrecisionTable(
        {
            (row.region, row.quantity): Repeatability(row.sdc95, study.header.source(row))
            for row in study.rows
            if (row.kind, row.method, row.procedure) == (kind, method, Procedure.PAIRED)
            and math.isfinite(row.sdc95)
        }
    )


def method_of(kind: str, measurements: Iterable[Measurement]) -> str:
    """How a knee was measured: of an MR scan the method of its cartilage; empty if nothing was.

    A table holds for one method of the whole knee: repeatability of soft masks is not that of
    hard ones, also for rows that name no method or another.
    """
    wanted = (m.method for m in measurements if kind == "film" or m.quantity == CARTILAGE)
    return next((method for method in wanted if method), "")


def values_from(measurements: Iterable[Measurement], **whose: str) -> list[RepeatedValue]:
    """Every measured value of one scan; `whose` as the other attributes of RepeatedValue."""
    return [
        RepeatedValue(region=m.region, quantity=m.quantity, unit=m.unit, value=m.value, **whose)
        for m in measurements
        if m.reason is None
    ]


def changes_from(
    rows: Iterable[ChangeRow], surfaces: Iterable[Surface] = (), **whose: str
) -> list[RepeatedChange]:
    """Every change between two scans of an unchanged knee, single points of the plates included.

    Parameters
    ----------
    rows : Of `compare_knees` or `compare_films`.
    surfaces : Change maps of `compare_knees`.
    whose : The other attributes of RepeatedChange.
    """
    nan = math.nan
    found = [
        (row.region, row.quantity, row.unit, row.baseline, row.followup, row.change)
        for row in rows
        if row.reason is None
    ]
    found += [
        (plate, VERTEX_QUANTITY, "mm", nan, nan, spread)
        for plate, spread in vertex_spread_mm(surfaces).items()
    ]
    return [
        RepeatedChange(
            region=region,
            quantity=quantity,
            unit=unit,
            baseline=baseline,
            followup=followup,
            change=change,
            **whose,
        )
        for region, quantity, unit, baseline, followup, change in found
    ]


def _independent(values: Sequence[RepeatedValue]) -> PrecisionRow | None:
    """Row of one quantity; None where no knee has two values."""
    knees = [own for own in _grouped(values, _KNEE) if len(own) > 1]
    if not knees:
        return None
    series = [[v.value for v in own] for own in knees]
    spread = np.array([np.var(own, ddof=1) for own in series])
    # each knee counts alike; s² of a knee with k scans has the variance 2 σ⁴ / (k − 1)
    df = len(series) ** 2 / sum(1.0 / (len(own) - 1) for own in series)
    least = min(len(own) for own in series)
    return PrecisionRow(
        **_who(knees, sum(len(own) for own in series)),
        procedure=Procedure.INDEPENDENT,
        mean=float(np.mean([np.mean(own) for own in series])),
        **_spread(float(np.sqrt(spread.mean())), df),
        rms_cv_pct=_cv(series),
        **_agreement(np.array([own[:least] for own in series])),
    )


def _paired(changes: Sequence[RepeatedChange]) -> PrecisionRow:
    """Row of one quantity from its changes."""
    knees = _grouped(changes, _KNEE)
    squares = np.array([np.mean([c.change**2 for c in own]) for own in knees])
    # changes from one first scan share its error: m of them count as 4 m / (m + 3)
    counted = [4.0 * len(own) / (len(own) + 3.0) for own in knees]
    df = len(knees) ** 2 / sum(1.0 / n for n in counted)
    both = np.array([[own[0].baseline, own[0].followup] for own in knees])
    known = bool(np.isfinite(both).all())
    return PrecisionRow(
        **_who(knees, sum(len(own) + 1 for own in knees)),
        procedure=Procedure.PAIRED,
        mean=float(both.mean()) if known else math.nan,
        **_spread(float(np.sqrt(squares.mean() / 2.0)), df),
        rms_cv_pct=_cv(both.tolist()) if known else math.nan,
        **(_agreement(both) if known else {}),
    )


def _who(knees: Sequence[Sequence[Repeated]], scans: int) -> dict[str, Any]:
    """Columns that name a row and count what it is made of."""
    names = ("kind", "method", "region", "quantity", "unit", "sample")
    return {name: getattr(knees[0][0], name) for name in names} | {
        "n_people": len({own[0].participant for own in knees}),
        "n_knees": len(knees),
        "n_scans": scans,
    }


def _spread(rms_sd: float, df: float) -> dict[str, Any]:
    low, high = sdc95_interval(rms_sd, df)
    sdc = 1.96 * math.sqrt(2.0) * rms_sd
    return {"rms_sd": rms_sd, "sdc95": sdc, "sdc95_low": low, "sdc95_high": high, "df": df}


def _cv(series: Sequence[Sequence[float]]) -> float:
    """RMS CV in %; NaN unless every knee's mean is positive."""
    if not all(np.mean(own) > 0 for own in series):
        return math.nan
    squares = [(rms_cv_percent([own])) ** 2 for own in series]
    return float(np.sqrt(np.mean(squares)))


def _agreement(table: FloatArray) -> dict[str, Any]:
    """ICCs over all scans and Bland-Altman statistics of the first two; empty for one knee."""
    if len(table) < 2:
        return {}
    found = bland_altman(table[:, 0], table[:, 1])
    return {
        "icc_2_1": icc_2_1(table),
        **_ends("icc_2_1", icc_2_1_interval(table)),
        "icc_3_1": icc_3_1(table),
        **_ends("icc_3_1", icc_3_1_interval(table)),
        "bias": found.bias,
        **_ends("bias", found.bias_ci),
        "loa_lower": found.lower,
        **_ends("loa_lower", found.lower_ci),
        "loa_upper": found.upper,
        **_ends("loa_upper", found.upper_ci),
    }


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}_low": interval[0], f"{name}_high": interval[1]}


def _grouped(items: Iterable[T], key: Callable[[T], Any]) -> list[list[T]]:
    """Items that have the same key, groups in the order in which they first appear."""
    groups: dict[Any, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.values())
