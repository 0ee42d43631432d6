"""Films as they go wrong: two knees, metal, cut joints, other body parts, turned grey values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import JointMargins
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.phantoms.film import FilmKnee, FilmPhantom, FilmSetup, Truth, from_pixels, knee_film

FloatArray = NDArray[np.float64]

_WHITE = 4095.0


@dataclass(frozen=True, eq=False)
class BilateralPhantom:
    """A film of both knees.

    Attributes
    ----------
    radiograph : The film, the right knee on the image's left.
    margins : Side to exact margins in its pixels.
    truth : Side to exact values.
    """

    radiograph: Radiograph
    margins: Mapping[Side, JointMargins]
    truth: Mapping[Side, Truth]


def bilateral_film(
    right: FilmKnee, left: FilmKnee, setup: FilmSetup | None = None
) -> BilateralPhantom:
    """Both knees on one film, air between the legs."""
    setup = setup or FilmSetup()
    first = knee_film(replace(right, side=Side.RIGHT), setup)
    second = knee_film(replace(left, side=Side.LEFT), replace(setup, seed=setup.seed + 17))
    image = np.concatenate([first.radiograph.image, second.radiograph.image], axis=1)
    film = replace(first.radiograph, image=image, side=None, bilateral=True)
    columns = float(first.radiograph.image.shape[1])
    shape = (image.shape[0], image.shape[1])
    margins = {
        Side.RIGHT: first.margins.on_film(shape, 0.0),
        Side.LEFT: second.margins.on_film(shape, columns),
    }
    return BilateralPhantom(film, margins, {Side.RIGHT: first.truth, Side.LEFT: second.truth})


def _paint(
    film: FilmPhantom, mask: NDArray[np.bool_], grey: float = _WHITE, blur_px: float = 0.7
) -> Radiograph:
    cover = gaussian_filter(mask.astype(np.float64), blur_px)
    image = film.radiograph.image * (1 - cover) + grey * cover
    return replace(film.radiograph, image=image.astype(np.float32))


def _knee_points(film: FilmPhantom, knee: FilmKnee, setup: FilmSetup) -> FloatArray:
    """(rows, columns, 2) u, v in mm of every pixel of the film."""
    rows, columns = film.radiograph.image.shape
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    if knee.side is Side.RIGHT:
        column = columns - 1 - column
    pixels = np.stack([column, row], axis=-1).reshape(-1, 2)
    return from_pixels(pixels, knee, setup).reshape(rows, columns, 2)


def with_implant(knee: FilmKnee, setup: FilmSetup) -> Radiograph:
    """A total knee replacement: a metal cap on the femur, a tray with a stem in the tibia."""
    film = knee_film(knee, setup)
    points = _knee_points(film, knee, setup)
    u, v = points[..., 0], points[..., 1]
    width = knee.femoral_width_mm
    margin = knee.femur_v(np.clip(u, 0, width))
    cap = (v < margin) & (v > margin - 9.0) & (u > 0.02 * width) & (u < 0.98 * width)
    tray = (v > 6.0) & (v < 11.0) & (u > 0.05 * width) & (u < 0.95 * width)
    stem = (v > 6.0) & (v < 45.0) & (np.abs(u - width / 2) < 6.0)
    return _paint(film, cap | tray | stem)


def with_bead(
    knee: FilmKnee,
    setup: FilmSetup,
    at_mm: tuple[float, float] = (-18.0, -15.0),
    size_mm: float = 3.0,
) -> Radiograph:
    """A metal bead or skin marker of `size_mm` beside the joint, at u, v in mm."""
    film = knee_film(knee, setup)
    points = _knee_points(film, knee, setup)
    distance = np.linalg.norm(points - np.array(at_mm), axis=-1)
    return _paint(film, distance < size_mm / 2)


def cut_film(film: FilmPhantom, share: float = 0.5, *, rows: bool = True) -> Radiograph:
    """The upper (or left) `share` of a film, as a wrongly collimated exposure shows it."""
    image = film.radiograph.image
    height, width = image.shape
    part = image[: int(share * height)] if rows else image[:, : int(share * width)]
    return replace(film.radiograph, image=np.ascontiguousarray(part))


def inverted(film: Radiograph) -> Radiograph:
    """The film with dark bone, as a wrong photometric interpretation shows it."""
    return replace(film, image=(film.image.max() - film.image).astype(np.float32))


def chest_film(pixels: int = 600, seed: int = 0) -> Radiograph:
    """Something that is not a knee: lungs, ribs, spine and heart."""
    row, column = np.mgrid[0:pixels, 0:pixels] / pixels
    neper = 2.5 * np.sqrt(np.clip(1 - ((column - 0.5) / 0.52) ** 2, 0, 1))
    for centre in (0.28, 0.72):
        lung = np.clip(1 - ((column - centre) / 0.17) ** 2 - ((row - 0.45) / 0.36) ** 2, 0, 1)
        neper -= 1.3 * np.sqrt(lung)
    neper += 0.9 * np.exp(-(((column - 0.5) / 0.045) ** 2))
    heart = np.clip(1 - ((column - 0.57) / 0.15) ** 2 - ((row - 0.62) / 0.17) ** 2, 0, 1)
    neper += 0.8 * np.sqrt(heart)
    for rib in range(9):
        centre = 0.12 + 0.08 * rib + 0.9 * (column - 0.5) ** 2
        neper += 0.25 * np.exp(-(((row - centre) / 0.009) ** 2)) * (np.abs(column - 0.5) > 0.08)
    neper += 0.02 * np.random.default_rng(seed).standard_normal(neper.shape)
    image = np.clip(700 * gaussian_filter(neper, 1.0), 0, _WHITE)
    return Radiograph(
        image.astype(np.float32), (0.5, 0.5), SpacingSource.DETECTOR_PLANE, Side.RIGHT
    )
