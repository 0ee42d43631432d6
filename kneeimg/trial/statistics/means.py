"""Means, their differences and standardised differences, each with its interval.

References
----------
.. [1] Hedges 1981, doi:10.3102/10769986006002107: small-sample correction of the standardised
   difference.
.. [2] Cumming & Finch 2001, doi:10.1177/0013164401614002: intervals from the noncentral t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kneeimg.trial.statistics.checks import finite_sample, require_variance
from kneeimg.trial.statistics.noncentral import noncentral_t_interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate and the limits of its confidence interval, in one unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of means with its t test.

    Attributes
    ----------
    value, low, high : First − second, and the limits of its interval.
    se, t, df, p : Standard error, statistic, degrees of freedom and two-sided p.
    """

    value: float
    low: float
    high: float
    se: float
    t: float
    df: float
    p: float


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean with its t interval; needs 2 values.

    >>> round(mean_interval([1.0, 2.0, 3.0]).low, 6)
    -0.484138
    """
    from scipy import stats

    sample = finite_sample(values, least=2)
    half = float(stats.t.ppf(0.5 + confidence / 2, len(sample) - 1)) * _standard_error(sample)
    mean = float(sample.mean())
    return Estimate(mean, mean - half, mean + half)


def welch(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Difference:
    """Difference of two means without assuming equal variances.

    Raises
    ------
    AnalysisError
        TOO_FEW_PARTICIPANTS with fewer than 2 in a group; NO_VARIANCE when neither varies.
    """
    from scipy import stats

    a, b = finite_sample(first, least=2), finite_sample(second, least=2)
    errors = np.array([_standard_error(a) ** 2, _standard_error(b) ** 2])
    se = float(np.sqrt(errors.sum()))
    require_variance(se, max(np.abs(a).max(), np.abs(b).max()), "the values")
    df = float(errors.sum() ** 2 / (errors**2 / [len(a) - 1, len(b) - 1]).sum())
    value = float(a.mean() - b.mean())
    half = float(stats.t.ppf(0.5 + confidence / 2, df)) * se
    p = float(2 * stats.t.sf(abs(value / se), df))
    return Difference(value, value - half, value + half, se, value / se, df, p)


def hedges_g(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Difference of means in pooled SDs, corrected for small samples [1]_.

    The interval inverts the noncentral t distribution [2]_ and carries the same correction.

    Raises
    ------
    AnalysisError
        As :func:`welch`.

    Examples
    --------
    >>> round(hedges_g([3.0, 4.0, 5.0], [1.0, 2.0, 3.0]).value, 6)
    1.595769
    """
    a, b = finite_sample(first, least=2), finite_sample(second, least=2)
    df = len(a) + len(b) - 2
    pooled = math.sqrt((_squares(a) + _squares(b)) / df)
    require_variance(pooled, max(np.abs(a).max(), np.abs(b).max()), "the values")
    scale = math.sqrt(1 / len(a) + 1 / len(b))
    d = float(a.mean() - b.mean()) / pooled
    low, high = noncentral_t_interval(d / scale, df, confidence)
    correction = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2) - 0.5 * math.log(df / 2))
    return Estimate(correction * d, correction * low * scale, correction * high * scale)


def _standard_error(sample: np.ndarray) -> float:
    return float(sample.std(ddof=1) / math.sqrt(len(sample)))


def _squares(sample: np.ndarray) -> float:
    return float(((sample - sample.mean()) ** 2).sum())
