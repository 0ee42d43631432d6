"""The film resampled into the tangent frame, so that every knee lies level and equally large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.segment.film.locate import Pose

FloatArray = NDArray[np.float64]

WIDTH = 200  # pixels per femoral width, about 0.4 mm
LEFT, RIGHT, TOP, BOTTOM = -0.20, 1.20, -0.62, 0.50


@dataclass(frozen=True, slots=True, eq=False)
class LevelFilm:
    """A film in the tangent frame at :data:`WIDTH` pixels per femoral width.

    Attributes
    ----------
    image : (rows, columns) grey values; column 0 is x = LEFT, row 0 is v = TOP.
    detail : (rows, columns) grey values with slow shading removed, in units of their spread near
        the joint.
    inside : (rows, columns) whether the film reaches there.
    pose : Where the frame lies on the film.
    """

    image: FloatArray
    detail: FloatArray
    inside: NDArray[np.bool_]
    pose: Pose

    @staticmethod
    def column(x: FloatArray | float) -> FloatArray:
        """Column of an x."""
        return (np.asarray(x) - LEFT) * WIDTH

    @staticmethod
    def row(v: FloatArray | float) -> FloatArray:
        """Row of a v."""
        return (np.asarray(v) - TOP) * WIDTH

    @staticmethod
    def frame(column: FloatArray, row: FloatArray) -> FloatArray:
        """(N, 2) x, v of columns and rows."""
        return np.column_stack([column / WIDTH + LEFT, row / WIDTH + TOP])


def level(image: FloatArray, pose: Pose) -> LevelFilm:
    """Resample a film (medial left) into the tangent frame of a pose."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    x = np.arange(LEFT, RIGHT + 1e-9, 1 / WIDTH)
    v = np.arange(TOP, BOTTOM + 1e-9, 1 / WIDTH)
    points = pose.pixels(np.stack(np.meshgrid(x, v), axis=-1))
    column, row = points[..., 0], points[..., 1]
    pixels = pose.width / WIDTH
    smooth = gaussian_filter(image, 0.45 * pixels, mode="nearest") if pixels > 1 else image
    values = map_coordinates(smooth, [row, column], order=1, mode="nearest")
    rows, columns = image.shape
    inside = (column > -0.5) & (column < columns - 0.5) & (row > -0.5) & (row < rows - 0.5)
    return LevelFilm(values, _detail(values), inside, pose)


def _detail(level_image: FloatArray) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(level_image, 0.15 * WIDTH, mode="nearest", truncate=3.0)
    detail = level_image - smooth
    rows = slice(int(LevelFilm.row(-0.3)), int(LevelFilm.row(0.3)))
    columns = slice(int(LevelFilm.column(0.0)), int(LevelFilm.column(1.0)))
    detail = detail / (np.std(detail[rows, columns]) + 1e-9)
    clipped: FloatArray = np.clip(detail, -4.0, 4.0)
    return clipped
