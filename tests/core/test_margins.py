"""The margins of a joint as data."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.errors import Finding, GeometryError, ReasonCode


def line(x: float, y: float, confidence: float = 1.0) -> MarginLine:
    return MarginLine(np.array([[x, y], [x + 10, y]]), np.full(2, confidence))


def pair(y: float, confidence: float = 1.0) -> dict[Compartment, MarginLine]:
    return {Compartment.MEDIAL: line(5, y, confidence), Compartment.LATERAL: line(25, y)}


def joint(**more) -> JointMargins:
    fields = {"femur": pair(10), "tibia": pair(14, 0.4), "femoral_edges": pair(0), **more}
    tangent = np.array([[8.0, 10.0], [30.0, 10.0]])
    return JointMargins(Side.LEFT, (50, 41), tangent=tangent, **fields)


def test_mirroring_twice_is_nothing_and_once_swaps_the_side():
    margins = joint(
        rim=pair(13),
        tibial_axis=np.array([[20.0, 20.0], [22.0, 48.0]]),
        femoral_axis=np.array([[23.0, 1.0], [20.0, 8.0]]),
    )
    once = margins.mirrored()
    assert once.side is Side.RIGHT
    assert once.femur[Compartment.MEDIAL].points[0].tolist() == [35.0, 10.0]
    back = once.mirrored()
    for name in ("femur", "tibia", "femoral_edges", "rim"):
        for compartment, original in getattr(margins, name).items():
            np.testing.assert_array_equal(getattr(back, name)[compartment].points, original.points)
    assert once.femoral_axis.tolist() == [[17.0, 1.0], [20.0, 8.0]]
    np.testing.assert_array_equal(back.tibial_axis, margins.tibial_axis)
    np.testing.assert_array_equal(back.femoral_axis, margins.femoral_axis)


def test_placing_on_a_larger_film_moves_every_line():
    moved = joint().on_film((50, 200), 100, 3)
    assert moved.shape == (50, 200)
    assert moved.tibia[Compartment.LATERAL].points[0].tolist() == [125.0, 17.0]
    assert moved.tangent[0].tolist() == [108.0, 13.0]


def test_confidence_is_that_of_the_weaker_margin():
    assert joint().confidence(Compartment.MEDIAL) == pytest.approx(0.4)
    assert joint().confidence(Compartment.LATERAL) == 1.0


def test_flags_come_once():
    finding = Finding(ReasonCode.OBJECT_IN_VIEW, "bead")
    assert joint(findings=(finding, finding)).flags == (ReasonCode.OBJECT_IN_VIEW,)


@pytest.mark.parametrize(
    "points, confidence",
    [
        (np.zeros((3, 3)), np.ones(3)),
        (np.zeros((0, 2)), np.ones(0)),
        (np.zeros((3, 2)), np.ones(2)),
        (np.array([[0.0, np.nan]]), np.ones(1)),
        (np.zeros((1, 2)), np.array([1.5])),
    ],
)
def test_what_is_no_line_is_refused(points, confidence):
    with pytest.raises(GeometryError):
        MarginLine(points, confidence)


def test_both_compartments_are_needed():
    with pytest.raises(GeometryError, match="tibia lacks lateral"):
        joint(tibia={Compartment.MEDIAL: line(0, 0)})


def test_lines_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        line(0, 0).points[0, 0] = 1.0
