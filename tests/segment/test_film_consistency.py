"""Margins are refused when two searches disagree or no knee could have them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.errors import InputError, ReasonCode
from kneeimg.phantoms.film import FilmKnee, FilmSetup, exact_margins, to_pixels
from kneeimg.segment.film.checks import check_edges
from kneeimg.segment.film.consistency import Search, check_consistent, frame_limits, limits
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.trace import TracedPair

SETUP = FilmSetup(pixel_mm=0.25)
KNEE = FilmKnee(side=Side.LEFT, medial_jsw_mm=3.5, lateral_jsw_mm=5.0)
WIDTH = KNEE.femoral_width_mm / SETUP.knee_pixel_mm
MEDIAL, LATERAL = Compartment.MEDIAL, Compartment.LATERAL
Lines = dict[Compartment, MarginLine]


def pose_of(knee: FilmKnee) -> Pose:
    at = to_pixels(np.array([[knee.femoral_width_mm / 2, 0.0]]), knee, SETUP)[0]
    return Pose(float(at[0]), float(at[1]), WIDTH, 0.0)


POSE = pose_of(KNEE)
CLEAR, FAINT = ({MEDIAL: strength, LATERAL: strength} for strength in (1.0, 0.2))


def search_of(margins: JointMargins, rows: float = 0.0) -> Search:
    pairs = {
        c: TracedPair(
            POSE.frame(margins.femur[c].points + (0.0, rows)),
            POSE.frame(margins.tibia[c].points + (0.0, rows)),
            np.ones(len(margins.femur[c].points)),
            1.0,
        )
        for c in Compartment
    }
    return Search(pairs, POSE)


def bent(lines: Lines, compartment: Compartment, by: Callable[[np.ndarray], np.ndarray]) -> Lines:
    """Lines of which one is moved down by a share of the width that depends on x."""
    points = lines[compartment].points.copy()
    points[:, 1] += WIDTH * by(POSE.frame(points)[:, 0])
    return {**lines, compartment: MarginLine.certain(points)}


@pytest.mark.parametrize(
    "medial, lateral, dish", [(3.5, 5.0, 1.2), (0.5, 8.0, 0.4), (6.0, 3.0, 1.6)]
)
def test_margins_of_a_knee_are_believed(medial, lateral, dish):
    knee = replace(KNEE, medial_jsw_mm=medial, lateral_jsw_mm=lateral, medial_dish_mm=dish)
    margins = exact_margins(knee, SETUP)
    found = limits(POSE, margins.femur, margins.tibia, [search_of(margins)])
    assert all(limit.kept for limit in found)
    assert check_consistent(POSE, margins.femur, margins.tibia, [search_of(margins)]) == []


def test_a_margin_that_jumps_between_two_lines_is_flagged():
    margins = exact_margins(KNEE, SETUP)
    jumping = bent(dict(margins.tibia), LATERAL, lambda x: 0.035 * (x > 0.8))
    broken = replace(margins, tibia=jumping)
    flagged = check_consistent(POSE, broken.femur, broken.tibia, [search_of(broken)])
    assert {(f.code, f.where) for f in flagged} == {(ReasonCode.MARGIN_UNCERTAIN, "lateral")}


@pytest.mark.parametrize(
    "bone, compartment, by, words",
    [
        ("tibia", MEDIAL, lambda x: 0 * x + 0.10, "medial space"),
        ("tibia", LATERAL, lambda x: 0 * x + 0.09, "lateral space"),
        ("femur", MEDIAL, lambda x: 0.16 * (x > 0.22), "shape of the medial condyle"),
        ("tibia", LATERAL, lambda x: -0.16 * (x > 0.80), "shape of the lateral plateau"),
    ],
)
def test_what_no_knee_has_is_refused(bone, compartment, by, words):
    exact = exact_margins(KNEE, SETUP)
    lines = {"femur": dict(exact.femur), "tibia": dict(exact.tibia)}
    lines[bone] = bent(lines[bone], compartment, by)
    broken = replace(exact, femur=lines["femur"], tibia=lines["tibia"])
    with pytest.raises(InputError, match=words) as error:
        check_consistent(POSE, broken.femur, broken.tibia, [search_of(broken)])
    assert error.value.code is ReasonCode.MARGINS_DISAGREE


def test_bones_at_an_impossible_angle_are_refused():
    exact = exact_margins(KNEE, SETUP)
    tilted = bent(dict(exact.tibia), MEDIAL, lambda x: 0 * x - 0.18)
    names = [limit.name for limit in limits(POSE, exact.femur, tilted, []) if not limit.kept]
    assert names == ["angle between the bones in degrees"]


def test_a_second_search_that_ends_elsewhere_refuses():
    margins = exact_margins(KNEE, SETUP)
    near, apart, far = (search_of(margins, share * WIDTH) for share in (0.01, 0.03, 0.07))
    assert check_consistent(POSE, margins.femur, margins.tibia, [near]) == []
    flagged = check_consistent(POSE, margins.femur, margins.tibia, [apart])
    assert {(f.code, f.where) for f in flagged} == {
        (ReasonCode.MARGIN_UNCERTAIN, "medial"),
        (ReasonCode.MARGIN_UNCERTAIN, "lateral"),
    }
    with pytest.raises(InputError, match="two searches") as error:
        check_consistent(POSE, margins.femur, margins.tibia, [near, far])
    assert error.value.code is ReasonCode.MARGINS_DISAGREE


def edges_at(left: float, right: float) -> Lines:
    rows = np.linspace(40, 80, 30)
    return {
        MEDIAL: MarginLine.certain(np.column_stack([np.full(30, left), rows])),
        LATERAL: MarginLine.certain(np.column_stack([np.full(30, right), rows])),
    }


def test_a_femur_at_the_border_is_flagged_or_refused_by_where_its_plateau_ends():
    pose = Pose(100.0, 100.0, 198.0, 0.0)
    shape = (200, 200)
    assert check_edges(edges_at(20, 180), shape, pose, {MEDIAL: 0.0, LATERAL: 1.0}, CLEAR) == []
    flagged = check_edges(edges_at(0.1, 180), shape, pose, {MEDIAL: 0.0, LATERAL: 1.0}, CLEAR)
    assert [(f.code, f.where) for f in flagged] == [(ReasonCode.BONE_CUT_BY_VIEW, "medial")]
    with pytest.raises(InputError) as error:
        check_edges(edges_at(0.1, 180), shape, pose, {MEDIAL: -0.1, LATERAL: 1.0}, FAINT)
    assert error.value.code is ReasonCode.JOINT_OUT_OF_VIEW


def test_a_clear_edge_on_the_film_is_believed_where_a_worn_plateau_is_wider():
    pose = Pose(100.0, 100.0, 198.0, 0.0)
    flagged = check_edges(edges_at(0.1, 180), (200, 200), pose, {MEDIAL: -0.1, LATERAL: 1.0}, CLEAR)
    assert [(f.code, f.where) for f in flagged] == [(ReasonCode.BONE_CUT_BY_VIEW, "medial")]


@pytest.mark.parametrize(
    "inward_share, refused, doubted",
    [(0.0, [], []), (0.17, [], ["medial"]), (0.23, ["medial"], ["medial", "lateral"])],
)
def test_a_condyle_lies_between_the_femoral_edges(inward_share, refused, doubted):
    exact = exact_margins(KNEE, SETUP)
    edge = exact.femoral_edges[MEDIAL].points + (inward_share * WIDTH, 0.0)
    moved = {**exact.femoral_edges, MEDIAL: MarginLine.certain(edge)}
    checked = frame_limits(replace(exact, femoral_edges=moved), POSE)
    assert [limit.where for limit in checked if not limit.kept] == refused
    flagged = [(limit.code, limit.where) for limit in checked if limit.value > limit.doubt]
    assert flagged == [(ReasonCode.WIDTH_UNCERTAIN, where) for where in doubted]


def test_margins_far_from_where_a_knee_was_located_are_refused():
    exact = exact_margins(KNEE, SETUP)
    for rows, words in ((0.05, []), (0.2, ["distance from where a knee was located"])):
        located = replace(POSE, row=POSE.row + rows * WIDTH)
        assert [limit.name for limit in frame_limits(exact, located) if not limit.kept] == words
