"""Analysis of covariance of two arms: follow-up on arm and baseline, and its permutation check.

References
----------
.. [1] Vickers & Altman 2001, doi:10.1136/bmj.323.7321.1123: follow-up adjusted for baseline.
.. [2] Freedman & Lane 1983, doi:10.1080/07350015.1983.10509354: permutation of the residuals of
   the model without the arm.
.. [3] Winkler 2014, doi:10.1016/j.neuroimage.2014.01.060: comparison of such permutations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations as arrangements

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.errors import AnalysisError, ReasonCode
from kneeimg.trial.statistics.checks import FloatArray, finite_sample, require_variance
from kneeimg.trial.statistics.means import Estimate
from kneeimg.trial.statistics.noncentral import noncentral_t_interval

LEAST_PER_ARM = 3
_BLOCK = 2000  # permutations at a time: keeps memory small


@dataclass(frozen=True, slots=True)
class Ancova:
    """Adjusted difference between two arms, in the unit of the values.

    Attributes
    ----------
    difference, se, low, high : Arm − reference at equal baseline.
    t, df, p : Its t test, two-sided.
    baseline_slope : Coefficient of the baseline.
    residual_sd : SD of the residuals, with df degrees of freedom.
    effect_size : Difference in residual SDs, with its noncentral-t interval.
    adjusted_change_arm, adjusted_change_reference : Change at the mean baseline of everybody.
    """

    difference: float
    se: float
    low: float
    high: float
    t: float
    df: int
    p: float
    baseline_slope: float
    residual_sd: float
    effect_size: Estimate
    adjusted_change_arm: float
    adjusted_change_reference: float


@dataclass(frozen=True, slots=True)
class PermutationCheck:
    """Two-sided permutation p of the adjusted difference.

    Attributes
    ----------
    p : Share of permutations whose \\|t\\| is at least the observed one; the observed one counts.
    permutations : How many were counted, the observed one included.
    complete : Every permutation was visited, so that p is exact for this scheme.
    """

    p: float
    permutations: int
    complete: bool

    @property
    def method(self) -> str:
        """How the permutations were made, for a table."""
        return f"Freedman-Lane, {'all permutations' if self.complete else 'random'}"


def ancova(
    followup: ArrayLike, baseline: ArrayLike, in_arm: ArrayLike, confidence: float = 0.95
) -> Ancova:
    """Least squares of follow-up on arm and baseline [1]_.

    Parameters
    ----------
    followup, baseline : (n,) values of the same participants, in one unit.
    in_arm : (n,) booleans: the arm (True) or the reference (False).
    confidence : Of the interval.

    Raises
    ------
    AnalysisError
        TOO_FEW_PARTICIPANTS with fewer than 3 in an arm; NO_VARIANCE when baseline or residuals
        do not vary, or when arm and baseline cannot be told apart.

    Notes
    -----
    The same difference results with change in place of follow-up: only the slope differs, by 1.

    Examples
    --------
    >>> base = [2.0, 2.2, 1.9, 2.1, 2.0, 1.8]
    >>> after = [1.9, 2.1, 1.8, 2.2, 2.0, 1.9]
    >>> round(ancova(after, base, [0, 0, 0, 1, 1, 1]).difference, 6)
    0.164286
    """
    from scipy import stats

    y, x, arm = _checked(followup, baseline, in_arm)
    arm_left, y_left = _without_baseline(arm, x), _without_baseline(y, x)
    weight = float(arm_left @ arm_left)
    difference = float(arm_left @ y_left) / weight
    df = len(y) - 3
    rest = y_left - difference * arm_left
    residual_sd = math.sqrt(float(rest @ rest) / df)
    require_variance(residual_sd, float(np.abs(y).max()), "the residuals")
    se = residual_sd / math.sqrt(weight)
    t = difference / se
    half = float(stats.t.ppf(0.5 + confidence / 2, df)) * se
    slope = float(_centred(x) @ (y - difference * arm)) / float(_centred(x) @ _centred(x))
    # the plane through the means: reference arm at the mean baseline
    reference = float(y.mean() - difference * arm.mean() - x.mean())
    limits = noncentral_t_interval(t, df, confidence)
    to_sd = 1 / math.sqrt(weight)  # t to residual SDs
    return Ancova(
        difference=difference,
        se=se,
        low=difference - half,
        high=difference + half,
        t=t,
        df=df,
        p=float(2 * stats.t.sf(abs(t), df)),
        baseline_slope=slope,
        residual_sd=residual_sd,
        effect_size=Estimate(t * to_sd, limits[0] * to_sd, limits[1] * to_sd),
        adjusted_change_arm=reference + difference,
        adjusted_change_reference=reference,
    )


def permutation_check(
    followup: ArrayLike,
    baseline: ArrayLike,
    in_arm: ArrayLike,
    count: int,
    rng: np.random.Generator,
) -> PermutationCheck:
    """Permutation p of the arm's t by the scheme of Freedman and Lane [2]_ [3]_.

    The residuals of follow-up on baseline alone are permuted and the full model is fitted again.
    With no more than `count` permutations in all, each is visited once (n <= 7 for 9999);
    otherwise `count` random ones are drawn and p = (1 + hits) / (1 + count), never 0.

    Raises
    ------
    AnalysisError
        As :func:`ancova`.
    """
    y, x, arm = _checked(followup, baseline, in_arm)
    arm_left, residual = _without_baseline(arm, x), _without_baseline(y, x)
    require_variance(float(residual.std()), float(np.abs(y).max()), "the residuals")
    complete = len(y) < 15 and math.factorial(len(y)) <= count + 1
    observed = float(_shares(residual[None, :], x, arm_left)[0])
    hits, total = (0, 0) if complete else (1, 1)
    for block in _orders(len(y), count, complete, rng):
        shares = _shares(residual[block], x, arm_left)
        hits += int((shares >= observed * (1 - 1e-9)).sum())
        total += len(block)
    return PermutationCheck(hits / total, total, complete)


def _orders(
    n: int, count: int, complete: bool, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Blocks of (k, n) index rows."""
    if complete:
        yield np.array(list(arrangements(range(n))))
        return
    for start in range(0, count, _BLOCK):
        rows = np.tile(np.arange(n), (min(_BLOCK, count - start), 1))
        yield rng.permuted(rows, axis=1)


