"""The rim of a plateau where a tilted beam lifts it off the floor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment, MarginLine
from kneeimg.segment.film.edges import best_path
from kneeimg.segment.film.rectify import WIDTH, LevelFilm

FloatArray = NDArray[np.float64]

_NEAREST, _FARTHEST = 0.015, 0.075  # of the femoral width above the floor, 1.2 and 6 mm
_X = {Compartment.MEDIAL: (0.10, 0.31), Compartment.LATERAL: (0.69, 0.90)}
_FEMUR_CLEAR = 0.012  # the lowest part of the space shows the femur's own edge
_LEAST_STRENGTH = 0.05  # rise into the rim, of a clear margin's
# The same search for a fall of density finds noise only; a rim must stand out from what it finds.
_ABOVE_NOISE = 2.0
_LEAST_ROOM = 0.6  # share of the range in which the space is high enough to hold a rim


def find_rims(
    film: LevelFilm,
    femur: Mapping[Compartment, MarginLine],
    tibia: Mapping[Compartment, MarginLine],
) -> dict[Compartment, MarginLine]:
    """Rims that stand clear of the floor, in pixels; a compartment without one is left out.

    Parameters
    ----------
    film : Level film.
    femur, tibia : Margins in pixels.

    Notes
    -----
    Between floor and rim the beam grazes a wedge of the plateau: above the bright floor the film
    is grey, and dark above the rim. The strongest path of that rise is taken when it is at least
    twice as strong as the strongest path of a fall in the same band.
    """
    rims: dict[Compartment, MarginLine] = {}
    for compartment in Compartment:
        top = film.pose.frame(femur[compartment].points)
        floor = film.pose.frame(tibia[compartment].points)
        line, strength = _rim(film, compartment, top, floor)
        if len(line):
            rims[compartment] = MarginLine(film.pose.pixels(line), np.clip(strength, 0.0, 1.0))
    return rims


def _rim(
    film: LevelFilm, compartment: Compartment, top: FloatArray, floor: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(N, 2) x, v of a rim and its strength; empty without one."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    x = np.arange(*_X[compartment], 1 / WIDTH)
    above, below = (_heights(line, x) for line in (top, floor))
    away = np.arange(_NEAREST, _FARTHEST, 0.5 / WIDTH)
    v = below[:, None] - away
    free = v > above[:, None] + _FEMUR_CLEAR
    none = np.empty((0, 2)), np.empty(0)
    enough = free.sum(axis=1) >= 4
    if enough.mean() < _LEAST_ROOM:
        return none
    slope = gaussian_filter(film.detail, (1.3, 2.0), order=(1, 0), mode="nearest")
    near = slice(int(film.row(-0.25)), int(film.row(0.25)))
    slope = slope / (np.percentile(np.abs(slope[near]), 97) + 1e-9)
    at = [film.row(v), np.broadcast_to(film.column(x)[:, None], v.shape)]
    rise = map_coordinates(slope, at, order=1, mode="nearest")
    path, strength = _strongest(np.where(free, rise, -np.inf)[enough])
    fall = np.where(free, -rise, np.inf)[enough][:, ::-1]
    noise = max(float(_strongest(fall)[1].mean()), 0.0)
    if strength.mean() < max(_LEAST_STRENGTH, _ABOVE_NOISE * noise):
        return none
    return np.column_stack([x[enough], below[enough] - away[path]]), strength


def _strongest(rise: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Path along the strongest rise beyond the first bone's own edge, and the rise on it.

    The edge that a row starts at fades over a few samples; what counts begins where the rise
    grows again.
    """
    known = np.nan_to_num(rise, posinf=1e3, neginf=-1e3)
    grows = np.diff(known, axis=1, prepend=known[:, :1]) > 0
    beyond = np.cumsum(grows, axis=1) > 0
    gain = np.where(beyond & np.isfinite(rise), np.clip(known, -0.5, 1.0), -0.5)
    path = best_path(gain)
    return path, gain[np.arange(len(path)), path]


def _heights(line: FloatArray, x: FloatArray) -> FloatArray:
    order = np.argsort(line[:, 0])
    height: FloatArray = np.interp(x, line[order, 0], line[order, 1])
    return height
