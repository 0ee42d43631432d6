"""Repeated readings of a margin: one that strays has no say, a divided vote is seen."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.margins import Compartment, MarginLine
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.readings import Readings, frames_beside, mean_line
from kneeimg.segment.film.rectify import Leveller, level

POSE = Pose(110.0, 120.0, 200.0, 5.0)
X = np.linspace(0.05, 0.4, 71)


def line(v: float | np.ndarray, low: float = 0.05, sure: float | np.ndarray = 0.9) -> MarginLine:
    points = np.column_stack([X, np.broadcast_to(v, X.shape)])[low <= X]
    return MarginLine(POSE.pixels(points), np.broadcast_to(sure, X.shape)[low <= X])


def test_a_reading_that_strays_has_no_say():
    mean = mean_line(POSE, [line(0.0), line(0.001), line(-0.001), line(0.0), line(0.03)])
    heights = POSE.frame(mean.line.points)[:, 1]
    assert np.allclose(heights, 0.001 / 3, atol=1e-9)
    assert mean.widest(0.1, 0.3) == pytest.approx(np.std([0, 0.001, -0.001, 0, 0.03]))


def test_one_reading_more_moves_divided_readings_by_a_third_of_their_distance():
    places = []
    for above in range(6):
        readings = [line(0.03)] * above + [line(0.0)] * (5 - above)
        places.append(POSE.frame(mean_line(POSE, readings).line.points)[:, 1].mean())
    assert places == pytest.approx([0.0, 0.0, 0.01, 0.02, 0.03, 0.03], abs=1e-9)


def test_the_mean_reaches_as_far_as_every_reading():
    mean = mean_line(POSE, [line(0.0), line(0.0, low=0.12), line(0.0)])
    assert mean.x[0] == pytest.approx(0.12, abs=1e-3)
    assert mean.x[-1] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "faint_until, doubted",
    [(0.0, []), (0.19, []), (0.23, ["distance of repeated readings of the medial plateau"])],
)
def test_readings_that_lie_apart_are_doubted_where_most_of_a_margin_is_faint(faint_until, doubted):
    faint = np.where(faint_until > X, 0.1, 0.9)  # measured are x 0.11 to 0.30
    same = mean_line(POSE, [line(0.0, sure=faint)] * 5)
    pit = np.where(np.abs(X - 0.2) < 0.02, 0.015, 0.0)
    torn = mean_line(POSE, [line(0.0), line(pit), line(0.0), line(pit), line(pit)])
    end = np.where(X < 0.08, 0.015, 0.0)  # beyond what is measured
    loose = mean_line(POSE, [line(0.0), line(end), line(0.0), line(end), line(end)])
    medial, lateral = Compartment.MEDIAL, Compartment.LATERAL
    readings = Readings({medial: same, lateral: same}, {medial: torn, lateral: loose})
    found = list(readings.limits())
    assert [limit.name for limit in found if limit.value > limit.doubt] == doubted
    assert all(limit.kept for limit in found)


def test_frames_lie_beside_the_first_on_all_sides():
    beside = frames_beside(POSE)
    turns = [pose.turn_deg - POSE.turn_deg for pose in beside]
    widths = [pose.width / POSE.width for pose in beside]
    assert min(turns) < 0 < max(turns)
    assert min(widths) < 1 < max(widths)
    places = np.array([POSE.frame((pose.column, pose.row)) for pose in beside]) - (0.5, 0.0)
    assert np.abs(places).max() < 0.5 / 200  # a part of a pixel of the level film
    assert np.abs(places.mean(axis=0)).max() < 1e-9


def test_a_leveller_gives_what_a_fresh_one_gives():
    image = np.random.default_rng(2).normal(size=(300, 320)).cumsum(axis=1)
    leveller = Leveller(image)
    large = Pose(160.0, 150.0, 250.0, 0.0)
    leveller.at(Pose(160.0, 150.0, 210.0, 0.0))
    assert np.array_equal(leveller.at(large).detail, level(image, large).detail)


def test_slow_shading_is_no_detail():
    rows, columns = np.mgrid[:240, :260]
    image = 0.002 * (columns - 130.0) ** 2 + 0.3 * rows
    bone = np.where((np.abs(columns - 130) < 60) & (rows % 12 < 4), 40.0, 0.0)
    plain, shaded = (level(i, Pose(130.0, 120.0, 200.0, 0.0)) for i in (bone, bone + image))
    middle = (slice(60, 170), slice(90, 190))
    assert np.abs(plain.detail[middle] - shaded.detail[middle]).max() < 0.35
