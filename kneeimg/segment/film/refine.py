"""Sub-pixel margins on the film itself: edge position along the normal of a traced line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import MarginLine
from kneeimg.geometry.smoothing import local_quadratic

FloatArray = NDArray[np.float64]

#: A rounded bone's path length starts like a square root; blurred by a Gaussian of SD s its
#: steepest rise lies 0.77 s inside the silhouette and the outer half height of the slope 0.55 s
#: outside it, whatever s is. Blur acts before the logarithm, which adds a few per cent more.
ROUND_ONSET = 0.60
#: A plate parallel to the beam starts at once: its steepest rise is the margin, but for the same
#: effect of the logarithm (measured on phantoms with a contrast of about one neper).
FLAT_ONSET = 0.15

_SAMPLES_PER_PIXEL = 4
_LEAST_SPREAD = 0.25  # pixels; a smooth margin has no outliers
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
    image: FloatArray,
    line: FloatArray,
    toward_bone: FloatArray,
    scale: RefineScale,
    onset: float,
) -> MarginLine:
    """Move a line to the steepest rise into bone, at sub-pixel precision.

    Parameters
    ----------
    image : (rows, columns) film, bright where dense.
    line : (N, 2) column, row near the margin.
    toward_bone : (2,) rough direction from the space into bone.
    scale : Lengths in pixels.
    onset : How far the true margin lies before the steepest rise, in half widths of the rise:
        :data:`ROUND_ONSET` or :data:`FLAT_ONSET`.

    Returns
    -------
    MarginLine
        Smoothed points every `scale.step` pixels. Confidence falls with a weak edge (against
        the noise of its own surroundings) and with the distance of the raw edge from the line.
    """
    points = _smoothed(resample(line, scale.step), np.ones(1), 0.5 * scale.window)
    noise = 0.0
    for share in (1.0, 0.6, 0.4):
        points = resample(points, scale.step)
        normal = normals(points, toward_bone)
        offset, slope, usual, half_width = _edge_offsets(image, points, normal, scale, share)
        noise = noise or usual  # of the widest band, where most is not edge
        strength = slope / noise
        raw = points + offset[:, None] * normal
        # positions are smoothed, not offsets: a kink of the traced line must not survive
        points = _smoothed(raw, 0.02 + _sureness(strength), scale.window)
        residual = ((raw - points) * normal).sum(axis=1)
    rise = min(float(np.median(half_width)), 0.5 * scale.reach)
    points = points - onset * rise * normals(points, toward_bone)
    sure = _sureness(strength) * np.exp(-0.5 * (residual / (0.4 * scale.reach)) ** 2)
    return MarginLine(points, np.clip(sure, 0.0, 1.0))


def _sureness(strength: FloatArray) -> FloatArray:
    """0..1 from an edge's strength over the noise."""
    sure: FloatArray = strength**2 / (strength**2 + _NOISE_STEPS**2)
    return sure


def _smoothed(points: FloatArray, weight: FloatArray, half_window: float) -> FloatArray:
    """Both coordinates smoothed along the line."""
    arc = arc_length(points)
    weights = np.broadcast_to(weight, arc.shape)
    fits = [
        local_quadratic(arc, points[:, k], weights, half_window, least_spread=_LEAST_SPREAD)
        for k in (0, 1)
    ]
    return np.column_stack(fits)


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
    return sampled(image, points[:, None] + distance[None, :, None] * normal[:, None])


def sampled(image: FloatArray, at: FloatArray) -> FloatArray:
    """Grey values at (..., 2) column, row; cubic, of the part of the film that is needed."""
    from scipy.ndimage import map_coordinates

    axes = tuple(range(at.ndim - 1))
    size = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(at.min(axis=axes)).astype(int) - 6, 0, size - 2)
    high = np.clip(np.ceil(at.max(axis=axes)).astype(int) + 7, low + 2, size)
    part = image[low[1] : high[1], low[0] : high[0]]
    place = [at[..., 1] - low[1], at[..., 0] - low[0]]
    values: FloatArray = map_coordinates(part, place, order=3, mode="nearest")
    return values


def _edge_offsets(
    image: FloatArray, points: FloatArray, normal: FloatArray, scale: RefineScale, share: float
) -> tuple[FloatArray, FloatArray, float, FloatArray]:
    """Offset of the steepest rise along each normal, its slope, the usual slope, half widths."""
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
    usual = float(np.median(np.abs(slope - np.median(slope)))) * 1.4826 + 1e-9
    below = (slope < 0.5 * here[:, None]) & (distance[None, :] < distance[peak][:, None])
    # last sample before the peak that is below half of it
    first = np.where(below.any(axis=1), below.shape[1] - 1 - below[:, ::-1].argmax(axis=1), 0)
    half_width = _half_width(slope, first, here, offset, distance)
    return offset, np.maximum(here, 0.0), usual, half_width


def _half_width(
    slope: FloatArray,
    first: NDArray[np.int64],
    height: FloatArray,
    offset: FloatArray,
    distance: FloatArray,
) -> FloatArray:
    """Distance from the half height of each rise, outside bone, to its steepest point."""
    rows = np.arange(len(slope))
    low, high = slope[rows, first], slope[rows, first + 1]
    share = np.clip((0.5 * height - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    half: FloatArray = offset - (distance[first] + share * (distance[1] - distance[0]))
    return np.maximum(half, 0.0)
