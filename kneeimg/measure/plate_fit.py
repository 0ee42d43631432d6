"""Laying the model's mean bone onto a measured bone: which point of one is which of the other.

Points are matched by place *and* normal, so that the crests of a bone meet the model's crests, and
moved rigidly, then with one scale, then affinely, then by a smooth field. Only bone shape is used:
where cartilage is left does not pull at the fit (it gives the first guess of the place alone).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from kneeimg.core.plate_model import BonePlates

FloatArray = NDArray[np.float64]
Kind = Literal["rigid", "similar", "affine"]

#: A whole turn of the normal counts like this many millimetres (unit normal times this).
_NORMAL_MM = 10.0
#: Rounds of matching under each kind of motion.
_ROUNDS: tuple[tuple[Kind, int], ...] = (("rigid", 8), ("similar", 14), ("affine", 18))
#: Every so many points of the model take part before the smooth field.
_EVERY = 3
#: Bone vertices are thinned to one per cube of this edge, mm.
_CUBE_MM = 1.0
#: Lengths of the smooth fields, coarse to fine, spacing of their centres, and the stiffness.
_FIELD_MM, _CENTRES_MM, _STIFFNESS = (20.0, 12.0, 8.0), 5.5, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """The model's points on one bone.

    Attributes
    ----------
    points_mm : (N, 3) where each point of the model lies on this bone.
    scale : Size of this bone relative to the model.
    misfit_mm : Median distance between the bones after the affine fit, on the model's size.
    """

    points_mm: FloatArray
    scale: float
    misfit_mm: float


def lay_on(
    plates: BonePlates,
    vertices_mm: FloatArray,
    normals: FloatArray,
    covered: NDArray[np.bool_],
) -> Laid:
    """Find the model's points on a bone.

    Parameters
    ----------
    plates : The model of this bone.
    vertices_mm, normals : (V, 3) canonical bone surface and its unit normals.
    covered : (V,) vertices that carry cartilage; their centre is where the search begins.
    """
    some = one_per_cube(vertices_mm, _CUBE_MM)
    all_normals = normals
    points, normals = vertices_mm[some], normals[some]
    tree = cKDTree(np.hstack([points, _NORMAL_MM * normals]))
    few = plates.points_mm[::_EVERY], plates.normals[::_EVERY]
    inside = plates.inside_mm > 0
    here = _axes(vertices_mm[covered], all_normals[covered])
    turn = here @ _axes(plates.points_mm[inside], plates.normals[inside]).T
    centre, own_centre = vertices_mm[covered].mean(axis=0), plates.points_mm[inside].mean(axis=0)
    tries = []
    for linear in (np.eye(3), turn):
        shift = centre - linear @ own_centre
        tries.append(_matched(few, points, tree, linear, shift, *_ROUNDS[0]))
    _, linear, shift = min(tries, key=lambda each: each[0])
    for kind, rounds in _ROUNDS[1:]:
        _, linear, shift = _matched(few, points, tree, linear, shift, kind, rounds)
    moved, turned = _moved(plates.points_mm, plates.normals, linear, shift)
    match = tree.query(np.hstack([moved, _NORMAL_MM * turned]))[1]
    scale = float(np.cbrt(abs(np.linalg.det(linear))))
    misfit = float(np.median(np.linalg.norm(moved - points[match], axis=1))) / scale
    return Laid(_bent(plates, moved, turned, points, normals, tree), scale, misfit)


def _axes(points_mm: FloatArray, normals: FloatArray) -> FloatArray:
    """(3, 3) columns: mean normal, widest direction across it (towards +x), and their product."""
    up = normals.mean(axis=0)
    up = up / np.linalg.norm(up)
    flat = points_mm - points_mm.mean(axis=0)
    flat = flat - np.outer(flat @ up, up)
    wide = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    wide = wide if wide[0] >= 0 else -wide
    return np.stack([up, wide, np.cross(up, wide)], axis=1)


def _matched(
    few: tuple[FloatArray, FloatArray],
    points: FloatArray,
    tree: cKDTree,
    linear: FloatArray,
    shift: FloatArray,
    kind: Kind,
    rounds: int,
) -> tuple[float, FloatArray, FloatArray]:
    """Rounds of matching and fitting: median gap at the last match, linear part and shift."""
    gap: FloatArray = np.full(1, np.inf)
    for _ in range(rounds):
        moved, turned = _moved(*few, linear, shift)
        found, match = tree.query(np.hstack([moved, _NORMAL_MM * turned]))
        gap = np.asarray(found, dtype=np.float64)
        linear, shift = _fit(few[0], points[match], _trust(gap, 3.0, 2.0), kind)
    return float(np.median(gap)), linear, shift


def one_per_cube(points_mm: FloatArray, edge_mm: float) -> NDArray[np.int64]:
    """Numbers of the points that are first in their cube, ascending."""
    cells = np.floor(points_mm / edge_mm).astype(np.int64)
    cells -= cells.min(axis=0)
    size = cells.max(axis=0) + 1
    flat = (cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2]
    first: NDArray[np.int64] = np.sort(np.unique(flat, return_index=True)[1])
    return first


def spread_out(points_mm: FloatArray, gap_mm: float) -> NDArray[np.int64]:
    """Numbers of points at least `gap_mm` apart, taken greedily in their order."""
    near = cKDTree(points_mm).query_ball_point(points_mm, gap_mm)
    free = np.ones(len(points_mm), dtype=bool)
    taken = []
    for number, neighbours in enumerate(near):
        if free[number]:
            taken.append(number)
            free[neighbours] = False
    return np.array(taken, dtype=np.int64)


def _moved(
    points: FloatArray, normals: FloatArray, linear: FloatArray, shift: FloatArray
) -> tuple[FloatArray, FloatArray]:
    turned = normals @ np.linalg.inv(linear)  # a covector
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    return points @ linear.T + shift, turned


def _trust(gap: FloatArray, medians: float, least: float, floor: float = 0.0) -> FloatArray:
    """Tukey's biweight at some median gaps."""
    cut = max(medians * float(np.median(gap)), least)
    weight: FloatArray = np.where(gap < cut, (1.0 - (gap / cut) ** 2) ** 2, 0.0)
    return np.maximum(weight, floor)


