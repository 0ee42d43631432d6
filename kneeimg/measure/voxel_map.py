"""The thickness map back on the voxel grid of the label map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from kneeimg.core.anatomy import Bone, VertexState
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import Surface
from kneeimg.core.volume import Volume
from kneeimg.geometry.sharing import each, in_pieces, team

Index = NDArray[np.int32]

#: Pieces in which the map is cleared.
_PIECES = 8


@dataclass(frozen=True, slots=True, eq=False)
class VoxelOwners:
    """The bone vertex over which each cartilage voxel lies.

    Attributes
    ----------
    index : (N, 3) voxels that hold cartilage.
    vertex : (N,) number of the nearest vertex of tAB.
    """

    index: Index
    vertex: NDArray[np.int64]


def thickness_on_grid(
    surfaces: Mapping[Bone, Surface],
    label_map: LabelMap,
    owners: Mapping[Bone, VoxelOwners] | None = None,
) -> Volume:
    """Thickness of the cartilage at each of its voxels.

    Parameters
    ----------
    surfaces : Measured bone surfaces, patient LPS+ mm, fields `thickness_mm` and `state`.
    label_map : The map that was measured.
    owners : `KneeMorphometry.owners` of these surfaces: saves most of the search.

    Returns
    -------
    Volume in mm, float32: each cartilage voxel (hard label) takes the thickness of the nearest
    measured vertex of its own bone; NaN where there is no cartilage or nothing was measured.
    """
    values = np.empty(label_map.grid.shape, dtype=np.float32)

    def clear(planes: slice) -> None:
        values[planes] = np.nan

    def paint(bone: Bone) -> None:
        surface = surfaces[bone]
        measured = surface.fields["state"] == int(VertexState.MEASURED)
        if not measured.any():
            return
        index, vertex = _voxels(bone, label_map, (owners or {}).get(bone))
        open_ = (vertex < 0) | ~measured[vertex]  # nearest of tAB, but not measured
        if open_.any():
            points = label_map.grid.to_mm(index[open_])
            nearest = KDTree(surface.vertices[measured]).query(points)[1]
            vertex = vertex.copy()  # the owners belong to the caller
            vertex[open_] = np.flatnonzero(measured)[nearest]
        values[tuple(index.T)] = surface.fields["thickness_mm"][vertex]

    with team():
        in_pieces(clear, len(values), max(1, len(values) // _PIECES))
        each(paint, tuple(surfaces))  # no voxel belongs to two bones
    return Volume(values, label_map.grid, "mm")


def _voxels(
    bone: Bone, label_map: LabelMap, owners: VoxelOwners | None
) -> tuple[Index, NDArray[np.int64]]:
    """(N, 3) voxels labelled as cartilage of a bone, and their vertex; -1 where it is unknown."""
    if owners is None:
        index = np.argwhere(label_map.labels == int(bone.cartilage)).astype(np.int32)
        return index, np.full(len(index), -1, dtype=np.int64)
    if not label_map.is_soft:  # owners are all voxels of the label
        return owners.index, owners.vertex
    labelled = label_map.labels[tuple(owners.index.T)] == int(bone.cartilage)
    return owners.index[labelled], owners.vertex[labelled]
