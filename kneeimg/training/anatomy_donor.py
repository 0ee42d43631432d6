"""A richly labelled knee as donor of soft tissue: brought onto another knee bone by bone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from kneeimg.training.anatomy_bones import FEMUR, PATELLA, TIBIA, is_any
from kneeimg.training.anatomy_fields import Mask
from kneeimg.training.tissues import Substance

Points = NDArray[np.float64]

#: Coarse grid of the soft tissue: half the resolution in plane.
COARSE_MM = (0.7, 0.8, 0.8)
_STEP_MM = 0.8
_POINTS = 2500
_NODES = 4  # the deformation is computed at every fourth coarse voxel

_BONE_CODES: Mapping[str, tuple[int, ...]] = {
    "femur": (*FEMUR, int(Substance.FEMORAL_CARTILAGE)),
    "tibia": (*TIBIA, int(Substance.TIBIAL_CARTILAGE)),
    "patella": (*PATELLA, int(Substance.PATELLAR_CARTILAGE)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Donor:
    """Soft tissue of a right knee, axes to left, posterior and superior, 0.8 mm voxels.

    Attributes
    ----------
    structures : (i, j, k) uint8 number of the structure, 0 where nothing is labelled.
    substance_of : Structure number to what it is made of; bones and cartilage are left out.
    surfaces_mm : Points on femur, tibia and patella (cartilage included), mm from voxel 0.
    """

    structures: NDArray[np.uint8]
    substance_of: Mapping[int, Substance]
    surfaces_mm: Mapping[str, Points]

    @classmethod
    def of(
        cls,
        structures: NDArray[np.integer],
        spacing_mm: tuple[float, float, float],
        substance_of: Mapping[int, Substance],
        bones: Mapping[str, tuple[int, ...]],
    ) -> Donor:
        """Take every `_STEP_MM` of a labelled right knee.

        Parameters
        ----------
        structures : (i, j, k) structure numbers up to 255, right knee, axes L, P, S.
        spacing_mm : Voxel size.
        substance_of : Which structures to give, and what they are.
        bones : "femur", "tibia" and "patella" to the structures that make them, cartilage included.
        """
        picks = [
            np.rint(np.arange(0, count * step - 1e-6, _STEP_MM) / step)
            .astype(int)
            .clip(0, count - 1)
            for count, step in zip(structures.shape, spacing_mm, strict=True)
        ]
        small = structures[np.ix_(*picks)].astype(np.uint8)
        surfaces = {
            name: _surface_points(np.isin(small, numbers), (_STEP_MM,) * 3)
            for name, numbers in bones.items()
        }
        return cls(small, dict(substance_of), surfaces)


def _surface_points(mask: Mask, spacing_mm: tuple[float, float, float]) -> Points:
    """At most `_POINTS` surface voxels, evenly picked; those at the edge of the view left out."""
    edge = mask & ~ndimage.binary_erosion(mask, border_value=1)
    points = np.argwhere(edge)
    picked = points[np.linspace(0, len(points) - 1, min(_POINTS, len(points))).astype(int)]
    return np.asarray(picked * np.array(spacing_mm), dtype=np.float64)


def structures_on(codes: NDArray[np.uint8], donor: Donor) -> NDArray[np.uint8]:
    """Structure numbers of the donor on the coarse grid of a knee.

    Each bone of the donor is fitted by an affine map to the knee's; in between the three maps are
    mixed by nearness, so that a tendon runs smoothly from one bone to the next. Above and below the
    donor's view its last sections continue.
    """
    coarse = codes[:, ::2, ::2]
    surfaces = {
        name: _surface_points(is_any(coarse, wanted), COARSE_MM)
        for name, wanted in _BONE_CODES.items()
    }
    maps = {name: _fit(surfaces[name], donor.surfaces_mm[name]) for name in _BONE_CODES}
    nodes = [np.arange(0, n + _NODES, _NODES) for n in coarse.shape]
    places = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1) * np.array(COARSE_MM)
    flat = places.reshape(-1, 3)
    weights = {name: 1.0 / (_nearest(surfaces[name], flat)[0] + 3.0) ** 2 for name in _BONE_CODES}
    total = sum(weights.values())
    target = np.zeros_like(flat)
    for name, (linear, offset) in maps.items():
        target += (weights[name] / total)[:, None] * (flat @ linear.T + offset)
    return _pull(donor.structures, target.reshape(places.shape) / _STEP_MM, coarse.shape)


def _pull(
    structures: NDArray[np.uint8], nodes: Points, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Nearest structure at each coarse voxel, the positions interpolated between nodes."""
    index: list[NDArray[np.intp]] = []
    outside = np.zeros(shape, dtype=bool)
    for axis in range(3):
        field = nodes[..., axis].astype(np.float32)
        for along in range(3):
            field = _between(field, along, shape[along])
        place = np.rint(field).astype(np.int32)
        if axis < 2:
            outside |= (place < 0) | (place >= structures.shape[axis])
        index.append(np.clip(place, 0, structures.shape[axis] - 1))
    found = structures[tuple(index)]
    found[outside] = 0
    return np.asarray(found)


