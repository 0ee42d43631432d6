"""What lies around the bones of an MR picture: skin, fat, muscle, tendons, menisci, fluid.

Drawn from the label map alone on a lattice of about 1 mm; believable, without claim to anatomy.
Nothing is ever measured on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from kneeimg.core.anatomy import Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

_LATTICE_MM = 1.1
_FAR_MM = 1e3


class Soft(IntEnum):
    """Tissues outside bone and cartilage."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    TENDON = 4  # ligaments, tendons, menisci
    FLUID = 5
    VESSEL = 6


@dataclass(frozen=True, slots=True)
class Lattice:
    """Every n-th voxel of a grid.

    Attributes
    ----------
    steps : Voxels per lattice point along each array axis.
    spacing_mm : (3,) distance between lattice points.
    x, y, z : LPS+ mm of the lattice points.
    """

    steps: tuple[int, int, int]
    spacing_mm: FloatArray
    x: Float32
    y: Float32
    z: Float32

    @classmethod
    def over(cls, grid: Grid) -> Lattice:
        """Lattice of about 1 mm over a grid."""
        steps = np.maximum(np.round(_LATTICE_MM / grid.spacing_mm), 1).astype(int)
        index = np.ix_(*(np.arange(0, n, s) for n, s in zip(grid.shape, steps, strict=True)))
        a = grid.affine
        x, y, z = (
            sum((a[w, n] * index[n] for n in range(3)), start=a[w, 3]).astype(np.float32)
            for w in range(3)
        )
        i, j, k = (int(s) for s in steps)
        return cls((i, j, k), grid.spacing_mm * steps, x, y, z)

    def take(self, data: NDArray[np.generic]) -> NDArray[np.generic]:
        """The lattice points of a full array."""
        i, j, k = self.steps
        return data[::i, ::j, ::k]

    def distance_mm(self, mask: Mask) -> Float32:
        """Distance to a mask; far away when it is empty."""
        if not mask.any():
            return np.full(mask.shape, _FAR_MM, dtype=np.float32)
        found: Float32 = distance_transform_edt(~mask, sampling=self.spacing_mm).astype(np.float32)
        return found

    def segment_mm(self, start: FloatArray, stop: FloatArray) -> Float32:
        """Distance to a straight segment."""
        axis = stop - start
        dx, dy, dz = self.x - start[0], self.y - start[1], self.z - start[2]
        along = (dx * axis[0] + dy * axis[1] + dz * axis[2]) / max(float(axis @ axis), 1e-6)
        along = np.clip(along, 0.0, 1.0)
        gaps = (dx - along * axis[0], dy - along * axis[1], dz - along * axis[2])
        result: Float32 = np.sqrt(sum(g * g for g in gaps)).astype(np.float32)
        return result


def soft_tissue(label_map: LabelMap) -> tuple[Lattice, NDArray[np.uint8]]:
    """Soft-tissue class at every lattice point; bone and cartilage are drawn over it later."""
    lattice = Lattice.over(label_map.grid)
    labels = np.ascontiguousarray(lattice.take(label_map.labels))
    limb = _Limb.around(lattice, labels)
    kind = limb.sheath(lattice)
    _draw_joint(kind, lattice, labels)
    _draw_tendons(kind, lattice, labels)
    return lattice, kind


@dataclass(frozen=True, slots=True)
class _Limb:
    """Outline of the limb: an elliptic tube around the bones."""

    centre_x: float
    centre_y: float
    half_x: float
    half_y: float
    joint_z: float

    @classmethod
    def around(cls, lattice: Lattice, labels: NDArray[np.uint8]) -> _Limb:
        """A tube with room for fat and muscle, wider behind than in front."""
        inside = labels > 0
        if not inside.any():
            return cls(0.0, 0.0, 1.0, 1.0, 0.0)
        low_x, high_x = np.percentile(lattice.x[inside], (0.2, 99.8))
        low_y, high_y = np.percentile(lattice.y[inside], (0.2, 99.8))
        joint = (labels == Tissue.TIBIAL_CARTILAGE) | (labels == Tissue.FEMORAL_CARTILAGE)
        joint_z = float(lattice.z[joint if joint.any() else inside].mean())
        return cls(
            float(low_x + high_x) / 2.0,
            float(low_y + high_y) / 2.0 + 9.0,
            float(high_x - low_x) / 2.0 + 13.0,
            float(high_y - low_y) / 2.0 + 18.0,
            joint_z,
        )

    def sheath(self, lattice: Lattice) -> NDArray[np.uint8]:
        """Air, skin, fat under it, muscles behind and beside, two vessels."""
        height = (lattice.z.astype(np.float64) - self.joint_z) / 60.0
        swell = 1.0 + 0.05 * height * height
        dx = (lattice.x - self.centre_x) / (self.half_x * swell)
        dy = (lattice.y - self.centre_y) / (self.half_y * swell)
        depth = (1.0 - np.sqrt(dx * dx + dy * dy)) * min(self.half_x, self.half_y)
        kind = np.full(depth.shape, int(Soft.FAT), dtype=np.uint8)
        kind[_muscle(lattice, depth, dx, dy, height)] = Soft.MUSCLE
        for offset, radius in ((-4.0, 3.2), (4.0, 2.6)):
            near = np.hypot(
                lattice.x - self.centre_x - offset,
                lattice.y - self.centre_y - 0.36 * self.half_y - 2.0 * height,
            )
            kind[(near < radius) & (depth > 4.0)] = Soft.VESSEL
        kind[depth < 1.6] = Soft.SKIN
        kind[depth < 0.0] = Soft.AIR
        return kind


