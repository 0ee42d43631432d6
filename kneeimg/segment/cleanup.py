"""Remove from a network's output what no knee looks like: loose pieces, specks, holes, haze.

Bone is kept by its contact with cartilage, not by its size: the largest blob may be muscle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.settings.segmentation import CleanupSettings

BoolArray = NDArray[np.bool_]
Box = tuple[slice, slice, slice]

_MENISCI = (Tissue.MEDIAL_MENISCUS, Tissue.LATERAL_MENISCUS)


def clean_up(label_map: LabelMap, settings: CleanupSettings | None = None) -> LabelMap:
    """The label map without loose pieces, specks, holes in bone and haze.

    Parameters
    ----------
    label_map : Soft or hard; it is not changed.
    settings : What counts as loose.

    Returns
    -------
    LabelMap
        On the same grid, soft if the input is. Bone pieces that touch their cartilage too little,
        cartilage off its bone, and all but the largest piece of a meniscus are background now.
    """
    settings = settings or CleanupSettings()
    kept = _kept_pieces(label_map, settings)
    if label_map.probabilities is None:
        return _hard(label_map, kept)
    return _soft(label_map, kept, settings)


def _kept_pieces(label_map: LabelMap, settings: CleanupSettings) -> dict[Tissue, Piece]:
    """What stays of every tissue that is present."""
    labels, grid = label_map.labels, label_map.grid
    kept: dict[Tissue, Piece] = {}
    for bone in Bone:
        pieces = _pieces_of(labels, bone, grid, settings)
        kept |= {tissue: piece for tissue, piece in pieces.items() if piece is not None}
    for tissue in (*_MENISCI, Tissue.FIBULA):
        box = _box(labels, (tissue,), 1)
        if box is not None:
            kept[tissue] = Piece(box, _largest(labels[box] == int(tissue)))
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The kept part of a tissue: a mask inside a box of the grid."""

    box: Box
    mask: BoolArray


def _pieces_of(
    labels: NDArray[np.uint8], bone: Bone, grid: Grid, settings: CleanupSettings
) -> dict[Tissue, Piece | None]:
    box = _box(labels, (bone.tissue, bone.cartilage), 2)
    if box is None:
        return {}
    inside = labels[box]
    cartilage = inside == int(bone.cartilage)
    body = _attached_bone(inside == int(bone.tissue), cartilage, grid, settings)
    cartilage = _attached_cartilage(cartilage, body, grid, settings)
    if settings.max_hole_mm3 > 0:
        most = int(settings.max_hole_mm3 / grid.voxel_volume_mm3)
        filled = _without_holes(body, most)
        cartilage &= ~filled | body  # cartilage enclosed in bone is bone
        body = filled
    found = {bone.tissue: body, bone.cartilage: cartilage}
    return {tissue: Piece(box, mask) if mask.any() else None for tissue, mask in found.items()}


def _attached_bone(
    bone: BoolArray, cartilage: BoolArray, grid: Grid, settings: CleanupSettings
) -> BoolArray:
    """Pieces of bone with enough contact with cartilage; the largest if none has any."""
    pieces, count = _components(bone)
    if count <= 1:
        return bone
    contact = _contact_mm2(pieces, count, cartilage, grid)
    if contact.max() == 0:
        return _largest(bone)
    keep = contact >= max(settings.bone_contact_share * contact.max(), 1e-9)
    keep[0] = False
    result: BoolArray = keep[pieces]
    return result


def _attached_cartilage(
    cartilage: BoolArray, bone: BoolArray, grid: Grid, settings: CleanupSettings
) -> BoolArray:
    """Pieces of cartilage that are large enough and lie on the bone."""
    pieces, count = _components(cartilage)
    if count == 0:
        return cartilage
    contact = _contact_mm2(pieces, count, bone, grid)
    volume = np.bincount(pieces.ravel(), minlength=count + 1) * grid.voxel_volume_mm3
    keep = (contact >= settings.min_contact_mm2) & (volume >= settings.min_cartilage_mm3)
    keep[0] = False
    result: BoolArray = keep[pieces]
    return result


def _contact_mm2(
    pieces: NDArray[Any], count: int, other: BoolArray, grid: Grid
) -> NDArray[np.float64]:
    """(count + 1,) area of the voxel faces that each piece shares with another mask, mm²."""
    area = np.zeros(count + 1)
    faces_mm2 = grid.voxel_volume_mm3 / grid.spacing_mm
    for axis in range(3):
        low = _along(axis, slice(None, -1))
        high = _along(axis, slice(1, None))
        for one, two in ((low, high), (high, low)):
            touching = pieces[one][other[two]]
            area += np.bincount(touching, minlength=count + 1)[: count + 1] * faces_mm2[axis]
    area[0] = 0.0  # the background is no piece
    return area


def _along(axis: int, part: slice) -> Box:
    whole = [slice(None)] * 3
    whole[axis] = part
    return whole[0], whole[1], whole[2]


def _components(mask: BoolArray) -> tuple[NDArray[Any], int]:
    """Pieces that share faces, numbered from 1."""
    import cc3d

    pieces, count = cc3d.connected_components(
        np.asfortranarray(mask), connectivity=6, return_N=True
    )
    return pieces, int(count)


