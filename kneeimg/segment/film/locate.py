"""Where the knee is: the typical outline matched to the film at many sizes and turns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.segment.film.outline import Outline, knee_outline

FloatArray = NDArray[np.float64]

_WORK_PIXELS = 144  # longest side of the film while searching
_PAD = 40  # the outline reaches half a film to each side; wrapped round it must miss the film
_SIZE_STEP = 1.08
_SIZE_PREFERENCE = 0.3
_TURNS_DEG = (-12.0, -8.0, -4.0, 0.0, 4.0, 8.0, 12.0)


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the tangent frame lies on a film, medial to the left.

    Attributes
    ----------
    column, row : Pixel position of (x, v) = (0.5, 0).
    width : Femoral width in pixels.
    turn_deg : Angle of the tangent, positive when it falls to the right.
    score : Agreement with the outline, 0..1.
    in_view : Share of the outline inside the film, 0..1.
    """

    column: float
    row: float
    width: float
    turn_deg: float
    score: float = 0.0
    in_view: float = 1.0

    @property
    def matrix(self) -> FloatArray:
        """(2, 2) linear part: (x, v) in widths to pixels."""
        turn = np.deg2rad(self.turn_deg)
        turned: FloatArray = self.width * np.array(
            [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        )
        return turned

    def pixels(self, points: ArrayLike) -> FloatArray:
        """(..., 2) x, v to column, row."""
        centred = np.asarray(points, dtype=np.float64) - (0.5, 0.0)
        placed: FloatArray = centred @ self.matrix.T + (self.column, self.row)
        return placed

    def frame(self, pixels: ArrayLike) -> FloatArray:
        """(..., 2) column, row to x, v."""
        offset = np.asarray(pixels, dtype=np.float64) - (self.column, self.row)
        points: FloatArray = offset @ np.linalg.inv(self.matrix).T + (0.5, 0.0)
        return points


def soft_direction(image: FloatArray, sigma: float) -> NDArray[np.complex128]:
    """Complex gradient of a film, gx + i gy, its length bounded so that no edge outshouts all."""
    from scipy.ndimage import gaussian_filter

    gx = gaussian_filter(image, sigma, order=(0, 1), mode="nearest")
    gy = gaussian_filter(image, sigma, order=(1, 0), mode="nearest")
    length = np.hypot(gx, gy)
    usual = np.percentile(length, 75) + 1e-12
    direction: NDArray[np.complex128] = (gx + 1j * gy) / np.sqrt(length**2 + usual**2)
    return direction


def locate(image: FloatArray, widths: tuple[float, float]) -> tuple[Pose, Pose]:
    """Poses of the outline that agree best with the film and with its negative.

    Parameters
    ----------
    image : (rows, columns) film with medial on the left.
    widths : Least and greatest femoral width in pixels to try.

    Returns
    -------
    (Pose, Pose), the best on the film as it is and the best on its negative, with scores >= 0.
    The caller decides what score is a knee. Large outlines are preferred a little: a small one
    finds some edges to agree with everywhere.
    """
    from scipy.fft import fft2, rfft2

    small, factor = shrink(image, _WORK_PIXELS)
    direction = soft_direction(small, 1.2)
    pad = _PAD
    padded = np.pad(direction, pad)
    inside = np.pad(np.ones(small.shape), pad)
    # single precision: scores to 1e-6, half the time
    spectrum = fft2(padded.astype(np.complex64))
    inside_spectrum = rfft2(inside.astype(np.float32))
    outline = knee_outline()
    low, high = (max(w * factor, 12.0) for w in widths)
    count = int(np.ceil(np.log(max(high / low, 1.0)) / np.log(_SIZE_STEP))) + 1
    best = [Pose(0.0, 0.0, low, 0.0, 0.0, 0.0)] * 2
    for width in np.geomspace(low, high, count):
        for turn_deg in _TURNS_DEG:
            pose = Pose(0.0, 0.0, float(width), turn_deg)
            found = _best_places(pose, outline, spectrum, inside_spectrum, padded.shape, pad)
            best = [max(pair, key=_merit) for pair in zip(best, found, strict=True)]
    return _unshrunk(best[0], factor), _unshrunk(best[1], factor)


def _merit(pose: Pose) -> float:
    return float(pose.score * pose.width**_SIZE_PREFERENCE)


def _unshrunk(best: Pose, factor: float) -> Pose:
    """A pose on the shrunk film, on the film itself."""
    offset = (1 / factor - 1) / 2  # centres of shrunk pixels on the film
    return Pose(
        best.column / factor + offset,
        best.row / factor + offset,
        best.width / factor,
        best.turn_deg,
        best.score,
        best.in_view,
    )


def shrink(image: FloatArray, longest: int) -> tuple[FloatArray, float]:
    """Film scaled down (never up) to a longest side, blurred against aliasing, and the factor."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    factor = min(1.0, longest / max(image.shape))
    if factor == 1.0:
        return image.astype(np.float64), 1.0
    blurred = gaussian_filter(image.astype(np.float64), 0.4 / factor, mode="nearest")
    rows, columns = (int(size * factor) for size in image.shape)
    r = (np.arange(rows) + 0.5) / factor - 0.5
    c = (np.arange(columns) + 0.5) / factor - 0.5
    grid = np.stack(np.meshgrid(r, c, indexing="ij"))
    return map_coordinates(blurred, grid, order=1, mode="nearest"), factor


def _best_places(
    pose: Pose,
    outline: Outline,
    spectrum: NDArray[np.complexfloating],
    inside_spectrum: NDArray[np.complexfloating],
    shape: tuple[int, ...],
    pad: int,
) -> tuple[Pose, Pose]:
    """Shifts of one outline with the strongest agreement and disagreement, by correlation."""
    from scipy.fft import fft2, ifft2, irfft2, rfft2

    points = pose.pixels(outline.points)  # about (0, 0)
    turned = outline.inward @ (pose.matrix.T / pose.width)
    column, row = np.round(points).astype(int).T
    kernel = np.zeros(shape, dtype=np.complex64)
    np.add.at(kernel, (row, column), outline.weight * (turned[:, 0] + 1j * turned[:, 1]))
    mask = np.zeros(shape, dtype=np.float32)
    np.add.at(mask, (row, column), outline.weight)
    agreement = ifft2(spectrum * np.conj(fft2(kernel))).real
    in_view = irfft2(inside_spectrum * np.conj(rfft2(mask)), s=shape)
    # a part outside the film counts half: cut knees are found, empty corners are not
    score = agreement / (0.5 + 0.5 * np.clip(in_view, 0.0, 1.0))
    score[in_view < 0.5] = 0.0
    return _peak(pose, score, in_view, pad), _peak(pose, -score, in_view, pad)


def _peak(pose: Pose, score: NDArray[np.floating], in_view: NDArray[np.floating], pad: int) -> Pose:
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    return replace(
        pose,
        column=float(column - pad),
        row=float(row - pad),
        score=float(score[row, column]),
        in_view=float(min(in_view[row, column], 1.0)),
    )
