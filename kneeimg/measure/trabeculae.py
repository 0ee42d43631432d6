"""Texture of the trabecular bone below the plateaus: its fractal dimension along and across.

Only on films fine enough to show trabeculae. The dimension is read from how the variance of grey
differences grows with distance, as in the variance orientation transform [1]_; the fractal
signature of knee films, horizontal and vertical apart, is older [2]_.

References
----------
.. [1] Wolski et al. 2009, doi:10.1243/09544119JEIM436.
.. [2] Lynch et al. 1991, doi:10.1088/0031-9155/36/6/001.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from kneeimg.core.margins import Compartment, JointMargins
from kneeimg.measure.joint_space import JointFrame

FloatArray = NDArray[np.float64]


class Direction(StrEnum):
    """Along which the grey values are followed."""

    ACROSS = "across"  # along the joint line: meets the vertical trabeculae
    DOWN = "down"  # along the tibia: meets the horizontal trabeculae


#: s and depth below the plateau's floor of the window, fractions of the femoral width.
WINDOW = ((0.12, 0.32), (0.050, 0.170))
FINEST_PIXEL_MM = 0.2  # coarser films do not show trabeculae
FEWEST_PIXELS = 400  # per femoral width, the same where there are no millimetres
_LAGS_WIDTH = (0.004, 0.014)  # 0.3 to 1.1 mm on a knee of 80 mm
_FEWEST_LAGS = 3
_FEWEST_SAMPLES = 24  # along either side of the window


def shows_trabeculae(frame: JointFrame, spacing_mm: tuple[float, float] | None) -> bool:
    """Whether the pixels are fine enough: at most 0.2 mm, without mm 400 per femoral width."""
    if spacing_mm is not None:
        return max(spacing_mm) <= FINEST_PIXEL_MM
    return bool(frame.width / max(frame.pixel) >= FEWEST_PIXELS)


def fractal_dimension(window: FloatArray, direction: Direction, lags: NDArray[np.int64]) -> float:
    """Fractal dimension of the lines of a window, 1 (smooth) to 2 (space filling).

    Parameters
    ----------
    window : (rows, columns) grey values, rows running down the tibia.
    direction : Of the lines.
    lags : Distances in samples, at least three, growing.

    Returns
    -------
    float
        2 - H, H half the slope of the log variance of grey differences over the log distance;
        free of gain and offset. NaN of a flat window.

    Examples
    --------
    >>> ramp = np.outer(np.ones(30), np.arange(30.0))  # a straight ramp is smooth: H = 1
    >>> round(fractal_dimension(ramp, Direction.ACROSS, np.array([2, 3, 4])), 3)
    1.0
    """
    axis = 1 if direction is Direction.ACROSS else 0
    lines = np.moveaxis(window, axis, 1)
    variance = np.array([float(np.mean((lines[:, k:] - lines[:, :-k]) ** 2)) for k in lags])
    if not (variance > 0).all():
        return math.nan
    slope = np.polyfit(np.log(lags), np.log(variance), 1)[0]
    return float(2.0 - slope / 2.0)


def trabecular_texture(
    image: NDArray[np.floating], margins: JointMargins, frame: JointFrame, compartment: Compartment
) -> Mapping[Direction, float]:
    """Fractal dimension of the trabecular bone below one plateau, both directions.

    Parameters
    ----------
    image : (rows, columns) film on which the margins lie, at its own pixel size.
    margins, frame : Of the same film.
    compartment : Medial or lateral.

    Returns
    -------
    Direction to dimension; NaN where the window is not wholly on the film or too small.

    Notes
    -----
    The window is a rectangle level with the joint below the middle height of the floor, sampled
    at the film's own pixel size, so nothing is smoothed that was not smooth.
    """
    nothing = dict.fromkeys(Direction, math.nan)
    window = _window(np.asarray(image, dtype=np.float64), margins, frame, compartment)
    pixels = frame.width / float(frame.pixel.max())
    low, high = (max(1, round(share * pixels)) for share in _LAGS_WIDTH)
    lags = np.arange(low, high + 1)
    if window is None or len(lags) < _FEWEST_LAGS or min(window.shape) < _FEWEST_SAMPLES:
        return nothing
    return {direction: fractal_dimension(window, direction, lags) for direction in Direction}


def _window(
    image: FloatArray, margins: JointMargins, frame: JointFrame, compartment: Compartment
) -> FloatArray | None:
    (s_low, s_high), depths = WINDOW
    medial = compartment is Compartment.MEDIAL
    x_low, x_high = (s_low, s_high) if medial else (1 - s_high, 1 - s_low)
    placed = frame.place(margins.tibia[compartment].points) / frame.width
    under = (placed[:, 0] >= x_low) & (placed[:, 0] <= x_high)
    if not under.any():
        return None
    floor = float(np.median(placed[under, 1]))
    step = float(frame.pixel.max()) / frame.width
    x = np.arange(x_low, x_high, step)
    v = floor + np.arange(*depths, step)
    across, down = np.meshgrid(x, v)
    points = frame.pixels(np.column_stack([across.ravel(), down.ravel()]) * frame.width)
    column, row = points.T.reshape(2, *across.shape)
    rows, columns = image.shape
    if row.min() < 0 or column.min() < 0 or row.max() > rows - 1 or column.max() > columns - 1:
        return None
    window: FloatArray = map_coordinates(image, [row, column], order=1, mode="nearest")
    return window
