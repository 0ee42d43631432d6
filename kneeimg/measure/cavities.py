"""What counts as the inside of a bone whose label is hollow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.geometry.meshes import parts_of
from kneeimg.measure.canonical import Box

#: Voxels that are compared at once: their arrays stay in the cache.
_BLOCK = 1 << 18
#: A tissue in each voxel: float32 fractions, or uint8 0 and 1.
Amount = NDArray[Any]


def close_cavities(solid: Amount, cartilage: Amount, part: Box) -> Amount:
    """The bone without holes in its inside or between it and its cartilage.

    An unlabelled lesion is bone, not joint: what bone and cartilage enclose from all sides is bone,
    and so is the marrow of a label that draws the cortex alone.

    Parameters
    ----------
    solid : (i, j, k) bone in each voxel: its fraction, or 0 and 1.
    cartilage : Cartilage in a part of that box, of the same type.
    part : Which part.

    Returns
    -------
    The array that was given when there is no hole.
    """
    count_i, count_j, count_k = solid.shape
    room = np.zeros((count_i, count_j + 1, count_k + 1), dtype=bool)  # no run goes on beyond a row
    outside = room[:, :count_j, :count_k]
    _under_half(solid, outside)
    outside[part] &= _under_half(solid[part] + cartilage)
    holes = _enclosed(room)
    if not holes.size:
        return solid
    filled = solid.copy()
    filled[tuple(holes)] = 1
    place = holes - np.array([[side.start] for side in part])
    inside = ((place >= 0) & (place < np.array(cartilage.shape)[:, None])).all(axis=0)
    filled[tuple(holes[:, inside])] -= cartilage[tuple(place[:, inside])]
    return filled


def _under_half(amount: Amount, out: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    limit = 0.5 if amount.dtype.kind == "f" else 1
    below: NDArray[np.bool_] = np.less(amount, limit, out=out)
    return below


def _enclosed(outside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(3, N) indices of what no path of neighbours outside joins to an edge of the box.

    Which is not its faces: a part that a face cuts inside a closed ring of bone is enclosed, as the
    marrow in a label of the cortex alone also where the field of view cuts the shaft.

    Runs of voxels along the last axis take the place of voxels: there are 200 times fewer. The last
    row of each plane and the last voxel of each row are no part of the box: no run reaches them.
    """
    count_i, rows, columns = outside.shape
    start, stop = _runs(outside.ravel())
    meeting = [_meeting(start, stop, step) for step in (columns, rows * columns)]
    part = parts_of(meeting, np.ones(len(start), dtype=bool))
    i, j, k = np.unravel_index(start, outside.shape)
    ends = [(i == 0) | (i == count_i - 1), (j == 0) | (j == rows - 2)]
    ends.append((k == 0) | (k + stop - start == columns - 1))
    on_edge = np.sum(ends, axis=0) >= 2
    open_ = np.zeros(len(start), dtype=bool)
    open_[part[on_edge]] = True
    closed = ~open_[part]
    places = _ranges(start[closed], (stop - start)[closed])
    return np.stack(np.unravel_index(places, outside.shape))


def _runs(line: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where runs start, and where they have stopped, in a line that ends without one.

    >>> _runs(np.array([True, True, False, True, False]))
    (array([0, 3]), array([2, 4]))
    """
    changes = [np.flatnonzero(line[:1])]
    for first in range(0, len(line), _BLOCK):
        block = line[first : first + _BLOCK + 1]
        changes.append(np.flatnonzero(block[1:] != block[:-1]) + first + 1)
    whole = np.concatenate(changes)
    return whole[::2], whole[1::2]


def _meeting(
    start: NDArray[np.int64], stop: NDArray[np.int64], step: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of runs that lie beside each other when the first one is moved on by a step."""
    first = np.searchsorted(stop, start + step, side="right")
    count = np.maximum(np.searchsorted(start, stop + step) - first, 0)
    return np.repeat(np.arange(len(start)), count), _ranges(first, count)


def _ranges(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """`count` numbers from each first one on, one after the other.

    >>> _ranges(np.array([5, 1]), np.array([2, 3])).tolist()
    [5, 6, 1, 2, 3]
    """
    return np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
