"""Ends of the plateau, rim and shaft axis on films with exact answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.phantoms.film import FilmKnee, FilmPhantom, FilmSetup, knee_film, to_pixels
from kneeimg.segment.film.edges import expected_edge
from kneeimg.segment.film.femoral_edge import find_edge
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.rectify import LevelFilm, level
from kneeimg.segment.film.rim import find_rims
from kneeimg.segment.film.shaft import femoral_axis, tibial_axis
from kneeimg.segment.film.trace import STARTS, trace_pair

SETUP = FilmSetup(pixel_mm=0.3)
KNEE = FilmKnee(side=Side.LEFT, lateral_jsw_mm=6.0, medial_jsw_mm=4.5)


def exact_pose(knee: FilmKnee, setup: FilmSetup, wider: float = 1.0) -> Pose:
    at = to_pixels(np.array([[knee.femoral_width_mm / 2, 0.0]]), knee, setup)[0]
    width = wider * knee.femoral_width_mm / setup.knee_pixel_mm
    return Pose(float(at[0]), float(at[1]), width, -setup.rotation_deg)


def level_film(film: FilmPhantom, knee: FilmKnee, setup: FilmSetup, wider: float) -> LevelFilm:
    return level(film.radiograph.image.astype(np.float64), exact_pose(knee, setup, wider))


@pytest.fixture(scope="module")
def film() -> FilmPhantom:
    return knee_film(KNEE, SETUP)


@pytest.mark.parametrize("wider", [1.0, 1.15])
def test_the_width_does_not_come_from_the_outline(film, wider):
    seen = level_film(film, KNEE, SETUP, wider)
    for compartment, edge_mm in ((Compartment.MEDIAL, 0.0), (Compartment.LATERAL, 80.0)):
        expected = expected_edge(seen, trace_pair(seen, compartment), compartment)
        line = find_edge(seen, compartment, expected).line
        outer = line[:, 0].min() if edge_mm == 0 else line[:, 0].max()
        at = seen.pose.pixels(np.array([outer, -0.2]))[0]
        true = to_pixels(np.array([[edge_mm, -22.0]]), KNEE, SETUP)[0, 0]
        assert at == pytest.approx(true, abs=0.045 * 80 / 0.3)


def off_the_floor(line: np.ndarray, knee: FilmKnee, compartment: Compartment) -> float:
    """Median distance of a path from the true floor inside the joint, in femoral widths."""
    x = line[:, 0] if compartment is Compartment.MEDIAL else 1 - line[:, 0]
    inside = line[(x > 0.1) & (x < 0.3)]
    true = knee.tibia_v(inside[:, 0] * knee.femoral_width_mm) / knee.femoral_width_mm
    return float(np.median(np.abs(inside[:, 1] - true)))


@pytest.mark.parametrize("rows", [-16, 16])
def test_of_several_searches_the_one_that_found_the_joint_scores_best(film, rows):
    pose = exact_pose(KNEE, SETUP)
    moved = replace(pose, row=pose.row + rows / 200 * pose.width)
    seen = level(film.radiograph.image.astype(np.float64), moved)
    for compartment in Compartment:
        tries = [trace_pair(seen, compartment, start) for start in STARTS]
        best = max(tries, key=lambda pair: pair.score)
        line = best.tibia + (0.0, rows / 200)
        assert off_the_floor(line, KNEE, compartment) < 0.01


def test_a_condyle_that_touches_the_plateau_does_not_climb_into_its_trabeculae():
    knee = replace(KNEE, medial_jsw_mm=-2.0)
    image = knee_film(knee, SETUP).radiograph.image.astype(np.float64)
    pose = exact_pose(knee, SETUP)
    row, column = np.mgrid[: image.shape[0], : image.shape[1]]
    x, v = np.moveaxis(pose.frame(np.stack([column, row], axis=-1)), -1, 0)
    image[(x > 0.05) & (x < 0.35) & (v > -0.06) & (v < 0.0)] *= 0.96  # thin bone above the contact
    seen = level(image, pose)
    femur = trace_pair(seen, Compartment.MEDIAL).femur
    shut = (femur[:, 0] > 0.12) & (femur[:, 0] < 0.26)
    true = knee.femur_v(femur[shut, 0] * knee.femoral_width_mm) / knee.femoral_width_mm
    assert np.abs(femur[shut, 1] - true).max() < 0.02


@pytest.mark.parametrize("beam_deg, seen", [(0.0, False), (6.0, True)])
def test_a_rim_is_told_from_the_floor_where_the_beam_is_tilted(beam_deg, seen):
    knee = replace(KNEE, beam_angle_deg=beam_deg)
    film = knee_film(knee, SETUP)
    exact = film.margins
    rims = find_rims(level_film(film, knee, SETUP, 1.0), exact.femur, exact.tibia)
    assert set(rims) == (set(Compartment) if seen else set())
    rows = measure_joint_space(replace(exact, rim=rims), film.radiograph.spacing_mm)
    for row in rows:
        if row.quantity == "rim_distance" and seen:
            assert row.value == pytest.approx(knee.rim_mm, abs=0.4)


@pytest.mark.parametrize("rotation_deg", [0.0, 5.0])
def test_plateau_angle_where_the_shaft_is_in_view(rotation_deg):
    setup = FilmSetup(
        pixel_mm=0.4, size_mm=(230.0, 140.0), centre_mm=(0.0, 50.0), rotation_deg=rotation_deg
    )
    knee = replace(KNEE, jlca_deg=1.5)
    film = knee_film(knee, setup)
    axis = tibial_axis(film.radiograph.image.astype(np.float64), exact_pose(knee, setup))
    assert axis is not None
    true = to_pixels(np.array([[40.0, 60.0], [40.0, 150.0]]), knee, setup)
    assert angle(film.margins, axis, film) == pytest.approx(
        angle(film.margins, true, film), abs=0.5
    )


def angle(margins: JointMargins, axis: np.ndarray, film: FilmPhantom) -> float:
    return measured_angle("TPA", replace(margins, tibial_axis=axis), film)


def measured_angle(name: str, margins: JointMargins, film: FilmPhantom) -> float:
    rows = measure_joint_space(margins, film.radiograph.spacing_mm)
    return next(row.value for row in rows if row.quantity == name)


@pytest.mark.parametrize("lean_deg, rotation_deg", [(6.0, 0.0), (9.5, -4.0), (-1.0, 4.0)])
def test_femorotibial_angle_where_both_shafts_are_in_view(lean_deg, rotation_deg):
    setup = FilmSetup(pixel_mm=0.5, size_mm=(330.0, 170.0), rotation_deg=rotation_deg)
    knee = replace(KNEE, femoral_shaft_deg=lean_deg)
    film = knee_film(knee, setup)
    image, pose = film.radiograph.image.astype(np.float64), exact_pose(knee, setup)
    femur, tibia = femoral_axis(image, pose), tibial_axis(image, pose)
    assert femur is not None
    assert tibia is not None
    assert femur[0, 1] < femur[1, 1] < tibia[0, 1] < tibia[1, 1]  # from proximal to distal
    margins = replace(film.margins, tibial_axis=tibia, femoral_axis=femur)
    assert measured_angle("FTA", margins, film) == pytest.approx(
        knee.femorotibial_angle_deg, abs=0.5
    )


def test_without_a_shaft_there_is_no_axis(film):
    image = film.radiograph.image.astype(np.float64)
    assert tibial_axis(image, exact_pose(KNEE, SETUP)) is None
    tall = np.random.default_rng(0).normal(1000.0, 50.0, (900, image.shape[1]))
    assert tibial_axis(tall, exact_pose(KNEE, SETUP)) is None
    assert femoral_axis(image, exact_pose(KNEE, SETUP)) is None


def test_a_closed_joint_has_no_rim(film):
    floor = film.margins.femur
    lines = {c: MarginLine.certain(floor[c].points + (0.0, 1.0)) for c in Compartment}
    assert find_rims(level_film(film, KNEE, SETUP, 1.0), floor, lines) == {}
