"""Outer edges of the femur on the level film, looked for above the ends of the plateaus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment
from kneeimg.segment.film.outline import femur_edge_x
from kneeimg.segment.film.rectify import WIDTH, LevelFilm
from kneeimg.segment.film.trace import TracedPair

FloatArray = NDArray[np.float64]

EDGE_V = (-0.45, -0.17)

_REACH = 28  # columns searched to either side of the expected edge, 0.14 of the width
_STEP = 2  # columns a path may move per row, against the typical edge
_BEND_COST = 0.06  # per column moved, against an edge strength of about 1
_PRIOR_COST = 0.25  # one spread away from the expected edge
_PRIOR_MOST = 2.0
_SCAN_RIM = 3  # pixels along the edge of the film, 1.5 % of the width, that show no femoral edge

_END_X = (-0.15, 0.20)  # medial; where the end of a plateau is looked for
_KNOWN_X = (0.12, 0.32)  # medial; where the plateau is surely there
_FROM_X = 0.10  # outside it the plateau is taken to go on level
_BELOW, _ABOVE = (1, 5), (-6, -2)  # rows of the plate and of the space above it
_SHIFTS = range(-6, 7, 2)  # rows by which a plateau may leave the level
_LEAST_STEP = 0.30  # of the usual step from space to plate: less is no plateau
_BEYOND = 0.050  # the edge of the femur lies this far outside the end of the plateau
_SPREAD = 0.050  # of that distance; lips widen a plateau, not the femur above it
_CLEAR = 0.80  # strength of an edge; a fainter one is looked for farther outside too, where the
_OUTWARD = (0.0, 0.07, 0.14)  # joint is closed and the plateau seems to end early
_IN_VIEW = 0.020  # x by which an edge is expected inside the film at least


def plateau_end(film: LevelFilm, pair: TracedPair, compartment: Compartment) -> float:
    """x at which the step from joint space to tibial plate ends; NaN when it is not seen.

    Notes
    -----
    The step (mean of the plate less mean of the space above it, in units of its median inside the
    joint) is summed outward less a threshold; the end is where that sum is greatest.
    """
    medial = compartment is Compartment.MEDIAL
    outward = np.arange(_END_X[1], _END_X[0], -1 / WIDTH)
    x = outward if medial else 1 - outward
    line = pair.tibia
    level_x = _FROM_X if medial else 1 - _FROM_X
    held = np.maximum(x, level_x) if medial else np.minimum(x, level_x)
    v = np.interp(held, line[:, 0], line[:, 1])
    grey = film.detail
    steps = [_step(film, grey, x, v + shift / WIDTH) for shift in _SHIFTS]
    depth = line[:, 0] if medial else 1 - line[:, 0]
    known = (depth > _KNOWN_X[0]) & (depth < _KNOWN_X[1])
    usual = float(np.median(_step(film, grey, line[known, 0], line[known, 1])))
    if usual <= 0:
        return float("nan")
    share = np.clip(np.max(steps, axis=0) / usual, -0.5, 1.0) - _LEAST_STEP
    return float(x[int(np.cumsum(share).argmax())])


def _step(film: LevelFilm, grey: FloatArray, x: FloatArray, v: FloatArray) -> FloatArray:
    """How much brighter the film is just below than just above each point, 0 out of view."""
    from scipy.ndimage import map_coordinates

    column, row = film.column(x)[:, None], film.row(v)[:, None]

    def strip(rows: tuple[int, int]) -> FloatArray:
        at = row + np.arange(rows[0], rows[1] + 1)
        where = [at, np.broadcast_to(column, at.shape)]
        values: FloatArray = map_coordinates(grey, where, order=1, mode="nearest").mean(axis=1)
        return values

    inside = map_coordinates(film.inside.astype(float), [row[:, 0], column[:, 0]], order=0)
    return np.where(inside > 0.5, strip(_BELOW) - strip(_ABOVE), 0.0)


def expected_edge(film: LevelFilm, pair: TracedPair, compartment: Compartment) -> float:
    """x at which the femur's edge should lie above the end of a plateau; NaN without an end.

    It may lie outside the film.
    """
    end = plateau_end(film, pair, compartment)
    return end - _BEYOND if compartment is Compartment.MEDIAL else end + _BEYOND


def _within(film: LevelFilm, x: float) -> float:
    """The place nearest to x that the film shows."""
    row = int(film.row(sum(EDGE_V) / 2))
    shown = np.flatnonzero(film.inside[row])
    if not len(shown):
        return x
    low, high = film.frame(shown[[0, -1]].astype(np.float64), np.zeros(2))[:, 0]
    return float(np.clip(x, low + _IN_VIEW, high - _IN_VIEW))


def trace_edge(
    film: LevelFilm, compartment: Compartment, expected: float
) -> tuple[FloatArray, float]:
    """Outer edge of the femur, (N, 2) x, v from proximal to distal, and its strength.

    Parameters
    ----------
    film : Level film.
    compartment : Which edge.
    expected : x where it should lie, from :func:`expected_edge`; NaN takes the typical outline.
        Where that is off the film the edge of the film is searched: a worn plateau may be wider
        than the femur.

    Returns
    -------
    The line, and its mean rise from soft tissue into bone, about 1 for a clear edge.

    Notes
    -----
    Single best path down a band around the typical edge, from soft tissue (dark) into bone. The
    band stands where the end of the plateau says: the outline that located the knee fits films
    of the skin's edge too well to say how wide the femur is.
    """
    from scipy.ndimage import binary_erosion, gaussian_filter

    sign = 1.0 if compartment is Compartment.MEDIAL else -1.0
    if not np.isfinite(expected):
        expected = 0.0 if sign > 0 else 1.0
    slope = gaussian_filter(film.detail, (2.0, 1.3), order=(0, 1), mode="nearest")
    slope = sign * slope / (np.percentile(np.abs(slope), 95) + 1e-9)
    # the first lines of a scan are often darker than the film: their edge is not the femur's
    whole = binary_erosion(film.inside, iterations=_SCAN_RIM)
    best = _path_near(film, slope, whole, sign, _within(film, expected))
    if best[1] < _CLEAR:
        places = [_within(film, expected - sign * step) for step in _OUTWARD[1:]]
        others = [_path_near(film, slope, whole, sign, place) for place in places]
        best = max([best, *others], key=lambda found: found[1])
    return best


def _path_near(
    film: LevelFilm, slope: FloatArray, whole: NDArray[np.bool_], sign: float, expected: float
) -> tuple[FloatArray, float]:
    """Best path down the band around one place; `sign` 1 where bone lies to the right."""
    from scipy.ndimage import map_coordinates

    v = np.arange(*EDGE_V, 1 / WIDTH)
    typical = femur_edge_x(v)
    typical = expected + (typical if sign > 0 else -typical)
    reach = np.arange(-_REACH, _REACH + 1)
    at = film.column(typical)[:, None] + reach
    rows = np.broadcast_to(film.row(v)[:, None], at.shape)
    gain = np.clip(map_coordinates(slope, [rows, at], order=1, mode="nearest"), -1, 1.5)
    inside = map_coordinates(whole.astype(float), [rows, at], order=0, mode="constant")
    prior = _PRIOR_COST * (reach / (_SPREAD * WIDTH)) ** 2
    gain = np.where(inside > 0.5, gain, -1.0)
    path = best_path(gain - np.minimum(prior, _PRIOR_MOST))
    steps = np.arange(len(v))
    return LevelFilm.frame(at[steps, path], film.row(v)), float(gain[steps, path].mean())


def best_path(gain: FloatArray) -> NDArray[np.int64]:
    """Column of each row of a (steps, states) gain, so that the path's summed gain is greatest."""
    steps, n = gain.shape
    moves = np.arange(-_STEP, _STEP + 1)
    total = gain[0]
    choice = np.zeros((steps, n), dtype=np.int64)
    for k in range(1, steps):
        padded = np.pad(total, _STEP, constant_values=-np.inf)
        options = np.stack([padded[_STEP + a : _STEP + a + n] for a in moves])
        options -= (_BEND_COST * np.abs(moves))[:, None]
        choice[k] = options.argmax(axis=0)
        total = gain[k] + options.max(axis=0)
    at = int(total.argmax())
    path = np.zeros(steps, dtype=np.int64)
    for k in range(steps - 1, -1, -1):
        path[k] = at
        at = at + (int(moves[choice[k, at]]) if k else 0)
    return path
