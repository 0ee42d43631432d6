"""Outer edges of the femur on the level film, looked for above the ends of the plateaus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment
from kneeimg.segment.film.rectify import WIDTH, LevelFilm
from kneeimg.segment.film.trace import TracedPair

FloatArray = NDArray[np.float64]

EDGE_V = (-0.45, -0.17)

_STEP = 2  # columns a path may move per row, against the typical edge
_BEND_COST = 0.06  # per column moved, against an edge strength of about 1

_END_X = (-0.15, 0.20)  # medial; where the end of a plateau is looked for
_KNOWN_X = (0.12, 0.32)  # medial; where the plateau is surely there
_FROM_X = 0.10  # outside it the plateau is taken to go on level
_BELOW, _ABOVE = (1, 5), (-6, -2)  # rows of the plate and of the space above it
_SHIFTS = range(-6, 7, 2)  # rows by which a plateau may leave the level
_LEAST_STEP = 0.30  # of the usual step from space to plate: less is no plateau
_BEYOND = 0.050  # the edge of the femur lies this far outside the end of the plateau


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


def best_path(gain: FloatArray) -> NDArray[np.int64]:
    """Column of each row of a (steps, states) gain, so that the path's summed gain is greatest."""
    steps, n = gain.shape
    moves = np.arange(-_STEP, _STEP + 1)
    cost = _BEND_COST * np.abs(moves)
    totals = np.full((steps, n + 2 * _STEP), -np.inf)
    totals[0, _STEP : _STEP + n] = gain[0]
    for k in range(1, steps):
        before, best = totals[k - 1], np.full(n, -np.inf)
        for start, dear in enumerate(cost):
            np.maximum(best, before[start : start + n] - dear, out=best)
        totals[k, _STEP : _STEP + n] = gain[k] + best
    at = int(totals[-1].argmax()) - _STEP
    path = np.zeros(steps, dtype=np.int64)
    for k in range(steps - 1, -1, -1):
        path[k] = at
        if k:  # the move that led here is found again, which is cheaper than to note all
            at += int(moves[int((totals[k - 1, at : at + 2 * _STEP + 1] - cost).argmax())])
    return path
