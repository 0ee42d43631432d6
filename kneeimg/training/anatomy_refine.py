"""Coarse soft tissue on the fine grid with smooth borders, below the bones of the fine map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kneeimg.training.anatomy_fields import FloatField, box_of

_KERNEL = np.array([1, 2, 1], dtype=np.float32) / 4


def refined(soft: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Double the resolution of `soft` in plane and lay the fine `codes` over it.

    Each substance is smoothed a little, read at the fine voxels, and the strongest wins, so that
    borders are not stairs of coarse voxels.
    """
    best = np.zeros(codes.shape, dtype=np.float32)
    winner = np.zeros(codes.shape, dtype=np.uint8)
    for code in np.flatnonzero(np.bincount(soft.ravel(), minlength=256)):
        mask = soft == code
        box = box_of(mask, (0, 2, 2))
        field = _finer(_finer(_smoothed(mask[box]), 1), 2)
        fine = (box[0], *(slice(2 * part.start, 2 * part.stop) for part in box[1:]))
        wins = field > best[fine]
        best[fine][wins] = field[wins]
        winner[fine][wins] = code
    named = codes > 0
    winner[named] = codes[named]
    return winner


def _smoothed(mask: NDArray[np.bool_]) -> FloatField:
    field = mask.astype(np.float32)
    for axis in (1, 2):
        field = ndimage.convolve1d(field, _KERNEL, axis=axis, mode="nearest")
    return field


def _finer(field: FloatField, axis: int) -> FloatField:
    """Twice as many samples along one axis, a quarter voxel to either side of the old ones."""
    count = field.shape[axis]
    places = np.arange(count)
    before = np.take(field, np.maximum(places - 1, 0), axis=axis)
    after = np.take(field, np.minimum(places + 1, count - 1), axis=axis)
    shape = list(field.shape)
    shape[axis] = 2 * count
    finer = np.empty(shape, dtype=np.float32)
    even = [slice(None)] * 3
    odd = [slice(None)] * 3
    even[axis] = slice(0, None, 2)
    odd[axis] = slice(1, None, 2)
    finer[tuple(even)] = 0.75 * field + 0.25 * before
    finer[tuple(odd)] = 0.75 * field + 0.25 * after
    return finer
