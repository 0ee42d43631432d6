"""Settings of the change between two visits."""

from __future__ import annotations

from pydantic import Field

from kneeimg.settings.base import Settings
from kneeimg.settings.registration import RegistrationSettings


class ChangeSettings(Settings):
    """How two measured visits of one knee are compared.

    Attributes
    ----------
    registration : Alignment of each bone.
    max_gap_mm : A point of the baseline joint surface whose follow-up bone lies farther away
        than this has no follow-up value (out of view, or another segmentation of the bone), mm.
    max_undetermined_pct : A region is not compared when more of its area than this has no value
        at one of the visits, %.
    rim_mm : Bone that is bare at follow-up within this distance of the border of the baseline's
        tAB is left out of both visits, mm; 0 carries tAB unchanged. See `pair_bone`.
    """

    registration: RegistrationSettings = RegistrationSettings()
    max_gap_mm: float = Field(default=3.0, gt=0.0)
    max_undetermined_pct: float = Field(default=20.0, ge=0.0, le=100.0)
    rim_mm: float = Field(default=0.0, ge=0.0, le=5.0)
