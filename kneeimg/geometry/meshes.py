"""Sums, averages and connected parts over the vertices and triangles of a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.geometry.sharing import in_pieces

FloatArray = NDArray[np.float64]

#: Triangles that are handled at once: their arrays stay in the cache.
_TRIANGLES = 1 << 14


def vertex_area_vectors(vertices: FloatArray, faces: NDArray[np.int64]) -> FloatArray:
    """(V, 3) mm²: a third of the area vector of every triangle around each vertex."""
    result: FloatArray = corner_sums(faces, len(vertices)) @ _thirds(vertices, faces)
    return result


def vertex_areas(vertices: FloatArray, faces: NDArray[np.int64]) -> FloatArray:
    """(V,) mm²: a third of the area of every triangle around each vertex."""
    thirds = _thirds(vertices, faces)
    areas = np.sqrt(np.einsum("fx,fx->f", thirds, thirds))
    result: FloatArray = corner_sums(faces, len(vertices)) @ areas
    return result


def triangle_areas(vertices: FloatArray, faces: NDArray[np.int64]) -> FloatArray:
    """(F,) mm²."""
    thirds = _thirds(vertices, faces)
    areas: FloatArray = 3.0 * np.sqrt(np.einsum("fx,fx->f", thirds, thirds))
    return areas


def vertex_normals(vertices: FloatArray, faces: NDArray[np.int64]) -> FloatArray:
    """(V, 3) unit normals at the vertices, area-weighted over the triangles that meet there.

    Points outward for counter-clockwise triangles; a vertex without triangles gets (0, 0, 0).
    """
    total = vertex_area_vectors(vertices, faces)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    unit: FloatArray = total / np.where(length > 0, length, 1.0)
    return unit


def _thirds(vertices: FloatArray, faces: NDArray[np.int64]) -> FloatArray:
    """(F, 3) mm²: a third of the area vector of each triangle."""
    vectors = np.empty((len(faces), 3))
    columns = [np.ascontiguousarray(column) for column in vertices.T]

    def fill(piece: slice) -> None:
        _area_vectors(columns, faces[piece], vectors[piece])

    in_pieces(fill, len(faces), _TRIANGLES)
    return vectors


def _area_vectors(columns: list[FloatArray], faces: NDArray[np.int64], out: FloatArray) -> None:
    """A third of the area vector of each triangle, from the columns of the vertices."""
    a, b, c = faces.T
    (ux, uy, uz), (vx, vy, vz) = (
        [column.take(corner) - column.take(a) for column in columns] for corner in (b, c)
    )
    out[:, 0], out[:, 1], out[:, 2] = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    out /= 6.0


def smooth_over_mesh(
    values: FloatArray, faces: NDArray[np.int64], sigma_mm: float, vertices: FloatArray
) -> FloatArray:
    """(V, 3) values averaged over the mesh, about a Gaussian of `sigma_mm`.

    Each round mixes every vertex with its neighbours; rounds follow from the mean edge length.
    """
    count, around = len(vertices), corner_sums(faces, len(vertices))
    corners = around.T  # (F, V): sums of the corners of each triangle
    edge2 = 0.0
    for axis in vertices.T:
        a, b, c = (axis.take(column) for column in faces.T)
        edge2 += sum(float(np.vdot(side, side)) for side in (a - b, b - c, c - a))
    edge2 /= 3 * len(faces)
    rounds = max(1, round(2.0 * sigma_mm**2 / edge2))  # a round spreads by edge²/2 per axis
    triangles = np.bincount(faces.ravel(order="K"), minlength=count).astype(np.float64)[:, None]
    # a neighbour counts once for each triangle that is shared with it, one's own value a sixth
    share = 1.0 / np.maximum(7.0 / 3.0 * triangles, 1e-12)
    result = values
    for _ in range(rounds):
        result = share * (around @ (corners @ result) - (2.0 / 3.0) * triangles * result)
    return result


def corner_sums(faces: NDArray[np.int64], count: int) -> Any:
    """(V, F) sparse matrix that adds up at each vertex what its triangles have."""
    from scipy.sparse import csr_array

    starts = np.arange(0, 3 * len(faces) + 1, 3, dtype=np.int32)
    corners = np.ascontiguousarray(faces, dtype=np.int32).ravel()
    return csr_array((np.ones(len(corners)), corners, starts), shape=(len(faces), count)).T


def touching_faces(faces: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n, 3) triangles of which a corner is chosen, each column contiguous.

    Examples
    --------
    >>> faces = np.array([[0, 1, 2], [1, 2, 3]])
    >>> touching_faces(faces, np.array([True, False, False, False])).tolist()
    [[0, 1, 2]]
    """
    touching = touching_numbers(faces, chosen)
    return np.stack([corner.take(touching) for corner in faces.T]).T


def touching_numbers(faces: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Numbers of the triangles of which a corner is chosen."""
    a, b, c = (chosen.take(corner) for corner in faces.T)
    return np.flatnonzero(a | b | c)


def mixed_faces(faces: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Numbers of the triangles of which some corners are chosen and some are not.

    Examples
    --------
    >>> faces = np.array([[0, 1, 2], [1, 2, 3]])
    >>> mixed_faces(faces, np.array([True, False, False, False])).tolist()
    [0]
    """
    a, b, c = (chosen.take(corner) for corner in faces.T)
    return np.flatnonzero((a != b) | (b != c))


def connected_parts(
    faces: NDArray[np.int64], count: int, keep: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    """(count,) number of the connected part of each vertex, over edges between kept vertices.

    Vertices that are not kept share the last number.
    """
    a, b, c = (np.ascontiguousarray(column) for column in faces.T)
    if keep is None:
        return parts_of(((a, b), (b, c)), np.ones(count, dtype=bool))
    kept_a, kept_b, kept_c = (keep.take(column) for column in (a, b, c))
    ab, bc, ca = kept_a & kept_b, kept_b & kept_c & ~kept_a, kept_c & kept_a
    # a triangle of three needs two of its edges
    return parts_of(((a[ab], b[ab]), (b[bc], c[bc]), (c[ca], a[ca])), keep)


def parts_of(
    pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], keep: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """(V,) number of the connected part of each node, from lists of pairs of kept nodes.

    Parts are numbered in the order of their first nodes; nodes that are not kept share the number
    after the last one.
    """
    lowest = _lowest_joined(pairs, len(keep))
    first = (lowest == np.arange(len(keep))) & keep
    number = np.cumsum(first, dtype=np.int32)
    part: NDArray[np.int32] = np.where(keep, number.take(lowest) - 1, number.max(initial=0))
    return part


def _lowest_joined(
    pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], count: int
) -> NDArray[np.int64]:
    """(count,) the lowest node that pairs join each node to.

    Every node hangs on one of its lower neighbours, and so on down: in a mesh one in two hundred
    nodes has none. These are the nodes of the next round, until no pair is left that lies in two
    parts.
    """
    top = np.arange(count)
    for some, others in pairs:
        top[np.maximum(some, others)] = np.minimum(some, others)  # whichever comes last
    while not np.array_equal(top, lower := top.take(top)):
        top = lower
    left = []
    for some, others in pairs:
        here, there = top.take(some), top.take(others)
        apart = np.flatnonzero(here != there)
        if len(apart):
            left.append((here.take(apart), there.take(apart)))
    if not left:
        return top
    tops = np.flatnonzero(top == np.arange(count))
    number = np.empty(count, dtype=np.int64)
    number[tops] = np.arange(len(tops))
    joined = _lowest_joined([(number.take(a), number.take(b)) for a, b in left], len(tops))
    return tops.take(joined).take(number.take(top))
