"""Sub-pixel margins on the film itself: edge position along the normal of a traced line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import MarginLine
from kneeimg.geometry.smoothing import local_quadratic
from kneeimg.segment.film.edges import best_path

FloatArray = NDArray[np.float64]

#: A rounded bone's path length starts like a square root; blurred by a Gaussian of SD s its
#: steepest rise lies 0.77 s inside the silhouette and the outer half height of the slope 0.55 s
#: outside it, whatever s is. Blur acts before the logarithm, which adds a few per cent more.
ROUND_ONSET = 0.60
# A plate parallel to the beam starts at once: its steepest rise is the margin, but for the same
# effect of the logarithm (measured on phantoms with a contrast of about one neper).
_FLAT_ONSET = 0.15
# The slope of a rise tells how a plateau is shaped along the beam. It falls off alike to both sides
# at a flat one; slowly into bone at the crest of a convex one, which starts like a rounded bone;
# and slowly into the space above a dished one, whose rims let the density grow before the floor is
# reached: there the floor lies 0.75 inner half widths beyond the steepest rise.
_PER_ASYMMETRY = 1.1
_DISHED_ONSET = 0.75
_DEEPER = 1.6  # a traced rim lies above the floor: this much farther is looked into bone
_BRIGHT_BELOW = 0.016  # of the femoral width: the floor is as bright so far below its edge

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
    below : How far below its edge the brightness of a floor is looked for.
    """

    reach: float
    blur: float
    along: float
    window: float
    step: float
    below: float

    @classmethod
    def of(cls, width: float, smoothing_width: float) -> RefineScale:
        """Scale for a femoral width in pixels."""
        return cls(
            reach=max(3.0, 0.016 * width),
            blur=max(0.7, 0.0012 * width),
            along=max(0.7, 0.004 * width),
            window=smoothing_width * width,
            step=max(0.75, 0.0035 * width),
            below=_BRIGHT_BELOW * width,
        )


class Shape(Enum):
    """What a margin bounds, along the beam."""

    ROUND = "a condyle or the side of a bone"
    FLOOR = "a plateau: flat, dished or convex"


@dataclass(frozen=True, slots=True, eq=False)
class _Edge:
    """The rise into bone along each normal.

    Attributes
    ----------
    offset, slope : Place of the steepest rise in pixels, and how steep it is.
    usual : Spread of all slopes: noise.
    outer, inner : Distance in pixels from the steepest point to half its slope, towards the space
        and into bone.
    """

    offset: FloatArray
    slope: FloatArray
    usual: float
    outer: FloatArray
    inner: FloatArray


