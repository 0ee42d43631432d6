"""What every statistic asks of its data before it answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.errors import AnalysisError, ReasonCode

FloatArray = NDArray[np.float64]


def finite_sample(values: ArrayLike, *, least: int, what: str = "participants") -> FloatArray:
    """(n,) float64 values.

    Raises
    ------
    ValueError
        If they are not one-dimensional or not finite: leaving out is the caller's decision.
    AnalysisError
        TOO_FEW_PARTICIPANTS with fewer than `least`.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise ValueError(f"values must be (n,) and finite, got shape {sample.shape}")
    if len(sample) < least:
        raise AnalysisError(
            f"fewer {what} than the statistic needs",
            expected=f"at least {least}",
            found=str(len(sample)),
        )
    return sample


def require_variance(spread: float, scale: float, what: str) -> None:
    """AnalysisError NO_VARIANCE when a spread is nothing but rounding at this scale."""
    if not spread > 1e-12 * max(abs(scale), 1e-300):
        raise AnalysisError(
            f"{what} do not vary",
            code=ReasonCode.NO_VARIANCE,
            expected="values that differ",
            found="the same value for everyone",
        )


def seeded(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for every named analysis, whatever else is analysed.

    >>> bool(seeded(1, "MT", "M06").random() == seeded(1, "MT", "M06").random())
    True
    """
    from zlib import crc32

    return np.random.default_rng([seed, crc32("\x1f".join(names).encode("utf-8"))])
