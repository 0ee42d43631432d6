"""Association of two changes: rank and linear correlation with their intervals.

References
----------
.. [1] Fisher 1921 (Metron 1:3): z transformation of a correlation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.trial.statistics.bootstrap import BootstrapInterval, percentile, resamples
from kneeimg.trial.statistics.checks import FloatArray, finite_sample, require_variance

LEAST = 4


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation with its two-sided p; limits are NaN where the interval is made elsewhere."""

    r: float
    p: float
    low: float = math.nan
    high: float = math.nan


def pearson(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Correlation:
    """Linear correlation, t test and Fisher-z limits [1]_.

    Raises
    ------
    AnalysisError
        TOO_FEW_PARTICIPANTS with fewer than 4; NO_VARIANCE when one of the two does not vary.
    """
    from scipy import stats

    a, b = _pair(first, second)
    r = _linear(a, b)
    half = float(stats.norm.ppf(0.5 + confidence / 2)) / math.sqrt(len(a) - 3)
    z = math.atanh(r) if abs(r) < 1 else math.copysign(math.inf, r)
    return Correlation(r, _p_of(r, len(a)), math.tanh(z - half), math.tanh(z + half))


def spearman(first: ArrayLike, second: ArrayLike) -> Correlation:
    """Rank correlation, ties as mean ranks, p by the t approximation.

    Raises
    ------
    AnalysisError
        As :func:`pearson`.

    Examples
    --------
    >>> round(spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]).r, 6)
    0.8
    """
    from scipy import stats

    a, b = _pair(first, second)
    r = _linear(stats.rankdata(a), stats.rankdata(b))
    return Correlation(r, _p_of(r, len(a)))


def spearman_interval(
    first: ArrayLike,
    second: ArrayLike,
    count: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> BootstrapInterval:
    """Percentile interval of the rank correlation from resamples of participants.

    Raises
    ------
    AnalysisError
        As `bootstrap.percentile`.
    """
    from scipy import stats

    a, b = _pair(first, second)

    def ranks(rows: NDArray[np.int64]) -> FloatArray:
        x, y = (stats.rankdata(sample[rows], axis=1) for sample in (a, b))
        x, y = (v - v.mean(axis=1, keepdims=True) for v in (x, y))
        scale = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
        ratio: FloatArray = np.where(
            scale > 0, (x * y).sum(axis=1) / np.where(scale > 0, scale, 1.0), np.nan
        )
        return ratio

    return percentile(ranks, resamples(len(a), count, rng), confidence)


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[FloatArray, FloatArray]:
    a, b = finite_sample(first, least=LEAST), finite_sample(second, least=LEAST)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values beside {len(b)}")
    for values in (a, b):
        require_variance(float(values.std()), float(np.abs(values).max()), "the changes")
    return a, b


def _linear(a: FloatArray, b: FloatArray) -> float:
    x, y = a - a.mean(), b - b.mean()
    r = float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))
    return max(-1.0, min(1.0, r))


def _p_of(r: float, n: int) -> float:
    from scipy import stats

    if abs(r) == 1:
        return 0.0
    return float(2 * stats.t.sf(abs(r) * math.sqrt((n - 2) / (1 - r * r)), n - 2))
