"""Thickness along rays: from the bone interface to the articular surface, and back.

Method "ray/soft" or "ray/hard", after Wirth & Eckstein 2008 (doi:10.1109/TMI.2007.907323), who
average both directed distances.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kneeimg.geometry.affines import linear_map, spacing_of
from kneeimg.geometry.meshes import smooth_over_mesh, touching_faces, vertex_area_vectors
from kneeimg.geometry.sharing import in_pieces
from kneeimg.measure.surfaces import (
    Field,
    LevelSets,
    Mesh,
    sample,
)
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]

_LEVEL = 0.5
#: Rays that one thread follows at once.
_RAYS = 1 << 15
#: False-position refinements after a crossing is bracketed.
_REFINEMENTS = 2
#: Fields and their slopes are sums of single precision.
_SURE, _LEAST = 1.001, 1e-9
#: A start this close to the level lies on it (single-precision fields).
_ON_LEVEL = 1e-4


def crossing_mm(
    field: Field | Callable[[FloatArray], FloatArray],
    start_index: FloatArray,
    step_index: FloatArray,
    *,
    step_mm: float,
    max_mm: float,
    falling: bool,
    steepest: FloatArray | None = None,
) -> FloatArray:
    """Distance along each ray to the first place where a field crosses 0.5.

    Parameters
    ----------
    field : (i, j, k) fraction, or what gives its values at (N, 3) indices.
    start_index : (N, 3) fractional indices of the rays' origins.
    step_index : (N, 3) index step per mm along each ray.
    step_mm : Sampling distance, at most half a voxel.
    max_mm : Rays end here.
    falling : Look for the first fall below the level, else for the first rise to it.
    steepest : (3,) the most by which the field changes per index step along each axis: steps that
        cannot cross the level are then left out, and nothing else changes. None takes all steps.

    Returns
    -------
    (N,) float64, mm
        0 when the ray begins beyond the level already; NaN when it leaves the field or ends
        without a crossing: a failed ray is never 0.

    Notes
    -----
    The *first* crossing counts: a ray that goes on into another fold of cartilage, or into the
    cartilage across the joint, has ended before it gets there.
    """
    result = np.empty(len(start_index))
    value_at = field if callable(field) else partial(sample, field)

    def follow(rays: slice) -> None:
        ends = (step_mm, max_mm, -1.0 if falling else 1.0)
        start, along = (np.ascontiguousarray(those[rays].T) for those in (start_index, step_index))
        result[rays] = _crossings(value_at, start, along, *ends, steepest)

    in_pieces(follow, len(start_index), _RAYS)
    return result


def _crossings(
    value_at: Callable[[FloatArray], FloatArray],
    start_index: FloatArray,
    step_index: FloatArray,
    step_mm: float,
    max_mm: float,
    sign: float,
    steepest: FloatArray | None,
) -> FloatArray:
    """As :func:`crossing_mm` for (3, n) rays that fit into the cache; `sign` is -1 when falling."""

    def beyond(points: FloatArray) -> FloatArray:
        return sign * (value_at(points.T) - _LEVEL)

    value = beyond(start_index)
    result = np.where(value >= -_ON_LEVEL, 0.0, np.nan)
    active = np.flatnonzero(value < -_ON_LEVEL)  # NaN, outside the field, is not
    value = value[active]
    point, step = start_index.take(active, axis=1), step_mm * step_index.take(active, axis=1)
    change = np.full(len(active), np.inf)  # the most that a step can change the value by
    if steepest is not None:
        change = np.maximum(_SURE * (steepest @ np.abs(step)), _LEAST)
    travelled = np.zeros(len(active))
    bracket = np.full((3, start_index.shape[1]), np.nan)  # distance and value before, value behind
    while len(active):
        steps = np.maximum(np.ceil(-value / change), 1.0)  # none of those before the last can cross
        point += steps * step
        travelled += steps * step_mm
        ahead = beyond(point)
        hit = np.flatnonzero(ahead >= 0)
        before, skipped = value[hit], np.flatnonzero(steps[hit] > 1.0)
        if len(skipped):
            last = hit[skipped]
            before[skipped] = beyond(point.take(last, axis=1) - step.take(last, axis=1))
        bracket[:, active[hit]] = travelled[hit] - step_mm, before, ahead[hit]
        going = np.flatnonzero((ahead < 0) & (travelled < max_mm))
        active = active.take(going)
        value, change, travelled = (those.take(going) for those in (ahead, change, travelled))
        point, step = point.take(going, axis=1), step.take(going, axis=1)
    rays = np.flatnonzero(np.isfinite(bracket[0]))
    start, along = start_index.take(rays, axis=1), step_index.take(rays, axis=1)
    near, near_value, far_value = bracket[:, rays]
    result[rays] = _refine(
        lambda distance: beyond(start + distance * along),
        near,
        near + step_mm,
        near_value,
        far_value,
    )
    result[result > max_mm] = np.nan
    return result


def _refine(
    function: Callable[[FloatArray], FloatArray],
    near: FloatArray,
    far: FloatArray,
    near_value: FloatArray,
    far_value: FloatArray,
) -> FloatArray:
    """Root between `near` (negative) and `far` (not negative) by false position."""
    root = near - near_value * (far - near) / (far_value - near_value)
    for _ in range(_REFINEMENTS):
        value = function(root)
        past = value >= 0
        far, far_value = np.where(past, root, far), np.where(past, value, far_value)
        near, near_value = np.where(past, near, root), np.where(past, near_value, value)
        gap = far_value - near_value
        root = near - near_value * (far - near) / np.where(gap > 0, gap, 1.0)
    return root


def bone_to_articular(
    levels: LevelSets,
    mesh: Mesh,
    settings: MorphometrySettings,
    chosen: NDArray[np.int64] | slice = slice(None),
) -> FloatArray:
    """(V,) mm from each bone vertex, or each chosen one, along its normal to the articular surface.

    0 on bare bone, where both surfaces are one; NaN where the ray found no articular surface
    within `max_thickness_mm` or left the image.
    """
    low, high = np.array([(side.start - 1, side.stop) for side in levels.part]).T
    near = np.ones(len(mesh.index[chosen]), dtype=bool)
    for n in range(3):  # elsewhere the two surfaces are one
        near &= (mesh.index[chosen, n] > low[n]) & (mesh.index[chosen, n] < high[n])
    ray_mm = np.zeros(len(near))
    ray_mm[near] = crossing_mm(
        levels.union_at,
        mesh.index[chosen][near],
        linear_map(np.linalg.inv(levels.affine[:3, :3]), mesh.normals[chosen][near]),
        step_mm=_step_mm(levels),
        max_mm=settings.max_thickness_mm,
        falling=True,
        steepest=levels.steepest,
    )
    return ray_mm


def without_wall_foot(ray_mm: FloatArray, faces: NDArray[np.int64], steepest: float) -> FloatArray:
    """Rays with 0 at the foot of a side wall.

    Where cartilage ends in a wall, smoothing and partial volume leave a fillet in the corner
    between wall and bone. A vertex there has a short ray beside a long one: it is bare bone.

    Parameters
    ----------
    ray_mm : (V,) mm.
    faces : (F, 3) vertex numbers.
    steepest : A ray below this share of the longest ray at a neighbouring vertex is a foot.
    """
    longest = np.nan_to_num(ray_mm, nan=0.0)
    around = longest.copy()
    faces = touching_faces(faces, longest > 0)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        np.maximum.at(around, faces[:, a], longest[faces[:, b]])
        np.maximum.at(around, faces[:, b], longest[faces[:, a]])
    return np.where(ray_mm < steepest * around, 0.0, ray_mm)


def articular_area(
    mesh: Mesh, ray_mm: FloatArray, covered: NDArray[np.bool_], settings: MorphometrySettings
) -> FloatArray:
    """(V,) mm²: area of the articular surface that lies over each bone vertex.

    Parameters
    ----------
    mesh : Bone surface.
    ray_mm : (V,) from :func:`bone_to_articular`.
    covered : (V,) vertices under cartilage whose ray ended.
    settings : Smoothing of the normals, as for bone.

    Notes
    -----
    The articular surface is the covered bone surface carried along its rays. The steep side wall
    at the rim of a plate is thereby no part of it, although it belongs to {U = 0.5}: counted in,
    it makes the articular area 7 % too large on a 30 mm plate. As a ray is normal to the bone,
    its foot is the bone point nearest to its tip: the distance back is the length of the ray.
    """
    area_mm2 = np.zeros(len(ray_mm))
    faces = touching_faces(mesh.faces, covered)
    if not len(faces):
        return area_mm2
    touched = np.zeros(len(ray_mm), dtype=bool)
    touched[faces] = True
    used = np.flatnonzero(touched)
    number = np.cumsum(touched) - 1
    faces = np.stack([number.take(corner) for corner in faces.T]).T
    length = _carried_on(ray_mm[used], covered[used], faces)
    tips = length[:, None] * mesh.normals.take(used, axis=0)
    tips += mesh.vertices.take(used, axis=0)
    vectors = vertex_area_vectors(tips, faces)
    normals = smooth_over_mesh(vectors, faces, settings.sigma_articular_mm, tips)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    over = np.maximum(np.einsum("ij,ij->i", vectors, normals), 0.0)
    area_mm2[used] = np.where(covered[used], over, 0.0)
    return area_mm2


def _carried_on(
    ray_mm: FloatArray, covered: NDArray[np.bool_], faces: NDArray[np.int64]
) -> FloatArray:
    """Rays; at bare vertices of a triangle the mean of its covered ones, so it spans no wall."""
    count = len(ray_mm)
    known = np.where(covered, ray_mm, 0.0)
    total, number = np.zeros(count), np.zeros(count)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        for here, there in ((faces[:, a], faces[:, b]), (faces[:, b], faces[:, a])):
            total += np.bincount(here, weights=known[there], minlength=count)
            number += np.bincount(here, weights=covered[there], minlength=count)
    return np.where(covered, ray_mm, total / np.maximum(number, 1.0))


def _step_mm(levels: LevelSets) -> float:
    return 0.5 * float(spacing_of(levels.affine).min())
