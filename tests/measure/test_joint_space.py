"""Joint-space width against joints worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.errors import Finding, MeasurementError, ReasonCode
from kneeimg.measure.joint_space import (
    joint_frame,
    measure_joint_space,
    planned_joint_space,
    refused_joint_space,
)
from kneeimg.settings.film import JointSpaceSettings

MEDIAL, LATERAL = Compartment.MEDIAL, Compartment.LATERAL
IDENTITY = np.eye(2)


def hand_joint(
    medial: tuple[float, float] = (4.0, 4.0),
    lateral: tuple[float, float] = (5.0, 5.0),
    matrix: np.ndarray = IDENTITY,
    axis: bool = False,
    femoral_deg: float | None = None,
) -> JointMargins:
    """A femur 80 wide, flat condyles at y = 0, each plateau a straight line between two depths.

    The femur spans x = 0..1 (columns 0..80); condyles are flat at height 0 over x 0.02..0.38 and
    0.62..0.98, so the joint space at the two ends of each is `medial` and `lateral`.
    """

    def line(x: tuple[float, float], y: tuple[float, float]) -> MarginLine:
        points = np.column_stack([np.linspace(*x, 50) * 80, np.linspace(*y, 50)])
        return MarginLine.certain(points @ matrix.T + 100)

    left, right = (0.02, 0.38), (0.62, 0.98)
    edges = {MEDIAL: line((0.0, 0.02), (-20, 0)), LATERAL: line((1.0, 0.98), (-20, 0))}
    femur = {MEDIAL: line(left, (0, 0)), LATERAL: line(right, (0, 0))}
    tibia = {MEDIAL: line(left, medial), LATERAL: line(right, lateral)}
    tangent = np.array([femur[c].points[25] for c in Compartment])
    shaft = line((0.5, 0.5), (20, 60)).points[[0, -1]] if axis else None
    femoral = None
    if femoral_deg is not None:  # leans to lateral by so much, 40 long
        away = 40 * np.tan(np.deg2rad(femoral_deg)) / 80
        femoral = line((0.5 + away, 0.5), (-80, -40)).points[[0, -1]]
    return JointMargins(
        side=Side.LEFT,
        shape=(300, 300),
        femur=femur,
        tibia=tibia,
        femoral_edges=edges,
        tangent=tangent,
        tibial_axis=shaft,
        femoral_axis=femoral,
        method="hand",
    )


def values(margins: JointMargins, spacing=(1.0, 1.0), **more) -> dict[str, float]:
    return {row.name: row.value for row in measure_joint_space(margins, spacing, **more)}


def test_parallel_margins_give_their_distance_everywhere():
    got = values(hand_joint())
    assert got["medial_mJSW"] == pytest.approx(4.0)
    assert got["medial_fJSW_0225"] == pytest.approx(4.0)
    assert got["lateral_fJSW_0900"] == pytest.approx(5.0)
    assert got["medial_JSA"] == pytest.approx(4.0 * 0.2 * 80)
    assert got["lateral_meanJSW"] == pytest.approx(5.0)
    assert got["knee_femoral_width"] == pytest.approx(80.0)
    assert got["medial_nmJSW"] == pytest.approx(4.0 / 80)
    assert got["knee_JLCA"] == pytest.approx(math.degrees(math.atan2(1.0, 0.6 * 80)))


def test_wedge_is_measured_perpendicular_to_the_tangent_and_shortest():
    # medial gap rises from 2 at x = 0.02 to 6 at x = 0.38: 4 over 28.8, so 2 + (x - 0.02)/0.36*4
    got = values(hand_joint(medial=(2.0, 6.0)))
    assert got["medial_fJSW_0200"] == pytest.approx(4.0)
    assert got["medial_JSA"] == pytest.approx(4.0 * 16)
    # the shortest distance is that of the femoral end of the search range to the slope
    slope = math.atan2(4.0, 0.36 * 80)
    assert got["medial_mJSW"] == pytest.approx((2 + 0.03 / 0.36 * 4) * math.cos(slope), abs=0.03)
    assert 0.05 <= got["medial_mJSW_x"] <= 0.06


def test_bone_on_bone_is_zero_and_flagged_not_missing():
    rows = {row.name: row for row in measure_joint_space(hand_joint(medial=(-1, 3)), (1.0, 1.0))}
    smallest = rows["medial_mJSW"]
    assert smallest.value == 0.0
    assert ReasonCode.BONE_ON_BONE in smallest.flags
    assert rows["medial_fJSW_0300"].value > 0
    assert ReasonCode.BONE_ON_BONE not in rows["medial_fJSW_0300"].flags
    assert ReasonCode.BONE_ON_BONE not in rows["lateral_mJSW"].flags
    # gap -1 + (x - 0.02)/0.36*4 is positive from x = 0.11 on: a triangle over 0.11..0.30
    assert rows["medial_JSA"].value == pytest.approx(0.5 * 0.19 * 80 * (0.19 / 0.36 * 4), rel=1e-4)


@pytest.mark.parametrize("spacing", [None, (0.0, 0.0)])
def test_without_a_pixel_size_only_ratios_and_angles(spacing):
    with_mm = values(hand_joint(), (0.5, 0.5))
    rows = measure_joint_space(hand_joint(), spacing)
    expected = ReasonCode.NO_PIXEL_SPACING if spacing is None else ReasonCode.ZERO_PIXEL_SPACING
    for row in rows:
        if row.unit in ("mm", "mm^2"):
            assert math.isnan(row.value)
            assert row.reason is expected
        elif row.quantity not in ("TPA", "FTA"):
            assert row.value == pytest.approx(with_mm[row.name])


@pytest.mark.parametrize("angle", [-25.0, 7.0, 90.0])
def test_turning_the_film_changes_nothing(angle):
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    straight = values(hand_joint((2, 6), (6, 3), axis=True))
    turned = values(hand_joint((2, 6), (6, 3), axis=True, matrix=matrix))
    assert turned == pytest.approx(straight, nan_ok=True, rel=1e-9)


def test_scale_changes_mm_and_not_ratios():
    small, large = values(hand_joint(), (0.2, 0.2)), values(hand_joint(), (0.4, 0.4))
    assert large["medial_mJSW"] == pytest.approx(2 * small["medial_mJSW"])
    assert large["lateral_JSA"] == pytest.approx(4 * small["lateral_JSA"])
    assert large["medial_nfJSW_0200"] == pytest.approx(small["medial_nfJSW_0200"])
    assert large["medial_mJSW_x"] == pytest.approx(small["medial_mJSW_x"])


def test_pixels_that_are_not_square():
    squeezed = hand_joint((2, 6), (6, 3), matrix=np.diag([1 / 0.3, 1 / 0.1]))
    straight = hand_joint((2, 6), (6, 3))
    assert values(squeezed, (0.1, 0.3)) == pytest.approx(values(straight), nan_ok=True)


def test_turned_and_not_square():
    turn = np.deg2rad(11)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    squeezed = hand_joint((2, 6), (6, 3), matrix=np.diag([1 / 0.3, 1 / 0.1]) @ matrix)
    straight = hand_joint((2, 6), (6, 3))
    assert values(squeezed, (0.1, 0.3)) == pytest.approx(values(straight), nan_ok=True)


def test_mirrored_film_and_other_side_give_the_same_numbers():
    margins = hand_joint(medial=(1, 5), lateral=(6, 2), axis=True)
    assert margins.mirrored().side is Side.RIGHT
    assert values(margins.mirrored()) == pytest.approx(values(margins), nan_ok=True, rel=1e-12)


def test_angles():
    got = values(hand_joint(medial=(3, 3), lateral=(3 + 0.6 * 80, 3 + 0.6 * 80), axis=True))
    assert got["knee_JLCA"] == pytest.approx(45.0)  # opens laterally
    assert got["knee_TPA"] == pytest.approx(135.0)
    assert values(hand_joint(lateral=(4, 4), axis=True))["knee_TPA"] == pytest.approx(90.0)


@pytest.mark.parametrize("lean_deg", [-12.0, 0.0, 6.5])
def test_femorotibial_angle_is_the_lateral_angle_of_the_shafts(lean_deg):
    straight = hand_joint(axis=True, femoral_deg=lean_deg)
    assert values(straight)["knee_FTA"] == pytest.approx(180.0 - lean_deg)
    assert values(straight.mirrored())["knee_FTA"] == pytest.approx(180.0 - lean_deg)


@pytest.mark.parametrize(
    "margins, missing",
    [
        (hand_joint(), ("knee_TPA", "knee_FTA")),
        (hand_joint(axis=True), ("knee_FTA",)),
        (hand_joint(femoral_deg=5.0), ("knee_TPA", "knee_FTA")),
    ],
)
def test_angles_need_their_shafts(margins, missing):
    rows = measure_joint_space(margins, (1.0, 1.0))
    cut = {row.name for row in rows if row.reason is ReasonCode.BONE_CUT_BY_VIEW}
    assert cut == set(missing)


def test_baseline_width_places_x_and_normalises():
    got = values(hand_joint(medial=(2, 6)), femoral_width_mm=40.0)
    assert got["medial_fJSW_0300"] == pytest.approx(2 + (0.15 - 0.02) / 0.36 * 4)
    assert got["medial_nfJSW_0300"] == pytest.approx(got["medial_fJSW_0300"] / 40)


def test_x_beyond_the_margin_is_nan_with_a_reason():
    settings = JointSpaceSettings(medial_x=(0.01, 0.2))
    rows = {row.name: row for row in measure_joint_space(hand_joint(), (1.0, 1.0), settings)}
    assert rows["medial_fJSW_0010"].reason is ReasonCode.MARGIN_UNCERTAIN
    assert rows["medial_fJSW_0200"].value == pytest.approx(4.0)


def test_rim_distance():
    margins = hand_joint()
    rim = {c: margins.tibia[c].shifted(0, -1.5) for c in Compartment}
    fields = {name: getattr(margins, name) for name in ("femur", "tibia", "femoral_edges")}
    with_rim = JointMargins(Side.LEFT, (300, 300), tangent=margins.tangent, rim=rim, **fields)
    assert values(with_rim)["medial_rim_distance"] == pytest.approx(1.5)
    assert math.isnan(values(margins)["medial_rim_distance"])


def test_unsure_margins_are_flagged():
    margins = hand_joint()
    weak = {c: MarginLine(line.points, line.confidence * 0.1) for c, line in margins.tibia.items()}
    fields = {name: getattr(margins, name) for name in ("femur", "femoral_edges", "tangent")}
    rows = measure_joint_space(JointMargins(Side.LEFT, (9, 9), tibia=weak, **fields), (1.0, 1.0))
    assert all(ReasonCode.MARGIN_UNCERTAIN in r.flags for r in rows if r.quantity == "mJSW")


def test_every_planned_row_comes_once_and_in_order():
    planned = planned_joint_space()
    rows = measure_joint_space(hand_joint(), (1.0, 1.0))
    assert [(row.region, row.quantity, row.unit) for row in rows] == list(planned)
    refused = refused_joint_space(ReasonCode.KNEE_NOT_FOUND)
    assert [(row.region, row.quantity, row.unit) for row in refused] == list(planned)
    assert len(set(planned)) == len(planned)


def test_swapped_edges_are_refused():
    margins = hand_joint()
    edges = {MEDIAL: margins.femoral_edges[LATERAL], LATERAL: margins.femoral_edges[MEDIAL]}
    wrong = JointMargins(
        Side.LEFT, (9, 9), margins.femur, margins.tibia, edges, tangent=margins.tangent
    )
    with pytest.raises(MeasurementError) as error:
        joint_frame(wrong)
    assert error.value.code is ReasonCode.FRAME_UNDEFINED


def faint_end(margins: JointMargins, until: float, compartment: Compartment) -> JointMargins:
    """Margins of which one plateau is unsure from its outer end to a distance inward."""
    line = margins.tibia[compartment]
    x = (line.points[:, 0] - 100) / 80
    inward = x if compartment is MEDIAL else 1 - x
    weak = MarginLine(line.points, np.where(inward < until, 0.05, 1.0))
    return replace(margins, tibia={**margins.tibia, compartment: weak})


@pytest.mark.parametrize("until, start", [(0.0, 0.05), (0.08, 0.08), (0.13, 0.13), (0.25, 0.15)])
def test_the_least_space_is_searched_where_margins_are_sure(until, start):
    narrow_outside = hand_joint(medial=(2.0, 6.0), lateral=(6.0, 2.0))
    slope = math.atan2(4.0, 0.36 * 80)
    expected = (2 + (start - 0.02) / 0.36 * 4) * math.cos(slope)
    for compartment in Compartment:
        got = values(faint_end(narrow_outside, until, compartment))
        at = got[f"{compartment}_mJSW_x"]
        assert got[f"{compartment}_mJSW"] == pytest.approx(expected, abs=0.12)
        inward = at if compartment is MEDIAL else 1 - at
        assert start - 0.008 <= inward <= start + 0.015  # points lie 0.0073 apart
        other = LATERAL if compartment is MEDIAL else MEDIAL
        assert got[f"{other}_mJSW"] == pytest.approx(values(narrow_outside)[f"{other}_mJSW"])


def test_an_unsure_end_that_climbs_is_no_least_space():
    margins = hand_joint()
    line = margins.tibia[MEDIAL]
    climbs = line.points.copy()
    x = (climbs[:, 0] - 100) / 80
    climbs[x < 0.07, 1] -= 3.0
    outside = x < 0.08
    for confidence, smallest in ((0.1, 4.0), (0.9, 1.0)):
        weak = MarginLine(climbs, np.where(outside, confidence, 1.0))
        got = values(replace(margins, tibia={**margins.tibia, MEDIAL: weak}))
        assert got["medial_mJSW"] == pytest.approx(smallest, abs=0.3)


@pytest.mark.parametrize("until, closed", [(0.08, False), (0.13, True)])
def test_bones_touch_in_the_range_of_the_area_however_unsure(until, closed):
    margins = hand_joint()
    line = margins.tibia[MEDIAL]
    x = (line.points[:, 0] - 100) / 80
    points = line.points.copy()
    points[x < until, 1] = 99.9  # beyond the femur
    weak = MarginLine(points, np.where(x < until + 0.01, 0.05, 1.0))
    got = values(replace(margins, tibia={**margins.tibia, MEDIAL: weak}))
    assert (got["medial_mJSW"] == 0.0) is closed


def test_a_narrow_search_beyond_what_is_always_searched():
    settings = JointSpaceSettings(medial_search=(0.05, 0.12), lateral_search=(0.72, 0.78))
    margins = faint_end(hand_joint(medial=(2.0, 6.0)), 0.3, MEDIAL)
    rows = {row.name: row for row in measure_joint_space(margins, (1.0, 1.0), settings)}
    assert rows["medial_mJSW_x"].value == pytest.approx(0.12, abs=0.01)
    assert 0.72 <= rows["lateral_mJSW_x"].value <= 0.78


def test_doubt_about_one_compartment_does_not_flag_the_other():
    finding = Finding(ReasonCode.MARGIN_UNCERTAIN, "two lines", where="medial")
    width = Finding(ReasonCode.WIDTH_UNCERTAIN, "two edges", where="medial")
    rows = measure_joint_space(replace(hand_joint(), findings=(finding, width)), (1.0, 1.0))
    flagged = {row.region for row in rows if ReasonCode.MARGIN_UNCERTAIN in row.flags}
    assert flagged == {"medial", "knee"}
    assert all(ReasonCode.WIDTH_UNCERTAIN in row.flags for row in rows if not row.reason)
