"""Label maps of real knees on the canonical grid, with smooth surfaces and unchanged volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import reorient_array
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.training.anatomy_fields import FloatField, Mask, box_of, largest_part
from kneeimg.training.tissues import Substance

#: Canonical grid: axis 0 to patient left, 1 to posterior, 2 to superior; always a right knee.
SPACING_MM = (0.7, 0.4, 0.4)
SHAPE = (184, 400, 400)
VOXEL_MM3 = SPACING_MM[0] * SPACING_MM[1] * SPACING_MM[2]

_FRONT_MM = 28.0  # room before the foremost bone for tendon, fat, skin and some air
_SMOOTH_VOXELS = (0.9, 1.0, 1.0)

_BONES = (Substance.MARROW_FEMUR, Substance.MARROW_TIBIA, Substance.MARROW_PATELLA)
_LESIONS = {
    Substance.LESION_FEMUR: Substance.MARROW_FEMUR,
    Substance.LESION_TIBIA: Substance.MARROW_TIBIA,
    Substance.LESION_PATELLA: Substance.MARROW_PATELLA,
}
_KEEP_VOLUME = (
    Substance.FEMORAL_CARTILAGE,
    Substance.TIBIAL_CARTILAGE,
    Substance.PATELLAR_CARTILAGE,
    Substance.MEDIAL_MENISCUS,
    Substance.LATERAL_MENISCUS,
)

_FROM_TISSUE: Mapping[Tissue, Substance] = {
    Tissue.FEMUR: Substance.MARROW_FEMUR,
    Tissue.FEMORAL_CARTILAGE: Substance.FEMORAL_CARTILAGE,
    Tissue.TIBIA: Substance.MARROW_TIBIA,
    Tissue.TIBIAL_CARTILAGE: Substance.TIBIAL_CARTILAGE,
    Tissue.PATELLA: Substance.MARROW_PATELLA,
    Tissue.PATELLAR_CARTILAGE: Substance.PATELLAR_CARTILAGE,
    Tissue.MEDIAL_MENISCUS: Substance.MEDIAL_MENISCUS,
    Tissue.LATERAL_MENISCUS: Substance.LATERAL_MENISCUS,
    Tissue.FIBULA: Substance.MARROW_FIBULA,
}


@dataclass(frozen=True, slots=True, eq=False)
class KneeLabels:
    """A right knee whose bones and cartilage are labelled, array axes to left, posterior, superior.

    Attributes
    ----------
    codes : (i, j, k) uint8 codes of :class:`Substance`: MARROW_* for a whole bone, LESION_* for a
        marrow lesion in it, cartilage, menisci and AIR for all that is not labelled.
    spacing_mm : Voxel size along i, j, k.
    """

    codes: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, label_map: LabelMap, side: Side) -> KneeLabels:
        """A label map in the scheme `knee-v1`, mirrored if it is a left knee.

        The array axes closest to left, posterior and superior are taken for those directions; a
        rotation of the scanner's axes by a few degrees stays in.
        """
        table = np.zeros(256, dtype=np.uint8)
        for tissue, substance in _FROM_TISSUE.items():
            table[int(tissue)] = int(substance)
        axes, flips = label_map.grid.closest_lps()
        codes = reorient_array(table[label_map.labels], axes, flips)
        spacing = label_map.grid.spacing_mm[list(axes)]
        if side is Side.LEFT:
            codes = codes[::-1]
        return cls(
            np.ascontiguousarray(codes, dtype=np.uint8),
            (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        )

    def require_knee(self) -> None:
        """Raise MaskError unless the three bones and their cartilage are all there."""
        present = set(np.flatnonzero(np.bincount(self.codes.ravel(), minlength=256)).tolist())
        missing = [code.name for code in (*_BONES, *_KEEP_VOLUME[:3]) if int(code) not in present]
        if missing:
            raise MaskError(
                "a tissue map is built from a whole knee",
                code=ReasonCode.TISSUE_MISSING,
                expected="femur, tibia, patella and their cartilage labelled",
                found=f"without {', '.join(missing)}",
                action="leave this label map out of the pool",
            )


@dataclass(frozen=True, slots=True)
class Window:
    """Where the canonical grid lies on the source: index of its first voxel centre, in mm."""

    origin_mm: tuple[float, float, float]

    @classmethod
    def around(cls, labels: KneeLabels) -> Window:
        """Middle of the bones across, a fixed room before the patella, middle of the source up."""
        box = box_of(labels.codes > 0, (0, 0, 0))
        step = labels.spacing_mm
        across = (box[0].start + box[0].stop - 1) / 2 * step[0]
        height = (labels.codes.shape[2] - 1) / 2 * step[2]
        return cls(
            (
                # whole voxels, so that slices of equal distance are not interpolated
                round((across - (SHAPE[0] - 1) / 2 * SPACING_MM[0]) / step[0]) * step[0],
                box[1].start * step[1] - _FRONT_MM,
                height - (SHAPE[2] - 1) / 2 * SPACING_MM[2],
            )
        )


def resample(labels: KneeLabels) -> NDArray[np.uint8]:
    """Labels on the canonical grid: each tissue smoothed by about a voxel, the strongest wins.

    Smoothing and taking the strongest would thin a sheet between two bones; so each cartilage and
    meniscus takes exactly the voxels it needs to keep its volume, the best ones first.
    """
    window = Window.around(labels)
    base = np.zeros(SHAPE, dtype=np.uint8)
    score = np.zeros(SHAPE, dtype=np.float32)
    total = np.zeros(SHAPE, dtype=np.float32)
    for bone in (*_BONES, Substance.MARROW_FIBULA):
        mask = labels.codes == int(bone)
        for lesion, owner in _LESIONS.items():
            if owner is bone:
                mask |= labels.codes == int(lesion)
        for box, field in _soft(mask, labels.spacing_mm, window):
            total[box] += field
            wins = field > score[box]
            base[box][wins] = int(bone)
            score[box][wins] = field[wins]
    sheets = {
        code: part
        for code in _KEEP_VOLUME
        for part in _soft(labels.codes == int(code), labels.spacing_mm, window)
    }
    for box, field in sheets.values():
        total[box] += field
    empty = 1.0 - total
    base[empty > score] = 0
    np.maximum(score, empty, out=score)
    _lay_sheets(base, score, sheets, labels)
    _mark_lesions(base, labels, window)
    return _single_bones(base)


def _lay_sheets(
    base: NDArray[np.uint8],
    score: FloatField,
    sheets: Mapping[Substance, tuple[tuple[slice, ...], FloatField]],
    labels: KneeLabels,
) -> None:
    source_mm3 = float(np.prod(labels.spacing_mm))
    lead = np.full(SHAPE, -np.inf, dtype=np.float32)
    for code, (box, field) in sheets.items():
        rival = score[box].copy()
        for other, (other_box, other_field) in sheets.items():
            if other is not code:
                _raise_to(rival, box, other_box, other_field)
        margin = field - rival
        voxels = round(np.count_nonzero(labels.codes == int(code)) * source_mm3 / VOXEL_MM3)
        margin -= _largest(margin, voxels)
        wins = (margin >= 0) & (margin > lead[box])
        base[box][wins] = int(code)
        lead[box][wins] = margin[wins]


def _largest(values: FloatField, count: int) -> np.float32:
    """The `count`-th largest of the values."""
    count = min(max(count, 1), values.size)
    value: np.float32 = np.partition(values, values.size - count, axis=None)[values.size - count]
    return value


def _raise_to(
    rival: FloatField, box: tuple[slice, ...], other_box: tuple[slice, ...], other: FloatField
) -> None:
    """Raise `rival`, which lies in `box`, to `other` where the boxes overlap, in place."""
    common = [
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(box, other_box, strict=True)
    ]
    if any(part.stop <= part.start for part in common):
        return
    mine = tuple(
        slice(c.start - b.start, c.stop - b.start) for c, b in zip(common, box, strict=True)
    )
    theirs = tuple(
        slice(c.start - b.start, c.stop - b.start) for c, b in zip(common, other_box, strict=True)
    )
    np.maximum(rival[mine], other[theirs], out=rival[mine])


def _mark_lesions(base: NDArray[np.uint8], labels: KneeLabels, window: Window) -> None:
    for lesion, bone in _LESIONS.items():
        mask = labels.codes == int(lesion)
        voxels = round(np.count_nonzero(mask) * float(np.prod(labels.spacing_mm)) / VOXEL_MM3)
        for box, field in _soft(mask, labels.spacing_mm, window):
            part = base[box]
            part[(field >= max(float(_largest(field, voxels)), 0.05)) & (part == int(bone))] = int(
                lesion
            )


def _single_bones(base: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Drop loose specks of bone; what lies around will be made soft tissue."""
    for bone in _BONES:
        codes = [int(bone), *(int(lesion) for lesion, owner in _LESIONS.items() if owner is bone)]
        mask = np.isin(base, codes)
        box = box_of(mask, (1, 1, 1))
        specks = mask[box] & ~largest_part(mask[box])
        base[box][specks] = 0
    return base


