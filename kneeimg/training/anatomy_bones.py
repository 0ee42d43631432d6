"""Bones made whole: shafts carried to the edge of the view, a cortical shell, landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.training.anatomy_fields import (
    FloatField,
    Mask,
    box_of,
    distance_mm,
    smooth_field,
)
from kneeimg.training.anatomy_source import SPACING_MM
from kneeimg.training.tissues import FEMUR_CODES, PATELLA_CODES, TIBIA_CODES, Substance

FEMUR = tuple(int(c) for c in FEMUR_CODES)
TIBIA = tuple(int(c) for c in TIBIA_CODES)
PATELLA = tuple(int(c) for c in PATELLA_CODES)
CARTILAGE = (
    int(Substance.FEMORAL_CARTILAGE),
    int(Substance.TIBIAL_CARTILAGE),
    int(Substance.PATELLAR_CARTILAGE),
)
_LESIONS = (int(Substance.LESION_FEMUR), int(Substance.LESION_TIBIA), int(Substance.LESION_PATELLA))
_FIBULA_WALL_MM = 1.8
_SECTION_VOXELS = 25  # 10 mm of shaft tell how it goes on


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Places on the canonical grid in mm from its first voxel: (left, posterior, superior)."""

    joint: tuple[float, float, float]  # middle of the tibial plateaus
    femur_front: float  # foremost femur, posterior mm
    femur_back: float  # hindmost condyle
    femur_low: float
    patella: tuple[float, float, float]
    patella_front: float
    patella_low: float
    patella_high: float
    patella_tip: tuple[float, float, float]  # inferior pole
    patella_base: tuple[float, float, float]  # superior pole
    tubercle: tuple[float, float, float]  # where the patellar tendon ends
    medial: float  # innermost bone at the joint, left mm (larger than lateral)
    lateral: float


def is_any(codes: NDArray[np.uint8], wanted: tuple[int, ...]) -> Mask:
    """Where the codes are one of those wanted."""
    table = np.zeros(256, dtype=bool)
    table[list(wanted)] = True
    return np.asarray(table[codes])


def landmarks_of(codes: NDArray[np.uint8]) -> Landmarks:
    """Read the places that soft tissue hangs on from a bone map."""
    step = np.array(SPACING_MM)
    tibial = np.argwhere(codes == int(Substance.TIBIAL_CARTILAGE)) * step
    femoral = np.argwhere(codes == int(Substance.FEMORAL_CARTILAGE)) * step
    patella = np.argwhere(is_any(codes[:, :, ::2], PATELLA)) * (step * (1, 1, 2))
    tibia = np.argwhere(is_any(codes[:, ::2, ::2], TIBIA)) * (step * (1, 2, 2))
    joint = tibial.mean(axis=0)
    low = patella[patella[:, 2] < patella[:, 2].min() + 3]
    high = patella[patella[:, 2] > patella[:, 2].max() - 3]
    return Landmarks(
        joint=_place(joint),
        femur_front=float(femoral[:, 1].min()),
        femur_back=float(femoral[:, 1].max()),
        femur_low=float(femoral[:, 2].min()),
        patella=_place(patella.mean(axis=0)),
        patella_front=float(patella[:, 1].min()),
        patella_low=float(patella[:, 2].min()),
        patella_high=float(patella[:, 2].max()),
        patella_tip=_place(low.mean(axis=0)),
        patella_base=_place(high.mean(axis=0)),
        tubercle=_tubercle(tibia, joint),
        medial=float(femoral[:, 0].max()),
        lateral=float(femoral[:, 0].min()),
    )


def _place(point: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])


def _tubercle(tibia: NDArray[np.float64], joint: NDArray[np.float64]) -> tuple[float, float, float]:
    """Foremost tibia 25 to 45 mm below the plateau, or as low as the map goes."""
    depth = joint[2] - tibia[:, 2]
    reach = min(45.0, float(depth.max()))
    band = tibia[(depth > min(25.0, reach - 5)) & (depth <= reach)]
    front = band[band[:, 1] < band[:, 1].min() + 2.0]
    return _place(front.mean(axis=0))


def extend_shafts(codes: NDArray[np.uint8]) -> None:
    """Carry femur and tibia (and fibula) to the edge of the view, in place.

    The last rows of a hand-drawn shaft are ragged: the section 10 mm within is taken instead and
    follows the drift of the shaft's middle.
    """
    _extend(codes, int(Substance.MARROW_FEMUR), FEMUR)
    down = codes[:, :, ::-1]
    _extend(down, int(Substance.MARROW_TIBIA), TIBIA)
    if (codes == int(Substance.MARROW_FIBULA)).any():
        _extend(down, int(Substance.MARROW_FIBULA), (int(Substance.MARROW_FIBULA),))


