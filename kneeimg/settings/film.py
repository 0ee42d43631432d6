"""Settings of the film branch: finding margins and measuring the joint space."""

from __future__ import annotations

from pydantic import Field, model_validator

from kneeimg.settings.base import Settings
from kneeimg.settings.kl_support import KlSupportSettings


class JointSpaceSettings(Settings):
    """Where the joint space is measured, in fractions x of the femoral width (0 medial, 1 lateral).

    The defaults are the positions of the OAI (Duryea 2010, PMC2937275).
    """

    medial_x: tuple[float, ...] = Field(
        (0.150, 0.175, 0.200, 0.225, 0.250, 0.275, 0.300),
        description="positions of fJSW in the medial compartment, fraction of femoral width",
    )
    lateral_x: tuple[float, ...] = Field(
        (0.700, 0.725, 0.750, 0.775, 0.800, 0.825, 0.850, 0.875, 0.900),
        description="positions of fJSW in the lateral compartment, fraction of femoral width",
    )
    medial_search: tuple[float, float] = Field(
        (0.05, 0.30), description="range of x searched for the medial mJSW"
    )
    lateral_search: tuple[float, float] = Field(
        (0.70, 0.95), description="range of x searched for the lateral mJSW"
    )
    medial_area: tuple[float, float] = Field((0.10, 0.30), description="range of the medial JSA")
    lateral_area: tuple[float, float] = Field((0.70, 0.90), description="range of the lateral JSA")
    minimum_confidence: float = Field(
        0.2, ge=0, le=1, description="median margin confidence below which MARGIN_UNCERTAIN is set"
    )
    sure_confidence: float = Field(
        0.3,
        ge=0,
        le=1,
        description="confidence of both margins without which their outer end is not searched for "
        "mJSW",
    )
    always_searched: float = Field(
        0.15,
        ge=0,
        le=0.5,
        description="distance inward from the outer edge of the femur from which mJSW is searched "
        "whatever the confidence, fraction of femoral width",
    )

    @model_validator(mode="after")
    def _ranges_ascend(self) -> JointSpaceSettings:
        ranges = (self.medial_search, self.lateral_search, self.medial_area, self.lateral_area)
        for low, high in ranges:
            if not 0 <= low < high <= 1:
                raise ValueError(f"a range of x must ascend within 0..1, got {low}, {high}")
        if not all(0 < x < 1 for x in (*self.medial_x, *self.lateral_x)):
            raise ValueError("positions of fJSW must lie between 0 and 1")
        return self


class FilmSettings(Settings):
    """How a knee is found on a film and its margins are traced.

    All lengths are fractions of the femoral width, so a film without a pixel size works too.
    """

    joint_space: JointSpaceSettings = JointSpaceSettings()
    kl_support: KlSupportSettings = KlSupportSettings()
    check_polarity: bool = Field(True, description="correct a film that is dark where dense")
    check_fibula: bool = Field(True, description="compare the side with the fibula in view")
    femoral_width_mm: tuple[float, float] = Field(
        (55.0, 110.0),
        description="plausible femoral widths in mm, used when the pixel size is known",
    )
    minimum_match: float = Field(
        0.40,
        ge=0,
        le=1,
        description="agreement with the outline of a knee below which none is found",
    )
    smoothing_width: float = Field(
        0.05, gt=0, le=0.2, description="window of the local fit along a margin, of femoral width"
    )