def _shares(residuals: FloatArray, x: FloatArray, arm_left: FloatArray) -> FloatArray:
    """(k,) share of each row's variance that the arm explains beside baseline.

    It grows with the square of t, so that comparing shares compares \\|t\\|.
    """
    centred = residuals - residuals.mean(axis=1, keepdims=True)
    slope = _centred(x)
    left = centred - np.outer(centred @ slope / float(slope @ slope), slope)
    by_arm = (left @ arm_left) ** 2 / float(arm_left @ arm_left)
    share: FloatArray = by_arm / np.einsum("ij,ij->i", left, left)
    return share


def _checked(
    followup: ArrayLike, baseline: ArrayLike, in_arm: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    arm = np.asarray(in_arm, dtype=bool)
    for size in (int(arm.sum()), int((~arm).sum())):
        if size < LEAST_PER_ARM:
            raise AnalysisError(
                "fewer participants in an arm than the comparison needs",
                expected=f"at least {LEAST_PER_ARM}",
                found=str(size),
            )
    y, x = (finite_sample(values, least=2 * LEAST_PER_ARM) for values in (followup, baseline))
    if not len(y) == len(x) == len(arm):
        raise ValueError(f"{len(y)} follow-ups, {len(x)} baselines, {len(arm)} arms")
    require_variance(float(x.std()), float(np.abs(x).max()), "the baseline values")
    numbers = arm.astype(np.float64)
    left = _without_baseline(numbers, x)
    if float(left @ left) < 1e-9 * len(arm):
        raise AnalysisError(
            "arm and baseline cannot be told apart",
            code=ReasonCode.NO_VARIANCE,
            expected="baseline values that overlap between the arms",
            found="a baseline that names the arm",
        )
    return y, x, numbers


def _centred(values: FloatArray) -> FloatArray:
    centred: FloatArray = values - values.mean()
    return centred


def _without_baseline(values: FloatArray, x: FloatArray) -> FloatArray:
    """Residuals of values on an intercept and x."""
    slope, own = _centred(x), _centred(values)
    left: FloatArray = own - slope * (float(own @ slope) / float(slope @ slope))
    return left
