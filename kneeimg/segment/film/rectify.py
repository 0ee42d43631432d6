"""The film resampled into the tangent frame, so that every knee lies level and equally large."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kneeimg.segment.film.locate import Pose

FloatArray = NDArray[np.float64]

WIDTH = 200  # pixels per femoral width, about 0.4 mm
_SAME_SIZE = 0.02  # change of the femoral width that changes no smoothing
_SHADING = 0.15  # of the femoral width, SD of what is taken for slow shading
_COARSE = 4  # pixels
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


class Leveller:
    """Resamples one film (medial left) into one tangent frame after another.

    The film is smoothed to the size of the knee once, and again only where that size changes.
    """

    def __init__(self, image: FloatArray) -> None:
        self._image = image
        self._smooth = image
        self._width = 0.0

    def at(self, pose: Pose) -> LevelFilm:
        """The film in the frame of a pose."""
        from scipy.ndimage import gaussian_filter, map_coordinates

        if not abs(pose.width - self._width) <= _SAME_SIZE * self._width:
            pixels = pose.width / WIDTH
            self._width = pose.width
            self._smooth = (
                gaussian_filter(self._image, 0.45 * pixels, mode="nearest")
                if pixels > 1
                else self._image
            )
        x = np.arange(LEFT, RIGHT + 1e-9, 1 / WIDTH)
        v = np.arange(TOP, BOTTOM + 1e-9, 1 / WIDTH)
        points = pose.pixels(np.stack(np.meshgrid(x, v), axis=-1))
        column, row = points[..., 0], points[..., 1]
        values = map_coordinates(self._smooth, [row, column], order=1, mode="nearest")
        rows, columns = self._image.shape
        inside = (column > -0.5) & (column < columns - 0.5) & (row > -0.5) & (row < rows - 0.5)
        return LevelFilm(values, _detail(values), inside, pose)


def level(image: FloatArray, pose: Pose) -> LevelFilm:
    """Resample a film (medial left) into the tangent frame of a pose."""
    return Leveller(image).at(pose)


def _detail(level_image: FloatArray) -> FloatArray:
    detail = level_image - _shading(level_image)
    rows = slice(int(LevelFilm.row(-0.3)), int(LevelFilm.row(0.3)))
    columns = slice(int(LevelFilm.column(0.0)), int(LevelFilm.column(1.0)))
    detail = detail / (np.std(detail[rows, columns]) + 1e-9)
    clipped: FloatArray = np.clip(detail, -4.0, 4.0)
    return clipped


def _shading(level_image: FloatArray) -> FloatArray:
    """Slow shading, found on every fourth pixel: it has no detail, and the search is long."""
    from scipy.ndimage import gaussian_filter

    rows, columns = level_image.shape
    pads = ((0, -rows % _COARSE), (0, -columns % _COARSE))
    padded = np.pad(level_image, pads, mode="edge")
    shape = padded.shape[0] // _COARSE, _COARSE, padded.shape[1] // _COARSE, _COARSE
    coarse = padded.reshape(shape).mean(axis=(1, 3))
    smooth = gaussian_filter(coarse, _SHADING * WIDTH / _COARSE, mode="nearest", truncate=3.0)
    fine: FloatArray = _between(rows, shape[0]) @ smooth @ _between(columns, shape[2]).T
    return fine


@lru_cache(maxsize=4)
def _between(fine: int, coarse: int) -> FloatArray:
    """(fine, coarse) weights of linear interpolation between the middles of coarse pixels."""
    at = np.clip((np.arange(fine) + 0.5) / _COARSE - 0.5, 0, coarse - 1)
    weights: FloatArray = np.maximum(1 - np.abs(at[:, None] - np.arange(coarse)), 0.0)
    return weights
