"""The thickness map back on the voxel grid of the label map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial import KDTree

from kneeimg.core.anatomy import Bone, VertexState
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import Surface
from kneeimg.core.volume import Volume


def thickness_on_grid(surfaces: Mapping[Bone, Surface], label_map: LabelMap) -> Volume:
    """Thickness of the cartilage at each of its voxels.

    Parameters
    ----------
    surfaces : Measured bone surfaces, patient LPS+ mm, fields `thickness_mm` and `state`.
    label_map : The map that was measured.

    Returns
    -------
    Volume in mm, float32: each cartilage voxel (hard label) takes the thickness of the nearest
    measured vertex of its own bone; NaN where there is no cartilage or nothing was measured.
    """
    values = np.full(label_map.grid.shape, np.nan, dtype=np.float32)
    for bone, surface in surfaces.items():
        measured = surface.fields["state"] == int(VertexState.MEASURED)
        voxels = np.nonzero(label_map.labels == int(bone.cartilage))
        if not measured.any() or not len(voxels[0]):
            continue
        points = label_map.grid.to_mm(np.stack(voxels, axis=1))
        nearest = KDTree(surface.vertices[measured]).query(points)[1]
        values[voxels] = surface.fields["thickness_mm"][measured][nearest]
    return Volume(values, label_map.grid, "mm")
