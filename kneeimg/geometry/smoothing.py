"""Robust local polynomial smoothing of a curve's samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_HANKEL = np.add.outer(np.arange(3), np.arange(3))  # which moment stands where in the equations


def local_quadratic(
    position: ArrayLike,
    value: ArrayLike,
    weight: ArrayLike,
    half_window: float,
    *,
    passes: int = 2,
    least_spread: float = 0.0,
) -> FloatArray:
    """Value of a local quadratic fit at every sample (robust LOESS).

    Parameters
    ----------
    position : (N,) ascending.
    value, weight : (N,) samples and their non-negative weights.
    half_window : Half width of the tricube kernel, unit of position.
    passes : Reweighting passes against outliers (Tukey's biweight at 6 median deviations, never
        below a weight of 0.02, so that no neighbourhood is left without samples).
    least_spread : Median deviation below which no sample counts as an outlier, unit of value.

    References
    ----------
    .. [1] Cleveland 1979, doi:10.1080/01621459.1979.10481038.

    Examples
    --------
    >>> x = np.linspace(0, 1, 50)
    >>> y = 1 + x - 2 * x**2
    >>> bool(np.abs(local_quadratic(x, y, np.ones(50), 0.3) - y).max() < 1e-6)
    True
    """
    x = np.asarray(position, dtype=np.float64)
    y = np.asarray(value, dtype=np.float64)
    base = np.asarray(weight, dtype=np.float64)
    offset = (x[None, :] - x[:, None]) / half_window
    kernel = np.maximum(1 - np.abs(offset * offset * offset), 0.0)
    moments = np.empty((5, *offset.shape))
    moments[0] = kernel * kernel * kernel
    for k in range(1, 5):
        np.multiply(moments[k - 1], offset, out=moments[k])
    table = moments.reshape(-1, len(x))  # one matrix product per pass, not five
    robust = np.ones_like(y)
    fit = y
    for _ in range(passes + 1):
        weights = base * robust
        sums = (table @ weights).reshape(5, -1)
        normal = sums[_HANKEL].transpose(2, 0, 1)
        right = (table[: 3 * len(x)] @ (weights * y)).reshape(3, -1).T
        ridge = 1e-9 * (np.trace(normal, axis1=1, axis2=2) + 1e-12)
        normal = normal + ridge[:, None, None] * np.eye(3)
        fit = np.linalg.solve(normal, right[..., None])[:, 0, 0]
        residual = np.abs(y - fit)
        limit = 6 * max(float(np.median(residual)), least_spread) + 1e-12
        robust = np.maximum(np.clip(1 - (residual / limit) ** 2, 0, None) ** 2, 0.02)
    return fit
