"""Coarse soft tissue on the fine grid with smooth borders, below the bones of the fine map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.training.anatomy_fields import box_of

Weights = NDArray[np.uint16]


def refined(soft: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Double the resolution of `soft` in plane and lay the fine `codes` over it.

    Each substance is smoothed a little, read at the fine voxels, and the strongest wins, so that
    borders are not stairs of coarse voxels. Whole numbers do: the weights add up to 256.
    """
    best = np.zeros(codes.shape, dtype=np.uint16)
    winner = np.zeros(codes.shape, dtype=np.uint8)
    for code in np.flatnonzero(np.bincount(soft.ravel(), minlength=256)):
        mask = soft == code
        box = box_of(mask, (0, 2, 2))
        field = mask[box].astype(np.uint16)
        for axis in (1, 2):
            field = _finer(_smoothed(field, axis), axis)
        fine = (box[0], *(slice(2 * part.start, 2 * part.stop) for part in box[1:]))
        wins = field > best[fine]
        np.maximum(best[fine], field, out=best[fine])
        np.copyto(winner[fine], np.uint8(code), where=wins)
    np.copyto(winner, codes, where=codes > 0)
    return winner


def _smoothed(field: Weights, axis: int) -> Weights:
    """Sum with weights 1, 2, 1 along one axis."""
    smooth: Weights = 2 * field + _moved(field, axis, 1) + _moved(field, axis, -1)
    return smooth


def _finer(field: Weights, axis: int) -> Weights:
    """Twice as many samples along one axis, a quarter voxel to either side of the old ones, with
    weights 3, 1."""
    shape = list(field.shape)
    shape[axis] = 2 * field.shape[axis]
    finer = np.empty(shape, dtype=np.uint16)
    three = 3 * field
    for start, step in ((0, 1), (1, -1)):
        part = [slice(None)] * 3
        part[axis] = slice(start, None, 2)
        np.add(three, _moved(field, axis, step), out=finer[tuple(part)])
    return finer


def _moved(field: Weights, axis: int, step: int) -> Weights:
    """The field moved by one sample; the edge value is repeated."""
    moved = np.roll(field, step, axis=axis)
    edge: list[slice | int] = [slice(None)] * 3
    edge[axis] = 0 if step > 0 else -1
    moved[tuple(edge)] = field[tuple(edge)]
    return moved
