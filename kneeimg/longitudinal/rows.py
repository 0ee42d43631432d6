"""One row of the change table: a quantity of a region at two visits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kneeimg.core.measurement import Measurement, Status
from kneeimg.errors import ReasonCode

DAYS_PER_YEAR = 365.25


class ChangeClass(StrEnum):
    """What a single knee's change says, judged by the sign of the number.

    A growing denuded area is therefore a `gain`: of denuded area.
    """

    LOSS = "loss"
    GAIN = "gain"
    WITHIN = "within measurement error"
    NO_DATA = "no repeatability data"


@dataclass(frozen=True, slots=True)
class Repeatability:
    """Smallest detectable change of one quantity of one region.

    Attributes
    ----------
    sdc : 95 % smallest detectable change of a single knee, in the unit of the quantity.
    source : The repeatability study of this software that it comes from.
    """

    sdc: float
    source: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sdc) and self.sdc >= 0):
            raise ValueError(f"a smallest detectable change is finite and >= 0, got {self.sdc}")


@dataclass(frozen=True, slots=True)
class PrecisionTable:
    """Repeatability by (region, quantity); another method's values never belong in it.

    >>> table = PrecisionTable({("MT", "ThCtAB_aMe"): Repeatability(0.08, "scan-rescan 2026")})
    >>> table.get("MT", "ThCtAB_aMe").sdc
    0.08
    >>> table.get("LT", "ThCtAB_aMe") is None
    True
    """

    entries: Mapping[tuple[str, str], Repeatability] = field(default_factory=dict)

    def get(self, region: str, quantity: str) -> Repeatability | None:
        """The entry of a quantity of a region; None without data."""
        return self.entries.get((region, quantity))

    @property
    def simulated(self) -> bool:
        """Whether an entry comes from a simulation and not from people scanned twice.

        >>> entry = Repeatability(0.08, "simulated: label maps re-posed, n=12")
        >>> PrecisionTable({("MT", "ThCtAB_aMe"): entry}).simulated, PrecisionTable().simulated
        (True, False)
        """
        return any(entry.source.startswith("simulated") for entry in self.entries.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One row of the change table; its attributes are the columns, in their order.

    Attributes
    ----------
    participant, side, kind, visit_from, visit_to, drift, software_version : Whose row it is; empty
        until the caller knows (`dataclasses.replace`).
    region, quantity, unit : As in the measurements.
    days : Between the visits; NaN when unknown.
    dtype : "AVERAGE" where a visit has repeated scans; empty for the change between two scans.
    baseline, followup : Values over the same bone area; NaN when not measured.
    change : followup − baseline.
    change_pct : % of baseline; NaN where baseline is not positive, for angles and for denuded
        area.
    change_per_year : change × 365.25 / days; NaN unless days is positive.
    status, reason : Why there is no change.
    change_class, sdc, sdc_source : The change against the smallest detectable one.
    progression : Of joint space by published cut-offs, see `kneeimg.longitudinal.progression`.
    tab_source : How the bone area was obtained.
    registration_rms_mm : Residual of the bones' alignment, the largest one for sums.
    method : How both visits were measured.
    """

    participant: str = ""
    side: str = ""
    kind: str = ""
    region: str
    quantity: str
    visit_from: str = ""
    visit_to: str = ""
    days: float = math.nan
    dtype: str = ""
    baseline: float = math.nan
    followup: float = math.nan
    change: float = math.nan
    change_pct: float = math.nan
    change_per_year: float = math.nan
    unit: str
    status: Status
    reason: ReasonCode | None = None
    change_class: ChangeClass = ChangeClass.NO_DATA
    sdc: float = math.nan
    sdc_source: str = ""
    progression: str = ""
    tab_source: str = ""
    registration_rms_mm: float = math.nan
    drift: str = ""
    method: str = ""
    software_version: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.change) != (self.status is Status.NOT_MEASURABLE):
            raise ValueError(f"{self.region}_{self.quantity}: change {self.change}, {self.status}")
        if (self.reason is None) != (self.status is Status.OK):
            raise ValueError(f"{self.region}_{self.quantity}: {self.status}, {self.reason}")


def change_row(
    baseline: Measurement,
    followup: Measurement,
    days: float | None,
    repeatability: Repeatability | None = None,
    *,
    kind: str = "",
    tab_source: str = "",
    registration_rms_mm: float = math.nan,
) -> ChangeRow:
    """The change between two measurements of one quantity of one region.

    Raises
    ------
    ValueError
        If the two are not the same quantity of the same region in the same unit.

    Examples
    --------
    >>> before = Measurement("MT", "ThCtAB_aMe", 2.0, "mm")
    >>> after = Measurement("MT", "ThCtAB_aMe", 1.9, "mm")
    >>> row = change_row(before, after, 365.25, Repeatability(0.08, "scan-rescan"))
    >>> round(row.change, 6), round(row.change_pct, 6), row.change_class.value
    (-0.1, -5.0, 'loss')
    """
    if (baseline.name, baseline.unit) != (followup.name, followup.unit):
        raise ValueError(
            f"{baseline.name} in {baseline.unit} against {followup.name} in {followup.unit}"
        )
    change = followup.value - baseline.value
    days = math.nan if days is None else float(days)
    missing = baseline.reason or followup.reason
    return ChangeRow(
        kind=kind,
        region=baseline.region,
        quantity=baseline.quantity,
        days=days,
        baseline=baseline.value,
        followup=followup.value,
        change=change,
        change_pct=_percent(change, baseline),
        change_per_year=change * DAYS_PER_YEAR / days if days > 0 else math.nan,
        unit=baseline.unit,
        status=Status.NOT_MEASURABLE if missing else Status.OK,
        reason=missing,
        change_class=classify(change, repeatability),
        sdc=math.nan if repeatability is None else repeatability.sdc,
        sdc_source="" if repeatability is None else repeatability.source,
        tab_source=tab_source,
        registration_rms_mm=registration_rms_mm,
        method=_methods(baseline.method, followup.method),
    )


def _percent(change: float, baseline: Measurement) -> float:
    """Percent of baseline where that means something.

    Not for angles, nor for denuded area: it begins near 0, and dABp is a percentage itself.
    """
    denuded = baseline.quantity in ("dAB", "dABp")
    if denuded or baseline.unit == "deg" or not baseline.value > 0:
        return math.nan
    return 100.0 * change / baseline.value


def _methods(before: str, after: str) -> str:
    return before if before == after or not after else f"{before} -> {after}".removeprefix(" -> ")


def classify(change: float, repeatability: Repeatability | None) -> ChangeClass:
    """Loss or gain when the change exceeds the smallest detectable one.

    >>> classify(-0.05, Repeatability(0.08, "scan-rescan")).value
    'within measurement error'
    """
    if repeatability is None or math.isnan(change):
        return ChangeClass.NO_DATA
    if abs(change) <= repeatability.sdc:
        return ChangeClass.WITHIN
    return ChangeClass.LOSS if change < 0 else ChangeClass.GAIN
