"""Affine maps between array indices and millimetres, as small pure functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

#: Points that are mapped at once, see `linear_map`.
_PIECE = 1 << 14


def apply_affine(affine: ArrayLike, points: ArrayLike) -> FloatArray:
    """Map (..., 3) points through a (4, 4) affine.

    Examples
    --------
    >>> apply_affine(np.diag([2.0, 3.0, 4.0, 1.0]), [1, 1, 1])
    array([2., 3., 4.])
    """
    matrix = np.asarray(affine, dtype=np.float64)
    result = linear_map(matrix[:3, :3], points)
    result += matrix[:3, 3]
    return result


def linear_map(linear: ArrayLike, points: ArrayLike) -> FloatArray:
    """Map (..., 3) points or vectors through a (3, 3) linear part: `points @ linear.T`.

    In pieces so small that the matrix library starts no threads for them: on many points those
    cost more than the nine products.

    Examples
    --------
    >>> linear_map([[0, 1, 0], [1, 0, 0], [0, 0, 2]], [1.0, 2.0, 3.0])
    array([2., 1., 6.])
    """
    matrix, given = np.asarray(linear, dtype=np.float64), np.asarray(points, dtype=np.float64)
    if given.ndim != 2:
        return given @ matrix.T
    result = np.empty(given.shape)
    for start in range(0, len(given), _PIECE):
        piece = slice(start, start + _PIECE)
        np.matmul(given[piece], matrix.T, out=result[piece])
    return result


def from_linear(linear: ArrayLike, translation: ArrayLike = (0.0, 0.0, 0.0)) -> FloatArray:
    """(4, 4) affine of a (3, 3) linear part and a (3,) translation in mm."""
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = translation
    return affine


def spacing_of(affine: ArrayLike) -> FloatArray:
    """(3,) distance in mm between voxel centres along each array axis."""
    spacing: FloatArray = np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)
    return spacing


def closest_axes(affine: ArrayLike) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Array axes that run closest to world x, y, z, and the sign with which each runs.

    Returns
    -------
    axes : axes[w] is the array axis closest to world axis w (a permutation of 0, 1, 2).
    signs : signs[w] is +1 if the index grows with world axis w, else -1.

    Notes
    -----
    The permutation with the largest sum of absolute direction cosines: unambiguous unless two
    axes lie at 45 degrees, where the first in order is taken.
    """
    linear = np.asarray(affine, dtype=np.float64)[:3, :3]
    cosines = linear / np.linalg.norm(linear, axis=0)
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    axes = max(orders, key=lambda order: sum(abs(cosines[w, order[w]]) for w in range(3)))
    signs = tuple(1 if cosines[w, axes[w]] >= 0 else -1 for w in range(3))
    return axes, (signs[0], signs[1], signs[2])


def reoriented_affine(
    affine: ArrayLike, shape: tuple[int, ...], axes: tuple[int, int, int], flips: tuple[int, ...]
) -> FloatArray:
    """Affine of an array after `transpose(axes)` and flipping each new axis whose flip is -1.

    Parameters
    ----------
    affine : (4, 4) affine of the array before.
    shape : shape of the array before.
    axes : new axis n is old axis axes[n].
    flips : +1 or -1 per new axis.
    """
    old = np.asarray(affine, dtype=np.float64)
    new = np.eye(4)
    origin = old[:3, 3].copy()
    for n in range(3):
        step = old[:3, axes[n]]
        if flips[n] < 0:
            origin = origin + step * (shape[axes[n]] - 1)
        new[:3, n] = step * flips[n]
    new[:3, 3] = origin
    return new
