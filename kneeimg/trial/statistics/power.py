"""Power and sample size of a two-arm trial from the noncentral t distribution.

References
----------
.. [1] Cohen 1988, ISBN 0-8058-0283-5, chapter 2.
"""

from __future__ import annotations

import math

from kneeimg.errors import AnalysisError, ReasonCode
from kneeimg.trial.statistics.noncentral import noncentral_t_cdf

MOST_PER_ARM = 1_000_000


def power_two_arms(n_per_arm: float, effect_size: float, alpha: float = 0.05) -> float:
    """Power of the two-sided t test of two arms of equal size [1]_.

    Parameters
    ----------
    n_per_arm : Participants per arm, > 1; need not be whole.
    effect_size : Difference of the means in SDs.
    alpha : Two-sided.

    Examples
    --------
    13 and 12 participants detect 1.17 SD with a power of about 80 %.

    >>> round(power_two_arms(12.5, 1.17), 3)
    0.8
    """
    from scipy import stats

    df = 2 * (n_per_arm - 1)
    ncp = abs(effect_size) * math.sqrt(n_per_arm / 2)
    limit = float(stats.t.ppf(1 - alpha / 2, df))
    return 1.0 - noncentral_t_cdf(limit, df, ncp) + noncentral_t_cdf(-limit, df, ncp)


def size_two_arms(effect_size: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Participants per arm, not rounded up; at least 2.

    Raises
    ------
    AnalysisError
        UNBOUNDED when the effect is 0 or needs more than a million participants per arm.

    Examples
    --------
    >>> round(size_two_arms(0.5), 5)
    63.76561
    """
    from scipy import optimize

    if not math.isfinite(effect_size):
        raise ValueError(f"an effect size is finite, got {effect_size}")
    if abs(effect_size) < 1e-6 or power_two_arms(MOST_PER_ARM, effect_size, alpha) < power:
        raise AnalysisError(
            "no trial is large enough for this effect",
            code=ReasonCode.UNBOUNDED,
            expected=f"at most {MOST_PER_ARM} participants per arm",
            found=f"an effect of {effect_size:.3g} SD",
        )
    if power_two_arms(2, effect_size, alpha) >= power:
        return 2.0
    top = 4.0
    while power_two_arms(top, effect_size, alpha) < power:
        top *= 2
    found = optimize.brentq(
        lambda n: power_two_arms(n, effect_size, alpha) - power, 2, top, xtol=1e-10
    )
    return float(found)
