"""Outer edges of the femur: the mean of all smooth curves, each weighed by what the film says.

The side of a condyle often shows several lines one beside the other: the bone, the skin, a vessel,
the rim of the film. A search for the best line jumps from one to the next when the film is shifted
by a pixel, and takes the whole x frame along. A mean over all curves, weighed by their evidence
over the whole height of the condyle, moves only as much as the evidence does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment, MarginLine
from kneeimg.errors import Finding
from kneeimg.segment.film.checks import width_uncertain
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.outline import femur_edge_x
from kneeimg.segment.film.rectify import WIDTH, LevelFilm
from kneeimg.segment.film.refine import RefineScale, Shape, refine

FloatArray = NDArray[np.float64]

EDGE_V = (-0.45, -0.17)

_REACH = 0.12  # x searched to either side of the expected place
_EXPECTED = 0.02  # SD of that place
# Mean rise along a curve, about 1 on a clear edge, by which one curve is e times as likely as
# another.
_EVIDENCE = 0.05
_TILTS = np.linspace(-0.3, 0.3, 7)  # x per v, against the typical edge
_BOWS = np.linspace(-1.5, 1.5, 5)  # x per v squared
_TILT, _BOW = 0.15, 0.8  # their SDs
_STEP_ROWS = 2  # rows between the points of a curve; the evidence is smoothed by as much
_SCAN_RIM = 3  # pixels along the edge of the film, 1.5 % of the width, that show no femoral edge
_UNSEEN = 0.3  # rise that is taken for granted where the film does not reach
# Bone is brighter than the soft tissue outside it: the rise from air to skin leads to grey, that
# to bone to the brightest place of the row. What it leads to is looked for so many columns inside.
_AHEAD = 10
_BRIGHT_X = (-0.15, 0.20)  # medial; between the greys of this range
_ALONG = 4.0  # rows, SD of the mean along the edge
_DOUBT = 0.015  # spread from which an edge is flagged
_SMOOTHING = 0.12  # half window of the fit along the final edge, of the femoral width
_UNSURE = 0.012  # spread at which the final edge is mostly the mean of all curves


@dataclass(frozen=True, slots=True, eq=False)
class FemoralEdge:
    """An outer edge of the femur.

    Attributes
    ----------
    line : (N, 2) x, v from proximal to distal; the mean of all curves.
    strength : Mean rise from soft tissue into bone along the best curve, about 1 for a clear edge.
    spread : SD of x of the outermost point over all curves.
    """

    line: FloatArray
    strength: float
    spread: float


def find_edge(film: LevelFilm, compartment: Compartment, expected: float) -> FemoralEdge:
    """The edge of the femur on one side.

    Parameters
    ----------
    film : Level film.
    compartment : Which edge.
    expected : x of its outermost point by the look of the knee; it may lie off the film.

    Notes
    -----
    A curve is the typical edge, moved, tilted and bowed. Its weight is exp of its mean rise (from
    dark into bright bone) over :data:`_EVIDENCE` times Gaussian priors of the place, tilt and bow.
    """
    from scipy.ndimage import map_coordinates

    medial = compartment is Compartment.MEDIAL
    rise = _rise(film, medial)
    outermost = (expected if medial else 1.0 - expected) + np.arange(-_REACH, _REACH, 1 / WIDTH)
    v = np.arange(*EDGE_V, _STEP_ROWS / WIDTH)
    shapes, shape_cost = _shapes(v)
    x = outermost[:, None] + shapes[:, None, :]
    where = [np.broadcast_to(film.row(v), x.shape), film.column(x)]
    gain = map_coordinates(rise, where, order=1, mode="constant", cval=_UNSEEN).mean(axis=-1)
    place_cost = 0.5 * (np.linspace(-_REACH, _REACH, len(outermost)) / _EXPECTED) ** 2
    merit = gain / _EVIDENCE - place_cost - shape_cost[:, None]
    share = np.exp(merit - merit.max())
    share /= share.sum()
    by_place, by_shape = share.sum(axis=0), share.sum(axis=1)
    middle = float(by_place @ outermost)
    spread = float(np.sqrt(by_place @ (outermost - middle) ** 2))
    line = middle + by_shape @ shapes
    line = line if medial else 1.0 - line
    return FemoralEdge(np.column_stack([line, v]), float(gain.max()), spread)


def _shapes(v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(K, N) x of every shape, inward from its outermost point, and what each shape costs."""
    tilt, bow = (grid.ravel() for grid in np.meshgrid(_TILTS, _BOWS))
    along = v - v.mean()
    square = along**2 - (along**2).mean()
    shapes = femur_edge_x(v) + tilt[:, None] * along + bow[:, None] * square
    cost: FloatArray = 0.5 * (tilt / _TILT) ** 2 + 0.5 * (bow / _BOW) ** 2
    return shapes - shapes.min(axis=1, keepdims=True), cost


