"""Inference of KL support: features in, probabilities and their reasons out.

Proportional odds (McCullagh 1980, doi:10.1111/j.2517-6161.1980.tb01109.x): one score for all
grades, four ascending thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.core.kl_support import KlFeature, KlModel, KlSupport
from kneeimg.errors import Finding, ReasonCode
from kneeimg.settings.kl_support import KlSupportSettings

FloatArray = NDArray[np.float64]

#: Flags of a film whose margins a reader should check before believing what rests on them.
_UNSURE = (ReasonCode.MARGIN_UNCERTAIN,)
_BEYOND = 0.05  # of the range: a value this far outside is as good as on its edge


def grade_probabilities(score: ArrayLike, thresholds: ArrayLike) -> FloatArray:
    """P(KL = 0 .. 4) of scores.

    Parameters
    ----------
    score : (...) log odds before the threshold.
    thresholds : (4,) ascending.

    Returns
    -------
    (..., 5) probabilities that sum to 1.

    Examples
    --------
    >>> grade_probabilities(0.0, [-1.0, 0.0, 1.0, 2.0]).round(3).tolist()
    [0.269, 0.231, 0.231, 0.15, 0.119]
    """
    away = np.asarray(score, dtype=np.float64)[..., None] - np.asarray(thresholds)
    at_least = 0.5 * (1.0 + np.tanh(away / 2.0))  # the logistic function without overflow
    one, none = np.ones((*at_least.shape[:-1], 1)), np.zeros((*at_least.shape[:-1], 1))
    steps = np.concatenate([one, at_least, none], axis=-1)
    probabilities: FloatArray = -np.diff(steps, axis=-1)
    return probabilities


def median_grade(probabilities: ArrayLike) -> int:
    """The grade at which the cumulative probability reaches one half.

    >>> median_grade([0.1, 0.3, 0.3, 0.2, 0.1])
    2
    """
    reached = np.cumsum(np.asarray(probabilities, dtype=np.float64)) >= 0.5 - 1e-12
    return int(reached.argmax())


def contribution(feature: KlFeature, value: float) -> float:
    """Log odds that a value adds against the mean training film; 0 where it is missing."""
    if math.isnan(value):
        return 0.0
    held = min(max(value, feature.low), feature.high)
    return feature.coefficient * (held - feature.mean) / feature.sd


def kl_support(
    features: Mapping[str, float],
    model: KlModel,
    settings: KlSupportSettings | None = None,
    flags: Iterable[ReasonCode] = (),
) -> KlSupport:
    """What the model says of the features of one film.

    Parameters
    ----------
    features : Name to value, of `measure.kl_features.kl_vector`; NaN or absent: not measured.
    model : Ordinal model.
    settings : When the answer is called uncertain.
    flags : Of the film's margins; MARGIN_UNCERTAIN makes the answer uncertain.

    Notes
    -----
    Uncertain is an answer: the probabilities stand, no grade is suggested. It is given when no
    grade reaches `least_probability`, when more than `most_far` lies two or more grades from the
    median, when a feature lies outside the training range, when more than `most_missing` features
    are missing, or when the margins are uncertain.
    """
    settings = settings or KlSupportSettings()
    values = {f.name: float(features.get(f.name, math.nan)) for f in model.features}
    parts = {f.name: contribution(f, values[f.name]) for f in model.features}
    probabilities = grade_probabilities(sum(parts.values()), model.thresholds)
    missing = tuple(name for name, value in values.items() if math.isnan(value))
    outside = tuple(f.name for f in model.features if _outside(f, values[f.name]))
    findings = [*_range_findings(outside), *grade_doubts(probabilities, missing, settings, flags)]
    ordered = sorted(parts.items(), key=lambda part: -abs(part[1]))
    return KlSupport(
        tuple(float(p) for p in probabilities),  # type: ignore[arg-type]
        None if findings else median_grade(probabilities),
        dict(ordered),
        missing,
        outside,
        tuple(findings),
        model.sha256,
    )


def _outside(feature: KlFeature, value: float) -> bool:
    slack = _BEYOND * (feature.most - feature.least)
    return value < feature.least - slack or value > feature.most + slack


def _range_findings(outside: tuple[str, ...]) -> list[Finding]:
    if not outside:
        return []
    return [
        Finding(
            ReasonCode.KL_OUT_OF_RANGE,
            "the film lies outside the films that the KL model learned from",
            found=", ".join(outside),
        )
    ]


def grade_doubts(
    probabilities: FloatArray,
    missing: tuple[str, ...],
    settings: KlSupportSettings,
    flags: Iterable[ReasonCode] = (),
) -> list[Finding]:
    """Why probabilities that are given do not make a suggestion."""
    found = []
    best = float(probabilities.max())
    if best < settings.least_probability:
        found.append(_uncertain("no grade stands out", f"at most {best:.2f}"))
    distance = np.abs(np.arange(len(probabilities)) - median_grade(probabilities))
    far = float(probabilities[distance >= 2].sum())
    if far > settings.most_far:
        found.append(_uncertain("grades far apart are both likely", f"{far:.2f} far off"))
    if len(missing) > settings.most_missing:
        found.append(_uncertain("too many features are missing", ", ".join(missing)))
    if set(flags) & set(_UNSURE):
        found.append(_uncertain("the margins of the film are uncertain"))
    return found


def _uncertain(message: str, found: str = "") -> Finding:
    return Finding(ReasonCode.KL_UNCERTAIN, message, found=found)
