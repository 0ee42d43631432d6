"""What counts as the inside of a bone whose label is hollow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.measure.canonical import Box

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
    outside = _under_half(solid)
    outside[part] &= _under_half(solid[part] + cartilage)
    holes = _enclosed(outside)
    if not len(holes):
        return solid
    filled = solid.copy()
    filled.ravel()[holes] = 1
    corner = np.array([[side.start] for side in part])
    place = np.array(np.unravel_index(holes, solid.shape)) - corner
    inside = ((place >= 0) & (place < np.array(cartilage.shape)[:, None])).all(axis=0)
    filled.ravel()[holes[inside]] -= cartilage[tuple(place[:, inside])]
    return filled


def _under_half(amount: Amount) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = amount < 0.5 if amount.dtype.kind == "f" else amount == 0
    return below


def _enclosed(outside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Raveled indices of what no path of neighbours outside joins to the edge of the box."""
    import cc3d

    parts, count = cc3d.connected_components(outside, connectivity=6, return_N=True)
    open_ = np.zeros(count + 1, dtype=bool)
    open_[0] = True  # no part at all
    open_[open_parts(parts)] = True
    if open_.all():
        return np.empty(0, dtype=np.int64)
    # few voxels belong neither to bone nor to the first part, which fills the box
    places = np.flatnonzero(parts > int(open_[1]))
    enclosed: NDArray[np.int64] = places[~open_[parts.ravel()[places]]]
    return enclosed


def open_parts(parts: NDArray[Any]) -> NDArray[Any]:
    """Numbers of the background parts that are open to the world.

    Parameters
    ----------
    parts : (i, j, k) number of the connected background part of each voxel, 0 in bone.

    Returns
    -------
    Numbers that reach the edge of the array, 0 among them where bone does. A part that the edge
    cuts inside a closed ring of bone is not open there: a label of the cortex alone encloses the
    marrow also where the field of view cuts the shaft.
    """
    found: list[NDArray[Any]] = []
    for axis in range(3):
        for end in (0, -1):
            found.append(_open_in_plane(parts.take(end, axis)))
    return np.unique(np.concatenate(found))


def _open_in_plane(plane: NDArray[Any]) -> NDArray[Any]:
    """Numbers in an end plane of the array, without what bone rings in."""
    import cc3d

    numbers = np.unique(plane)
    if len(numbers) < 2:
        return numbers
    areas = cc3d.connected_components(plane > 0, connectivity=4)
    border = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    reaching = np.isin(areas, np.unique(border[border > 0]))
    return np.unique(np.append(plane[reaching], 0))
