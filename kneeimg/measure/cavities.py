"""What counts as the inside of a bone whose label is hollow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
