"""Bootstrap by participant: resamples of whole participants, percentile and BCa limits.

References
----------
.. [1] Efron 1987, doi:10.1080/01621459.1987.10478410: bias-corrected and accelerated (BCa) limits.
.. [2] Davison & Hinkley 1997, ISBN 0-521-57471-4, eq. 5.6: interpolation between order statistics
   on the normal scale, as R's `boot.ci` does it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.errors import AnalysisError, ReasonCode
from kneeimg.trial.statistics.checks import FloatArray

#: (n, ...) rows of participants -> one number per resample, for (k, n) indices of participants.
Statistic = Callable[[NDArray[np.int64]], FloatArray]

LEAST = 5
_MOST_DEGENERATE = 0.05


@dataclass(frozen=True, slots=True)
class BootstrapInterval:
    """Limits of a bootstrap interval, and how many resamples they rest on."""

    low: float
    high: float
    resamples: int
    method: str


def resamples(n: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, n) indices: participants drawn with replacement."""
    return rng.integers(0, n, size=(count, n))


def bca(
    statistic: Statistic, indices: NDArray[np.int64], confidence: float = 0.95
) -> BootstrapInterval:
    """Bias-corrected and accelerated limits [1]_.

    Parameters
    ----------
    statistic : Evaluates rows of participant indices; NaN where a resample does not allow it.
    indices : (k, n) resamples.
    confidence : Of the interval.

    Raises
    ------
    AnalysisError
        TOO_FEW_PARTICIPANTS with fewer than 5; NO_VARIANCE when more than 5 % of the resamples do
        not allow the statistic, or when leaving out one participant does not.

    Notes
    -----
    The acceleration is the jackknife's. Limits between resamples are interpolated as in [2]_.
    """
    from scipy import stats

    values = _usable(statistic, indices)
    n = indices.shape[1]
    everybody = np.arange(n)
    observed = float(statistic(everybody[None, :])[0])
    left_out = statistic(np.array([np.delete(everybody, i) for i in range(n)]))
    if not np.isfinite(left_out).all():
        raise _degenerate("a participant without whom the statistic does not exist")
    influence = (n - 1) * (observed - left_out)
    spread = float((influence**2).sum()) ** 1.5
    acceleration = float((influence**3).sum()) / (6 * spread) if spread > 0 else 0.0
    # counts of 0 or all would send a limit to infinity: half a resample keeps it finite
    below = min(max(int((values < observed).sum()), 0.5), len(values) - 0.5)
    bias = float(stats.norm.ppf(below / len(values)))
    z = bias + stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = stats.norm.cdf(bias + z / (1 - acceleration * z))
    low, high = quantiles(values, levels)
    return BootstrapInterval(float(low), float(high), len(values), "bootstrap, BCa")


def percentile(
    statistic: Statistic, indices: NDArray[np.int64], confidence: float = 0.95
) -> BootstrapInterval:
    """Percentile limits; arguments and errors as :func:`bca`."""
    values = _usable(statistic, indices)
    low, high = quantiles(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return BootstrapInterval(float(low), float(high), len(values), "bootstrap, percentile")


def quantiles(values: ArrayLike, levels: ArrayLike) -> FloatArray:
    """Quantiles of resamples, between order statistics on the normal scale [2]_.

    >>> quantiles([1.0, 2.0, 3.0], [0.5, 0.25])
    array([2., 1.])
    """
    from scipy import stats

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    level = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    rank = (count + 1) * level
    below = np.floor(rank + 1e-9).astype(int)
    inside = (below >= 1) & (below < count)
    found: FloatArray = np.where(below < 1, ordered[0], ordered[-1])
    k = below[inside]
    z, z0, z1 = (stats.norm.ppf(q) for q in (level[inside], k / (count + 1), (k + 1) / (count + 1)))
    step = np.clip((z - z0) / (z1 - z0), 0.0, 1.0)
    found[inside] = ordered[k - 1] + step * (ordered[k] - ordered[k - 1])
    return found


def _usable(statistic: Statistic, indices: NDArray[np.int64]) -> FloatArray:
    if indices.shape[1] < LEAST:
        raise AnalysisError(
            "fewer participants than a bootstrap interval needs",
            expected=f"at least {LEAST}",
            found=str(indices.shape[1]),
        )
    values = statistic(indices)
    usable = values[np.isfinite(values)]
    if len(usable) < (1 - _MOST_DEGENERATE) * len(values):
        share = 100 * (1 - len(usable) / len(values))
        raise _degenerate(f"{math.ceil(share)} % of the resamples do not vary")
    return usable


def _degenerate(found: str) -> AnalysisError:
    return AnalysisError(
        "too many resamples do not vary",
        code=ReasonCode.NO_VARIANCE,
        expected=f"at most {_MOST_DEGENERATE:.0%}",
        found=found,
    )
