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
_SHAFT_FROM, _SHAFT_TO = 0.72, 1.40
#: The width of the condyles is taken up to this height above the distal end, mm.
_CONDYLES_MM = 40.0
#: Length of shaft that is looked for, and the least that will do, mm.
_SHAFT_WANTED_MM, _SHAFT_LENGTH_MM = 15.0, 8.0
#: Below this height, in widths, the bone is no shaft any more.
_SHAFT_LOWEST = 0.60
#: Steeper normals belong to the cut end of the shaft, not to its wall.
_CAP_COSINE = 0.5
#: The shaft is searched from the scanner's +z and settles in a few rounds.
_ROUNDS = 6


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
) -> BoneFrame | None:
    """Frame of the femur.

    Parameters
    ----------
    vertices_mm, normals, area_mm2 : (V, 3), (V, 3), (V,) bone surface.
    covered : (V,) vertices that carry cartilage.

    Returns
    -------
    BoneFrame, or None when no bone carries cartilage.

    Notes
    -----
    The cartilage-bearing femur is close to a surface of revolution: its normals avoid the
    medial–lateral axis, which is therefore the direction of their smallest second moment. The
    shaft is close to a cylinder: the same rule on its wall, from 0.72 to 1.40 condylar widths
    above the distal end (as far as the view reaches, weighted upwards), gives the proximal axis,
    then made perpendicular to the first. A line through section centroids would do worse: a
    section that the view cuts obliquely pulls it over (seen on a real knee: 38°). With less than
    8 mm of shaft the scanner's +z takes its place.
    """
    weight = area_mm2[covered]
    if weight.sum() <= 0:
        return None
    origin = weight @ vertices_mm[covered] / weight.sum()
    medial = _towards(_least_moment(normals[covered], weight), 0)
    axes = _frame(medial, np.array([0.0, 0.0, 1.0]))
    shaft_mm = 0.0
    for _ in range(_ROUNDS):
        proximal, shaft_mm = _shaft(vertices_mm, normals, area_mm2, axes)
        if proximal is None:
            return BoneFrame(_frame(medial, np.array([0.0, 0.0, 1.0])), origin)
        axes = _frame(medial, proximal)
    return BoneFrame(axes, origin, shaft_mm)


def _least_moment(normals: FloatArray, weight: FloatArray) -> FloatArray:
    """Unit direction in which the weighted normals have the smallest second moment."""
    moment = (normals * weight[:, None]).T @ normals
    direction: FloatArray = np.linalg.eigh(moment)[1][:, 0]
    return direction


def _shaft(
    vertices_mm: FloatArray, normals: FloatArray, area_mm2: FloatArray, axes: FloatArray
) -> tuple[FloatArray | None, float]:
    """Direction of the shaft's wall and its length in view; None when it is too short."""
    height = vertices_mm @ axes[2]
    distal = height.min()
    width = np.ptp(vertices_mm[height < distal + _CONDYLES_MM] @ axes[0])
    high = min(distal + _SHAFT_TO * width, float(height.max()))
    low = min(distal + _SHAFT_FROM * width, high - _SHAFT_WANTED_MM)  # a short view: begin lower
    low = max(low, distal + _SHAFT_LOWEST * width)
    wall = (height >= low) & (height <= high) & (np.abs(normals @ axes[2]) < _CAP_COSINE)
    length_mm = float(high - low)
    if length_mm < _SHAFT_LENGTH_MM or not wall.any():
        return None, 0.0
    weight = area_mm2[wall] * (height[wall] - low) ** 2  # the metaphysis below still flares
    direction = _least_moment(normals[wall], weight)
    return (direction if direction @ axes[2] >= 0 else -direction), length_mm


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
