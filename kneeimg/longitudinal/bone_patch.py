"""The part of a bone that takes part in an alignment: cut out, smoothed, sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from kneeimg.core.surface import Surface
from kneeimg.geometry.meshes import vertex_areas, vertex_normals

FloatArray = NDArray[np.float64]

#: Bone beyond the reach that points can be paired with, mm.
_MARGIN_MM = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The part of a bone that is aligned.

    Attributes
    ----------
    vertices_mm : (V, 3) mm.
    faces : (F, 3) triangles of these vertices.
    normals : (V, 3) smoothed outward unit normals.
    area_mm2 : (V,) area around each vertex.
    joint : (V,) True on the joint surface; all True where the surface does not say.
    core : (V,) True within the reach of the joint: points that are sampled. The rest is a margin
        that they can be paired with, and that keeps the rim out of the smoothing.
    """

    vertices_mm: FloatArray
    faces: NDArray[np.int64]
    normals: FloatArray
    area_mm2: FloatArray
    joint: NDArray[np.bool_]
    core: NDArray[np.bool_]

    def sample(self, count: int) -> NDArray[np.int64]:
        """(<= count,) vertex numbers at equal steps of accumulated area."""
        summed = np.cumsum(np.where(self.core, self.area_mm2, 0.0))
        steps = (np.arange(count) + 0.5) * (summed[-1] / count)
        return np.unique(np.searchsorted(summed, steps))

    def mirrored(self) -> Patch:
        """The patch of the opposite knee: x to -x, still outward."""
        flip = np.array([-1.0, 1.0, 1.0])
        return Patch(
            self.vertices_mm * flip,
            self.faces[:, ::-1],
            self.normals * flip,
            self.area_mm2,
            self.joint,
            self.core,
        )


def joint_patch(surface: Surface, reach_mm: float, smoothing_mm: float) -> Patch:
    """The bone near the joint surface, with what an alignment needs.

    The joint surface is where `plate` is not 0; without that field all of the surface counts.
    """
    joint = _joint_vertices(surface)
    distance = _distance_to(surface.vertices, surface.vertices[joint], reach_mm + _MARGIN_MM)
    near = np.isfinite(distance)
    corners = surface.faces.T
    used, faces = _compact(surface.faces[near[corners[0]] & near[corners[1]] & near[corners[2]]])
    vertices, normals = _smoothed(surface.vertices[used], faces, smoothing_mm)
    area = vertex_areas(vertices, faces)
    return Patch(vertices, faces, normals, area, joint[used], distance[used] <= reach_mm)


def _compact(faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Vertices that triangles use, ascending, and the triangles of those; far faster than sorting.

    >>> _compact(np.array([[4, 2, 7], [7, 2, 9]]))[1]
    array([[1, 0, 2],
           [2, 0, 3]])
    """
    taken = np.zeros(int(faces.max(initial=-1)) + 1, dtype=bool)
    taken[faces] = True
    return np.flatnonzero(taken).astype(np.int64), (np.cumsum(taken) - 1)[faces].astype(np.int64)


def _joint_vertices(surface: Surface) -> NDArray[np.bool_]:
    plate = surface.fields.get("plate")
    everywhere = np.ones(len(surface.vertices), dtype=bool)
    if plate is None or not np.any(plate):
        return everywhere
    return np.asarray(plate != 0, dtype=bool)


def _distance_to(points: FloatArray, joint: FloatArray, limit_mm: float) -> FloatArray:
    """(n,) distance of the points to the joint, to about 2 mm; inf beyond the limit."""
    if len(joint) == len(points):
        return np.zeros(len(points))
    centre = joint.mean(axis=0)  # cells that move and mirror with the bone
    cells, number = _cells(points - centre)
    tree = cKDTree(_cells(joint - centre)[0])
    distance = np.asarray(tree.query(cells, distance_upper_bound=limit_mm)[0], dtype=np.float64)
    nearest: FloatArray = distance[number]
    return nearest


def _cells(points: FloatArray, size_mm: float = 2.0) -> tuple[FloatArray, NDArray[np.int64]]:
    """Centres of the 2 mm cells that hold points, and each point's cell: plenty for a reach."""
    index = np.rint(points / size_mm).astype(np.int64)
    low = index.min(axis=0)
    keys = np.ravel_multi_index(tuple((index - low).T), tuple(index.max(axis=0) - low + 1))
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return index[first].astype(np.float64) * size_mm, number.astype(np.int64)


def _smoothed(
    vertices: FloatArray, faces: NDArray[np.int64], length_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Vertices and unit normals averaged with their neighbours over about `length_mm`.

    Both bones shrink alike at their edges, so the pose is kept while boundary noise goes down:
    without it the nearest-point pairs lock onto each other's noise.
    """
    state = np.hstack([vertices, vertex_normals(vertices, faces)])
    first, second = faces.astype(np.int32).ravel(), np.roll(faces, -1, axis=1).astype(np.int32)
    second = second.ravel()
    edges = vertices[first] - vertices[second]
    edge_mm = float(np.sqrt(np.einsum("ex,ex->e", edges, edges)).mean())
    # n averages over a vertex and its neighbours at distance e spread it over about e * sqrt(n).
    steps = min(30, round((length_mm / edge_mm) ** 2))
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    shape = (len(vertices), len(vertices))
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
    links.data[:] = 1.0  # an inner edge belongs to two triangles but is one neighbour
    share = 1.0 / (1.0 + np.asarray(links.sum(axis=1)))
    for _ in range(steps):
        mean = links @ state
        mean += state
        mean *= share
        state = mean
    normals = state[:, 3:]
    return state[:, :3], normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
