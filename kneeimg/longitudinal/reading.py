"""What one visit shows at given points of its bone: rays, tAB, and the place that was read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Plate
from kneeimg.core.surface import Surface
from kneeimg.geometry.closest import MeshIndex
from kneeimg.measure.tab import covered_by
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Interpolation weights below this are rounding: a query that hits a vertex uses it alone.
_TINY_WEIGHT = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A bone surface read at points near it.

    Attributes
    ----------
    ray_mm : (n,) ray distance; 0 on bare bone, NaN where the bone is too far or a ray failed.
    within : (n,) the visit's own tAB holds the point.
    feet_mm : (n, 3) closest points of the bone, frame of the surface.
    """

    ray_mm: FloatArray
    within: Bools
    feet_mm: FloatArray


def read_at(
    surface: Surface, points_mm: FloatArray, max_gap_mm: float, settings: MorphometrySettings
) -> Reading:
    """Read a measured bone at its points closest to some others.

    Parameters
    ----------
    surface : With the fields `ray_mm` and `plate`.
    points_mm : (n, 3), frame of the surface.
    max_gap_mm : Bone farther away than this was not seen.
    settings : Threshold between covered and denuded.

    Notes
    -----
    In a triangle that the border of the cover crosses, a point belongs to the side that holds more
    of its interpolation weight, and its ray is that of the covered corners alone. Rays interpolated
    across the border, compared with `denuded_below_mm`, made every bare patch 0.3 mm narrower.
    """
    faces = _faces_near(surface, points_mm, max_gap_mm)
    if not len(faces):
        count = len(points_mm)
        return Reading(np.full(count, np.nan), np.zeros(count, dtype=bool), points_mm)
    gap_mm, face, weights = MeshIndex(surface.vertices, faces).closest(points_mm, certify=False)
    corners = faces[face]
    weights = np.where(weights > _TINY_WEIGHT, weights, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    ray = np.asarray(surface.fields["ray_mm"], dtype=np.float64)[corners]
    failed = np.any(np.isnan(ray) & (weights > 0), axis=1)
    own = np.where(covered_by(ray, settings), weights, 0.0)
    share = own.sum(axis=1)
    value: FloatArray = np.where(own > 0, ray * own, 0.0).sum(axis=1)
    value /= np.maximum(share, _TINY_WEIGHT)
    value[share < 0.5] = 0.0
    value[failed | (gap_mm > max_gap_mm)] = np.nan
    in_tab = np.asarray(surface.fields["plate"])[corners] != int(Plate.NONE)
    within: Bools = np.where(in_tab, weights, 0.0).sum(axis=1) >= 0.5
    return Reading(value, within, np.einsum("nk,nkx->nx", weights, surface.vertices[corners]))


def _faces_near(surface: Surface, points: FloatArray, margin_mm: float) -> NDArray[np.int64]:
    """Triangles inside the box around the points; the shaft need not be searched."""
    if not len(points):
        return np.empty((0, 3), dtype=np.int64)
    low, high = points.min(axis=0) - margin_mm, points.max(axis=0) + margin_mm
    near = np.all((surface.vertices >= low) & (surface.vertices <= high), axis=1)
    faces: NDArray[np.int64] = surface.faces[near[surface.faces].any(axis=1)]
    return faces
