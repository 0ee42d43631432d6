"""Whole synthetic scans of held-out knees, to see what a training is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.networks.spec import CLASS_TISSUES
from kneeimg.settings.training import PoseSettings, ScanSettings
from kneeimg.training.scans import Knee, SyntheticScan
from kneeimg.training.tissues import IGNORED_CLASS

Triple = tuple[int, int, int]
TripleMm = tuple[float, float, float]

#: Voxels that each family is acquired with in trials: in-plane and slice, smallest and largest, mm.
PROTOCOLS = {
    "dess": ((0.36, 0.46), (0.7, 0.7)),
    "flash": ((0.3, 0.4), (1.5, 1.5)),
    "pd_fs": ((0.4, 0.5), (0.7, 0.8)),
    "t1": ((0.4, 0.5), (0.7, 1.0)),
}

#: How a knee lies in the coil of a trial: the technician has turned it to within a few degrees.
_IN_THE_COIL = PoseSettings(rotation_deg=8.0, scale=(0.95, 1.05), shift_mm=5.0, elastic_mm=0.5)


@dataclass(frozen=True, slots=True, eq=False)
class WholeScan:
    """A synthetic scan with its truth.

    Attributes
    ----------
    image : The scan, right knee.
    truth : What is in it, as a hard label map.
    known : (i, j, k) where the source knew the anatomy.
    family : Contrast family.
    slice_mm : Largest acquired voxel side.
    """

    image: Volume
    truth: LabelMap
    known: NDArray[np.bool_]
    family: str
    slice_mm: float

    @property
    def side(self) -> Side:
        """Synthetic scans show right knees."""
        return Side.RIGHT


def whole_scan(
    knee: Knee,
    seed: tuple[int, ...],
    *,
    scan: ScanSettings,
    pose: PoseSettings,
    shape: Triple = (160, 352, 352),
    spacing_mm: TripleMm = (0.7, 0.4, 0.4),
) -> WholeScan:
    """One scan of a whole knee on a regular grid.

    Parameters
    ----------
    seed : Everything random follows from it.
    shape, spacing_mm : Voxels of the scan; i to patient left, j to posterior, k to superior.
    """
    view = tuple(n * mm for n, mm in zip(shape, spacing_mm, strict=True))
    made = SyntheticScan(knee, (view[0], view[1], view[2]), pose, scan, seed)
    with torch.no_grad():
        sample = made.sample(shape, spacing_mm, (0.0, 0.0, 0.0), (1, 1, 1))
    affine = np.diag([*spacing_mm, 1.0])
    grid = Grid(shape, affine, "2.25." + "".join(str(n) for n in seed))
    target = sample.target.cpu().numpy()
    table = np.zeros(256, np.uint8)
    table[: len(CLASS_TISSUES)] = [int(tissue) for tissue in CLASS_TISSUES]
    return WholeScan(
        image=Volume(sample.image.cpu().numpy().astype(np.float32), grid, "a.u."),
        truth=LabelMap(table[target], grid),
        known=target != IGNORED_CLASS,
        family=made.contrast.family,
        slice_mm=max(made.acquisition.voxel_mm),
    )


def trial_scan(knee: Knee, family: str, seed: tuple[int, ...]) -> WholeScan:
    """A scan as a trial would make it: sagittal, with the voxels of its family, well positioned.

    Raises
    ------
    KeyError
        If `PROTOCOLS` does not hold the family.
    """
    in_plane, slices = PROTOCOLS[family]
    scan = ScanSettings(
        families={family: 1.0},
        sagittal=1.0,
        in_plane_mm=in_plane,
        slice_mm=slices,
        noise=0.05,
        ghosting=0.0,
        bands=0.0,
    )
    return whole_scan(knee, seed, scan=scan, pose=_IN_THE_COIL)


def class_values(labels: LabelMap) -> NDArray[np.uint8]:
    """(i, j, k) network classes of a label map; a tissue that is no class is background."""
    table = np.zeros(256, np.uint8)
    for value, tissue in enumerate(CLASS_TISSUES):
        table[int(tissue)] = value
    values: NDArray[np.uint8] = table[labels.labels]
    return values
