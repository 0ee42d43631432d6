"""The z-buffer: known shapes, known pixels, known values."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.geometry.meshes import vertex_normals
from kneeimg.report.figures.render import see

SQUARE = np.array([[2.0, 3.0, 0.0], [12.0, 3.0, 0.0], [12.0, 9.0, 0.0], [2.0, 9.0, 0.0]])
SQUARE_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def test_a_rectangle_covers_its_pixels_without_a_hole():
    seen = see(SQUARE, SQUARE_FACES, (20, 20))
    covered = np.zeros((20, 20), dtype=bool)
    covered[seen.rows, seen.columns] = True
    expected = np.zeros((20, 20), dtype=bool)
    expected[3:10, 2:13] = True
    assert np.array_equal(covered, expected)


def test_linear_values_are_interpolated_exactly():
    seen = see(SQUARE, SQUARE_FACES, (20, 20))
    values = seen.interpolate(3.0 * SQUARE[:, 0] - SQUARE[:, 1])
    assert values == pytest.approx(3.0 * seen.columns - seen.rows, abs=1e-4)
    assert seen.weights.sum(axis=1) == pytest.approx(1.0)


def test_faces_turned_away_are_not_seen():
    assert len(see(SQUARE, SQUARE_FACES[:, ::-1], (20, 20)).rows) == 0


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_nearer_face_wins_whatever_its_place_in_the_list(order):
    near = SQUARE + (0, 0, 5.0)
    points = np.concatenate([SQUARE, near])
    groups = [SQUARE_FACES, SQUARE_FACES + 4]
    seen = see(points, np.concatenate([groups[n] for n in order]), (20, 20))
    assert (seen.faces >= 4).all()


def test_what_lies_outside_the_picture_is_cut():
    seen = see(SQUARE * 4 - 20, SQUARE_FACES, (20, 20))
    assert seen.rows.min() >= 0
    assert seen.columns.max() <= 19


def test_an_empty_scene_sees_nothing():
    seen = see(SQUARE + 100, SQUARE_FACES, (20, 20))
    assert len(seen.rows) == 0
    assert seen.interpolate(np.ones(4)).shape == (0,)


def test_unknown_vertices_are_left_out_and_never_count_as_zero():
    values = np.array([np.nan, 2.0, 2.0, np.nan])
    seen = see(SQUARE, SQUARE_FACES, (20, 20))
    known = seen.interpolate(values)
    assert np.nanmin(known) == pytest.approx(2.0)
    only_unknown = see(SQUARE, SQUARE_FACES[1:], (20, 20)).interpolate(np.full(4, np.nan))
    assert np.isnan(only_unknown).all()


def test_codes_are_taken_from_the_nearest_vertex_not_mixed():
    seen = see(SQUARE, SQUARE_FACES, (20, 20))
    assert set(seen.nearest(np.array([0, 7, 0, 7])).tolist()) == {0, 7}


def test_normals_of_a_ball_point_outward():
    from skimage.measure import marching_cubes

    axis = np.arange(-12, 13)
    field = 9.0 - np.sqrt(sum(c**2.0 for c in np.meshgrid(axis, axis, axis, indexing="ij")))
    points, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="ascent")
    points = points.astype(np.float64) - 12
    normals = vertex_normals(points, faces.astype(np.int64))
    radial = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert np.abs(np.sum(normals * radial, axis=1)).min() > 0.98
