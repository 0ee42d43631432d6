"""Settings of the analysis by arm: which outcomes, which visits, how many resamples."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from kneeimg.settings.base import Settings

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Percent = Annotated[float, Field(gt=0.0, le=100.0)]


class TrialSettings(Settings):
    """How two arms are compared. Outcomes are named `REGION_QUANTITY`, as in the wide table.

    Attributes
    ----------
    visits : Follow-up visits to analyse, by name.
    all_visits : Analyse every planned follow-up visit of the change table instead.
    baseline : Visit that changes count from; None for the one that most rows of the change table
        start at.
    primary : The primary outcomes, first in every table.
    secondary : Further outcomes, as patterns with `*` and `?`.
    associated : Outcomes whose change is set beside the change of symptoms and markers, as
        patterns.
    reference : Arm that the others are compared with; None for the first in alphabetical order.
    confidence : Of every interval, as a share.
    permutations : Random permutations of the check; all of them where there are not more.
    resamples : Bootstrap resamples of participants.
    seed : Of permutations and resamples.
    powers : Powers for which the next trial is sized.
    slowing_pct : Assumed slowing of the change seen in an arm, for sizing from its SRM, %.
    mixed_model : Also fit a mixed model over all visits (a large-sample method).
    """

    visits: Annotated[tuple[str, ...], Field(min_length=1)] = ("M06", "M12")
    all_visits: bool = False
    baseline: str | None = None
    primary: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "MFTC_ThCtAB_aMe",
        "FTJ_ThCtAB_aMe",
    )
    secondary: tuple[str, ...] = ("*_ThCtAB_aMe", "medial_mJSW", "medial_meanJSW")
    associated: tuple[str, ...] = ("MFTC_ThCtAB_aMe", "FTJ_ThCtAB_aMe", "medial_mJSW")
    reference: str | None = None
    confidence: Share = 0.95
    permutations: Annotated[int, Field(ge=99, le=1_000_000)] = 9999
    resamples: Annotated[int, Field(ge=199, le=100_000)] = 9999
    seed: Annotated[int, Field(ge=0)] = 20250601
    powers: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.8, 0.9)
    slowing_pct: Annotated[tuple[Percent, ...], Field(min_length=1)] = (50.0, 100.0)
    mixed_model: bool = False

    @model_validator(mode="after")
    def _visits_distinct(self) -> TrialSettings:
        for name in ("visits", "primary"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names something twice: {', '.join(values)}")
        return self
