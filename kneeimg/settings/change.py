"""Settings of the change between two visits."""

from __future__ import annotations

from pydantic import Field

from kneeimg.settings.base import Settings
from kneeimg.settings.registration import RegistrationSettings

#: Values of `precision` that are not a path.
SHIPPED_PRECISION, NO_PRECISION = "simulated", "none"


class ChangeSettings(Settings):
    """How two measured visits of one knee are compared.

    Attributes
    ----------
    registration : Alignment of each bone.
    max_gap_mm : A point of the baseline joint surface whose follow-up bone lies farther away
        than this has no follow-up value (out of view, or another segmentation of the bone), mm.
    max_undetermined_pct : A region is not compared when more of its area than this has no value
        at one of the visits, %.
    rim_mm : Where the tAB of one visit reaches beyond that of the other by no more than this, mm,
        the border was drawn otherwise and the strip is left out of both; where it reaches further,
        the whole patch counts as lost, or as gained. 0 carries the baseline's tAB unchanged, which
        leans towards loss. See `pair_bone`.
    precision : Where the smallest detectable changes come from: a table of `kneeimg precision`,
        relative to the study file; "simulated" for the simulated one that ships with kneeimg;
        "none".
    """

    registration: RegistrationSettings = RegistrationSettings()
    max_gap_mm: float = Field(default=3.0, gt=0.0)
    max_undetermined_pct: float = Field(default=20.0, ge=0.0, le=100.0)
    rim_mm: float = Field(default=2.0, ge=0.0, le=5.0)
    precision: str = Field(default=SHIPPED_PRECISION, min_length=1)
