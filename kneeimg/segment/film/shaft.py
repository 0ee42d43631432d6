"""Axis of the tibial shaft, where a film shows enough of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.segment.film.edges import best_path
from kneeimg.segment.film.locate import Pose

FloatArray = NDArray[np.float64]

_FIRST_V = 0.70  # the metaphysis has run into the shaft
_LEAST_LENGTH = 0.40  # femoral widths of shaft, about 3 cm, that an axis needs
_STEP = 0.005
_EDGES_X = (0.29, 0.71)  # typical medial and lateral edge of the shaft
_REACH, _SPREAD = 0.14, 0.06
_PRIOR_COST = 0.25  # one spread away from the typical edge
_LEAST_CLEAR = 0.5  # mean strength of an edge, about 1 for a clear one
_MOST_BENT = 0.012  # of the femoral width, SD of the middle about a straight line
_SMOOTHING = 0.006  # of the femoral width


def tibial_axis(image: FloatArray, pose: Pose) -> FloatArray | None:
    """(2, 2) proximal and distal point of the shaft's axis in pixels; None when it is not seen.

    Notes
    -----
    Both edges of the shaft are traced as best paths; the axis is the straight line through the
    middle between them. Its two points span the length of shaft that was used.
    """
    v = _rows_in_view(image.shape, pose)
    if len(v) * _STEP < _LEAST_LENGTH:
        return None
    edges = [_edge(image, pose, v, x, sign) for x, sign in zip(_EDGES_X, (1.0, -1.0), strict=True)]
    if min(strength for _, strength in edges) < _LEAST_CLEAR:
        return None
    middle = (edges[0][0] + edges[1][0]) / 2
    line = np.polyfit(v, middle, 1)
    if np.std(middle - np.polyval(line, v)) > _MOST_BENT:
        return None
    ends = np.array([v[0], v[-1]])
    return pose.pixels(np.column_stack([np.polyval(line, ends), ends]))


def _rows_in_view(shape: tuple[int, ...], pose: Pose) -> FloatArray:
    """v of the rows that show the shaft and what lies beside it."""
    v = np.arange(_FIRST_V, 3.0, _STEP)
    limit = np.array([shape[1] - 1, shape[0] - 1])
    seen = np.ones(len(v), dtype=bool)
    for x in (_EDGES_X[0] - _REACH, _EDGES_X[1] + _REACH):
        at = pose.pixels(np.column_stack([np.full(len(v), x), v]))
        seen &= ((at >= 0) & (at <= limit)).all(axis=1)
    first_hidden = int(np.argmin(seen)) if not seen.all() else len(v)
    return v[:first_hidden]


def _edge(
    image: FloatArray, pose: Pose, v: FloatArray, typical: float, sign: float
) -> tuple[FloatArray, float]:
    """x of an edge in each row and its mean strength; `sign` 1 where bone lies to the right."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    x = np.arange(typical - _REACH, typical + _REACH, _STEP)
    points = pose.pixels(np.stack(np.meshgrid(x, v), axis=-1))
    grey = map_coordinates(image, [points[..., 1], points[..., 0]], order=1, mode="nearest")
    sigma = _SMOOTHING / _STEP
    slope = sign * gaussian_filter(grey, (4 * sigma, sigma), order=(0, 1), mode="nearest")
    slope = slope / (np.percentile(np.abs(slope), 95) + 1e-9)
    prior = _PRIOR_COST * ((x - typical) / _SPREAD) ** 2
    path = best_path(np.clip(slope, -1.0, 1.5) - prior)
    return x[path], float(slope[np.arange(len(v)), path].mean())
