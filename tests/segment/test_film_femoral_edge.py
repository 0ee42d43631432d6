"""The femoral edge as a mean of curves: right where it is clear, steady where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.margins import Compartment
from kneeimg.errors import ReasonCode
from kneeimg.segment.film.edges import best_path
from kneeimg.segment.film.femoral_edge import (
    FemoralEdge,
    check_spread,
    find_edge,
    refined_edge,
)
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.outline import femur_edge_x
from kneeimg.segment.film.rectify import LEFT, TOP, WIDTH, LevelFilm

POSE = Pose(140.0, 124.0, 200.0, 0.0)
ROWS, COLUMNS = 225, 281
X = LEFT + np.arange(COLUMNS) / WIDTH
V = TOP + np.arange(ROWS)[:, None] / WIDTH


def side(*steps: tuple[float, float]) -> LevelFilm:
    """A level film whose medial side rises by each (x, height) along the typical edge."""
    grey = np.random.default_rng(3).normal(0.0, 0.25, (ROWS, COLUMNS))
    for x, height in steps:
        grey += height / (1 + np.exp(-(X - x - femur_edge_x(V)) * WIDTH / 1.0))
    return LevelFilm(grey, grey, np.ones(grey.shape, dtype=bool), POSE)


def mirrored(film: LevelFilm) -> LevelFilm:
    return replace(
        film, image=film.image[:, ::-1], detail=film.detail[:, ::-1], inside=film.inside[:, ::-1]
    )


@pytest.mark.parametrize("x", [-0.03, 0.0, 0.0123, 0.03])
def test_a_clear_edge_is_found_where_it_is(x):
    found = find_edge(side((x, 2.0)), Compartment.MEDIAL, 0.0)
    assert found.line[:, 0].min() == pytest.approx(x, abs=0.008)
    assert found.strength > 1.0
    assert check_spread({Compartment.MEDIAL: found}) == []


def test_a_mirrored_film_gives_the_mirrored_edge():
    film = side((0.01, 2.0), (-0.03, 0.8))
    medial = find_edge(film, Compartment.MEDIAL, 0.005)
    lateral = find_edge(mirrored(film), Compartment.LATERAL, 0.995)
    assert np.allclose(lateral.line[:, 0], 1 - medial.line[:, 0], atol=1e-9)
    assert lateral.spread == pytest.approx(medial.spread, abs=1e-9)


def test_bone_wins_over_the_skin_outside_it():
    found = find_edge(side((0.0, 1.5), (-0.05, 1.5)), Compartment.MEDIAL, -0.025)
    assert found.line[:, 0].min() == pytest.approx(0.0, abs=0.008)


def test_between_two_lines_the_edge_moves_on_and_does_not_jump():
    heights = np.linspace(1.3, 1.8, 51)
    found = [
        find_edge(side((0.02, 2.0 - h), (-0.03, 0.9 * h)), Compartment.MEDIAL, 0.0) for h in heights
    ]
    at = np.array([edge.line[:, 0].min() for edge in found])
    assert at[0] - at[-1] > 0.02
    assert np.abs(np.diff(at)).max() < 0.15 * (at[0] - at[-1])
    # and says that it lies between two places
    assert max(edge.spread for edge in found) > 1.3 * found[0].spread


def test_several_places_are_flagged():
    line = np.column_stack([np.zeros(5), np.linspace(-0.4, -0.2, 5)])
    edges = {
        Compartment.MEDIAL: FemoralEdge(line, 1.0, 0.005),
        Compartment.LATERAL: FemoralEdge(line, 1.0, 0.025),
    }
    found = [(finding.code, finding.where) for finding in check_spread(edges)]
    assert found == [(ReasonCode.WIDTH_UNCERTAIN, "lateral")]


def test_off_the_film_the_look_of_the_knee_decides():
    film = side((-0.05, 2.0))
    hidden = replace(film, inside=np.broadcast_to(X > 0.02, film.inside.shape))
    found = find_edge(hidden, Compartment.MEDIAL, -0.05)
    assert found.line[:, 0].min() == pytest.approx(-0.05, abs=0.03)


def test_the_final_edge_follows_the_film_when_it_is_sure():
    film = side((0.0, 2.0))
    edge = find_edge(film, Compartment.MEDIAL, 0.0)
    moved = replace(edge, line=edge.line + (0.006, 0.0))
    inward = np.array([1.0, 0.0])
    sure = refined_edge(film.image, POSE, replace(moved, spread=0.001), inward)
    unsure = refined_edge(film.image, POSE, replace(moved, spread=0.05), inward)
    # a rounded edge begins before its steepest rise: the line may go back a little farther
    back = POSE.pixels(moved.line)[:, 0] - sure.points[:, 0]
    assert 0.6 < back.mean() < 3.2
    assert np.allclose(unsure.points, POSE.pixels(moved.line), atol=0.01)


def test_the_best_path_is_the_best_of_all():
    gain = np.random.default_rng(4).normal(size=(4, 5))
    paths = np.stack(np.meshgrid(*[np.arange(5)] * 4, indexing="ij"), -1).reshape(-1, 4)
    moved = np.abs(np.diff(paths, axis=1))
    merit = gain[np.arange(4), paths].sum(axis=1) - 0.06 * moved.sum(axis=1)
    best = paths[np.where((moved <= 2).all(axis=1), merit, -np.inf).argmax()]
    assert best_path(gain).tolist() == best.tolist()
