"""Osteophytes at the margin of the joint: how far bone stands out beyond its smooth contour.

At each of the four margins (femur and tibia, medial and lateral) a smooth contour is laid from the
side of the bone away from the joint to the joint margin; what stands out beyond it beside the joint
is the osteophyte. All lengths are fractions of the femoral width, so a film without
millimetres gives the same answer.

References
----------
.. [1] Altman & Gold 2007, atlas of individual radiographic features: osteophytes are graded by
   size at the margins of femur and tibia. doi:10.1016/j.joca.2006.11.009
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone
from kneeimg.measure.bone_outline import SideLine

FloatArray = NDArray[np.float64]

#: Rows through which the side is seen away from the joint: v of the femur, depth below the
#: plateau's edge of the tibia. The smooth contour begins at the end nearest to the joint.
FAR_ROWS = {Bone.FEMUR: (-0.30, -0.15), Bone.TIBIA: (0.10, 0.24)}
# How far a side may lean inward per width towards the joint (femur) or away from it (tibia);
# a steeper line follows something else, such as the fibula
_LEAN = {Bone.FEMUR: (-0.10, 0.50), Bone.TIBIA: (0.0, 0.90)}
_CORNER = 1.0  # weight of the corner in the conic: 0.71 is an ellipse, more is a sharper corner
_PLATEAU_ROWS = (-0.04, 0.07)  # a plateau ends in an edge: its side is continued straight there
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Osteophyte:
    """Bone beyond the smooth contour, in femoral widths; NaN: not measured, 0: none there.

    Attributes
    ----------
    length : Greatest distance beyond the contour, across the side.
    area : Area beyond the contour, square widths.
    """

    length: float
    area: float


#: Of a margin that is not on the film.
NOT_MEASURED = Osteophyte(math.nan, math.nan)


def osteophyte(line: SideLine | None, bone: Bone) -> Osteophyte:
    """Size of the osteophyte at one margin.

    Parameters
    ----------
    line : Outer side of the bone; None, or a line that is mostly off the film or ends at an unknown
        joint, measures nothing.
    bone : Femur or tibia.

    Examples
    --------
    >>> depth = np.arange(-0.04, 0.26, 0.005)
    >>> line = SideLine(depth, np.full_like(depth, 0.05), depth * 0, 1.0, (0.15, 0.0, 0.0))
    >>> plain = osteophyte(line, Bone.TIBIA)
    >>> side = np.where(np.abs(depth - 0.05) < 0.011, 0.02, 0.05)  # a lip of 0.03, 0.02 high
    >>> lip = osteophyte(SideLine(depth, side, depth * 0, 1.0, (0.15, 0.0, 0.0)), Bone.TIBIA)
    >>> lip.length > 0.03 > plain.length, round(lip.area - plain.area, 5)
    (True, 0.00075)
    """
    if line is None or not line.usable:
        return NOT_MEASURED
    contour = smooth_contour(line, bone)
    beyond = np.maximum(contour - line.s, 0.0)
    beside = np.isfinite(beyond)
    if not beside.any():
        return NOT_MEASURED
    step = float(line.depth[1] - line.depth[0])
    return Osteophyte(float(beyond[beside].max()), float(beyond[beside].sum() * step))


def smooth_contour(line: SideLine, bone: Bone) -> FloatArray:
    """(N,) s of the contour without a lip beside the joint; NaN at the rows away from it.

    Notes
    -----
    The side is a straight line through the far rows by the median of all pairwise slopes
    (Theil-Sen), which a third of wrong rows does not move; its lean is kept within what sides of
    bones show. The tibia's is continued straight to the edge of its plateau. A condyle is round:
    a conic leaves the side and enters the joint margin, with the tangents of both.
    """
    low, high = FAR_ROWS[bone]
    far = (line.depth >= low - 1e-9) & (line.depth <= high + 1e-9)
    lean = float(np.clip(_median_slope(line.depth[far], line.s[far]), *_LEAN[bone]))
    start_d = high if bone is Bone.FEMUR else low
    start_s = float(np.median(line.s[far] - lean * (line.depth[far] - start_d)))
    if bone is Bone.TIBIA:
        beside = (line.depth >= _PLATEAU_ROWS[0] - 1e-9) & (line.depth <= _PLATEAU_ROWS[1] + 1e-9)
        return np.where(beside, start_s + lean * (line.depth - start_d), np.nan)
    end_s, end_d, slope = line.joint
    corner_d = end_d + slope * (start_s - lean * start_d - end_s)
    corner_d = float(np.clip(corner_d / max(1.0 - slope * lean, 0.2), start_d, end_d))
    corner_s = start_s + lean * (corner_d - start_d)
    points = np.array([(start_s, start_d), (corner_s, corner_d), (end_s, end_d)])
    s, depth = _conic(points)
    contour: FloatArray = np.interp(line.depth, depth, s, left=np.nan, right=np.nan)
    return contour


def _conic(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two coordinates along the conic that leaves the first point and enters the last towards and
    from the middle one (a rational Bezier curve)."""
    t = np.linspace(0.0, 1.0, _STEPS)[:, None]
    weights = np.hstack([(1 - t) ** 2, 2 * _CORNER * t * (1 - t), t**2])
    curve = weights @ points / weights.sum(axis=1, keepdims=True)
    return curve[:, 0], curve[:, 1]


def _median_slope(depth: FloatArray, s: FloatArray) -> float:
    first, second = np.triu_indices(len(depth), 1)
    return float(np.median((s[second] - s[first]) / (depth[second] - depth[first])))
