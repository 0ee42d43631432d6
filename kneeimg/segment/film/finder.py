"""From a film to the margins of one knee: locate, level, trace, refine, check."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.radiograph import Radiograph
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.geometry.polylines import common_tangent
from kneeimg.segment.film.checks import (
    check_edges,
    check_in_view,
    check_trace,
    knee_not_found,
)
from kneeimg.segment.film.closed import close_joint
from kneeimg.segment.film.fibula import check_fibula, side_from_fibula
from kneeimg.segment.film.knees import choose_view, medial_on_left, polarity_finding
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.metal import check_metal
from kneeimg.segment.film.polarity import upright
from kneeimg.segment.film.rectify import LevelFilm, level
from kneeimg.segment.film.refine import FLAT_ONSET, ROUND_ONSET, RefineScale, refine
from kneeimg.segment.film.trace import TracedPair, trace_edge, trace_pair
from kneeimg.settings.film import FilmSettings

FloatArray = NDArray[np.float64]

METHOD = "outline+paths"
_UNKNOWN_WIDTH = (0.40, 1.0)  # femoral width as share of the film's width when mm are unknown


def find_margins(
    radiograph: Radiograph, side: Side | None = None, settings: FilmSettings | None = None
) -> JointMargins:
    """Margins of the tibiofemoral joint of one knee on a PA or AP film.

    Parameters
    ----------
    radiograph : Film, one knee or two.
    side : Which knee, from the study or the user; None takes the film's own side and, without
        one, the side that a clearly seen fibula shows.
    settings : Film settings.

    Returns
    -------
    JointMargins
        In pixels of `radiograph`, with what was noticed (INVERTED_POLARITY, OBJECT_IN_VIEW,
        BONE_ON_BONE, MARGIN_UNCERTAIN) in `findings`.

    Raises
    ------
    InputError
        KNEE_NOT_FOUND, JOINT_OUT_OF_VIEW, IMPLANT_SUSPECTED, NO_LATERALITY, LATERALITY_CONFLICT.

    Notes
    -----
    The knee is brought to medial-left first and the lines are mirrored back, so a mirrored film
    of the other side gives the same numbers. A typical outline is matched at many sizes and
    turns; in the frame so found, the best pair of condylar and plateau path is found by dynamic
    programming, then moved to the steepest edge of the film itself at sub-pixel precision.
    """
    settings = settings or FilmSettings()
    view = choose_view(radiograph, side)
    side = _agreed_side(side, view.side)
    image = view.crop(radiograph.image)
    image = np.where(np.isfinite(image), image, np.nanmin(image))
    widths = _widths(image.shape, radiograph, settings)
    hanging = radiograph.patient_left_on_image_right
    if side is None:
        side = side_from_fibula(image, widths, hanging, settings)
    flip = not medial_on_left(side, hanging)
    canonical = np.ascontiguousarray(image[:, ::-1]) if flip else image
    margins = replace(_find(canonical, widths, settings), side=side)
    if flip:  # mirrored() also swaps the side, which is right already
        margins = replace(margins.mirrored(), side=side)
    margins = margins.on_film(radiograph.image.shape, float(view.columns[0]))
    return replace(margins, findings=_once(margins.findings))


def _agreed_side(asked: Side | None, seen: Side | None) -> Side | None:
    if asked is not None and seen is not None and asked is not seen:
        raise InputError(
            "the side asked for is not the side that the film states",
            code=ReasonCode.LATERALITY_CONFLICT,
            expected=str(asked),
            found=str(seen),
            action="correct the study file or the film's laterality",
        )
    return asked or seen


def _widths(
    shape: tuple[int, ...], radiograph: Radiograph, settings: FilmSettings
) -> tuple[float, float]:
    """Femoral widths in pixels to search, from mm when they are known."""
    low, high = (share * shape[1] for share in _UNKNOWN_WIDTH)
    if radiograph.spacing_mm is None:
        return low, high
    pixel_mm = radiograph.spacing_mm[1]
    mm_low, mm_high = (size / pixel_mm for size in settings.femoral_width_mm)
    if mm_low > 1.1 * shape[1] or mm_high < 0.15 * shape[1]:
        return low, high  # a pixel size that makes no knee: trust the picture
    return max(mm_low, 0.15 * shape[1]), min(mm_high, 1.1 * shape[1])


def _find(image: FloatArray, widths: tuple[float, float], settings: FilmSettings) -> JointMargins:
    """Margins on a film with medial on the left."""
    findings: list[Finding] = []
    image, pose, turned = upright(image, widths, check=settings.check_polarity)
    if turned:
        findings.append(polarity_finding())
    findings += check_metal(image, pose)
    if pose.score < settings.minimum_match:
        raise knee_not_found(pose.score, settings.minimum_match)
    seen = _look_twice(image, pose)
    check_in_view(image.shape, seen.film.pose)
    if settings.check_fibula:
        check_fibula(seen.film)
    findings += check_trace(seen.pairs)
    lines = _refined(image, seen, settings)
    return replace(lines, findings=tuple(findings))


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Everything traced on the level film."""

    film: LevelFilm
    pairs: dict[Compartment, TracedPair]
    edges: dict[Compartment, FloatArray]


