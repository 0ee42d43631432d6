"""Settings of KL support on films."""

from __future__ import annotations

from pydantic import Field

from kneeimg.settings.base import Settings


class KlSupportSettings(Settings):
    """Features beside the joint space, and when the suggested grade is withheld.

    The two normal widths are the medians of films of grade 0, see the card of the model.
    """

    medial_normal: float = Field(
        0.038, gt=0, lt=0.2, description="normal least medial joint space / femoral width"
    )
    lateral_normal: float = Field(
        0.054, gt=0, lt=0.2, description="normal least lateral joint space / femoral width"
    )
    least_probability: float = Field(
        0.40, ge=0.2, le=1, description="least probability of the likeliest grade"
    )
    most_far: float = Field(
        0.20, ge=0, le=1, description="most probability two or more grades from the median"
    )
    most_missing: int = Field(6, ge=0, description="most features that may be missing")
    second_opinion: bool = Field(
        True, description="grades of the small networks beside those of the features"
    )
