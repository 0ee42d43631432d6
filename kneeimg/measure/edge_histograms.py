"""Histograms of edge directions: how a levelled film looks, whatever its contrast.

References
----------
.. [1] Dalal & Triggs 2005, doi:10.1109/CVPR.2005.177.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

FloatArray = NDArray[np.float64]

CELL = 12  # samples, 0.06 of the femoral width
ANGLES = 8  # directions of the gradient, 45 degrees apart
LEAST_SEEN = 0.5  # share of a cell that must lie on the film
_BLUR = 1.0  # samples
_AROUND = 1.0  # cells that a cell's contrast is compared with


def edge_histograms(
    detail: FloatArray, inside: NDArray[np.bool_], shape: tuple[int, int], first_row: int = 0
) -> FloatArray:
    """(rows, columns, 8) edge strength by direction of each cell; NaN where a cell is off film.

    Directions turn from right (0) to down (2); strengths are relative to the cells around, so
    contrast and exposure cancel.

    Parameters
    ----------
    detail : (R, C) grey values of the levelled film without slow shading.
    inside : (R, C) whether the film reaches there.
    shape : (rows, columns) of cells.
    first_row : Where the cells begin.
    """
    rows, columns = shape
    used = (slice(first_row, first_row + rows * CELL), slice(0, columns * CELL))
    down, right = np.gradient(gaussian_filter(detail, _BLUR, mode="nearest"))
    strength = (np.hypot(right, down) * inside)[used]
    turn = (np.arctan2(down, right) % (2 * math.pi) / (2 * math.pi) * ANGLES)[used]
    first = np.floor(turn).astype(np.int64) % ANGLES
    share = turn - np.floor(turn)
    row, column = np.indices(strength.shape) // CELL
    cell = (row * columns + column) * ANGLES
    bins = np.concatenate([cell + first, cell + (first + 1) % ANGLES]).ravel()
    parts = np.concatenate([strength * (1 - share), strength * share]).ravel()
    sums = np.bincount(bins, parts, rows * columns * ANGLES).astype(np.float64)
    found: FloatArray = sums.reshape(rows, columns, ANGLES)
    power = gaussian_filter((found**2).sum(axis=2), _AROUND, mode="nearest")
    found /= np.sqrt(power + 1e-4 * power.mean() + 1e-12)[..., None]
    seen = inside[used].reshape(rows, CELL, columns, CELL).mean(axis=(1, 3))
    found[seen < LEAST_SEEN] = np.nan
    return found