def _look(image: FloatArray, pose: Pose) -> _Seen:
    film = level(image, pose)
    pairs = {c: trace_pair(film, c) for c in Compartment}
    edges = {c: trace_edge(film, c) for c in Compartment}
    return _Seen(film, pairs, edges)


def _look_twice(image: FloatArray, pose: Pose) -> _Seen:
    """Trace, put the frame where the traced femur says, and trace again."""
    first = _look(image, pose)
    return _look(image, _better_pose(first))


def _better_pose(seen: _Seen) -> Pose:
    """Pose whose tangent touches the traced condyles; the width moves halfway, edges may err."""
    pose = seen.film.pose
    femur = [pose.pixels(seen.pairs[c].femur) for c in Compartment]
    touch = common_tangent(femur[0], femur[1], pose.matrix[:, 1])
    along = touch[1] - touch[0]
    turn_deg = math.degrees(math.atan2(along[1], along[0]))
    if abs(turn_deg - pose.turn_deg) > 8.0:
        return pose
    along /= np.linalg.norm(along)
    edge = [pose.pixels(seen.edges[c]) @ along for c in Compartment]
    start, stop = float(edge[0].min()), float(edge[1].max())
    width = float(np.clip(stop - start, 0.85 * pose.width, 1.15 * pose.width))
    middle = (start + stop) / 2
    at = touch[0] + (middle - touch[0] @ along) * along
    return replace(pose, column=float(at[0]), row=float(at[1]), width=width, turn_deg=turn_deg)


def _refined(image: FloatArray, seen: _Seen, settings: FilmSettings) -> JointMargins:
    pose = seen.film.pose
    scale = RefineScale.of(pose.width, settings.smoothing_width)
    right, down = pose.matrix[:, 0] / pose.width, pose.matrix[:, 1] / pose.width
    femur: dict[Compartment, MarginLine] = {}
    tibia: dict[Compartment, MarginLine] = {}
    edges: dict[Compartment, MarginLine] = {}
    for compartment, pair in seen.pairs.items():
        femur[compartment] = refine(image, pose.pixels(pair.femur), -down, scale, ROUND_ONSET)
        tibia[compartment] = refine(image, pose.pixels(pair.tibia), down, scale, FLAT_ONSET)
        inward = right if compartment is Compartment.MEDIAL else -right
        edge = pose.pixels(seen.edges[compartment])
        edges[compartment] = refine(image, edge, inward, scale, ROUND_ONSET)
    check_edges(edges, image.shape, pose.width)
    femur, tibia = close_joint(image, pose, femur, tibia)
    touch = common_tangent(
        femur[Compartment.MEDIAL].points, femur[Compartment.LATERAL].points, down
    )
    shape = (image.shape[0], image.shape[1])
    return JointMargins(Side.LEFT, shape, femur, tibia, edges, touch, method=METHOD)


def _once(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))