def _muscle(
    lattice: Lattice, depth: FloatArray, dx: FloatArray, dy: FloatArray, height: FloatArray
) -> Mask:
    """Two heads behind the joint that grow away from it, and the vasti above."""
    away = np.abs(height)
    septum = np.abs(np.sin(0.16 * lattice.x + 0.12 * lattice.y + 2.0 * height)) - 0.16
    behind = np.minimum(dy - 0.34 + 0.12 * away, (np.abs(dx) - 0.10 + 0.04 * height) * 2.0)
    beside = np.minimum(height - 0.30 - 0.35 * np.abs(np.abs(dx) - 0.5), dy + 0.70)
    below = np.minimum(-height - 0.35 - 0.9 * np.abs(dy - 0.35), np.abs(dx) - 0.12)
    inner = (depth - 6.0 + 1.5 * np.minimum(away, 1.0)) / 10.0
    result: Mask = np.minimum(np.maximum.reduce([behind, beside, below]), inner) > 0.0
    return result & (septum > 0.0)


def _draw_joint(kind: NDArray[np.uint8], lattice: Lattice, labels: NDArray[np.uint8]) -> None:
    """Joint fluid and menisci in the space between femur and tibia, fluid behind the patella."""
    femur = (labels == Tissue.FEMUR) | (labels == Tissue.FEMORAL_CARTILAGE)
    tibia = (labels == Tissue.TIBIA) | (labels == Tissue.TIBIAL_CARTILAGE)
    patella = (labels == Tissue.PATELLA) | (labels == Tissue.PATELLAR_CARTILAGE)
    to_femur, to_tibia = lattice.distance_mm(femur), lattice.distance_mm(tibia)
    to_patella = lattice.distance_mm(patella)
    plateau = lattice.distance_mm(labels == Tissue.TIBIAL_CARTILAGE)
    condyle = lattice.distance_mm(labels == Tissue.FEMORAL_CARTILAGE)
    kind[(condyle < 1.2) & (kind != Soft.AIR)] = Soft.FLUID
    gap = to_femur + to_tibia
    kind[(gap < 13.0) & (to_tibia < 6.0) & (plateau < 7.0)] = Soft.TENDON
    kind[(gap < 3.9) & (plateau < 3.5)] = Soft.FLUID
    kind[(to_femur + to_patella < 5.0) & (condyle < 6.0)] = Soft.FLUID


def _draw_tendons(kind: NDArray[np.uint8], lattice: Lattice, labels: NDArray[np.uint8]) -> None:
    """Quadriceps and patellar tendon, cruciate and collateral ligaments."""
    ends = _extremes(lattice, labels)
    if ends is None:
        return
    for start, stop, radius in _bands(ends):
        kind[(lattice.segment_mm(start, stop) < radius) & (kind != Soft.AIR)] = Soft.TENDON


def _extremes(lattice: Lattice, labels: NDArray[np.uint8]) -> Mapping[str, FloatArray] | None:
    """Boxes of the bones in LPS+ mm: (2, 3) low and high corners and the joint's centre."""
    boxes: dict[str, FloatArray] = {}
    for name, tissue in (
        ("patella", Tissue.PATELLA),
        ("tibia", Tissue.TIBIAL_CARTILAGE),
        ("femur", Tissue.FEMORAL_CARTILAGE),
    ):
        inside = labels == tissue
        if not inside.any():
            return None
        rows = [
            (float(axis[inside].min()), float(axis[inside].max()))
            for axis in (lattice.x, lattice.y, lattice.z)
        ]
        boxes[name] = np.array(rows).T
    return boxes


def _bands(boxes: Mapping[str, FloatArray]) -> list[tuple[FloatArray, FloatArray, float]]:
    """Start, stop and radius in mm of every band."""
    patella, tibia, femur = boxes["patella"], boxes["tibia"], boxes["femur"]
    x, _, _ = patella.mean(axis=0)
    front = patella[0, 1] + 6.0
    mid_x, mid_y, top = tibia[:, 0].mean(), tibia[:, 1].mean(), tibia[1, 2]
    point = np.array
    return [
        (point([x, front, patella[0, 2] + 3]), point([x, tibia[0, 1] - 2, top - 38]), 3.4),
        (point([x, front + 2, patella[1, 2] - 3]), point([x, front + 9, patella[1, 2] + 60]), 4.2),
        (point([mid_x, mid_y - 8, top]), point([mid_x, mid_y + 14, top + 26]), 3.2),
        (point([mid_x, mid_y + 18, top - 8]), point([mid_x, mid_y + 3, top + 18]), 3.8),
        (
            point([femur[1, 0] + 5, mid_y, top + 24]),
            point([femur[1, 0] + 3, mid_y - 2, top - 30]),
            2.0,
        ),
        (
            point([femur[0, 0] - 5, mid_y, top + 24]),
            point([femur[0, 0] - 4, mid_y + 14, top - 22]),
            2.0,
        ),
    ]
