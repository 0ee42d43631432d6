"""Robust alignment of two bone surfaces: arrays in, a rigid motion out.

Point-to-plane iterations (Chen & Medioni 1992, doi:10.1016/0262-8856(92)90066-C) with Tukey
weights, from several starting poses, and then a refinement by the signed distances of both bones
(:mod:`kneeimg.longitudinal.refinement`). Both surfaces are smoothed alike first: without that the
nearest-point pairs lock onto each other's noise, and 0.35 mm of boundary noise moves the bone by
40 to 80 µm instead of 5 to 15 µm (a real femur, noise independent from vertex to vertex).
Deterministic: points are picked at equal steps of area, never drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from kneeimg.geometry.affines import apply_affine, from_linear
from kneeimg.geometry.rigid import rotation_angle_deg
from kneeimg.longitudinal.bone_patch import Patch
from kneeimg.longitudinal.gauss_newton import Matcher, matcher, small_motion, tukey_weights
from kneeimg.longitudinal.refinement import refine
from kneeimg.settings.registration import RegistrationSettings

FloatArray = NDArray[np.float64]

_COARSE_STEPS = 12
#: A starting pose that fits this well needs no rival, mm: half of what another person leaves.
_GOOD_START_MM = 0.4
#: Steps this small are left to the refinement, mm.
_HANDOVER_MM = 0.01


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


def align(source: Patch, target: Patch, settings: RegistrationSettings) -> Fit:
    """Best rigid fit of the source patch onto the target patch.

    Starting poses are the source as it lies and with its principal axes turned onto the target's
    in all four proper ways, each with the joint surfaces' centres together; the one that fits
    best after a short alignment is aligned with all sampled points and then refined.
    """
    match = matcher(target)
    coarse = source.sample(settings.coarse_points)
    picked = source.sample(settings.sample_points)
    start = _best_start(source, target, coarse, match, settings)
    pose, steps = _iterate(start, source, picked, match, settings, settings.max_iterations)
    pose, more = refine(pose, source, target, match, settings)
    return _assess(pose, steps + more, source, picked, match, settings)


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
    _, axes = np.linalg.eigh(np.einsum("vi,vj,v->ij", offset, offset, weight))
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    return centre, axes


def _iterate(
    matrix: FloatArray,
    source: Patch,
    picked: NDArray[np.int64],
    match: Matcher,
    settings: RegistrationSettings,
    steps: int,
) -> tuple[FloatArray, int]:
    """Gauss-Newton steps until points hardly move; the pose and the number of steps."""
    points, normals = source.vertices_mm[picked], source.normals[picked]
    cosine = float(np.cos(np.deg2rad(settings.max_normal_angle_deg)))
    for step in range(1, steps + 1):
        moved = apply_affine(matrix, points)
        foot, plane = match(moved)
        residual = np.einsum("nx,nx->n", plane, moved - foot)
        agrees = np.einsum("nx,nx->n", plane, normals @ matrix[:3, :3].T) > cosine
        weight = tukey_weights(residual, agrees, settings.min_scale_mm)
        update, reach_mm = small_motion(moved, plane, residual, weight)
        matrix = update @ matrix
        if reach_mm < _HANDOVER_MM:
            return matrix, step
    return matrix, steps


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
