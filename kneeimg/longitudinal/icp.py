"""Robust alignment of two bone surfaces: arrays in, a rigid motion out.

Point-to-plane iterations (Chen & Medioni 1992, doi:10.1016/0262-8856(92)90066-C) with Tukey
weights, from several starting poses. Both surfaces are smoothed alike first: without that the
nearest-point pairs lock onto each other's noise, and 0.35 mm of boundary noise moves the bone by
40 to 80 µm instead of 5 to 15 µm (a real femur, noise independent from vertex to vertex; the
exact distance to triangles instead of the plane at the nearest vertex changed that by < 1 µm).
Deterministic: points are picked at equal steps of area, never drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from kneeimg.core.surface import Surface
from kneeimg.geometry.affines import apply_affine, from_linear
from kneeimg.geometry.closest import vertex_normals
from kneeimg.geometry.rigid import rotation, rotation_angle_deg
from kneeimg.settings.registration import RegistrationSettings

FloatArray = NDArray[np.float64]

#: Tukey's constant: 95 % efficiency on Gaussian noise, nothing beyond 4.685 scales counts.
_TUKEY = 4.685
_MAD_TO_SD = 1.4826
#: Bone beyond the reach that points can be paired with, mm.
_MARGIN_MM = 6.0
_COARSE_STEPS = 12
#: A starting pose that fits this well needs no rival, mm: half of what another person leaves.
_GOOD_START_MM = 0.4


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
    faces = surface.faces[near[surface.faces].all(axis=1)]
    used, compact = np.unique(faces, return_inverse=True)
    faces = compact.reshape(-1, 3).astype(np.int64)
    vertices, normals = _smoothed(surface.vertices[used], faces, smoothing_mm)
    area = _vertex_area(vertices, faces)
    return Patch(vertices, faces, normals, area, joint[used], distance[used] <= reach_mm)


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


def _vertex_area(vertices: FloatArray, faces: NDArray[np.int64]) -> FloatArray:
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    third = np.linalg.norm(normal, axis=1) / 6.0
    area = np.bincount(faces.ravel(), weights=np.repeat(third, 3), minlength=len(vertices))
    return area.astype(np.float64)


def _smoothed(
    vertices: FloatArray, faces: NDArray[np.int64], length_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Vertices and unit normals averaged with their neighbours over about `length_mm`.

    Both bones shrink alike at their edges, so the pose is kept while boundary noise goes down:
    without it the nearest-point pairs lock onto each other's noise.
    """
    state = np.hstack([vertices, vertex_normals(vertices, faces)])
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edge_mm = float(np.linalg.norm(vertices[pairs[:, 0]] - vertices[pairs[:, 1]], axis=1).mean())
    # n averages over a vertex and its neighbours at distance e spread it over about e * sqrt(n).
    steps = min(30, round((length_mm / edge_mm) ** 2))
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    shape = (len(vertices), len(vertices))
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
    links.data[:] = 1.0  # an inner edge belongs to two triangles but is one neighbour
    count = 1.0 + np.asarray(links.sum(axis=1))
    for _ in range(steps):
        state = (state + links @ state) / count
    normals = state[:, 3:]
    return state[:, :3], normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A pose and how well it holds.

    Attributes
    ----------
    matrix : (4, 4) source frame to target frame.
    distance_mm : (n,) distance of each sampled source point to the target surface: to its tangent
        plane where paired, to its nearest vertex elsewhere.
    paired : (n,) True where the normals agree and the distance is within the pair distance.
    iterations : Steps taken in all stages.
    """

    matrix: FloatArray
    distance_mm: FloatArray
    paired: NDArray[np.bool_]
    iterations: int

    @property
    def median_mm(self) -> float:
        """Median distance."""
        return float(np.median(self.distance_mm))

    def rms_mm(self, trim_share: float) -> float:
        """Root mean square of the distances without the farthest share."""
        keep = np.sort(self.distance_mm)[: max(1, round(len(self.distance_mm) * (1 - trim_share)))]
        return float(np.sqrt(np.mean(keep**2)))


#: Moved points to the foot points on the target and the target's normals there.
Matcher = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def align(source: Patch, target: Patch, settings: RegistrationSettings) -> Fit:
    """Best rigid fit of the source patch onto the target patch.

    Starting poses are the source as it lies and with its principal axes turned onto the target's
    in all four proper ways, each with the joint surfaces' centres together; the one that fits
    best after a short alignment is refined.
    """
    match = _matcher(target)
    coarse = source.sample(settings.coarse_points)
    picked = source.sample(settings.sample_points)
    start = _best_start(source, target, coarse, match, settings)
    pose, steps = _iterate(start, source, picked, match, settings, settings.max_iterations)
    return _assess(pose, steps, source, picked, match, settings)


def _best_start(
    source: Patch,
    target: Patch,
    coarse: NDArray[np.int64],
    match: Matcher,
    settings: RegistrationSettings,
) -> FloatArray:
    best, best_mm = np.eye(4), np.inf
    for start in _starting_poses(source, target):
        pose, _ = _iterate(start, source, coarse, match, settings, _COARSE_STEPS)
        spread_mm = _trimmed_spread(pose, source, coarse, match)
        if spread_mm < best_mm:
            best, best_mm = pose, spread_mm
        if best_mm < _GOOD_START_MM:
            break
    return best


def _starting_poses(source: Patch, target: Patch) -> Iterator[FloatArray]:
    source_centre, source_axes = _principal_axes(source)
    target_centre, target_axes = _principal_axes(target)
    turns = [np.eye(3)]
    for a, b in product((1.0, -1.0), repeat=2):
        turns.append(target_axes @ np.diag([a, b, a * b]) @ source_axes.T)
    for turn in turns:
        yield from_linear(turn, target_centre - turn @ source_centre)


def _principal_axes(patch: Patch) -> tuple[FloatArray, FloatArray]:
    """Area-weighted centre (3,) and right-handed axes (3, 3 columns) of the joint surface."""
    weight = patch.area_mm2 * patch.joint
    weight = weight / weight.sum()
    centre = weight @ patch.vertices_mm
    offset = patch.vertices_mm - centre
    _, axes = np.linalg.eigh(offset.T @ (offset * weight[:, None]))
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    return centre, axes


def _matcher(target: Patch) -> Matcher:
    tree = cKDTree(target.vertices_mm)

    def match(points: FloatArray) -> tuple[FloatArray, FloatArray]:
        _, nearest = tree.query(points)
        return target.vertices_mm[nearest], target.normals[nearest]

    return match


def _iterate(
    matrix: FloatArray,
    source: Patch,
    picked: NDArray[np.int64],
    match: Matcher,
    settings: RegistrationSettings,
    steps: int,
) -> tuple[FloatArray, int]:
    """Gauss-Newton steps until no point moves; the pose and the number of steps."""
    points, normals = source.vertices_mm[picked], source.normals[picked]
    cosine = float(np.cos(np.deg2rad(settings.max_normal_angle_deg)))
    for step in range(1, steps + 1):
        moved = apply_affine(matrix, points)
        foot, plane = match(moved)
        residual = np.einsum("nx,nx->n", plane, moved - foot)
        agrees = np.einsum("nx,nx->n", plane, normals @ matrix[:3, :3].T) > cosine
        weight = _tukey_weights(residual, agrees, settings.min_scale_mm)
        update, reach_mm = _small_motion(moved, plane, residual, weight)
        matrix = update @ matrix
        if reach_mm < settings.step_tolerance_mm:
            return matrix, step
    return matrix, steps


def _tukey_weights(
    residual: FloatArray, agrees: NDArray[np.bool_], min_scale_mm: float
) -> FloatArray:
    """Weights of a biweight estimator; 0 where the normals do not agree."""
    if np.count_nonzero(agrees) < 12:
        agrees = np.ones_like(agrees)  # a hopeless start: let distance alone decide
    scale = max(min_scale_mm, _MAD_TO_SD * float(np.median(np.abs(residual[agrees]))))
    ratio = np.clip(np.abs(residual) / (_TUKEY * scale), 0.0, 1.0)
    weight: FloatArray = np.where(agrees, (1.0 - ratio**2) ** 2, 0.0)
    return weight


def _small_motion(
    points: FloatArray, plane: FloatArray, residual: FloatArray, weight: FloatArray
) -> tuple[FloatArray, float]:
    """(4, 4) motion that lessens the residuals most, and how far it moves the farthest point."""
    centre = points.mean(axis=0)
    offset = points - centre
    size = float(np.sqrt(np.mean(offset**2))) or 1.0  # rotation and translation on one scale
    jacobian = np.hstack([np.cross(offset, plane) / size, plane])
    weighted = jacobian * weight[:, None]
    # Minimum norm: a sphere or a cylinder leaves directions open, and they stay as they are.
    solution = np.linalg.lstsq(weighted.T @ jacobian, -weighted.T @ residual, rcond=1e-9)[0]
    turn_rad, shift = solution[:3] / size, solution[3:]
    angle = float(np.linalg.norm(turn_rad))
    turn = rotation(turn_rad, np.rad2deg(angle)) if angle > 0 else np.eye(3)
    motion = from_linear(turn, centre + shift - turn @ centre)
    reach = np.linalg.norm(offset @ (turn - np.eye(3)).T + shift, axis=1)
    return motion, float(reach.max())


def _trimmed_spread(
    matrix: FloatArray, source: Patch, picked: NDArray[np.int64], match: Matcher
) -> float:
    """Mean of the nearest 80 % of the distances, mm."""
    moved = apply_affine(matrix, source.vertices_mm[picked])
    distance = np.sort(np.linalg.norm(moved - match(moved)[0], axis=1))
    return float(distance[: round(0.8 * len(distance))].mean())


def _assess(
    matrix: FloatArray,
    iterations: int,
    source: Patch,
    picked: NDArray[np.int64],
    match: Matcher,
    settings: RegistrationSettings,
) -> Fit:
    moved = apply_affine(matrix, source.vertices_mm[picked])
    foot, plane = match(moved)
    offset = moved - foot
    distance = np.linalg.norm(offset, axis=1)
    cosine = np.einsum("nx,nx->n", plane, source.normals[picked] @ matrix[:3, :3].T)
    agrees = cosine > np.cos(np.deg2rad(settings.max_normal_angle_deg))
    paired = agrees & (distance <= settings.pair_distance_mm)
    # Between vertices the surface runs on in its tangent plane: sideways is no distance.
    beside = np.abs(np.einsum("nx,nx->n", plane, offset))
    return Fit(matrix, np.where(paired, beside, distance), paired, iterations)


def motion_size(matrix: FloatArray, points_mm: FloatArray) -> tuple[float, float]:
    """Turn in degrees, and how far the centre of the points moves in mm."""
    centre = points_mm.mean(axis=0)
    shift = float(np.linalg.norm(apply_affine(matrix, centre) - centre))
    return rotation_angle_deg(matrix), shift
