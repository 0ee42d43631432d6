"""The fibula: on which side of the tibia it stands, and what that says of the knee's side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.errors import InputError, ReasonCode
from kneeimg.segment.film.checks import knee_not_found
from kneeimg.segment.film.knees import medial_on_left
from kneeimg.segment.film.locate import soft_direction
from kneeimg.segment.film.polarity import upright
from kneeimg.segment.film.rectify import LevelFilm, level
from kneeimg.settings.film import FilmSettings

FloatArray = NDArray[np.float64]

_BESIDE_TIBIA = (0.0, 0.12, 0.24, 0.46)  # x outside the width, v: where a fibula shows
_IN_VIEW = 0.95  # share of both sides that must be on the film
_DENSER = 0.25  # spreads of the film
# Difference in agreement with the outline of a fibular head. Phantoms reach 0.4; of 173 real films
# with both sides in view one is below -0.3, and its density says nothing.
_SHAPED = 0.30
_HALF_WIDTHS = (0.09, 0.12, 0.15)  # of the head, in femoral widths
_HEAD_X, _HEAD_V = np.arange(0.86, 1.10, 0.02), np.arange(0.24, 0.46, 0.02)  # centre of the head
_NECK = 0.16  # how far the straight sides go down
_ARCH_IN_VIEW = 0.75
_SMOOTHING = 3.0  # pixels of the level film


def fibula_side(film: LevelFilm) -> float:
    """How sure a fibula stands on the right (positive) or the left (negative) of the tibia.

    Two witnesses must agree: the film is denser there, and the outline of a fibular head fits
    there better. 1 when both are just clear; 0 when they disagree; NaN when a side is out of view.
    """
    denser = density_evidence(film) / _DENSER
    if not abs(denser) >= 1:  # the outline is costly and could add nothing
        return denser if np.isnan(denser) else 0.0
    shaped = outline_evidence(film) / _SHAPED
    if np.isnan(shaped):
        return float("nan")
    agree = denser * shaped > 0
    return float(np.sign(denser) * min(abs(denser), abs(shaped))) if agree else 0.0


def density_evidence(film: LevelFilm) -> float:
    """How much denser the film is beside the right than beside the left of the tibia.

    In spreads of the film after slow shading (the thickness of soft tissue) is removed. NaN when
    a side is out of view. A bandage or a turned leg gives up to 0.6 on the wrong side.
    """
    start, stop, top, bottom = _BESIDE_TIBIA
    rows = slice(int(film.row(top)), int(film.row(bottom)))
    detail = film.detail

    def mean(low: float, high: float) -> float:
        columns = slice(int(film.column(low)), int(film.column(high)))
        in_view = film.inside[rows, columns].mean() > _IN_VIEW
        return float(detail[rows, columns].mean()) if in_view else float("nan")

    return mean(1 + start, 1 + stop) - mean(-stop, -start)


def outline_evidence(film: LevelFilm) -> float:
    """How much better the outline of a fibular head fits on the right than on the left, -1..1."""
    direction = soft_direction(film.image, _SMOOTHING)
    mirrored = -np.conj(direction[:, ::-1])
    return _best_fit(direction, film.inside) - _best_fit(mirrored, film.inside[:, ::-1])


def _best_fit(direction: NDArray[np.complex128], inside: NDArray[np.bool_]) -> float:
    """Best agreement of the outline on the right; NaN when no place of it is in view."""
    shifts = np.stack(np.meshgrid(_HEAD_X, _HEAD_V), axis=-1).reshape(-1, 1, 2)
    best = float("nan")
    for half in _HALF_WIDTHS:
        points, inward, weight = _head(half)
        at = points + shifts
        column = np.round(LevelFilm.column(at[..., 0])).astype(int)
        row = np.round(LevelFilm.row(at[..., 1])).astype(int)
        seen = (column >= 0) & (column < inside.shape[1]) & (row >= 0) & (row < inside.shape[0])
        column, row = column.clip(0, inside.shape[1] - 1), row.clip(0, inside.shape[0] - 1)
        weights = weight * (seen & inside[row, column])
        total = weights.sum(axis=1)
        agreement = (direction[row, column] * np.conj(inward)).real
        fits = (weights * agreement).sum(axis=1)[total >= _ARCH_IN_VIEW]
        fits = fits / total[total >= _ARCH_IN_VIEW]
        if len(fits):
            best = float(np.fmax(best, fits.max()))
    return best


def _head(half: float) -> tuple[FloatArray, NDArray[np.complex128], FloatArray]:
    """Outline of a fibular head about its centre: points, inward normals x + iv, weights.

    The inner side counts little, the tibia often lies over it.
    """
    turn, fall = np.linspace(0, np.pi, 25), np.linspace(0.01, _NECK, 12)
    top = np.column_stack([half * np.cos(turn), -0.9 * half * np.sin(turn)])
    outer = np.column_stack([np.full(12, half), fall])
    points = np.concatenate([top, outer, outer * (-1, 1)])
    inward = np.concatenate([-np.exp(-1j * turn), np.full(12, -1.0), np.full(12, 1.0)])
    weight = np.repeat([0.6 / 25, 0.3 / 12, 0.1 / 12], [25, 12, 12])
    return points, inward, weight


def check_fibula(film: LevelFilm) -> None:
    """Refuse a film (medial on the left) whose fibula is clearly on the left."""
    evidence = fibula_side(film)
    if evidence <= -1:
        raise InputError(
            "the fibula lies on the side that should be medial",
            code=ReasonCode.LATERALITY_CONFLICT,
            expected="the fibula on the lateral side",
            found=f"a fibula beside the medial tibia (evidence {-evidence:.2f}, 1 is clear)",
            action="check side and hanging of the film",
        )


def side_from_fibula(
    image: FloatArray, widths: tuple[float, float], hanging: bool | None, settings: FilmSettings
) -> Side:
    """Side of a knee that nothing but its fibula tells.

    Raises
    ------
    InputError
        KNEE_NOT_FOUND, or NO_LATERALITY when no fibula stands clear of the tibia.
    """
    film, pose, _ = upright(image, widths, check=settings.check_polarity)
    if pose.score < settings.minimum_match:
        raise knee_not_found(pose.score, settings.minimum_match)
    evidence = fibula_side(level(film, pose))
    if not abs(evidence) >= 1:
        raise InputError(
            "no source says left or right, and no fibula stands clear on the film",
            code=ReasonCode.NO_LATERALITY,
            expected="a laterality tag, a side in the study file or --side",
            found=f"fibula evidence {evidence:.2f}, 1 is clear",
            action="state the side",
        )
    medial_left = evidence > 0
    return next(side for side in Side if medial_on_left(side, hanging) == medial_left)
