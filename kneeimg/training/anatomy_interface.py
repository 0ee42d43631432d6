"""Where a bone and its cartilage meet: points, true area and outward direction of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kneeimg.training.anatomy_bones import FEMUR, PATELLA, TIBIA, is_any
from kneeimg.training.anatomy_fields import Mask, box_of
from kneeimg.training.anatomy_source import SPACING_MM
from kneeimg.training.tissues import Substance

#: Bone codes, cartilage code and osteophyte code of the three joints' surfaces.
PAIRS = (
    (FEMUR, int(Substance.FEMORAL_CARTILAGE), int(Substance.OSTEOPHYTE_FEMUR)),
    (TIBIA, int(Substance.TIBIAL_CARTILAGE), int(Substance.OSTEOPHYTE_TIBIA)),
    (PATELLA, int(Substance.PATELLAR_CARTILAGE), int(Substance.OSTEOPHYTE_PATELLA)),
)
_NORMAL_MM = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Interface:
    """The covered surface of one bone, as the voxels of cartilage that touch it.

    Attributes
    ----------
    index : (n, 3) int array index of each voxel.
    area_mm2 : (n,) area of bone that it covers.
    outward : (n, 3) unit normal, from bone to joint.
    on_margin : (n,) bool, True where uncovered bone is within about a millimetre.
    """

    index: NDArray[np.int64]
    area_mm2: NDArray[np.float64]
    outward: NDArray[np.float64]
    on_margin: NDArray[np.bool_]

    @property
    def points_mm(self) -> NDArray[np.float64]:
        """(n, 3) voxel centres in mm."""
        return np.asarray(self.index * np.array(SPACING_MM), dtype=np.float64)


def interface_of(
    codes: NDArray[np.uint8], bone_codes: tuple[int, ...], cartilage: int
) -> Interface:
    """Find the interface of one bone with its cartilage.

    Each face between a bone voxel and a cartilage voxel stands for its own area times the cosine
    between the face and the smoothed surface: summed up, stairs do not count twice.
    """
    box = box_of(codes == cartilage, (4, 6, 6))
    part = codes[box]
    bone = is_any(part, (*bone_codes, int(Substance.CYST)))
    covered = part == cartilage
    normal = _outward(bone)
    area = np.zeros(part.shape, dtype=np.float32)
    for axis in range(3):
        face = float(np.prod(SPACING_MM)) / SPACING_MM[axis]
        for sign in (-1, 1):
            beside = _shifted(bone, axis, sign)  # bone lies on the side -sign of the voxel
            area += np.where(covered & beside, face * sign * normal[axis], 0)
    touching = area > 1e-3
    near_bare = ndimage.binary_dilation(
        _touches(bone) & ~bone & ~covered, iterations=2, mask=_touches(bone)
    )
    index = np.argwhere(touching)
    at = tuple(index.T)
    return Interface(
        index + np.array([piece.start for piece in box]),
        area[at].astype(np.float64),
        np.stack([component[at] for component in normal], axis=1).astype(np.float64),
        near_bare[at],
    )


def _outward(bone: Mask) -> list[NDArray[np.float32]]:
    """Unit normal of the smoothed bone, one array per axis."""
    sigma = [_NORMAL_MM / step for step in SPACING_MM]
    smooth = ndimage.gaussian_filter(bone.astype(np.float32), sigma, mode="nearest", truncate=2.5)
    parts = [-np.gradient(smooth, step, axis=a) for a, step in enumerate(SPACING_MM)]
    length = np.sqrt(sum(part**2 for part in parts)) + np.float32(1e-6)
    return [np.asarray(part / length, dtype=np.float32) for part in parts]


def _shifted(mask: Mask, axis: int, step: int) -> Mask:
    """The mask moved by one voxel; what enters at the edge is False."""
    moved = np.roll(mask, step, axis=axis)
    edge: list[slice | int] = [slice(None)] * 3
    edge[axis] = 0 if step > 0 else -1
    moved[tuple(edge)] = False
    return moved


def _touches(bone: Mask) -> Mask:
    """The bone and the voxels that share an edge or a face with it."""
    return np.asarray(ndimage.binary_dilation(bone, ndimage.generate_binary_structure(3, 2)))
