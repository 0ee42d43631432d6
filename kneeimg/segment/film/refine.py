"""Sub-pixel margins on the film itself: edge position along the normal of a traced line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import MarginLine
from kneeimg.geometry.smoothing import local_quadratic

FloatArray = NDArray[np.float64]

_SAMPLES_PER_PIXEL = 4
_NOISE_STEPS = 3.0  # an edge this many times the noise has confidence one half


@dataclass(frozen=True, slots=True)
class RefineScale:
    """Lengths of the refinement in pixels of the film, from its femoral width.

    Attributes
    ----------
    reach : Farthest move along the normal in the first pass.
    blur : SD of the Gaussian against noise across the margin.
    along : SD of the average along the margin.
    window : Half window of the final smoothing along the margin.
    step : Distance of points along the margin.
    """

    reach: float
    blur: float
    along: float
    window: float
    step: float

    @classmethod
    def of(cls, width: float, smoothing_width: float) -> RefineScale:
        """Scale for a femoral width in pixels."""
        return cls(
            reach=max(3.0, 0.016 * width),
            blur=max(0.7, 0.0012 * width),
            along=max(0.7, 0.004 * width),
            window=smoothing_width * width,
            step=max(0.75, 0.0035 * width),
        )


def refine(
    image: FloatArray, line: FloatArray, toward_bone: FloatArray, scale: RefineScale
) -> MarginLine:
    """Move a line to the steepest rise into bone, at sub-pixel precision.

    Parameters
    ----------
    image : (rows, columns) film, bright where dense.
    line : (N, 2) column, row near the margin.
    toward_bone : (2,) rough direction from the space into bone.
    scale : Lengths in pixels.

    Returns
    -------
    MarginLine
        Smoothed points every `scale.step` pixels. Confidence falls with a weak edge (against
        the noise of its own surroundings) and with the distance of the raw edge from the line.
    """
    points = resample(line, scale.step)
    strength = residual = np.zeros(len(points))
    for share in (1.0, 0.6, 0.4):
        normal = normals(points, toward_bone)
        arc = arc_length(points)
        offset, strength = _edge_offsets(image, points, normal, scale, share)
        smooth = local_quadratic(arc, offset, strength**2 + 1e-6, scale.window)
        residual = offset - smooth
        points = points + smooth[:, None] * normal
    sure = strength**2 / (strength**2 + _NOISE_STEPS**2)
    sure *= np.exp(-0.5 * (residual / (0.4 * scale.reach)) ** 2)
    return MarginLine(points, np.clip(sure, 0.0, 1.0))


def resample(line: FloatArray, step: float) -> FloatArray:
    """Points at equal distances along a polyline, both ends kept."""
    arc = arc_length(line)
    count = max(3, round(arc[-1] / step) + 1)
    at = np.linspace(0, arc[-1], count)
    resampled: FloatArray = np.column_stack([np.interp(at, arc, line[:, k]) for k in (0, 1)])
    return resampled


def arc_length(line: FloatArray) -> FloatArray:
    """(N,) distance along a polyline from its first point."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(np.maximum(steps, 1e-9))])


def normals(points: FloatArray, toward: FloatArray) -> FloatArray:
    """Unit normals of a polyline on the side of `toward`, from a smoothed tangent."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(points, 2.0, axis=0, mode="nearest")
    tangent = np.gradient(smooth, axis=0)
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0]])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    normal[(normal @ toward) < 0] *= -1
    return normal


def profiles(
    image: FloatArray, points: FloatArray, normal: FloatArray, distance: FloatArray
) -> FloatArray:
    """(N, K) grey values at distances along the normals, cubic interpolation."""
    from scipy.ndimage import map_coordinates

    at = points[:, None] + distance[None, :, None] * normal[:, None]
    low = np.maximum(np.floor(at.min(axis=(0, 1))).astype(int) - 6, 0)
    high = np.ceil(at.max(axis=(0, 1))).astype(int) + 7
    part = image[low[1] : high[1], low[0] : high[0]]
    return map_coordinates(
        part, [at[..., 1] - low[1], at[..., 0] - low[0]], order=3, mode="nearest"
    )


def _edge_offsets(
    image: FloatArray, points: FloatArray, normal: FloatArray, scale: RefineScale, share: float
) -> tuple[FloatArray, FloatArray]:
    """Offset of the steepest rise along each normal, and its strength over the noise."""
    from scipy.ndimage import gaussian_filter

    reach = scale.reach * share
    step = 1 / _SAMPLES_PER_PIXEL
    wide = reach + 3 * scale.blur
    distance = np.arange(-np.ceil(wide / step), np.ceil(wide / step) + 1) * step
    grey = profiles(image, points, normal, distance)
    smoothing = (scale.along / scale.step, scale.blur / step)
    slope = gaussian_filter(grey, smoothing, order=(0, 1), mode="nearest")
    inner = np.abs(distance) <= reach
    favoured = slope * np.exp(-0.5 * (distance / (0.8 * reach)) ** 2)
    peak = np.where(inner, favoured, -np.inf).argmax(axis=1)
    rows = np.arange(len(points))
    before, here, after = (slope[rows, peak + k] for k in (-1, 0, 1))
    bend = before - 2 * here + after
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(bend < 0, 0.5 * (before - after) / bend, 0.0)
    offset = distance[peak] + np.clip(part, -1.0, 1.0) * step
    noise = np.median(np.abs(slope - np.median(slope))) * 1.4826 + 1e-9
    return offset, np.maximum(here, 0.0) / noise
