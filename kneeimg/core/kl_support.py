"""KL support: an ordinal model of the Kellgren-Lawrence grade and what it says of one film."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kneeimg.errors import Finding, ModelError

GRADES = (0, 1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class KlFeature:
    """One feature of the model and how it was spread over the films that the model learned from.

    Attributes
    ----------
    name : `region_quantity` of a row of a film, or a name that `measure.kl_features` derives.
    coefficient : Change of the log odds of a higher grade per standard deviation.
    mean, sd : Of the training films, within `low` .. `high`.
    low, high : 1st and 99th percentile of the training films; values beyond count as these.
    least, most : Range of the training films; beyond it the model was never tried.
    """

    name: str
    coefficient: float
    mean: float
    sd: float
    low: float
    high: float
    least: float
    most: float

    def __post_init__(self) -> None:
        numbers = (self.coefficient, self.mean, self.sd, self.low, self.high, self.least, self.most)
        if not all(math.isfinite(number) for number in numbers):
            raise ModelError(f"feature {self.name} of the KL model has a value that is not finite")
        if not (self.least <= self.low <= self.mean <= self.high <= self.most and self.sd > 0):
            raise ModelError(f"the ranges of feature {self.name} of the KL model do not ascend")


@dataclass(frozen=True, slots=True, eq=False)
class KlAppearance:
    """Ridge regression of the grade on how the bones look, cell by cell.

    Attributes
    ----------
    mean : (D,) mean of every value over the training films.
    weight : (D,) grades per unit of every value.
    """

    mean: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __post_init__(self) -> None:
        arrays = (self.mean, self.weight)
        if self.mean.ndim != 1 or self.mean.shape != self.weight.shape:
            raise ModelError("mean and weight of the look of bones do not belong together")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ModelError("the look of bones has a weight that is not finite")


@dataclass(frozen=True, slots=True)
class KlModel:
    """Proportional odds: log odds of grade k or more = sum of contributions - threshold k.

    Attributes
    ----------
    features : In a fixed order.
    thresholds : Of the grades 1, 2, 3 and 4, ascending.
    provenance : Data, licence, commands and figures, as the file states them.
    sha256 : Hash of the file it came from; "" when it came from memory.
    appearance : Of the features that score how the bones look; None when there are none.
    """

    features: tuple[KlFeature, ...]
    thresholds: tuple[float, float, float, float]
    provenance: Mapping[str, object] = field(default_factory=dict)
    sha256: str = ""
    appearance: KlAppearance | None = None

    def __post_init__(self) -> None:
        steps = np.diff(self.thresholds)
        if len(self.thresholds) != len(GRADES) - 1 or not (steps > 0).all():
            raise ModelError(
                "the thresholds of the KL model must be four and ascend", found=str(self.thresholds)
            )
        names = [feature.name for feature in self.features]
        if not names or len(set(names)) != len(names):
            raise ModelError("the KL model needs features, each once", found=", ".join(names))


@dataclass(frozen=True, slots=True, eq=False)
class GradeAnswer:
    """What a model says of the grade of one film. Support, not a diagnosis and not a reading.

    Attributes
    ----------
    probabilities : P(KL = 0 .. 4), summing to 1.
    grade : Suggested grade, the median of the probabilities; None when uncertain.
    """

    probabilities: tuple[float, float, float, float, float]
    grade: int | None

    @property
    def certain(self) -> bool:
        """Whether a grade is suggested."""
        return self.grade is not None

    def _answer(self) -> dict[str, object]:
        return {
            "notice": "Support, not a diagnosis.",
            "probabilities": {f"KL{g}": p for g, p in zip(GRADES, self.probabilities, strict=True)},
            "suggested_grade": "uncertain" if self.grade is None else self.grade,
        }


@dataclass(frozen=True, slots=True)
class KlSupport(GradeAnswer):
    """What the model of features says of one film.

    Attributes
    ----------
    contributions : Feature to its part of the log odds against the mean training film, the
        greatest first; positive speaks for a higher grade. A missing feature contributes 0.
    missing : Features that were not measured on this film.
    outside : Features outside the range of the training films.
    findings : Why the answer is uncertain or is to be read with care.
    model_sha256 : Hash of the model's file.
    """

    contributions: Mapping[str, float]
    missing: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    model_sha256: str = ""

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return self._answer() | {
            "contributions": dict(self.contributions),
            "missing": list(self.missing),
            "outside_training_range": list(self.outside),
            "findings": [finding.as_dict() for finding in self.findings],
            "model_sha256": self.model_sha256,
        }
