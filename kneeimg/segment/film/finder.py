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
from kneeimg.segment.film.consistency import Search, check_consistent, frame_limits
from kneeimg.segment.film.edges import expected_edge
from kneeimg.segment.film.femoral_edge import (
    FemoralEdge,
    check_spread,
    find_edge,
    refined_edge,
)
from kneeimg.segment.film.fibula import check_fibula, side_from_fibula
from kneeimg.segment.film.frame_check import check_frame, shipped_edge_model
from kneeimg.segment.film.knees import choose_view, medial_on_left, polarity_finding
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.metal import check_metal
from kneeimg.segment.film.polarity import upright
from kneeimg.segment.film.readings import Readings, read_margins
from kneeimg.segment.film.rectify import LevelFilm, Leveller
from kneeimg.segment.film.refine import RefineScale
from kneeimg.segment.film.rim import find_rims
from kneeimg.segment.film.shaft import femoral_axis, tibial_axis
from kneeimg.segment.film.trace import STARTS, TracedPair, trace_pair
from kneeimg.settings.film import FilmSettings

FloatArray = NDArray[np.float64]

METHOD = "outline+paths"
_PAST_EDGE = 0.045  # x of the end of a plateau inside the edge of the femur
_MOST_TRIMMED = 0.10  # x; margins are needed from there on
_RIVAL = 0.25  # of a search's score; what is worse by more is no rival
_SAME = 0.02
_MOST_LOOKS = 5
_SETTLED = 0.015  # of the femoral width
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
        BONE_ON_BONE, MARGIN_UNCERTAIN, WIDTH_UNCERTAIN) in `findings`.

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
    leveller = Leveller(image)
    before, seen = _settled(leveller, pose)
    check_in_view(image.shape, seen.film.pose)
    if settings.check_fibula:
        check_fibula(seen.film)
    findings += check_trace(seen.pairs)
    scale = RefineScale.of(seen.film.pose.width, settings.smoothing_width)
    read = read_margins(image, leveller, seen.film.pose, seen.pairs, scale)
    lines = _refined(image, seen, read, scale)
    others = [Search(before.pairs, before.film.pose), *seen.rivals()]
    frame = (*frame_limits(lines, pose), *read.limits())
    findings += check_consistent(seen.film.pose, lines.femur, lines.tibia, others, frame)
    findings += check_frame(leveller, lines)
    rims = find_rims(seen.film, lines.femur, lines.tibia)
    return replace(
        lines,
        rim=rims,
        tibial_axis=tibial_axis(image, seen.film.pose),
        femoral_axis=femoral_axis(image, seen.film.pose),
        findings=(*findings, *lines.findings),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Everything traced on the level film.

    Attributes
    ----------
    tries : What each search found, the best first.
    expected : x of each femoral edge by the end of its plateau.
    edges : Each femoral edge.
    restarted : Whether a search from elsewhere than the typical margins was the best.
    """

    film: LevelFilm
    tries: dict[Compartment, list[TracedPair]]
    expected: dict[Compartment, float]
    edges: dict[Compartment, FemoralEdge]
    restarted: bool

    @property
    def pairs(self) -> dict[Compartment, TracedPair]:
        """The best search of each compartment."""
        return {c: tries[0] for c, tries in self.tries.items()}

    def rivals(self) -> list[Search]:
        """Searches that found something nearly as good."""
        best = self.pairs
        return [
            Search({**best, c: pair}, self.film.pose)
            for c, tries in self.tries.items()
            for pair in tries[1:]
            if pair.score > best[c].score - _RIVAL
        ]


def _look(leveller: Leveller, pose: Pose, starts: tuple[float, ...] = STARTS[:1]) -> _Seen:
    film = leveller.at(pose)
    found = {c: [trace_pair(film, c, start) for start in starts] for c in Compartment}
    # of equal scores the first, from the typical margins, stays first
    tries = {c: sorted(pairs, key=lambda pair: -pair.score) for c, pairs in found.items()}
    restarted = any(found[c][0].score < tries[c][0].score - _SAME for c in Compartment)
    expected = {c: expected_edge(film, tries[c][0], c) for c in Compartment}
    places = shipped_edge_model().expected(film)
    edges = {c: find_edge(film, c, places[c]) for c in Compartment}
    return _Seen(film, tries, expected, edges, restarted)


def _settled(leveller: Leveller, pose: Pose) -> tuple[_Seen, _Seen]:
    """The last two looks, each in the frame that the look before it gives, until that stays."""
    seen = _look(leveller, pose, STARTS)
    for _ in range(_MOST_LOOKS - 2):
        seen, old = _look(leveller, _better_pose(seen)), seen.film.pose
        if _moved(old, seen.film.pose) < _SETTLED:
            break
    last = _look(leveller, _better_pose(seen), STARTS)
    if last.restarted:
        seen, last = last, _look(leveller, _better_pose(last), STARTS)
    return seen, last


def _moved(old: Pose, new: Pose) -> float:
    """Farthest move of the ends of the tangent, in femoral widths."""
    ends = np.array([(0.0, 0.0), (1.0, 0.0)])
    return float(np.linalg.norm(new.pixels(ends) - old.pixels(ends), axis=1).max() / old.width)


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
    edge = [pose.pixels(seen.edges[c].line) @ along for c in Compartment]
    start, stop = float(edge[0].min()), float(edge[1].max())
    width = float(np.clip(stop - start, 0.85 * pose.width, 1.15 * pose.width))
    middle = (start + stop) / 2
    at = touch[0] + (middle - touch[0] @ along) * along
    return replace(pose, column=float(at[0]), row=float(at[1]), width=width, turn_deg=turn_deg)


def _refined(image: FloatArray, seen: _Seen, read: Readings, scale: RefineScale) -> JointMargins:
    pose = seen.film.pose
    right, down = pose.matrix[:, 0] / pose.width, pose.matrix[:, 1] / pose.width
    inward = {Compartment.MEDIAL: right, Compartment.LATERAL: -right}
    edges = {c: refined_edge(image, pose, edge, inward[c]) for c, edge in seen.edges.items()}
    clear = {c: edge.strength for c, edge in seen.edges.items()}
    findings = check_edges(edges, image.shape, pose, seen.expected, clear)
    findings += check_spread(seen.edges)
    femur = {c: _over_bone(mean.line, c, seen) for c, mean in read.femur.items()}
    tibia = {c: _over_bone(mean.line, c, seen) for c, mean in read.tibia.items()}
    femur, tibia = close_joint(image, pose, femur, tibia)
    touch = common_tangent(
        femur[Compartment.MEDIAL].points, femur[Compartment.LATERAL].points, down
    )
    shape = (image.shape[0], image.shape[1])
    return JointMargins(
        Side.LEFT, shape, femur, tibia, edges, touch, findings=tuple(findings), method=METHOD
    )


def _over_bone(line: MarginLine, compartment: Compartment, seen: _Seen) -> MarginLine:
    """A margin without what lies past the end of the plateau, where no joint is."""
    x = seen.film.pose.frame(line.points)[:, 0]
    expected = seen.expected[compartment]
    if compartment is Compartment.LATERAL:
        x, expected = 1 - x, 1 - expected
    keep = ~(x < min(expected + _PAST_EDGE, _MOST_TRIMMED))
    return MarginLine(line.points[keep], line.confidence[keep]) if keep.any() else line


def _once(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))