def refine(
    image: FloatArray,
    line: FloatArray,
    toward_bone: FloatArray,
    scale: RefineScale,
    shape: Shape,
) -> MarginLine:
    """Move a line to the steepest rise into bone, at sub-pixel precision.

    Parameters
    ----------
    image : (rows, columns) film, bright where dense.
    line : (N, 2) column, row near the margin.
    toward_bone : (2,) rough direction from the space into bone.
    scale : Lengths in pixels.
    shape : What lies below the margin; says where the margin is about the steepest rise.

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
        edge = _edge_offsets(image, points, normal, scale, share, shape)
        offset = edge.offset
        noise = noise or edge.usual  # of the widest band, where most is not edge
        strength = edge.slope / noise
        raw = points + offset[:, None] * normal
        # positions are smoothed, not offsets: a kink of the traced line must not survive
        points = _smoothed(raw, 0.02 + _sureness(strength), scale.window)
        residual = ((raw - points) * normal).sum(axis=1)
    points = points - _onset(edge, scale, shape) * normals(points, toward_bone)
    sure = _sureness(strength) * np.exp(-0.5 * (residual / (0.4 * scale.reach)) ** 2)
    return MarginLine(points, np.clip(sure, 0.0, 1.0))


def _onset(edge: _Edge, scale: RefineScale, shape: Shape) -> float:
    """How far the margin lies before the steepest rise, in pixels; negative: beyond it."""
    most = 0.5 * scale.reach
    outer, inner = (min(float(np.median(half)), most) for half in (edge.outer, edge.inner))
    if shape is Shape.ROUND:
        return ROUND_ONSET * outer
    onset = _FLAT_ONSET * outer + _PER_ASYMMETRY * (inner - outer)
    return float(np.clip(onset, -_DISHED_ONSET * inner, ROUND_ONSET * outer))


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
    image: FloatArray,
    points: FloatArray,
    normal: FloatArray,
    scale: RefineScale,
    share: float,
    shape: Shape,
) -> _Edge:
    """The steepest rise along each normal, for a floor the one that leads to the brightest line."""
    from scipy.ndimage import gaussian_filter

    reach = scale.reach * share
    step = 1 / _SAMPLES_PER_PIXEL
    wide = reach * _DEEPER + 3 * scale.blur
    distance = np.arange(-np.ceil(wide / step), np.ceil(wide / step) + 1) * step
    grey = profiles(image, points, normal, distance)
    smoothing = (scale.along / scale.step, scale.blur / step)
    slope = gaussian_filter(grey, smoothing, order=(0, 1), mode="nearest")
    far = reach * np.where((shape is Shape.FLOOR) & (distance > 0), _DEEPER, 1.0)
    inner = np.abs(distance) <= far
    favoured = slope * np.exp(-0.5 * (distance / (0.8 * far)) ** 2)
    if shape is Shape.FLOOR:
        favoured = favoured * _brightness_below(grey, inner, round(scale.below / step))
    if shape is Shape.FLOOR:  # a path, not each profile's own best: rim and floor do not mix
        usual_rise = np.percentile(favoured[:, inner].max(axis=1), 75) + 1e-12
        peak = np.flatnonzero(inner)[best_path(favoured[:, inner] / usual_rise)]
    else:
        peak = np.where(inner, favoured, -np.inf).argmax(axis=1)
    rows = np.arange(len(points))
    before, here, after = (slope[rows, peak + k] for k in (-1, 0, 1))
    bend = before - 2 * here + after
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(bend < 0, 0.5 * (before - after) / bend, 0.0)
    offset = distance[peak] + np.clip(part, -1.0, 1.0) * step
    usual = float(np.median(np.abs(slope - np.median(slope)))) * 1.4826 + 1e-9
    outer = _half_width(slope, peak, here, offset, distance)
    inward = len(distance) - 1 - peak  # the same, seen from inside the bone
    inner_half = _half_width(slope[:, ::-1], inward, here, -offset, -distance[::-1])
    return _Edge(offset, np.maximum(here, 0.0), usual, outer, inner_half)


def _brightness_below(grey: FloatArray, inner: NDArray[np.bool_], samples: int) -> FloatArray:
    """Brightness of the brightest place shortly below each sample, 0..1 of each profile's range.

    A rim is a rise to a grey wedge, the floor one to the brightest line.
    """
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    smooth = gaussian_filter1d(grey, 3.0, axis=0, mode="nearest")
    size = 2 * (samples // 2) + 1
    ahead = maximum_filter1d(smooth, size, axis=1, origin=-(size // 2), mode="nearest")
    low, high = smooth[:, inner].min(axis=1), ahead[:, inner].max(axis=1)
    share = (ahead - low[:, None]) / (high - low + 1e-9)[:, None]
    squared: FloatArray = np.clip(share, 0.0, 1.0) ** 2
    return squared


def _half_width(
    slope: FloatArray,
    peak: NDArray[np.int64],
    height: FloatArray,
    offset: FloatArray,
    distance: FloatArray,
) -> FloatArray:
    """Distance from the half height before each rise's steepest point to that point."""
    below = (slope < 0.5 * height[:, None]) & (distance[None, :] < distance[peak][:, None])
    # last sample before the peak that is below half of it
    first = np.where(below.any(axis=1), below.shape[1] - 1 - below[:, ::-1].argmax(axis=1), 0)
    rows = np.arange(len(slope))
    low, high = slope[rows, first], slope[rows, first + 1]
    share = np.clip((0.5 * height - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    half: FloatArray = offset - (distance[first] + share * (distance[1] - distance[0]))
    return np.maximum(half, 0.0)