def _fit(
    source: FloatArray, target: FloatArray, weight: FloatArray, kind: Kind
) -> tuple[FloatArray, FloatArray]:
    """Linear part (3, 3) and shift (3,) that carry source to target, least squares."""
    weight = weight / weight.sum()
    source_mean, target_mean = weight @ source, weight @ target
    source, target = source - source_mean, target - target_mean
    cross = (source * weight[:, None]).T @ target
    if kind == "affine":
        linear = np.linalg.solve((source * weight[:, None]).T @ source, cross).T
    else:
        u, stretch, vt = np.linalg.svd(cross)
        signs = np.array([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
        linear = vt.T @ np.diag(signs) @ u.T
        if kind == "similar":
            linear = linear * (signs @ stretch) / float(weight @ (source**2).sum(axis=1))
    result: FloatArray = np.asarray(linear, dtype=np.float64)
    return result, target_mean - result @ source_mean


def _bent(
    plates: BonePlates,
    moved: FloatArray,
    turned: FloatArray,
    points: FloatArray,
    normals: FloatArray,
    tree: cKDTree,
) -> FloatArray:
    """The moved model points, drawn to the bone by smooth fields."""
    centres = plates.points_mm[spread_out(plates.points_mm, _CENTRES_MM)]
    to_centres = cdist(plates.points_mm, centres, "sqeuclidean")
    between = cdist(centres, centres, "sqeuclidean")
    for length in _FIELD_MM:
        found, match = tree.query(np.hstack([moved, _NORMAL_MM * turned]))
        weight = _trust(np.asarray(found, dtype=np.float64), 4.0, 3.0, 1e-3)[:, None]
        basis = np.exp(-0.5 * to_centres / length**2)
        stiff = _STIFFNESS * np.exp(-0.5 * between / length**2) + 1e-6 * np.eye(len(centres))
        normal_equations = (basis * weight).T @ basis + stiff
        pull = (basis * weight).T @ (points[match] - moved)
        moved = moved + basis @ np.linalg.solve(normal_equations, pull)
        match = tree.query(np.hstack([moved, _NORMAL_MM * turned]))[1]
        turned = turned + normals[match]
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    return moved
