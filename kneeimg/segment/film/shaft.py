"""Axes of the femoral and the tibial shaft, where a film shows enough of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.segment.film.edges import best_path
from kneeimg.segment.film.locate import Pose

FloatArray = NDArray[np.float64]

_LEAST_LENGTH = 0.40  # femoral widths of shaft, about 3 cm, that an axis needs
_LONGEST = 2.0  # femoral widths; a bowed shaft is followed no farther
_STEP = 0.005
_REACH, _SPREAD = 0.14, 0.06
_PRIOR_COST = 0.25  # one spread away from the typical edge
_LEAST_CLEAR = 0.5  # mean strength of an edge, about 1 for a clear one
_MOST_BENT = 0.012  # of the femoral width, SD of the middle about a straight line
_SMOOTHING = 0.006  # of the femoral width


@dataclass(frozen=True, slots=True)
class _Shaft:
    """Where a shaft lies in the tangent frame, in femoral widths.

    Attributes
    ----------
    first : Distance from the tangent at which the metaphysis has run into the shaft.
    sign : 1 below the tangent, -1 above it.
    edges : Typical x of the medial and the lateral edge at `first`.
    leans_deg : How far a shaft may lean to lateral, away from the joint; each is tried.
    """

    first: float
    sign: int
    edges: tuple[float, float]
    leans_deg: tuple[float, ...]

    def typical(self, edge: float, lean_deg: float, away: FloatArray) -> FloatArray:
        """x of an edge at each distance from the tangent."""
        return edge + math.tan(math.radians(lean_deg)) * (away - self.first)


_TIBIA = _Shaft(0.70, 1, (0.29, 0.71), (-6.0, 0.0, 6.0))
# The shaft of a usual femur leans by about six degrees from the perpendicular of its condyles.
_FEMUR = _Shaft(0.85, -1, (0.32, 0.74), (-6.0, 0.0, 6.0, 12.0))


def tibial_axis(image: FloatArray, pose: Pose) -> FloatArray | None:
    """(2, 2) proximal and distal point of the shaft's axis in pixels; None when it is not seen.

    Notes
    -----
    Both edges of the shaft are traced as best paths; the axis is the straight line through the
    middle between them. Its two points span the length of shaft that was used.
    """
    return _axis(image, pose, _TIBIA)


def femoral_axis(image: FloatArray, pose: Pose) -> FloatArray | None:
    """(2, 2) proximal and distal point of the femoral shaft's axis, as :func:`tibial_axis`."""
    axis = _axis(image, pose, _FEMUR)
    return None if axis is None else axis[::-1]


def _axis(image: FloatArray, pose: Pose, shaft: _Shaft) -> FloatArray | None:
    """(2, 2) near and far point of a shaft's axis in pixels; None when it is not seen."""
    tried = [_middle(image, pose, shaft, lean_deg) for lean_deg in shaft.leans_deg]
    away, middle, strength = max(tried, key=lambda found: found[2])
    if strength < _LEAST_CLEAR:
        return None
    line = np.polyfit(away, middle, 1)
    if np.std(middle - np.polyval(line, away)) > _MOST_BENT:
        return None
    ends = np.array([away[0], away[-1]])
    return pose.pixels(np.column_stack([np.polyval(line, ends), shaft.sign * ends]))


def _middle(
    image: FloatArray, pose: Pose, shaft: _Shaft, lean_deg: float
) -> tuple[FloatArray, FloatArray, float]:
    """Distances from the tangent, x of the middle there and strength of the fainter edge.

    The strength is 0 where too little of the shaft is in view.
    """
    away = _rows_in_view(image.shape, pose, shaft, lean_deg)
    if len(away) * _STEP < _LEAST_LENGTH:
        return away, away, 0.0
    found = [
        _edge(image, pose, shaft.sign, away, shaft.typical(edge, lean_deg, away), sign)
        for edge, sign in zip(shaft.edges, (1.0, -1.0), strict=True)
    ]
    return away, (found[0][0] + found[1][0]) / 2, min(strength for _, strength in found)


def _rows_in_view(shape: tuple[int, ...], pose: Pose, shaft: _Shaft, lean_deg: float) -> FloatArray:
    """Distances from the tangent at which the film shows the shaft and what lies beside it."""
    away = np.arange(shaft.first, shaft.first + _LONGEST, _STEP)
    limit = np.array([shape[1] - 1, shape[0] - 1])
    seen = np.ones(len(away), dtype=bool)
    for edge, beside in zip(shaft.edges, (-_REACH, _REACH), strict=True):
        x = shaft.typical(edge, lean_deg, away) + beside
        at = pose.pixels(np.column_stack([x, shaft.sign * away]))
        seen &= ((at >= 0) & (at <= limit)).all(axis=1)
    first_hidden = int(np.argmin(seen)) if not seen.all() else len(away)
    return away[:first_hidden]


def _edge(
    image: FloatArray, pose: Pose, below: int, away: FloatArray, typical: FloatArray, sign: float
) -> tuple[FloatArray, float]:
    """x of an edge in each row and its mean strength; `sign` 1 where bone lies to the right.

    `below` is 1 below the tangent and -1 above it.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    beside = np.arange(-_REACH, _REACH, _STEP)
    x = typical[:, None] + beside
    rows = np.broadcast_to(below * away[:, None], x.shape)
    points = pose.pixels(np.stack([x, rows], axis=-1))
    grey = map_coordinates(image, [points[..., 1], points[..., 0]], order=1, mode="nearest")
    sigma = _SMOOTHING / _STEP
    slope = sign * gaussian_filter(grey, (4 * sigma, sigma), order=(0, 1), mode="nearest")
    slope = slope / (np.percentile(np.abs(slope), 95) + 1e-9)
    prior = _PRIOR_COST * (beside / _SPREAD) ** 2
    path = best_path(np.clip(slope, -1.0, 1.5) - prior)
    at = np.arange(len(away))
    return x[at, path], float(slope[at, path].mean())