def _between(field: NDArray[np.float32], axis: int, count: int) -> NDArray[np.float32]:
    place = np.arange(count) / _NODES
    low = place.astype(int)
    form = [1, 1, 1]
    form[axis] = count
    weight = (place - low).astype(np.float32).reshape(form)
    lower = np.take(field, low, axis=axis)
    upper = np.take(field, low + 1, axis=axis)
    return np.asarray(lower + (upper - lower) * weight, dtype=np.float32)


def _fit(target: Points, donor: Points) -> tuple[Points, Points]:
    """Affine map of target points onto the donor's surface: boxes first, then closest points.

    Pairs are taken in both directions (one alone lets the map shrink) and the worst quarter is
    dropped: shafts end at different heights.
    """
    linear, offset = _box_map(target, donor)
    for step in range(30):
        moved = target @ linear.T + offset
        there, index = _nearest(donor, moved)
        back, index_back = _nearest(moved, donor)
        a = np.concatenate([target[_best(there)], target[index_back[_best(back)]]])
        b = np.concatenate([donor[index[_best(there)]], donor[_best(back)]])
        linear, offset = _affine(a, b, stiff=step < 10)
    return linear, offset


def _nearest(points: Points, wanted: Points) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Distance to the nearest of `points` for each wanted place, and which one it is."""
    distance, index = KDTree(points).query(wanted)
    return np.asarray(distance, dtype=np.float64), np.asarray(index, dtype=np.intp)


def _best(distance: NDArray[np.float64]) -> Mask:
    return np.asarray(distance <= np.quantile(distance, 0.75))


def _box_map(target: Points, donor: Points) -> tuple[Points, Points]:
    """Same width across, same scale everywhere; the ends next to the joint are brought together."""
    width = [np.quantile(p[:, 0], [0.01, 0.99]) for p in (target, donor)]
    scale = (width[1][1] - width[1][0]) / (width[0][1] - width[0][0])
    return np.eye(3) * scale, np.median(donor, axis=0) - scale * np.median(target, axis=0)


def _affine(a: Points, b: Points, *, stiff: bool) -> tuple[Points, Points]:
    """Least-squares map a to b: similarity while `stiff`, else affine held near the similarity."""
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    p, q = a - mean_a, b - mean_b
    u, s, vt = np.linalg.svd(q.T @ p)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    similarity = (u @ flip @ vt) * (s * np.diag(flip)).sum() / (p**2).sum()
    linear = similarity
    if not stiff:
        hold = 0.05 * np.trace(p.T @ p) / 3 * np.eye(3)
        linear = np.linalg.solve(p.T @ p + hold, p.T @ q + hold @ similarity.T).T
    return linear, mean_b - linear @ mean_a