def _soft(
    mask: Mask, spacing_mm: tuple[float, float, float], window: Window
) -> list[tuple[tuple[slice, ...], FloatField]]:
    """The smoothed mask where it is not nought: its box on the canonical grid and its values."""
    box = box_of(mask, (4, 4, 4))
    if box[0].stop == box[0].start:
        return []
    # at the source's edge the nearest value continues: a bone cut there is not rounded off
    field = ndimage.gaussian_filter(
        mask[box].astype(np.float32), _SMOOTH_VOXELS, mode="nearest", truncate=3.0
    )
    slices = []
    for axis in range(3):
        field, part = _along(field, axis, box[axis], mask.shape[axis], spacing_mm, window)
        slices.append(part)
    return [(tuple(slices), np.ascontiguousarray(field))]


def _along(
    field: FloatField,
    axis: int,
    box: slice,
    count: int,
    spacing_mm: tuple[float, float, float],
    window: Window,
) -> tuple[FloatField, slice]:
    """Linear interpolation along one axis to the canonical positions that the box covers."""
    place = (window.origin_mm[axis] + np.arange(SHAPE[axis]) * SPACING_MM[axis]) / spacing_mm[axis]
    inside = np.flatnonzero((place >= max(box.start, 0) - 0.5) & (place <= box.stop - 0.5))
    inside = inside[(place[inside] > -0.5) & (place[inside] < count - 0.5)]
    local = np.clip(place[inside] - box.start, 0, field.shape[axis] - 1)
    low = np.minimum(local.astype(int), max(field.shape[axis] - 2, 0))
    weight = (local - low).astype(np.float32)
    if np.allclose(weight, 0, atol=1e-4):
        taken = np.take(field, low, axis=axis)
    else:
        form = [1, 1, 1]
        form[axis] = len(inside)
        upper = np.take(field, np.minimum(low + 1, field.shape[axis] - 1), axis=axis)
        taken = np.take(field, low, axis=axis)
        taken = taken + (upper - taken) * weight.reshape(form)
    return taken, slice(int(inside[0]), int(inside[-1]) + 1)
