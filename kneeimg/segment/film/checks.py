"""What must be true of a film before its margins are believed, and the refusals otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.segment.film.knees import medial_on_left
from kneeimg.segment.film.locate import Pose, locate
from kneeimg.segment.film.rectify import WIDTH, LevelFilm, level
from kneeimg.segment.film.trace import TracedPair
from kneeimg.settings.film import FilmSettings

FloatArray = NDArray[np.float64]


def knee_not_found(score: float, least: float) -> InputError:
    """Refusal of a film on which nothing looks like a knee."""
    return InputError(
        "no knee joint was recognised on the film",
        code=ReasonCode.KNEE_NOT_FOUND,
        expected=f"agreement with the outline of a PA knee of at least {least:.2f}",
        found=f"{score:.2f}",
        action="check that this is a frontal knee film",
    )


def check_metal(image: FloatArray, pose: Pose) -> list[Finding]:
    return []


def check_in_view(shape: tuple[int, ...], pose: Pose) -> None:
    """Refuse a joint whose margins or condyles the edge of the film cuts off."""


def fibula_evidence(film: LevelFilm) -> float:
    """How much more bone lies beside the lateral than beside the medial tibia, in bone contrasts."""
    return 0.0


def check_fibula(film: LevelFilm) -> None:
    """Refuse a film whose fibula is clearly on the side that should be medial."""


def side_from_fibula(
    image: FloatArray, widths: tuple[float, float], hanging: bool | None, settings: FilmSettings
) -> Side:
    raise InputError("no source says left or right", code=ReasonCode.NO_LATERALITY)


def check_trace(pairs: dict[Compartment, TracedPair]) -> list[Finding]:
    return []
