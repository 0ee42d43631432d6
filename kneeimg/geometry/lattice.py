"""Sums over scattered points under a Gaussian, by way of a regular lattice."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

FloatArray = NDArray[np.float64]


def gaussian_sums(
    points: FloatArray,
    values: FloatArray,
    places: FloatArray,
    shape: tuple[int, int, int],
    sigma: float,
    reach: float,
) -> FloatArray:
    """Sums of values at scattered points under a Gaussian around other points.

    Parameters
    ----------
    points : (N, 3) where the values stand, in steps of the lattice; inside it, not on its last
        plane.
    values : (N, c).
    places : (M, 3) where sums are wanted, likewise.
    shape : Points of the lattice along each axis.
    sigma : Standard deviation, in steps.
    reach : The Gaussian ends here, in sigmas; so does the lattice, beyond which nothing stands.

    Returns
    -------
    (M, c) sums, in weights that add up to 1 over the lattice.

    Notes
    -----
    Every value is shared out over the 8 lattice points around it, and every sum read from the 8
    around its place. One column of values is treated after the other: its lattice stays small
    enough for the cache.

    Examples
    --------
    >>> inside = np.array([[4.0, 4.0, 4.0]])
    >>> gaussian_sums(inside, np.ones((1, 1)), inside, (9, 9, 9), 1.0, 3.0).round(4)
    array([[0.0635]])
    """
    size = int(np.prod(shape))
    put, put_weight = _corners(points, shape)
    read, read_weight = _corners(places, shape)
    sums = np.empty((len(places), values.shape[1]))
    for n, column in enumerate(np.ascontiguousarray(values.T)):
        lattice = np.bincount(put.ravel(), (put_weight * column).ravel(), minlength=size)
        smooth = gaussian_filter(lattice.reshape(shape), sigma, mode="constant", truncate=reach)
        sums[:, n] = np.einsum("km,km->m", read_weight, smooth.ravel()[read])
    return sums


def _corners(
    points: FloatArray, shape: tuple[int, int, int]
) -> tuple[NDArray[np.int64], FloatArray]:
    """(8, N) numbers and trilinear weights of the lattice points around each point."""
    columns = np.ascontiguousarray(points.T)
    base = np.floor(columns).astype(np.int64)
    part = columns - base
    numbers, weights = [], []
    for steps in product((0, 1), repeat=3):
        i, j, k = (at + step for at, step in zip(base, steps, strict=True))
        numbers.append((i * shape[1] + j) * shape[2] + k)
        x, y, z = (p if step else 1.0 - p for p, step in zip(part, steps, strict=True))
        weights.append(x * y * z)
    return np.stack(numbers), np.stack(weights)
