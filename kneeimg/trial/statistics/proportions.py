"""Shares of participants, their differences between arms, and 2 x 2 tables.

References
----------
.. [1] Wilson 1927, doi:10.1080/01621459.1927.10502953: interval of a share.
.. [2] Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I:
   interval of a difference of independent shares (method 10).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kneeimg.errors import AnalysisError
from kneeimg.trial.statistics.means import Estimate


@dataclass(frozen=True, slots=True)
class FisherTest:
    """Fisher's exact test of a 2 x 2 table.

    Attributes
    ----------
    p : Two-sided.
    odds_ratio, low, high : Conditional odds ratio and its exact limits; 0 and infinity happen,
        NaN only when the margins leave a single table.
    """

    p: float
    odds_ratio: float
    low: float
    high: float


def wilson(count: int, n: int, confidence: float = 0.95) -> Estimate:
    """A share with the score interval [1]_, which stays inside 0 to 1 and works at 0 and n.

    Examples
    --------
    >>> share = wilson(0, 10)
    >>> share.low, round(share.high, 6)
    (0.0, 0.277533)
    """
    from scipy import stats

    _require(count, n)
    z2 = float(stats.norm.ppf(0.5 + confidence / 2)) ** 2
    share = count / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = 0.0 if count == 0 else middle - half
    high = 1.0 if count == n else middle + half
    return Estimate(share, low, high)


def newcombe(count: int, n: int, count2: int, n2: int, confidence: float = 0.95) -> Estimate:
    """First share − second share with the hybrid score interval [2]_.

    Examples
    --------
    Newcombe's first example: 56 of 70 against 48 of 80.

    >>> d = newcombe(56, 70, 48, 80)
    >>> round(d.value, 4), round(d.low, 4), round(d.high, 4)
    (0.2, 0.0524, 0.3339)
    """
    a, b = wilson(count, n, confidence), wilson(count2, n2, confidence)
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, low, high)


def fisher(count: int, n: int, count2: int, n2: int, confidence: float = 0.95) -> FisherTest:
    """Exact test and conditional odds ratio of two shares.

    >>> round(fisher(3, 4, 1, 4).p, 6)
    0.485714
    """
    from scipy import stats

    _require(count, n)
    _require(count2, n2)
    table = np.array([[count, n - count], [count2, n2 - count2]])
    p = float(stats.fisher_exact(table).pvalue)
    if count + count2 in (0, n + n2):
        return FisherTest(1.0, math.nan, 0.0, math.inf)
    ratio = stats.contingency.odds_ratio(table, kind="conditional")
    limits = ratio.confidence_interval(confidence)
    return FisherTest(min(p, 1.0), float(ratio.statistic), float(limits.low), float(limits.high))


def _require(count: int, n: int) -> None:
    if n < 1:
        raise AnalysisError("nobody to count", expected="at least 1", found="0")
    if not 0 <= count <= n:
        raise ValueError(f"{count} of {n}")
