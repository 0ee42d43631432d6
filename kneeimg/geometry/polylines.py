"""Plane polylines: crossings, clipping, distances and common tangents. Any unit, y down or up."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def heights_at(line: ArrayLike, x: ArrayLike, *, highest: bool) -> FloatArray:
    """y of a polyline above each x, NaN where the line does not reach.

    Parameters
    ----------
    line : (N, 2) points x, y; x need not be monotone.
    x : (M,) positions.
    highest : Where the line passes an x more than once, take the largest y (else the smallest).

    Returns
    -------
    (M,) float64.

    Examples
    --------
    >>> heights_at([[0, 0], [2, 4]], [0.5, 3.0], highest=True)
    array([ 1., nan])
    """
    points = np.asarray(line, dtype=np.float64)
    at = np.atleast_1d(np.asarray(x, dtype=np.float64))[:, None]
    x0, x1 = points[:-1, 0][None], points[1:, 0][None]
    step = x1 - x0
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (at - x0) / step
    inside = (share >= 0) & (share <= 1) & (step != 0)
    y = points[:-1, 1] + np.where(inside, share, 0.0) * np.diff(points[:, 1])
    found = np.where(inside, y, -np.inf if highest else np.inf)
    best = found.max(axis=1) if highest else found.min(axis=1)
    return np.where(np.isfinite(best), best, np.nan)


def clip_to_band(line: ArrayLike, low: float, high: float, *, highest: bool) -> FloatArray:
    """Part of a polyline with low <= x <= high, cut exactly at both ends; (K, 2), K may be 0."""
    points = np.asarray(line, dtype=np.float64)
    inside = points[(points[:, 0] >= low) & (points[:, 0] <= high)]
    ends = np.array([low, high])
    y = heights_at(points, ends, highest=highest)
    reached = np.isfinite(y)
    cut = np.column_stack([ends, y])[reached]
    both = np.concatenate([inside, cut])
    return both[np.argsort(both[:, 0], kind="stable")]


def _points_to_segments(points: FloatArray, line: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance of each point to each segment and the nearest points, (P, S) and (P, S, 2)."""
    start, step = line[:-1], np.diff(line, axis=0)
    length2 = np.maximum((step**2).sum(axis=1), 1e-300)
    share = ((points[:, None] - start) * step).sum(axis=2) / length2
    nearest = start + np.clip(share, 0, 1)[..., None] * step
    distance: FloatArray = np.linalg.norm(points[:, None] - nearest, axis=2)
    return distance, nearest


def closest_points(first: ArrayLike, second: ArrayLike) -> tuple[float, FloatArray, FloatArray]:
    """Shortest distance between two polylines that do not cross, and where it is reached.

    Returns
    -------
    distance : float.
    on_first, on_second : (2,) points.

    Notes
    -----
    Exact: between two segments that do not cross the distance is reached at an end of one.

    Examples
    --------
    >>> distance, a, b = closest_points([[0, 0], [4, 0]], [[0, 3], [2, 1], [4, 3]])
    >>> distance, a.tolist()
    (1.0, [2.0, 0.0])
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    a = np.repeat(a, 2, axis=0) if len(a) == 1 else a
    b = np.repeat(b, 2, axis=0) if len(b) == 1 else b
    from_a, on_b = _points_to_segments(a, b)
    from_b, on_a = _points_to_segments(b, a)
    i, j = np.unravel_index(int(from_a.argmin()), from_a.shape)
    k, m = np.unravel_index(int(from_b.argmin()), from_b.shape)
    if from_a[i, j] <= from_b[k, m]:
        return float(from_a[i, j]), a[i], on_b[i, j]
    return float(from_b[k, m]), on_a[k, m], b[k]


def common_tangent(first: ArrayLike, second: ArrayLike, outward: ArrayLike) -> FloatArray:
    """Line that touches two curves on the side of `outward`: (2, 2), a point of each.

    Parameters
    ----------
    first, second : (N, 2), (M, 2) points; `second` lies beside `first`, not behind it.
    outward : (2,) direction towards the side that is touched, roughly normal to the line.

    Notes
    -----
    Alternates between the direction of the line and the extreme points along its normal, which
    ends at a supporting line after a few steps because each step can only turn outward.

    Examples
    --------
    >>> common_tangent([[0, 0], [1, 1], [2, 0]], [[5, 0], [6, 1], [7, 0]], [0, 1]).tolist()
    [[1.0, 1.0], [6.0, 1.0]]
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    normal = np.asarray(outward, dtype=np.float64)
    touch = np.stack([a[0], b[0]])
    for _ in range(len(a) + len(b)):
        new = np.stack([a[int((a @ normal).argmax())], b[int((b @ normal).argmax())]])
        if np.array_equal(new, touch):
            break
        touch = new
        along = touch[1] - touch[0]
        turned = np.array([-along[1], along[0]])
        normal = turned if turned @ normal > 0 else -turned
    return touch
