"""Learning the plate model: a mean bone, the mean border of its plates and how it varies.

The mean bone starts as the joint end of the first knee and is replaced twice by the mean of all
knees laid on it. At its points the distance to the border of tAB (covered bone and filled holes,
cut at 8 mm) gives a mean (median over knees) and modes (principal components).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from kneeimg.core.anatomy import Bone, Plate
from kneeimg.core.plate_model import BonePlates
from kneeimg.core.surface import Surface
from kneeimg.measure.plate_fit import Laid, lay_on, spread_out

FloatArray = NDArray[np.float64]

#: Points of the mean bone reach this far beyond its plates, and stand this far apart, mm.
MARGIN_MM = 12.0
SPACING_MM = {Bone.FEMUR: 2.2, Bone.TIBIA: 2.2, Bone.PATELLA: 1.6}
#: Distances are cut here: deeper inside or further away nothing is learned about the border.
CUT_MM = 8.0
ROUNDS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One knee laid on the mean bone.

    Attributes
    ----------
    laid : Where the points of the mean bone lie.
    inside_mm : (N,) distance of those points to the border of tAB, on the size of the mean bone.
    """

    laid: Laid
    inside_mm: FloatArray


def near_joint(surface: Surface, reach_mm: float = 30.0) -> Surface:
    """The surface around its plates; the shaft is of no use here."""
    inside = surface.fields["plate"] != int(Plate.NONE)
    tree = KDTree(surface.vertices[inside][::5])
    keep = np.isfinite(tree.query(surface.vertices, distance_upper_bound=reach_mm)[0])
    number = np.cumsum(keep) - 1
    faces = number[surface.faces[keep[surface.faces].all(axis=1)]]
    names = ("normals", "plate", "area_mm2", "ray_mm")
    return Surface(surface.vertices[keep], faces, {n: surface.fields[n][keep] for n in names})


def distance_inside(surface: Surface, points_mm: FloatArray) -> FloatArray:
    """(N,) mm from points on the bone to the border of tAB, positive inside."""
    inside = surface.fields["plate"] != int(Plate.NONE)
    pairs = np.concatenate([surface.faces[:, [0, 1]], surface.faces[:, [1, 2]]])
    pairs = pairs[inside[pairs[:, 0]] != inside[pairs[:, 1]]]
    border = surface.vertices[pairs].mean(axis=1)
    distance = KDTree(border).query(points_mm)[0]
    nearest = KDTree(surface.vertices).query(points_mm)[1]
    return np.where(inside[nearest], distance, -distance)


def first_guess(surface: Surface, spacing_mm: float) -> BonePlates:
    """Points of one knee's joint end."""
    inside = surface.fields["plate"] != int(Plate.NONE)
    near = np.flatnonzero(KDTree(surface.vertices[inside]).query(surface.vertices)[0] < MARGIN_MM)
    some = near[spread_out(surface.vertices[near], spacing_mm)]
    points, normals = surface.vertices[some], surface.fields["normals"][some]
    return _plates(points, normals, distance_inside(surface, points))


def _plates(points: FloatArray, normals: FloatArray, inside_mm: FloatArray) -> BonePlates:
    centre = points[inside_mm > 0].mean(axis=0)
    return BonePlates(points - centre, normals, inside_mm, np.zeros((len(points), 0)))


def laid_on(plates: BonePlates, surface: Surface) -> Example:
    """One knee on the mean bone."""
    inside = surface.fields["plate"] != int(Plate.NONE)
    laid = lay_on(plates, surface.vertices, surface.fields["normals"], inside)
    return Example(laid, distance_inside(surface, laid.points_mm) / laid.scale)


def mean_bone(plates: BonePlates, surfaces: Sequence[Surface]) -> BonePlates:
    """The mean of all knees, each moved and scaled onto the present mean."""
    points, normals, inside = [], [], []
    for surface in surfaces:
        example = laid_on(plates, surface)
        own = example.laid.points_mm
        nearest = KDTree(surface.vertices).query(own)[1]
        turn, size = _similarity(own, plates.points_mm)
        points.append((own - own.mean(axis=0)) @ turn.T * size)
        normals.append(surface.fields["normals"][nearest] @ turn.T)
        inside.append(np.clip(example.inside_mm, -CUT_MM, CUT_MM))
    normal = np.mean(normals, axis=0)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return _plates(np.mean(points, axis=0), normal, np.median(inside, axis=0))


def _similarity(source: FloatArray, target: FloatArray) -> tuple[FloatArray, float]:
    """Rotation and scale that carry centred source points onto centred target points."""
    source, target = source - source.mean(axis=0), target - target.mean(axis=0)
    u, stretch, vt = np.linalg.svd(source.T @ target)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    return vt.T @ np.diag(signs) @ u.T, float(signs @ stretch / (source**2).sum())


def with_modes(plates: BonePlates, examples: Sequence[Example], modes: int) -> BonePlates:
    """The mean bone with the mean border of these knees and how it varies."""
    inside = np.array([np.clip(e.inside_mm, -CUT_MM, CUT_MM) for e in examples])
    _, size, shapes = np.linalg.svd(inside - inside.mean(axis=0), full_matrices=False)
    columns = shapes[:modes].T * size[:modes] / np.sqrt(len(examples) - 1)
    return BonePlates(plates.points_mm, plates.normals, np.median(inside, axis=0), columns)


def learn_mean(surfaces: Sequence[Surface], bone: Bone) -> BonePlates:
    """The mean bone of these knees."""
    plates = first_guess(surfaces[0], SPACING_MM[bone])
    for _ in range(ROUNDS):
        plates = mean_bone(plates, surfaces)
    return plates
