"""Closest points on a triangle mesh, exact, with the corner weights to interpolate there."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree, cKDTree

from kneeimg.geometry.sharing import in_pieces

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Triangles tried first; the certificate decides whether more are needed.
_FIRST_CANDIDATES = 16
#: Queries answered at once; bounds the memory.
_CHUNK = 20_000
#: Queries of a search tree that a thread takes at once.
_QUERIES = 1 << 13


def nearest_points(
    tree: KDTree, points: FloatArray, *, within: float = np.inf
) -> tuple[FloatArray, IntArray]:
    """Distance to the nearest point of a tree and its number, for many points at once.

    Parameters
    ----------
    tree : N points.
    points : (M, 3) where to look from.
    within : No further than this; without a point there, the distance is inf and the number N.

    Examples
    --------
    >>> tree = KDTree([[0.0, 0, 0], [5, 0, 0]])
    >>> nearest_points(tree, np.array([[4.0, 0, 0], [2, 0, 0]]), within=1.5)
    (array([ 1., inf]), array([1, 2]))
    """
    distance = np.empty(len(points))
    number = np.empty(len(points), dtype=np.int64)

    def search(piece: slice) -> None:
        found = tree.query(points[piece], distance_upper_bound=within)
        distance[piece], number[piece] = found[0], found[1]

    in_pieces(search, len(points), _QUERIES)
    return distance, number


def triangle_weights(points_mm: FloatArray, corners_mm: FloatArray) -> FloatArray:
    """Corner weights of the point of each triangle that lies closest to its query point.

    Parameters
    ----------
    points_mm : (..., 3) query points, mm.
    corners_mm : (..., 3, 3) corners of one triangle per query (corner, coordinate), mm.

    Returns
    -------
    (..., 3) float64 weights, none negative, sum 1: closest point = weights @ corners.

    Notes
    -----
    The point is inside the triangle (normal projection) or on the nearest of its three edges.
    A triangle without area counts as its edges.

    Examples
    --------
    >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> triangle_weights(np.array([0.25, 0.25, 3.0]), corners)
    array([0.5 , 0.25, 0.25])
    >>> triangle_weights(np.array([2.0, -1.0, 0.0]), corners)
    array([0., 1., 0.])
    """
    first = corners_mm[..., 0, :]
    edge_b, edge_c = corners_mm[..., 1, :] - first, corners_mm[..., 2, :] - first
    offset = points_mm - first
    bb, bc, cc = _dot(edge_b, edge_b), _dot(edge_b, edge_c), _dot(edge_c, edge_c)
    ob, oc = _dot(offset, edge_b), _dot(offset, edge_c)
    area = bb * cc - bc**2
    flat = area <= 1e-24 * np.maximum(bb * cc, 1e-300)
    safe = np.where(flat, 1.0, area)
    w_b, w_c = (cc * ob - bc * oc) / safe, (bb * oc - bc * ob) / safe
    weights = np.stack([1.0 - w_b - w_c, w_b, w_c], axis=-1)
    outside = flat | (weights < 0).any(axis=-1)
    if outside.any():
        weights[outside] = _edge_weights(points_mm[outside], corners_mm[outside])
    return weights


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    product: FloatArray = np.einsum("...i,...i->...", a, b)
    return product


def _edge_weights(points: FloatArray, corners: FloatArray) -> FloatArray:
    """(n, 3) corner weights of the closest point on the three edges of each triangle."""
    best = np.zeros((len(points), 3))
    best_square = np.full(len(points), np.inf)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, end] - corners[:, start]
        length = np.maximum(_dot(edge, edge), 1e-300)
        along = np.clip(_dot(points - corners[:, start], edge) / length, 0.0, 1.0)
        gap = points - corners[:, start] - along[:, None] * edge
        square = _dot(gap, gap)
        nearer = square < best_square
        weights = np.zeros((len(points), 3))
        weights[:, start], weights[:, end] = 1.0 - along, along
        best[nearer], best_square[nearer] = weights[nearer], square[nearer]
    return best


class MeshIndex:
    """Answers which point of a mesh lies closest, for many query points at once.

    Parameters
    ----------
    vertices_mm : (V, 3) mm.
    faces : (F, 3) vertex numbers, F >= 1.
    """

    def __init__(self, vertices_mm: FloatArray, faces: IntArray) -> None:
        if len(faces) == 0:
            raise ValueError("a mesh without triangles has no closest point")
        self.faces = faces
        self._corners = vertices_mm[faces]
        self._centres = self._corners.mean(axis=1)
        # No point of a triangle is farther from its centre than this.
        self._radius_mm = np.linalg.norm(self._corners - self._centres[:, None], axis=2).max(axis=1)
        self._reach_mm = float(self._radius_mm.max())
        self._tree = cKDTree(self._centres)

    def closest(
        self, points_mm: ArrayLike, *, certify: bool = True
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        """Closest point of the mesh to each query.

        Parameters
        ----------
        points_mm : (N, 3) mm, same frame as the mesh.
        certify : False tries the 16 triangles with the nearest centres and stops: three times
            faster, for meshes of small triangles of like size. On a femur of 417,000 triangles one
            query in 60,000 was then not the closest, by 3 µm.

        Returns
        -------
        distance_mm : (N,) to the closest point.
        face : (N,) triangle it lies in.
        weights : (N, 3) of that triangle's corners.

        Notes
        -----
        Exact with `certify`: triangles are tried in the order of their centres, and a result
        stands only when every triangle not tried is too far away to hold a closer point.
        """
        points = np.asarray(points_mm, dtype=np.float64)
        parts = [
            self._closest(points[i : i + _CHUNK], certify) for i in range(0, len(points), _CHUNK)
        ]
        if not parts:
            return np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros((0, 3))
        distance, face, weights = zip(*parts, strict=True)
        return np.concatenate(distance), np.concatenate(face), np.concatenate(weights)

    def _closest(
        self, points: FloatArray, certify: bool
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        distance = np.full(len(points), np.inf)
        face = np.zeros(len(points), dtype=np.int64)
        weights = np.zeros((len(points), 3))
        pending = np.arange(len(points))
        count = min(_FIRST_CANDIDATES, len(self.faces))
        while len(pending):
            found = self._tree.query(points[pending], k=np.arange(1, count + 1))
            centre_mm = np.asarray(found[0], dtype=np.float64)
            near = np.asarray(found[1], dtype=np.int64)
            distance[pending], face[pending], weights[pending] = self._best_of(
                points[pending], centre_mm, near
            )
            if count == len(self.faces) or not certify:
                break
            pending = pending[centre_mm[:, -1] - self._reach_mm < distance[pending]]
            count = min(4 * count, len(self.faces))
        return distance, face, weights

    def _best_of(
        self, points: FloatArray, centre_mm: FloatArray, near: IntArray
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        """Best of the (n, k) candidates, whose centres lie `centre_mm` away, in that order."""
        distance = np.full(len(points), np.inf)
        face = near[:, 0].copy()
        weights = np.zeros((len(points), 3))
        low_mm = centre_mm - self._radius_mm[near]  # no point of the triangle is nearer
        for rank in range(near.shape[1]):
            rows = np.flatnonzero(low_mm[:, rank] < distance)
            if not len(rows):
                continue
            corners = self._corners[near[rows, rank]]
            candidate = triangle_weights(points[rows], corners)
            foot = np.einsum("nc,ncx->nx", candidate, corners)
            gap = np.linalg.norm(points[rows] - foot, axis=1)
            better = gap < distance[rows]
            won = rows[better]
            distance[won], weights[won] = gap[better], candidate[better]
            face[won] = near[won, rank]
        return distance, face, weights
