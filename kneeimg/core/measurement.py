"""One measured value, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from kneeimg.errors import ReasonCode


class Status(StrEnum):
    """Whether a planned measurement has a value."""

    OK = "ok"
    NOT_MEASURABLE = "not_measurable"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A quantity of a region, without a person attached.

    Attributes
    ----------
    region : "MT", "cMF", "MFTC", "medial_compartment", ...
    quantity : "ThCtAB_aMe", "tAB", "mJSW", ... Column name in wide tables: region_quantity.
    value : In `unit`; NaN exactly when `status` is not_measurable. 0 is a measured zero.
    unit : "mm", "mm^2", "mm^3", "%", "deg", "ratio", "ms", "count".
    status, reason : Why there is no value, as a reason code.
    method : How it was measured, e.g. "ray/soft".
    tab_source : How the total subchondral bone area was obtained.
    aggregate : "sum" for sums over regions, else empty.
    flags : Codes of QC flags that a reader should know beside the value.
    """

    region: str
    quantity: str
    value: float
    unit: str
    status: Status = Status.OK
    reason: ReasonCode | None = None
    method: str = ""
    tab_source: str = ""
    aggregate: str = ""
    flags: tuple[ReasonCode, ...] = ()

    def __post_init__(self) -> None:
        if math.isnan(self.value) != (self.status is Status.NOT_MEASURABLE):
            raise ValueError(f"{self.name}: value {self.value} with status {self.status}")
        if (self.reason is None) != (self.status is Status.OK):
            raise ValueError(f"{self.name}: status {self.status} with reason {self.reason}")

    @property
    def name(self) -> str:
        """Column name in wide tables, as the OAI files write it, e.g. "MT_ThCtAB_aMe"."""
        return f"{self.region}_{self.quantity}"

    @classmethod
    def missing(
        cls, region: str, quantity: str, unit: str, reason: ReasonCode, **context: str
    ) -> Measurement:
        """A planned measurement that could not be made; `context` as the other attributes."""
        return cls(
            region,
            quantity,
            math.nan,
            unit,
            Status.NOT_MEASURABLE,
            reason,
            **context,  # type: ignore[arg-type]
        )