def _largest(mask: BoolArray) -> BoolArray:
    pieces, count = _components(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    result: BoolArray = pieces == sizes.argmax()
    return result


def _without_holes(mask: BoolArray, most_voxels: int) -> BoolArray:
    """The mask with every enclosed hole of at most so many voxels filled."""
    padded = np.pad(~mask, 1, constant_values=True)
    pieces, count = _components(padded)
    if count <= 1:
        return mask
    fill = np.bincount(pieces.ravel(), minlength=count + 1) <= most_voxels
    fill[0] = False
    fill[pieces[0, 0, 0]] = False  # the outside
    inner = pieces[1:-1, 1:-1, 1:-1]
    result: BoolArray = mask | fill[inner]
    return result


def _box(labels: NDArray[np.uint8], tissues: tuple[Tissue, ...], margin: int) -> Box | None:
    """Bounding box of some tissues, widened by voxels; None if they are absent."""
    present = np.isin(labels, [int(tissue) for tissue in tissues])
    sides = []
    for axis, count in enumerate(labels.shape):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(present.any(axis=others))
        if filled.size == 0:
            return None
        sides.append(
            slice(max(int(filled[0]) - margin, 0), min(int(filled[-1]) + 1 + margin, count))
        )
    return sides[0], sides[1], sides[2]


def _hard(label_map: LabelMap, kept: Mapping[Tissue, Piece]) -> LabelMap:
    labels = np.zeros_like(label_map.labels)
    for tissue, piece in kept.items():
        labels[piece.box][piece.mask] = int(tissue)
    return LabelMap(labels, label_map.grid, side_from_labels=label_map.side_from_labels)


def _soft(label_map: LabelMap, kept: Mapping[Tissue, Piece], settings: CleanupSettings) -> LabelMap:
    """Probabilities near what is kept; elsewhere 0. Filled holes are bone altogether."""
    assert label_map.probabilities is not None
    spacing_mm = label_map.grid.spacing_mm
    fractions: dict[Tissue, NDArray[np.float32]] = {}
    for tissue, piece in kept.items():
        # zeros are not backed by memory until they are written: only the box costs any
        cleaned = np.zeros(label_map.grid.shape, dtype=np.float32)
        margin = tuple(int(np.ceil(settings.halo_mm / mm)) for mm in spacing_mm)
        box, inner = _widened(piece.box, margin, label_map.grid.shape)
        near = _near(piece.mask, inner, box, spacing_mm, settings.halo_mm)
        values = label_map.fraction(tissue)[box]
        cleaned[box] = np.where(near & (values >= 1e-3), values, np.float32(0))
        fractions[tissue] = cleaned
    for bone in Bone:
        if bone.tissue in kept:
            _fill(fractions, bone.tissue, kept[bone.tissue], label_map.labels)
    return LabelMap(
        _winners(fractions, label_map.grid.shape),
        label_map.grid,
        fractions,
        label_map.side_from_labels,
    )


def _widened(box: Box, margin: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Box, Box]:
    """A larger box inside the array, and where the old one lies in it."""
    outer, inner = [], []
    for side, more, count in zip(box, margin, shape, strict=True):
        start, stop = max(side.start - more, 0), min(side.stop + more, count)
        outer.append(slice(start, stop))
        inner.append(slice(side.start - start, side.stop - start))
    return (outer[0], outer[1], outer[2]), (inner[0], inner[1], inner[2])


def _near(
    mask: BoolArray, inner: Box, box: Box, spacing_mm: NDArray[np.float64], reach_mm: float
) -> BoolArray:
    """The mask grown by a length along each axis in turn, inside the larger box."""
    grown = np.zeros([side.stop - side.start for side in box], dtype=bool)
    grown[inner] = mask
    for axis in range(3):
        source = grown.copy()
        for step in range(1, int(np.ceil(reach_mm / spacing_mm[axis])) + 1):
            low, high = _along(axis, slice(None, -step)), _along(axis, slice(step, None))
            grown[low] |= source[high]
            grown[high] |= source[low]
    return grown


def _fill(
    fractions: dict[Tissue, NDArray[np.float32]],
    bone: Tissue,
    piece: Piece,
    labels: NDArray[np.uint8],
) -> None:
    """Voxels that became bone by filling a hole are bone and nothing else."""
    holes = piece.mask & (labels[piece.box] != int(bone))
    if not holes.any():
        return
    for tissue, values in fractions.items():
        values[piece.box][holes] = np.float32(tissue is bone)


def _winners(
    fractions: Mapping[Tissue, NDArray[np.float32]], shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """(i, j, k) uint8 most probable tissue; background where it has the most."""
    labels = np.zeros(shape, dtype=np.uint8)
    for start in range(0, shape[0], 16):  # slabs: temporary arrays stay small
        slab = slice(start, start + 16)
        rest = np.ones(labels[slab].shape, dtype=np.float32)
        for values in fractions.values():
            rest -= values[slab]
        highest = rest
        for tissue, values in fractions.items():
            wins = values[slab] > highest
            labels[slab][wins] = int(tissue)
            highest = np.where(wins, values[slab], highest)
    return labels
