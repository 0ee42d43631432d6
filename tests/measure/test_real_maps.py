"""Manual label maps of real knees: nothing fails, and the numbers are those of knees."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kneeimg.core.anatomy import KNEE_V1, Bone, Plate, Side
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.measurement import Status
from kneeimg.errors import ReasonCode
from kneeimg.measure.morphometry import measure_knee

pytestmark = [pytest.mark.real, pytest.mark.slow]


def read(path: Path) -> LabelMap:
    image = nib.load(path)
    table = np.zeros(256, dtype=np.uint8)
    for value, tissue in KNEE_V1.tissues.items():
        table[value] = int(tissue)
    labels = table[np.asarray(image.dataobj).astype(np.uint8)]
    return LabelMap(labels, Grid(labels.shape, np.diag([-1, -1, 1, 1]) @ image.affine, None))


@pytest.mark.parametrize("name", ["P05_M96", "P10_M00"])
def test_a_real_knee(name: str, real_data: Path) -> None:
    label_map = read(real_data / "mri" / "labels" / f"{name}.nii.gz")
    knee = measure_knee(label_map, Side.RIGHT)
    rows = {row.name: row for row in knee.measurements}
    missing = {row.region: row.reason for row in rows.values() if row.status is not Status.OK}
    assert missing == dict.fromkeys(("MM", "LM"), ReasonCode.TISSUE_MISSING)  # no menisci drawn
    for region in ("MT", "LT", "cMF", "cLF", "TrF", "P"):
        assert 0.9 < rows[f"{region}_ThCcAB_aMe"].value < 3.2
        assert not rows[f"{region}_ThCtAB_aMe"].flags
    for medial, lateral in (("MT", "LT"), ("cMF", "cLF"), ("pMF", "pLF")):
        ratio = rows[f"{medial}_tAB"].value / rows[f"{lateral}_tAB"].value
        assert 0.7 < ratio < 1.6
    total = sum(rows[f"{r}_VC"].value for r in ("MT", "LT"))
    voxels = (label_map.labels == int(Bone.TIBIA.cartilage)).sum()
    assert total == pytest.approx(voxels * label_map.grid.voxel_volume_mm3, rel=1e-9)
    assert 0.7 < rows["MT_VCtAB"].value / rows["MT_ThCtAB_aMe"].value < 1.3


def test_the_mirror_image_of_a_real_knee_has_its_numbers(real_data: Path) -> None:
    right = read(real_data / "mri" / "labels" / "P10_M00.nii.gz")
    grid = right.grid
    mirror = Grid(grid.shape, np.diag([-1.0, 1.0, 1.0, 1.0]) @ grid.affine, None)
    left = LabelMap(right.labels, mirror)
    assert repr(measure_knee(left, Side.LEFT).measurements) == repr(
        measure_knee(right, Side.RIGHT).measurements
    )


@pytest.mark.parametrize("name", ["P05_M96", "P14_M96", "P01_M00"])
def test_plates_lie_where_an_anatomist_expects_them(name: str, real_data: Path) -> None:
    surfaces = measure_knee(
        read(real_data / "mri" / "labels" / f"{name}.nii.gz"), Side.RIGHT
    ).surfaces

    def middle(bone: Bone, plate: Plate) -> np.ndarray:
        surface = surfaces[bone]
        found: np.ndarray = surface.vertices[surface.fields["plate"] == plate].mean(axis=0)
        return found

    femur, tibia = Bone.FEMUR, Bone.TIBIA
    for medial, lateral, bone in (
        (Plate.MT, Plate.LT, tibia),
        (Plate.cMF, Plate.cLF, femur),
        (Plate.pMF, Plate.pLF, femur),
    ):
        assert middle(bone, medial)[0] > middle(bone, lateral)[0] + 25.0  # +x: left, medial
    for central, posterior in ((Plate.cMF, Plate.pMF), (Plate.cLF, Plate.pLF)):
        front, middle_, back = (middle(femur, p) for p in (Plate.TrF, central, posterior))
        assert front[1] + 12.0 < middle_[1] < back[1] - 8.0  # +y: posterior
        assert middle_[2] < back[2] - 5.0  # +z: proximal
        assert (
            np.abs(middle_[:2] - middle(tibia, Plate.MT if central == 3 else Plate.LT)[:2]).max()
            < 14
        )
