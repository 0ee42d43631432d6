"""Margins on the level film: the best pair of paths along condyle and plateau, and bone edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment
from kneeimg.segment.film.outline import femur_v, tibia_v
from kneeimg.segment.film.rectify import WIDTH, LevelFilm

FloatArray = NDArray[np.float64]

MARGIN_X = {Compartment.MEDIAL: (0.045, 0.40), Compartment.LATERAL: (0.60, 0.955)}

_REACH = 24  # rows searched to either side of the typical margin, 0.12 of the width
_STEP = 1  # rows a path may move per column, against the typical margin
# Per row moved, against an edge strength of about 1. Where a joint is closed no space leads on, and
# a path that moves cheaply wanders off into the tibia.
_BEND_COST = 0.15
_PRIOR_COST = 0.5  # at the end of the reach
_DARK_GAIN = 0.8  # weight of a joint space that is darker than both bones
_STRIP = 5  # rows of bone compared with the space
_PLATE_GAIN = 0.8  # weight of bright bone right below the floor; a rim has grey bone below it
_PLATE_CAP = 3.5  # spreads of the film
_TIBIA_EDGE_CAP = 0.6  # a sharp rim is no better than a clear floor
_PLATE = (1, 5)  # rows of the subchondral plate below the floor, 2 mm
# Rows of the widest usual space; wider ones are found in closed joints, between other lines.
_WIDE_ROWS = {Compartment.MEDIAL: 19, Compartment.LATERAL: 24}
_WIDE_COST = 0.08  # per row beyond
# A joint space is darker than the mean of its surroundings, not only than the lines that bound it:
# in a closed joint the marrow below the plate would do for a space otherwise.
_GREY_SPACE = -0.5  # spreads of the film, brighter is hardly a space
_GREY_COST = 0.8  # per spread
_CLOSED_ROWS = 2  # narrower spaces are not asked to be dark


@dataclass(frozen=True, slots=True, eq=False)
class TracedPair:
    """Paths of one compartment in the tangent frame.

    Attributes
    ----------
    femur, tibia : (N, 2) x, v.
    strength : (N,) mean edge strength of the two paths, about 1 for a clear margin.
    contrast : Median darkness of the space against bone, in units of the film's spread.
    """

    femur: FloatArray
    tibia: FloatArray
    strength: FloatArray
    contrast: float


def trace_pair(film: LevelFilm, compartment: Compartment, offset: float = 0.0) -> TracedPair:
    """Best pair of condylar and plateau margin in one compartment.

    Parameters
    ----------
    film : Level film.
    compartment : Which.
    offset : Rows by which the typical margins are moved, for a second look.

    Notes
    -----
    Both bands are straightened by the typical outline. A state is a pair of rows; its gain is the
    strength of a bright-to-dark edge at the femur, of a dark-to-bright edge at the tibia and the
    darkness between. Dynamic programming finds the best pair of paths exactly; closed joints are
    allowed (both paths at one row), overlap is not.
    """
    low, high = MARGIN_X[compartment]
    x = np.arange(low, high, 1 / WIDTH)
    bands = _Bands.of(film, x, offset, _WIDE_ROWS[compartment])
    gain = np.stack([bands.gain(k) for k in range(len(x))])
    femur_rows, tibia_rows = _best_paths(gain)
    return bands.traced(femur_rows, tibia_rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Bands:
    """Edge strength and grey sums along each column of a compartment."""

    x: FloatArray
    femur_row: FloatArray  # typical row of each margin
    tibia_row: FloatArray
    femur_edge: FloatArray  # (columns, 2 reach + 1)
    tibia_edge: FloatArray
    sums: FloatArray  # (columns, rows + 1) running sum of normalised grey values
    wide_rows: int

    @classmethod
    def of(cls, film: LevelFilm, x: FloatArray, offset: float, wide_rows: int) -> _Bands:
        from scipy.ndimage import gaussian_filter, map_coordinates

        grey = film.detail
        slope = gaussian_filter(grey, (1.3, 1.5), order=(1, 0), mode="nearest")
        near = slice(int(film.row(-0.25)), int(film.row(0.25)))
        slope = slope / (np.percentile(np.abs(slope[near]), 97) + 1e-9)
        column = film.column(x)
        rows_f, rows_t = film.row(femur_v(x)) + offset, film.row(tibia_v(x)) + offset
        reach = np.arange(-_REACH, _REACH + 1)

        def sampled(rows: FloatArray) -> FloatArray:
            at = rows[:, None] + reach
            where = [at, np.broadcast_to(column[:, None], at.shape)]
            values: FloatArray = map_coordinates(slope, where, order=1, mode="nearest")
            return values

        all_rows = np.arange(grey.shape[0])
        where = np.meshgrid(column, all_rows, indexing="ij")
        values = map_coordinates(grey, [where[1], where[0]], order=1, mode="nearest")
        sums = np.concatenate([np.zeros((len(x), 1)), np.cumsum(values, axis=1)], axis=1)
        return cls(x, rows_f, rows_t, -sampled(rows_f), sampled(rows_t), sums, wide_rows)

    def gain(self, k: int) -> FloatArray:
        """(femur states, tibia states) gain of column k, -inf where the bones would overlap."""
        reach = np.arange(-_REACH, _REACH + 1)
        prior = _PRIOR_COST * (reach / _REACH) ** 2
        edges = (np.clip(self.femur_edge[k], -1, 1.5) - prior)[:, None]
        edges = edges + (np.clip(self.tibia_edge[k], -1, _TIBIA_EDGE_CAP) - prior)[None, :]
        top = (self.femur_row[k] + reach)[:, None]
        bottom = (self.tibia_row[k] + reach)[None, :]
        gap = bottom - top
        dark, inner = self._darkness(k, top, bottom)
        dark = np.clip(dark, -1.0, 1.0) - _GREY_COST * np.clip(inner - _GREY_SPACE, 0.0, 2.0)
        dark = np.where(gap > _CLOSED_ROWS, dark, 0.0)
        edges = edges + _PLATE_GAIN * np.clip(self._plate(k, bottom), -1.0, _PLATE_CAP)
        edges = edges - _WIDE_COST * np.maximum(gap - self.wide_rows, 0.0)
        total: FloatArray = np.where(gap >= 0, edges + _DARK_GAIN * dark, -np.inf)
        return total

    def _mean(self, k: int, start: FloatArray, stop: FloatArray) -> FloatArray:
        """Mean grey value of column k between two rows."""
        rows = np.arange(self.sums.shape[1])
        total = np.interp(stop + 0.5, rows, self.sums[k])
        total = total - np.interp(start + 0.5, rows, self.sums[k])
        average: FloatArray = total / np.maximum(stop - start, 1e-6)
        return average

    def _plate(self, k: int, bottom: FloatArray) -> FloatArray:
        """Brightness of the strip below a tibial margin, in spreads of the film."""
        return self._mean(k, bottom + _PLATE[0], bottom + _PLATE[1])

    def _darkness(
        self, k: int, top: FloatArray, bottom: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """How much darker the space is than the bone above and below it, and its brightness."""
        above = self._mean(k, top - _STRIP, top - 1)
        below = self._mean(k, bottom + 1, bottom + _STRIP)
        low = np.maximum(bottom, top + 1)
        inner = self._mean(k, top + 0 * bottom, low)
        # the rim of a dished or tilted plateau greys the lower half of the space
        inner = np.minimum(inner, self._mean(k, top + 0 * bottom, (top + low) / 2))
        return np.minimum(above, below) - inner, inner

    def traced(self, femur: NDArray[np.int64], tibia: NDArray[np.int64]) -> TracedPair:
        """The paths as lines in the tangent frame with their strength."""
        columns = np.arange(len(self.x))
        strength = (self.femur_edge[columns, femur] + self.tibia_edge[columns, tibia]) / 2
        top, bottom = self.femur_row + femur - _REACH, self.tibia_row + tibia - _REACH
        contrast = [
            float(self._darkness(int(k), np.array(top[k]), np.array(bottom[k]))[0])
            for k in range(len(columns))
        ]
        column = LevelFilm.column(self.x)
        return TracedPair(
            LevelFilm.frame(column, top),
            LevelFilm.frame(column, bottom),
            np.clip(strength, 0.0, 1.0),
            float(np.median(contrast)),
        )


def _best_paths(gain: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of both paths that maximise the summed gain, less the cost of moving."""
    columns, n, m = gain.shape
    moves = [(a, b) for a in range(-_STEP, _STEP + 1) for b in range(-_STEP, _STEP + 1)]
    cost = np.array([_BEND_COST * (a * a + b * b) ** 0.5 for a, b in moves])
    total = gain[0]
    choice = np.zeros((columns, n, m), dtype=np.int8)
    for k in range(1, columns):
        padded = np.pad(total, _STEP, constant_values=-np.inf)
        options = np.stack(
            [padded[_STEP + a : _STEP + a + n, _STEP + b : _STEP + b + m] for a, b in moves]
        )
        options -= cost[:, None, None]
        choice[k] = options.argmax(axis=0)
        total = gain[k] + options.max(axis=0)
    i, j = np.unravel_index(int(total.argmax()), total.shape)
    femur, tibia = np.zeros(columns, dtype=np.int64), np.zeros(columns, dtype=np.int64)
    for k in range(columns - 1, -1, -1):
        femur[k], tibia[k] = i, j
        a, b = moves[choice[k, i, j]] if k else (0, 0)
        i, j = i + a, j + b
    return femur, tibia
