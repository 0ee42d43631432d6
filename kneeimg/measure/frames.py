"""Anatomical frames from the shapes of the bones, so that regions do not turn with the knee.

All points are local mm of a canonical (right) knee: +x medial, +y posterior, +z proximal, up to the
pose of the knee in the scanner. Each bone gets its own frame; the scanner axes only decide the
signs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Heights above the distal end of the femur, in widths of the condyles, where its shaft is seen.
_SHAFT_FROM, _SHAFT_TO = 0.70, 1.05
#: The shaft direction needs at least this much length, mm.
_SHAFT_LENGTH_MM = 12.0
#: The shaft is searched from the scanner's +z and settles in a few rounds.
_ROUNDS = 8


@dataclass(frozen=True, slots=True, eq=False)
class BoneFrame:
    """Right-handed anatomical axes of one bone.

    Attributes
    ----------
    axes : (3, 3) rows are the unit vectors medial, posterior, proximal in local mm.
    origin_mm : (3,) centre of the cartilage-bearing bone, local mm.
    shaft_mm : Length of shaft that fixed the proximal axis; 0 when the scanner's +z stood in.
    """

    axes: FloatArray
    origin_mm: FloatArray
    shaft_mm: float = 0.0

    def coordinates(self, points_mm: FloatArray) -> FloatArray:
        """(N, 3) mm along medial, posterior and proximal."""
        result: FloatArray = (points_mm - self.origin_mm) @ self.axes.T
        return result


def _unit(vector: FloatArray) -> FloatArray:
    result: FloatArray = vector / np.linalg.norm(vector)
    return result


def _frame(medial: FloatArray, proximal: FloatArray) -> FloatArray:
    """Rows medial, posterior, proximal; `medial` kept, `proximal` made perpendicular to it."""
    medial = _unit(medial)
    proximal = _unit(proximal - (proximal @ medial) * medial)
    return np.stack([medial, np.cross(proximal, medial), proximal])


def _towards(vector: FloatArray, axis: int) -> FloatArray:
    """The vector or its opposite, whichever runs along +axis."""
    return vector if vector[axis] >= 0 else -vector


def femur_frame(
    vertices_mm: FloatArray,
    normals: FloatArray,
    area_mm2: FloatArray,
    covered: NDArray[np.bool_],
    bone_mm: FloatArray,
) -> BoneFrame | None:
    """Frame of the femur.

    Parameters
    ----------
    vertices_mm, normals, area_mm2 : (V, 3), (V, 3), (V,) bone surface.
    covered : (V,) vertices that carry cartilage.
    bone_mm : (N, 3) points that fill the bone evenly.

    Returns
    -------
    BoneFrame, or None when no bone carries cartilage.

    Notes
    -----
    The cartilage-bearing femur is close to a surface of revolution: its normals avoid the
    medial–lateral axis, which is therefore the direction of their smallest second moment. The
    proximal axis runs along the section centroids of the shaft between 0.70 and 1.05 condylar
    widths above the distal end (as far as the view reaches), made perpendicular to it. With less
    than 12 mm of shaft the scanner's +z takes its place.
    """
    weight = area_mm2[covered]
    if weight.sum() <= 0:
        return None
    origin = weight @ vertices_mm[covered] / weight.sum()
    moment = (normals[covered] * weight[:, None]).T @ normals[covered]
    medial = _towards(np.linalg.eigh(moment)[1][:, 0], 0)
    axes = _frame(medial, np.array([0.0, 0.0, 1.0]))
    shaft_mm = 0.0
    for _ in range(_ROUNDS):
        proximal, shaft_mm = _shaft(vertices_mm, bone_mm, axes)
        if proximal is None:
            return BoneFrame(_frame(medial, np.array([0.0, 0.0, 1.0])), origin)
        axes = _frame(medial, proximal)
    return BoneFrame(axes, origin, shaft_mm)


def _shaft(
    vertices_mm: FloatArray, bone_mm: FloatArray, axes: FloatArray
) -> tuple[FloatArray | None, float]:
    """Direction of the line through the section centroids of the shaft, and its length."""
    along = vertices_mm @ axes[2]
    across = vertices_mm @ axes[0]
    distal = along.min()
    width = np.ptp(across[along < distal + 40.0])
    low, high = distal + _SHAFT_FROM * width, distal + _SHAFT_TO * width
    height = bone_mm @ axes[2]
    high = min(high, height.max() - 1.0)
    if high - low < _SHAFT_LENGTH_MM:
        return None, 0.0
    inside = (height >= low) & (height <= high)
    slab = ((height[inside] - low) / 2.0).astype(np.int64)
    count = np.bincount(slab)
    used = count > 0.2 * np.median(count[count > 0])  # a slab cut obliquely by the view is partial
    sums = np.stack([np.bincount(slab, weights=bone_mm[inside, axis]) for axis in range(3)], axis=1)
    middles: FloatArray = sums[used] / count[used, None]
    centred = middles - middles.mean(axis=0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    return (direction if direction @ axes[2] >= 0 else -direction), float(high - low)


def tibia_frame(
    vertices_mm: FloatArray,
    normals: FloatArray,
    area_mm2: FloatArray,
    covered: NDArray[np.bool_],
) -> BoneFrame | None:
    """Frame of the tibia: proximal is the mean normal of the plateaus, medial joins their centres.

    Parameters as for :func:`femur_frame`. The medial axis starts from the scanner's +x and is
    then the line between the centroids of the two halves; a single plate keeps the bone's widest
    direction across the plateau.
    """
    weight = area_mm2[covered]
    if weight.sum() <= 0:
        return None
    points = vertices_mm[covered]
    origin = weight @ points / weight.sum()
    proximal = _unit(weight @ normals[covered])
    near_top = vertices_mm[(vertices_mm - origin) @ proximal > -12.0]
    flat = near_top - near_top.mean(axis=0)
    flat = flat - np.outer(flat @ proximal, proximal)
    widest = _towards(np.linalg.svd(flat.T @ flat)[0][:, 0], 0)
    axes = _frame(proximal, widest)  # proximal kept, widest made perpendicular
    medial = axes[2]
    axes = np.stack([medial, np.cross(proximal, medial), proximal])
    middle = 0.5 * ((near_top @ medial).min() + (near_top @ medial).max())
    return BoneFrame(axes, origin + (middle - origin @ medial) * medial)
