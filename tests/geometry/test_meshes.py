"""Parts, averages and area vectors of small meshes, against plain computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kneeimg.geometry import meshes
from kneeimg.geometry.meshes import (
    connected_parts,
    smooth_over_mesh,
    vertex_area_vectors,
    vertex_areas,
    vertex_normals,
)


def test_smoothing_over_a_mesh_keeps_a_constant() -> None:
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    values = np.full((4, 3), 2.5)
    assert smooth_over_mesh(values, faces, 1.0, vertices) == pytest.approx(values)


def test_parts_are_joined_by_edges_between_kept_vertices_only() -> None:
    faces = np.array([[0, 1, 2], [2, 3, 4], [5, 6, 7], [7, 8, 0]])
    whole = connected_parts(faces, 10)
    assert len(set(whole[:9])) == 1
    assert whole[9] != whole[0]
    keep = np.ones(10, dtype=bool)
    keep[[2, 7]] = False
    parts = connected_parts(faces, 10, keep)
    groups = [{0, 1, 8}, {3, 4}, {5, 6}, {9}]
    assert [len({int(parts[n]) for n in group}) for group in groups] == [1, 1, 1, 1]
    assert len({int(parts[min(group)]) for group in groups}) == 4
    assert parts[2] == parts[7] == parts.max()


@pytest.mark.parametrize("count", [1, 2, 5, 60, 2000])
@pytest.mark.parametrize("share", [1.0, 0.7, 0.0])
def test_parts_are_those_of_a_graph_search_in_the_order_of_their_first_vertices(
    count: int, share: float
) -> None:
    rng = np.random.default_rng(count)
    for number in (0, count // 2, count):
        faces = rng.integers(0, count, (number, 3))
        keep = rng.random(count) < share
        pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        pairs = pairs[keep[pairs].all(axis=1)]
        graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(count, count)).tocsr()
        found = connected_components(graph, directed=False)[1]
        _, first = np.unique(found[keep], return_index=True)
        expected = np.full(count, len(first))
        for order, node in enumerate(np.sort(np.flatnonzero(keep)[first])):
            expected[keep & (found == found[node])] = order
        assert np.array_equal(connected_parts(faces, count, keep), expected)


@pytest.mark.parametrize("at_once", [2, 100])
def test_area_vectors_of_triangles_go_to_their_corners(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meshes, "_TRIANGLES", at_once)
    rng = np.random.default_rng(3)
    vertices, faces = rng.random((9, 3)), np.array([[0, 1, 2], [2, 1, 3], [3, 4, 5], [0, 2, 7]])
    expected = np.zeros((9, 3))
    for a, b, c in faces:
        area = np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a]) / 2.0
        expected[[a, b, c]] += area / 3.0
    assert vertex_area_vectors(vertices, faces) == pytest.approx(expected, abs=1e-15)


def test_one_round_of_smoothing_mixes_neighbours_and_a_sixth_of_the_own_value() -> None:
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    values = np.random.default_rng(4).random((4, 3))
    # a neighbour counts once for each triangle that is shared with it
    weights = np.array([[0.0, 1, 1, 0], [1, 0, 2, 1], [1, 2, 0, 1], [0, 1, 1, 0]])
    weights += np.diag(weights.sum(axis=1) / 6.0)
    expected = weights @ values / weights.sum(axis=1, keepdims=True)
    assert smooth_over_mesh(values, faces, 0.6, vertices) == pytest.approx(expected)


def test_normals_point_outward_and_lone_vertices_have_none() -> None:
    vertices = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0], [7, 7, 7]])
    normals = vertex_normals(vertices, np.array([[0, 1, 2]]))
    np.testing.assert_allclose(normals, [[0, 0, 1]] * 3 + [[0, 0, 0]])


def test_areas_add_up_to_the_surface_also_where_it_folds() -> None:
    # two triangles of 6 and 2 mm² back to back: their vectors cancel, their areas do not
    vertices = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 3, 1]])
    assert vertex_areas(vertices, faces) == pytest.approx([8 / 3, 8 / 3, 2.0, 2 / 3])