def _rise(film: LevelFilm, medial: bool) -> FloatArray:
    """(rows, columns) rise from soft tissue into bone, the lateral side mirrored."""
    from scipy.ndimage import binary_erosion, gaussian_filter, maximum_filter1d

    detail = film.detail if medial else film.detail[:, ::-1]
    inside = film.inside if medial else film.inside[:, ::-1]
    slope = gaussian_filter(detail, (2.0, 1.3), order=(0, 1), mode="nearest")
    slope = np.clip(slope / (np.percentile(np.abs(slope), 95) + 1e-9), -1.0, 1.5)
    grey = gaussian_filter(detail, (_ALONG, 1.0), mode="nearest")
    ahead = maximum_filter1d(grey, _AHEAD, axis=1, origin=-(_AHEAD // 2), mode="nearest")
    band = slice(*(int(column) for column in film.column(np.array(_BRIGHT_X))))
    seen = inside[:, band]
    high = np.where(seen, ahead[:, band], ahead.min()).max(axis=1)
    low = np.where(seen, grey[:, band], grey.max()).min(axis=1)
    high, low = (gaussian_filter(level, 2 * _ALONG)[:, None] for level in (high, low))
    bright = np.clip((ahead - low) / (high - low + 1e-9), 0.0, 1.0) ** 2
    # the first lines of a scan are often darker than the film: their edge is not the femur's
    whole = binary_erosion(inside, iterations=_SCAN_RIM)
    return np.where(whole, np.where(slope > 0, slope * bright, slope), _UNSEEN)


def refined_edge(
    image: FloatArray, pose: Pose, edge: FemoralEdge, inward: FloatArray
) -> MarginLine:
    """An edge moved to the steepest rise into bone, as far as its place is sure.

    Parameters
    ----------
    image : (rows, columns) film, bright where dense.
    pose : Frame of the edge on the film.
    edge : The edge.
    inward : (2,) direction into bone, in pixels.
    """
    scale = RefineScale.of(pose.width, _SMOOTHING)
    moved = refine(image, pose.pixels(edge.line), inward, scale, Shape.ROUND)
    placed = pose.frame(moved.points)
    order = np.argsort(placed[:, 1])
    v = edge.line[:, 1]
    x = np.interp(v, placed[order, 1], placed[order, 0])
    sure = np.exp(-((edge.spread / _UNSURE) ** 2))
    x = sure * x + (1 - sure) * edge.line[:, 0]
    confidence = np.interp(v, placed[order, 1], moved.confidence[order])
    return MarginLine(pose.pixels(np.column_stack([x, v])), confidence)


def check_spread(edges: Mapping[Compartment, FemoralEdge]) -> list[Finding]:
    """Flag each edge for which the film leaves several places."""
    return [
        width_uncertain(
            c,
            "may lie at several places",
            f"a spread of at most {_DOUBT:g} femoral widths",
            f"{edge.spread:.3f}",
        )
        for c, edge in edges.items()
        if edge.spread > _DOUBT
    ]
