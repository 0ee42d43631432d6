"""How well repeated measurements agree, and how well a change stands out from them.

Formulae on plain arrays: rows are participants, columns are repeats (scans, readers).

References
----------
.. [1] RMS SD and RMS CV of repeated measurements: Gluer 1995, doi:10.1007/BF01774016
.. [2] ICC(2,1), ICC(3,1): Shrout & Fleiss 1979, doi:10.1037/0033-2909.86.2.420
.. [3] Limits of agreement: Bland & Altman 1986, doi:10.1016/S0140-6736(86)90837-8; their
   confidence intervals: Bland & Altman 1999, doi:10.1177/096228029900800204
.. [4] Ordered values: Buck 2009 (Arthritis Rheum 61:917); Wirth 2011, PMID 21338702
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Interval = tuple[float, float]


def _repeats(values: ArrayLike) -> FloatArray:
    """(n, k) values with n >= 1 participants, k >= 2 repeats and nothing missing."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise ValueError(f"repeats must be (participants, at least 2 repeats), got {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("repeats must be finite: leave out participants with a missing repeat")
    return table


def rms_sd(values: ArrayLike) -> float:
    """Root mean square of the participants' SDs (n − 1), in the unit of the values.

    Parameters
    ----------
    values : (participants, repeats).

    Examples
    --------
    Two repeats: the square root of Σd² / 2n.

    >>> round(rms_sd([[2.0, 2.2], [1.8, 1.8]]), 6)
    0.1
    """
    return float(np.sqrt(np.mean(_repeats(values).var(axis=1, ddof=1))))


def rms_cv_percent(values: ArrayLike) -> float:
    """Root mean square of the participants' coefficients of variation, %.

    Raises
    ------
    ValueError
        If a participant's mean is not positive.

    Examples
    --------
    >>> round(rms_cv_percent([[1.0, 1.0], [0.9, 1.1]]), 6)
    10.0
    """
    table = _repeats(values)
    mean = table.mean(axis=1)
    if not (mean > 0).all():
        raise ValueError("a coefficient of variation needs positive means")
    return float(100.0 * np.sqrt(np.mean(table.var(axis=1, ddof=1) / mean**2)))


def sem(values: ArrayLike) -> float:
    """Standard error of measurement of a single value: the RMS SD."""
    return rms_sd(values)


def sdc95(values: ArrayLike) -> float:
    """Smallest change of one participant that exceeds measurement error with 95 % confidence.

    1.96 · √2 · SEM: a change is the difference of two measured values.

    Examples
    --------
    >>> round(sdc95([[2.0, 2.2], [1.8, 1.8]]), 4)
    0.2772
    """
    return 1.96 * math.sqrt(2.0) * sem(values)


def sdc95_interval(rms_sd: float, df: float, *, level: float = 0.95) -> Interval:
    """Confidence interval of the smallest detectable change from the chi-square distribution.

    Parameters
    ----------
    rms_sd : Standard error of measurement.
    df : Its degrees of freedom: participants × (repeats − 1).

    Examples
    --------
    >>> low, high = sdc95_interval(0.1, 24)
    >>> round(low, 4), round(high, 4)
    (0.2164, 0.3856)
    """
    from scipy.stats import chi2

    if not df > 0:
        raise ValueError(f"an interval needs degrees of freedom, got {df}")
    tail = (1.0 - level) / 2.0
    sdc = 1.96 * math.sqrt(2.0) * rms_sd
    high, low = (math.sqrt(df / float(chi2.ppf(p, df))) for p in (tail, 1.0 - tail))
    return sdc * low, sdc * high


@dataclass(frozen=True, slots=True)
class _Anova:
    """Mean squares of a two-way layout without replication."""

    participants: float
    repeats: float
    error: float
    n: int
    k: int


def _anova(values: ArrayLike) -> _Anova:
    table = _repeats(values)
    n, k = table.shape
    if n < 2:
        raise ValueError("an ICC needs at least 2 participants")
    grand = table.mean()
    between = k * float(((table.mean(axis=1) - grand) ** 2).sum())
    columns = n * float(((table.mean(axis=0) - grand) ** 2).sum())
    rest = float(((table - grand) ** 2).sum()) - between - columns
    # Rounding can leave a tiny negative rest where the repeats agree exactly.
    error = max(rest, 0.0) / ((n - 1) * (k - 1))
    return _Anova(between / (n - 1), columns / (k - 1), error, n, k)


def icc_2_1(values: ArrayLike) -> float:
    """Agreement of single measurements, repeats drawn from many (two-way random), ICC(2,1).

    NaN when the values do not vary at all.
    """
    a = _anova(values)
    spread = a.participants + (a.k - 1) * a.error + a.k * (a.repeats - a.error) / a.n
    return (a.participants - a.error) / spread if spread > 0 else math.nan


def icc_3_1(values: ArrayLike) -> float:
    """Consistency of single measurements, these repeats only (two-way mixed), ICC(3,1).

    NaN when the values do not vary at all.
    """
    a = _anova(values)
    spread = a.participants + (a.k - 1) * a.error
    return (a.participants - a.error) / spread if spread > 0 else math.nan


def icc_2_1_interval(values: ArrayLike) -> Interval:
    """95 % confidence interval of ICC(2,1) [2]_; NaN where the values do not vary at all."""
    from scipy.stats import f

    a = _anova(values)
    icc = icc_2_1(values)
    if math.isnan(icc) or a.error <= 0:
        return (icc, icc) if icc == 1.0 else (math.nan, math.nan)
    n, k, ratio = a.n, a.k, a.repeats / a.error
    part = k * icc * ratio
    whole = n * (1.0 + (k - 1) * icc) - k * icc
    df = (k - 1) * (n - 1) * (part + whole) ** 2 / ((n - 1) * part**2 + whole**2)
    upper_f, lower_f = float(f.ppf(0.975, n - 1, df)), float(f.ppf(0.975, df, n - 1))
    rest = k * a.repeats + (k * n - k - n) * a.error
    low = n * (a.participants - upper_f * a.error) / (upper_f * rest + n * a.participants)
    high = n * (lower_f * a.participants - a.error) / (rest + n * lower_f * a.participants)
    return low, high


def icc_3_1_interval(values: ArrayLike) -> Interval:
    """95 % confidence interval of ICC(3,1) [2]_; NaN where the values do not vary at all."""
    from scipy.stats import f

    a = _anova(values)
    icc = icc_3_1(values)
    if math.isnan(icc) or a.error <= 0:
        return (icc, icc) if icc == 1.0 else (math.nan, math.nan)
    ratio, rest = a.participants / a.error, (a.n - 1) * (a.k - 1)
    low = ratio / float(f.ppf(0.975, a.n - 1, rest))
    high = ratio * float(f.ppf(0.975, rest, a.n - 1))
    return (low - 1.0) / (low + a.k - 1.0), (high - 1.0) / (high + a.k - 1.0)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Bland-Altman statistics of paired measurements, in the unit of the values.

    Attributes
    ----------
    bias : Mean of second − first.
    sd : SD of the differences (n − 1).
    lower, upper : 95 % limits of agreement, bias ± 1.96 SD.
    bias_ci, lower_ci, upper_ci : 95 % confidence intervals.
    n : Pairs.
    """

    bias: float
    sd: float
    lower: float
    upper: float
    bias_ci: tuple[float, float]
    lower_ci: tuple[float, float]
    upper_ci: tuple[float, float]
    n: int


def bland_altman(first: ArrayLike, second: ArrayLike) -> Agreement:
    """Bias and 95 % limits of agreement of paired measurements, with confidence intervals.

    Parameters
    ----------
    first, second : (n,) finite values of the same n >= 2 participants.

    Notes
    -----
    Standard errors: SD / √n of the bias and SD √(1/n + 1.96² / (2 (n − 1))) of a limit [3]_;
    quantiles of Student's t with n − 1 degrees of freedom.
    """
    from scipy.stats import t

    pairs = _repeats(np.column_stack([np.asarray(first), np.asarray(second)]))
    difference = pairs[:, 1] - pairs[:, 0]
    n = len(difference)
    if n < 2:
        raise ValueError("limits of agreement need at least 2 pairs")
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    quantile = float(t.ppf(0.975, n - 1))
    reach = quantile * sd / math.sqrt(n)
    limit_reach = quantile * sd * math.sqrt(1.0 / n + 1.96**2 / (2.0 * (n - 1)))
    lower, upper = bias - 1.96 * sd, bias + 1.96 * sd
    return Agreement(
        bias,
        sd,
        lower,
        upper,
        (bias - reach, bias + reach),
        (lower - limit_reach, lower + limit_reach),
        (upper - limit_reach, upper + limit_reach),
        n,
    )


@dataclass(frozen=True, slots=True)
class Responsiveness:
    """Standardised response mean with its 95 % bootstrap interval over `n` participants."""

    srm: float
    ci: tuple[float, float]
    n: int


def srm(
    change: ArrayLike, participant: ArrayLike, *, resamples: int = 2000, seed: int = 20080601
) -> Responsiveness:
    """Mean change divided by the SD of change (n − 1), with a bootstrap CI by participant.

    Parameters
    ----------
    change : (n,) changes, one per knee; NaN (not measured) is left out.
    participant : (n,) whose knee; both knees of one participant are drawn together.
    resamples : Bootstrap draws.
    seed : The same seed gives the same interval.

    Notes
    -----
    Percentile interval. Draws in which every change is equal have no SRM and are left out; the
    interval is NaN with fewer than 3 participants, the SRM itself where changes do not vary.
    """
    values = np.asarray(change, dtype=np.float64)
    names = np.asarray(participant)
    if values.ndim != 1 or values.shape != names.shape:
        raise ValueError(f"one participant per change: {values.shape}, {names.shape}")
    known = np.isfinite(values)
    values, (people, number) = values[known], np.unique(names[known], return_inverse=True)
    if len(people) < 3:
        return Responsiveness(_srm(values), (math.nan, math.nan), len(people))
    knees = [values[number == person] for person in range(len(people))]
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(people), size=(resamples, len(people)))
    found = np.array([_srm(np.concatenate([knees[i] for i in draw])) for draw in draws])
    found = found[np.isfinite(found)]
    if not len(found):
        return Responsiveness(_srm(values), (math.nan, math.nan), len(people))
    low, high = np.percentile(found, [2.5, 97.5])
    return Responsiveness(_srm(values), (float(low), float(high)), len(people))


def _srm(values: FloatArray) -> float:
    # Equal changes leave an SD of rounding errors, not of participants.
    if len(values) < 2 or np.ptp(values) == 0:
        return math.nan
    return float(values.mean() / values.std(ddof=1))


def ordered_values(change: ArrayLike) -> FloatArray:
    """(n,) subregional changes from most loss (OV1) to most gain; NaN stands at the end.

    >>> ordered_values([0.1, -0.3, 0.0])
    array([-0.3,  0. ,  0.1])
    """
    return np.sort(np.asarray(change, dtype=np.float64).ravel())


def thinning_score(change: ArrayLike) -> float:
    """Sum of the negative subregional changes; NaN if a subregion was not measured.

    >>> round(thinning_score([0.1, -0.3, -0.1]), 6)
    -0.4
    """
    return float(np.minimum(np.asarray(change, dtype=np.float64), 0.0).sum())


def thickening_score(change: ArrayLike) -> float:
    """Sum of the positive subregional changes; NaN if a subregion was not measured.

    >>> round(thickening_score([0.1, -0.3, 0.2]), 6)
    0.3
    """
    return float(np.maximum(np.asarray(change, dtype=np.float64), 0.0).sum())
