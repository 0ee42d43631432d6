"""Closest points on triangles and meshes."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.geometry.closest import MeshIndex, triangle_weights

CORNERS = np.array([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])


@pytest.mark.parametrize(
    "point, weights",
    [
        ((0.5, 0.5, 9.0), (0.5, 0.25, 0.25)),  # inside
        ((1.0, -3.0, 1.0), (0.5, 0.5, 0.0)),  # on an edge
        ((2.0, 2.0, 0.0), (0.0, 0.5, 0.5)),  # on the long edge
        ((-1.0, -1.0, 0.0), (1.0, 0.0, 0.0)),  # at a corner
        ((9.0, -1.0, 2.0), (0.0, 1.0, 0.0)),
    ],
)
def test_weights_in_every_zone(point: tuple[float, ...], weights: tuple[float, ...]) -> None:
    np.testing.assert_allclose(triangle_weights(np.array(point), CORNERS), weights, atol=1e-12)


def test_a_triangle_without_area_is_its_edges() -> None:
    line = np.array([[0.0, 0, 0], [1, 0, 0], [4, 0, 0]])
    weights = triangle_weights(np.array([2.0, 5.0, 0.0]), line)
    np.testing.assert_allclose(weights @ line, [2.0, 0.0, 0.0], atol=1e-12)
    point = np.zeros((3, 3))
    np.testing.assert_allclose(triangle_weights(np.ones(3), point).sum(), 1.0)


def test_certified_search_agrees_with_brute_force() -> None:
    rng = np.random.default_rng(5)
    vertices = rng.uniform(-5, 5, (200, 3))
    faces = rng.integers(200, size=(300, 3))  # large and small triangles in a tangle
    points = rng.uniform(-8, 8, (150, 3))
    distance, face, weights = MeshIndex(vertices, faces).closest(points)
    corners = np.broadcast_to(vertices[faces], (len(points), 300, 3, 3))
    every = triangle_weights(np.repeat(points[:, None], 300, axis=1), corners)
    gaps = np.linalg.norm(points[:, None] - np.einsum("nkc,nkcx->nkx", every, corners), axis=2)
    np.testing.assert_allclose(distance, gaps.min(axis=1), atol=1e-12)
    foot = np.einsum("nc,ncx->nx", weights, vertices[faces[face]])
    np.testing.assert_allclose(np.linalg.norm(points - foot, axis=1), distance, atol=1e-12)


def test_no_query_and_no_triangle() -> None:
    index = MeshIndex(CORNERS, np.array([[0, 1, 2]]))
    assert [len(part) for part in index.closest(np.zeros((0, 3)))] == [0, 0, 0]
    with pytest.raises(ValueError, match="without triangles"):
        MeshIndex(CORNERS, np.zeros((0, 3), dtype=np.int64))
