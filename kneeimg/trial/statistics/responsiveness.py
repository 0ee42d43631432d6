"""Standardised response mean: mean change / SD of change.

References
----------
.. [1] Liang, Fossel & Larson 1990, doi:10.1097/00005650-199007000-00008.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.trial.statistics.bootstrap import BootstrapInterval, Statistic, bca, resamples
from kneeimg.trial.statistics.checks import FloatArray, finite_sample, require_variance
from kneeimg.trial.statistics.noncentral import noncentral_t_interval

LEAST = 3


@dataclass(frozen=True, slots=True)
class ResponseMean:
    """SRM with the interval that normal changes would have.

    Attributes
    ----------
    srm : Mean change / SD of change [1]_; negative for loss.
    exact_low, exact_high : Limits from the noncentral t.
    """

    srm: float
    exact_low: float
    exact_high: float


def response_mean(changes: ArrayLike, confidence: float = 0.95) -> ResponseMean:
    """SRM of one change per participant.

    Raises
    ------
    AnalysisError
        TOO_FEW_PARTICIPANTS with fewer than 3; NO_VARIANCE when the changes are all the same.

    Examples
    --------
    >>> round(response_mean([-0.1, -0.2, -0.3]).srm, 6)
    -2.0
    """
    sample = finite_sample(changes, least=LEAST)
    sd = float(sample.std(ddof=1))
    require_variance(sd, float(np.abs(sample).max()), "the changes")
    srm = float(sample.mean()) / sd
    root = math.sqrt(len(sample))
    low, high = noncentral_t_interval(srm * root, len(sample) - 1, confidence)
    return ResponseMean(srm, low / root, high / root)


def response_mean_interval(
    changes: ArrayLike, count: int, rng: np.random.Generator, confidence: float = 0.95
) -> BootstrapInterval:
    """BCa interval of the SRM from `count` resamples of participants.

    Raises
    ------
    AnalysisError
        TOO_FEW_PARTICIPANTS with fewer than 5; NO_VARIANCE as `bootstrap.bca`.
    """
    sample = finite_sample(changes, least=LEAST)
    return bca(_srm_of(sample), resamples(len(sample), count, rng), confidence)


def _srm_of(sample: FloatArray) -> Statistic:
    smallest = 1e-12 * max(float(np.abs(sample).max()), 1e-300)

    def srm(rows: NDArray[np.int64]) -> FloatArray:
        drawn = sample[rows]
        sd = drawn.std(axis=1, ddof=1)
        usable = sd > smallest
        ratio: FloatArray = np.where(usable, drawn.mean(axis=1) / np.where(usable, sd, 1.0), np.nan)
        return ratio

    return srm
