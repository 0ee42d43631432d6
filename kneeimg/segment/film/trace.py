"""Margins on the level film: the best pair of paths along condyle and plateau, and bone edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment
from kneeimg.segment.film.outline import femur_v, tibia_v
from kneeimg.segment.film.rectify import WIDTH, LevelFilm

FloatArray = NDArray[np.float64]
Single = NDArray[np.float32]

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
# What a closed joint is worth instead of a dark space with a femoral edge above it. Without it the
# path of a condyle that touches the plateau climbs to some line among its trabeculae.
_CLOSED_GAIN = 0.4
STARTS = (0.0, -10.0, 10.0)  # rows, 5 % of the width, by which searches start lower


@dataclass(frozen=True, slots=True, eq=False)
class TracedPair:
    """Paths of one compartment in the tangent frame.

    Attributes
    ----------
    femur, tibia : (N, 2) x, v.
    strength : (N,) mean edge strength of the two paths, about 1 for a clear margin.
    contrast : Median darkness of the space against bone, in units of the film's spread.
    score : Mean gain of a column, without the cost of leaving the typical margins: of two searches
        that end on different lines the one with the higher score has found the joint.
    """

    femur: FloatArray
    tibia: FloatArray
    strength: FloatArray
    contrast: float
    score: float = 0.0


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
    gain = bands.gain()
    femur_rows, tibia_rows = _best_paths(gain)
    found = gain[np.arange(len(x)), femur_rows, tibia_rows]
    moved = np.hypot(np.diff(femur_rows), np.diff(tibia_rows))
    free = found + _prior(femur_rows) + _prior(tibia_rows)
    score = float(free.mean() - _BEND_COST * moved.sum() / len(x))
    return bands.traced(femur_rows, tibia_rows, score)


def _gap(top: FloatArray, bottom: FloatArray) -> Single:
    """(columns, n, m) rows between every two of (columns, n) and (columns, m) rows."""
    return (bottom[:, None, :] - top[:, :, None]).astype(np.float32)


def _prior(state: NDArray[np.int64]) -> FloatArray:
    """Cost of leaving the typical margin, by row of the band."""
    cost: FloatArray = _PRIOR_COST * ((state - _REACH) / _REACH) ** 2
    return cost


@dataclass(frozen=True, slots=True, eq=False)
class _Bands:
    """Edge strength and grey sums along each column of a compartment."""

    x: FloatArray
    femur_row: FloatArray  # typical row of each margin
    tibia_row: FloatArray
    femur_edge: Single  # (columns, 2 reach + 1)
    tibia_edge: Single
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
        # single precision: half the time, the same paths
        edges = (-sampled(rows_f)).astype(np.float32), sampled(rows_t).astype(np.float32)
        return cls(x, rows_f, rows_t, *edges, sums, wide_rows)

    def gain(self) -> Single:
        """(columns, femur states, tibia states) gain, -inf where the bones would overlap."""
        reach = np.arange(-_REACH, _REACH + 1)
        prior = _prior(np.arange(2 * _REACH + 1)).astype(np.float32)
        top, bottom = self.femur_row[:, None] + reach, self.tibia_row[:, None] + reach
        femur = np.clip(self.femur_edge, -1, 1.5)
        tibia = np.clip(self.tibia_edge, -1, _TIBIA_EDGE_CAP) - prior
        plate = self._mean(bottom + _PLATE[0], bottom + _PLATE[1])
        tibia += _PLATE_GAIN * np.clip(plate, -1.0, _PLATE_CAP)
        gap = _gap(top, bottom)
        dark, inner = self._darkness(top, bottom)
        np.clip(dark, -1.0, 1.0, out=dark)
        inner = np.clip(inner - _GREY_SPACE, 0.0, 2.0)
        space = femur[:, :, None] + _DARK_GAIN * (dark - _GREY_COST * inner)
        # past the end of the plateau nothing is bright: no joint is closed there
        touching = (_CLOSED_GAIN * np.clip(plate, 0.0, 1.0))[:, None, :]
        closed = np.maximum(femur, 0.0)[:, :, None] + touching
        total: Single = np.where(gap > _CLOSED_ROWS, space, closed)
        total += (tibia[:, None, :] - prior[:, None]).astype(np.float32)
        total -= _WIDE_COST * np.maximum(gap - self.wide_rows, 0.0)
        total[gap < 0] = -np.inf
        return total

    def _sum(self, row: FloatArray) -> Single:
        """Sum of the grey values of each column down to a (columns, n) row; linear in between."""
        last = self.sums.shape[1] - 1
        at = np.clip(row + 0.5, 0.0, last)
        whole = np.minimum(at.astype(np.int64), last - 1)
        low = np.take_along_axis(self.sums, whole, axis=1)
        high = np.take_along_axis(self.sums, whole + 1, axis=1)
        between: Single = (low + (at - whole) * (high - low)).astype(np.float32)
        return between

    def _mean(self, start: FloatArray, stop: FloatArray) -> Single:
        """Mean grey value of each column between two (columns, n) rows."""
        rows = (stop - start).astype(np.float32)
        average: Single = (self._sum(stop) - self._sum(start)) / rows
        return average

    def _darkness(self, top: FloatArray, bottom: FloatArray) -> tuple[Single, Single]:
        """How much darker each space is than the bone above and below it, and its brightness.

        `top` (columns, n) and `bottom` (columns, m) rows one apart give (columns, n, m); a space
        without width has no meaning.
        """
        above = self._mean(top - _STRIP, top - 1)[:, :, None]
        below = self._mean(bottom + 1, bottom + _STRIP)[:, None, :]
        high = np.maximum(_gap(top, bottom), np.float32(1e-6))
        start = self._sum(top)[:, :, None]
        inner = np.asarray((self._sum(bottom)[:, None, :] - start) / high, dtype=np.float32)
        # the rim of a dished or tilted plateau greys the lower half of the space
        inner = np.minimum(inner, (self._middle_sums(top, bottom) - start) / (high / 2))
        dark: Single = np.minimum(above, below) - inner
        return dark, inner

    def _middle_sums(self, top: FloatArray, bottom: FloatArray) -> Single:
        """(columns, n, m) sums down to the middle of each space: rows half a row apart."""
        n, m = top.shape[1], bottom.shape[1]
        halves = (top[:, :1] + bottom[:, :1] + np.arange(n + m - 1)) / 2
        sums = self._sum(halves)
        windows = np.lib.stride_tricks.sliding_window_view(sums, m, axis=1)
        return np.asarray(windows)

    def traced(
        self, femur: NDArray[np.int64], tibia: NDArray[np.int64], score: float
    ) -> TracedPair:
        """The paths as lines in the tangent frame with their strength."""
        columns = np.arange(len(self.x))
        strength = (self.femur_edge[columns, femur] + self.tibia_edge[columns, tibia]) / 2
        top, bottom = self.femur_row + femur - _REACH, self.tibia_row + tibia - _REACH
        contrast = self._darkness(top[:, None], bottom[:, None])[0]
        column = LevelFilm.column(self.x)
        return TracedPair(
            LevelFilm.frame(column, top),
            LevelFilm.frame(column, bottom),
            np.clip(strength, 0.0, 1.0),
            float(np.median(contrast)),
            score,
        )


def _best_paths(gain: Single) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of both paths that maximise the summed gain, less the cost of moving."""
    columns, n, m = gain.shape
    moves = [(a, b) for a in range(-_STEP, _STEP + 1) for b in range(-_STEP, _STEP + 1)]
    cost = [np.float32(_BEND_COST * (a * a + b * b) ** 0.5) for a, b in moves]
    totals = np.full((columns, n + 2 * _STEP, m + 2 * _STEP), -np.inf, dtype=np.float32)
    inner = (slice(_STEP, _STEP + n), slice(_STEP, _STEP + m))
    totals[0][inner] = gain[0]
    for k in range(1, columns):
        before, best = totals[k - 1], totals[k - 1][inner].copy()
        for (a, b), dear in zip(moves, cost, strict=True):
            option = before[_STEP + a : _STEP + a + n, _STEP + b : _STEP + b + m] - dear
            np.maximum(best, option, out=best)
        totals[k][inner] = gain[k] + best
    i, j = np.unravel_index(int(totals[-1].argmax()), totals[-1].shape)
    femur, tibia = np.zeros(columns, dtype=np.int64), np.zeros(columns, dtype=np.int64)
    for k in range(columns - 1, -1, -1):
        femur[k], tibia[k] = i - _STEP, j - _STEP
        if k:  # the move that led here is found again, which is cheaper than to note all
            options = [
                totals[k - 1, i + a, j + b] - dear for (a, b), dear in zip(moves, cost, strict=True)
            ]
            a, b = moves[int(np.argmax(options))]
            i, j = i + a, j + b
    return femur, tibia
