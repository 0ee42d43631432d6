"""Cartilage worn thin, defective or gone, and the joint space that narrows with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from kneeimg.training.anatomy_bones import FEMUR, PATELLA, TIBIA, is_any
from kneeimg.training.anatomy_fields import Mask, box_of, distance_mm, double, smooth_field
from kneeimg.training.anatomy_interface import PAIRS, Interface, interface_of
from kneeimg.training.anatomy_source import SPACING_MM
from kneeimg.training.tissues import Substance

Values = NDArray[np.float64]

_FEMUR_GROUP = (
    *FEMUR,
    *PATELLA,
    int(Substance.FEMORAL_CARTILAGE),
    int(Substance.PATELLAR_CARTILAGE),
)
_TIBIA_GROUP = (*TIBIA, int(Substance.TIBIAL_CARTILAGE))
_LEAST_KEPT = 0.25  # share of the thickness at the edge of a bare patch


def wear_cartilage(
    codes: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    thinning: float,
    denuded_mm2: Sequence[float],
    defects: int,
) -> Mask:
    """Take cartilage away, in place.

    Parameters
    ----------
    codes : (i, j, k) uint8 canonical map.
    rng : Where and in which shape.
    thinning : Share of the thickness lost in the worst region, 0 to 1; a smooth field of it.
    denuded_mm2 : Bone area of each patch that is bared to the bone. Each falls on one of the three
        surfaces, drawn by their area; a patch larger than a plate takes the whole plate.
    defects : Number of focal defects, 3 to 10 mm wide, part of the thickness deep.

    Returns
    -------
    (i, j, k) bool, True where cartilage was taken away.
    """
    surfaces = [interface_of(codes, bone, cartilage) for bone, cartilage, _ in PAIRS]
    areas = np.array([surface.area_mm2.sum() for surface in surfaces])
    kept = [_thinned(surface, rng, thinning) for surface in surfaces]
    bare = [np.zeros(len(surface.index), dtype=bool) for surface in surfaces]
    for wanted_mm2 in denuded_mm2:
        n = int(rng.choice(len(surfaces), p=areas / areas.sum()))
        share, patch = bare_patch(surfaces[n], rng, wanted_mm2)
        kept[n] = np.minimum(kept[n], share)
        bare[n] |= patch
    for _ in range(defects):
        n = int(rng.choice(len(surfaces), p=areas / areas.sum()))
        kept[n] = np.minimum(kept[n], _defect(surfaces[n], rng))
    gone = np.zeros(codes.shape, dtype=bool)
    for (_, cartilage, _), surface, share, patch in zip(PAIRS, surfaces, kept, bare, strict=True):
        if patch.any() or share.min(initial=1.0) < 1.0:
            _remove(codes, gone, cartilage, surface, np.where(patch, 0.0, share))
    return gone


def _thinned(surface: Interface, rng: np.random.Generator, thinning: float) -> Values:
    """Share of the thickness that stays at each point."""
    if thinning <= 0:
        return np.ones(len(surface.index))
    field = _roughness(surface, rng, 22.0) + 0.3 * _roughness(surface, rng, 6.0)
    loss = np.clip(0.5 + 0.6 * field, 0.0, 1.0)
    return np.asarray(1.0 - thinning * loss)


def bare_patch(
    surface: Interface, rng: np.random.Generator, wanted_mm2: float
) -> tuple[Values, NDArray[np.bool_]]:
    """A patch of the wanted area of bone around a random point, the rim included.

    Returns
    -------
    share : (n,) part of the thickness that stays outside the patch, rising from its edge.
    patch : (n,) bool, the bare points.
    """
    seed = int(rng.choice(len(surface.index), p=surface.area_mm2 / surface.area_mm2.sum()))
    away = surface.points_mm - surface.points_mm[seed]
    stretch = rng.normal(size=3)
    stretch /= np.linalg.norm(stretch)
    squeezed = np.linalg.norm(away, axis=1) - rng.uniform(0.0, 0.35) * np.abs(away @ stretch)
    reach = squeezed * np.exp(rng.uniform(0.0, 0.3) * _roughness(surface, rng, 8.0))
    order = np.argsort(reach)
    covered = np.cumsum(surface.area_mm2[order])
    count = int(np.searchsorted(covered, wanted_mm2))
    count = min(max(count, 1), len(order))
    edge = float(reach[order[count - 1]])
    patch = np.zeros(len(order), dtype=bool)
    patch[order[:count]] = True
    ramp_mm = rng.uniform(0.8, 4.0)
    share = _LEAST_KEPT + (1 - _LEAST_KEPT) * np.clip((reach - edge) / ramp_mm, 0.0, 1.0)
    return np.asarray(share), patch


def _defect(surface: Interface, rng: np.random.Generator) -> Values:
    """Share that stays around one focal defect."""
    seed = int(rng.integers(len(surface.index)))
    away_mm = np.linalg.norm(surface.points_mm - surface.points_mm[seed], axis=1)
    radius_mm = rng.uniform(1.5, 5.0)
    depth = rng.uniform(0.3, 0.9)
    return np.asarray(1.0 - depth * np.clip((radius_mm + 0.5 - away_mm) / 1.0, 0.0, 1.0))


def _roughness(surface: Interface, rng: np.random.Generator, correlation_mm: float) -> Values:
    """Smooth random field at the points of a surface."""
    low = surface.index.min(axis=0)
    shape = (surface.index.max(axis=0) - low) // 2 + 1
    field = smooth_field(rng, tuple(shape), [2 * s for s in SPACING_MM], correlation_mm)
    return np.asarray(field[tuple(((surface.index - low) // 2).T)], dtype=np.float64)


def _remove(
    codes: NDArray[np.uint8], gone: Mask, cartilage: int, surface: Interface, share: Values
) -> None:
    """Cut the cartilage down to its share of the local thickness; the innermost voxels of a share
    above nought stay, so that thin is never the same as bare."""
    box = box_of(codes == cartilage, (3, 3, 3))
    part = codes[box]
    sheet = part == cartilage
    index = np.argwhere(sheet)
    start = np.array([piece.start for piece in box])
    step = np.array(SPACING_MM)
    deep_mm, nearest = KDTree(surface.points_mm).query((index + start) * step)
    bones = (*FEMUR, *TIBIA, *PATELLA)
    open_ = ~sheet & ~is_any(part, bones)
    above_mm = distance_mm(open_, SPACING_MM)[tuple(index.T)]
    depth = deep_mm / np.maximum(deep_mm + above_mm, 1e-6)
    kept_share = share[nearest]
    removed = (depth > kept_share) | (kept_share <= 0)
    removed &= ~((deep_mm < 0.05) & (kept_share > 0))
    where = tuple(index[removed].T)
    part[where] = 0
    gone[box][where] = True


def narrow_joint(codes: NDArray[np.uint8], worn: Mask, narrowing_mm: float) -> None:
    """Let femur and patella sink towards the tibia, more on the worse side, in place.

    The worn gap closes on the side that lost more cartilage; cartilage that would overlap is lost
    on the femur, and bones keep at least half a millimetre apart.
    """
    if narrowing_mm <= 0:
        return
    tibia = is_any(codes, _TIBIA_GROUP)
    femur = is_any(codes, _FEMUR_GROUP) | (worn & _nearer_femur(codes))
    plateau = np.argwhere(codes == int(Substance.TIBIAL_CARTILAGE))
    middle = float(plateau[:, 0].mean())
    lost = worn.sum(axis=(1, 2))
    half = round(middle)
    medially = lost[half:].sum() >= lost[:half].sum()
    run = (np.arange(codes.shape[0]) - middle) / max(float(plateau[:, 0].std()), 1.0)
    sink = np.clip(0.5 + (0.5 if medially else -0.5) * run, 0.0, 1.2) * narrowing_mm
    sink = np.minimum(sink, np.maximum(_bone_gap_mm(codes) - 0.5, 0.0))
    steps = np.rint(sink / SPACING_MM[2]).astype(int)
    last = codes.shape[2] - 1
    for i in np.flatnonzero(steps):
        rows = np.minimum(np.arange(codes.shape[2]) + steps[i], last)
        moved = np.where(femur[i], codes[i], 0)[:, rows]
        rest = np.where(femur[i], 0, codes[i])
        keep = tibia[i] | (moved == 0)
        codes[i] = np.where(keep, rest, moved)


def _nearer_femur(codes: NDArray[np.uint8]) -> Mask:
    """Where the femur or patella is nearer than the tibia, for what lies between them."""
    box = box_of(is_any(codes, (*_TIBIA_GROUP, int(Substance.FEMORAL_CARTILAGE))), (2, 2, 2))
    nearer = np.ones(codes.shape, dtype=bool)
    part = codes[box][:, ::2, ::2]
    step = (SPACING_MM[0], 2 * SPACING_MM[1], 2 * SPACING_MM[2])
    from_femur = distance_mm(is_any(part, _FEMUR_GROUP), step)
    answer = double(from_femur <= distance_mm(is_any(part, _TIBIA_GROUP), step))
    shape = nearer[box].shape
    nearer[box] = answer[:, : shape[1], : shape[2]]
    return nearer


def _bone_gap_mm(codes: NDArray[np.uint8]) -> Values:
    """Least gap between femur and tibia bone over all columns: one value for the whole knee."""
    tibia = is_any(codes, TIBIA)
    femur = is_any(codes, FEMUR)
    both = tibia.any(axis=2) & femur.any(axis=2)
    top = codes.shape[2] - 1 - tibia[both][:, ::-1].argmax(axis=1)
    bottom = femur[both].argmax(axis=1)
    facing = bottom > top
    gap = (bottom - top)[facing].min(initial=400) * SPACING_MM[2]
    return np.full(codes.shape[0], float(gap))