def _extend(codes: NDArray[np.uint8], fill: int, of_bone: tuple[int, ...]) -> None:
    """Extend one bone towards the end of the last axis."""
    bone = is_any(codes, of_bone)
    area = bone.sum(axis=(0, 1))
    last = _last_whole(area)
    if last is None or last >= codes.shape[2] - 1:
        return
    first = max(last - _SECTION_VOXELS, 0)
    section = bone[:, :, last - 8 : last + 1].mean(axis=2) > 0.5
    drift = (_middle(bone[:, :, last]) - _middle(bone[:, :, first])) / max(last - first, 1)
    drift = np.clip(drift, -0.25, 0.25)
    for k in range(last + 1, codes.shape[2]):
        shift = np.rint(drift * (k - last)).astype(int)
        moved = np.roll(section, tuple(int(s) for s in shift), axis=(0, 1))
        level = codes[:, :, k]
        level[is_any(level, of_bone)] = 0
        level[moved & (level == 0)] = fill


def _last_whole(area: NDArray[np.int_]) -> int | None:
    """The last row before the section breaks off: a tenth less than 2 mm within, or far less than
    10 mm within."""
    filled = np.flatnonzero(area > 0)
    if len(filled) < 3 * _SECTION_VOXELS:
        return None
    last = int(filled[-1])
    for k in range(last, last - 2 * _SECTION_VOXELS, -1):
        if area[k] >= max(0.9 * area[k - 5], 0.72 * area[k - _SECTION_VOXELS]) > 0:
            return k - 1
    return last - 2 * _SECTION_VOXELS


def _middle(section: Mask) -> NDArray[np.float64]:
    return np.asarray(np.argwhere(section).mean(axis=0), dtype=np.float64)


def add_cortex(codes: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Turn the outermost part of each bone's marrow into cortex, in place.

    The subchondral plate is 0.4 to 0.8 mm, the metaphysis about a millimetre, and the shaft
    thickens to 2 to 4 mm away from the joint.
    """
    cartilage = is_any(codes, CARTILAGE)
    joint_mm = float(np.argwhere(codes == int(Substance.TIBIAL_CARTILAGE))[:, 2].mean())
    joint_mm *= SPACING_MM[2]
    plate_mm = rng.uniform(0.4, 0.8)
    wall_mm = rng.uniform(0.7, 1.3)
    shaft_mm = rng.uniform(2.0, 4.0)
    for marrow, cortex, bone_codes in (
        (Substance.MARROW_FEMUR, Substance.CORTEX_FEMUR, FEMUR),
        (Substance.MARROW_TIBIA, Substance.CORTEX_TIBIA, TIBIA),
        (Substance.MARROW_PATELLA, Substance.CORTEX_PATELLA, PATELLA),
        (Substance.MARROW_FIBULA, Substance.CORTEX_FIBULA, (int(Substance.MARROW_FIBULA),)),
    ):
        bone = is_any(codes, (*bone_codes, int(Substance.CYST)))
        box = box_of(is_any(codes, bone_codes), (3, 5, 5))
        if box[0].stop == box[0].start:
            continue
        inside = _depth_mm(bone[box])
        wanted = _wall_mm(inside.shape, box, joint_mm, wall_mm, shaft_mm, rng)
        if cortex is Substance.CORTEX_FIBULA:
            wanted = np.minimum(wanted, np.float32(_FIBULA_WALL_MM))  # a thin bone
        near = distance_mm(cartilage[box], SPACING_MM) < 2.2
        wanted = np.where(near, np.float32(plate_mm), wanted)
        part = codes[box]
        # a lesion that the source shows lies in the marrow, below the plate
        made_of_marrow = is_any(part, (int(marrow), *(c for c in bone_codes if c in _LESIONS)))
        part[made_of_marrow & (inside <= wanted)] = int(cortex)


def _depth_mm(bone: Mask) -> FloatField:
    """Depth of each bone voxel's middle below the surface, in mm (half a voxel at the surface)."""
    import edt

    # the edge of the view is no surface of the bone
    depth: FloatField = edt.edt(bone, anisotropy=SPACING_MM, black_border=False, parallel=1)
    return depth - np.float32(0.2)


def _wall_mm(
    shape: tuple[int, ...],
    box: tuple[slice, ...],
    joint_mm: float,
    wall_mm: float,
    shaft_mm: float,
    rng: np.random.Generator,
) -> FloatField:
    height = (box[2].start + np.arange(shape[2])) * SPACING_MM[2]
    towards_shaft = np.clip((np.abs(height - joint_mm) - 30) / 35, 0, 1)
    level = wall_mm + (shaft_mm - wall_mm) * towards_shaft**1.5
    coarse = tuple((n + 3) // 4 for n in shape)
    rough = smooth_field(rng, coarse, [4 * s for s in SPACING_MM], 9.0)
    rough = np.repeat(np.repeat(np.repeat(rough, 4, 0), 4, 1), 4, 2)
    rough = rough[: shape[0], : shape[1], : shape[2]]
    return np.asarray(level * (1 + 0.25 * np.clip(rough, -1.5, 1.5)), dtype=np.float32)
