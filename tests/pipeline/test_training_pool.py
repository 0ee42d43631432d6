"""From a datalist to knees that can be scanned, and what is refused on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import MaskError, StudyError
from kneeimg.io.label_maps import write_label_map
from kneeimg.io.nifti import write_volume
from kneeimg.pipeline.pool import make_pool
from kneeimg.pipeline.training import Training
from kneeimg.training.datalist import read_datalist
from kneeimg.training.pool import list_pool, load_knee

GRID = Grid((24, 30, 30), np.diag([1.4, -0.8, 0.8, 1.0]), "1.2.3")


def quiet(done: int, total: int, what: str) -> None:
    """No progress in tests."""


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """One image with its labels: bone below cartilage, towards +x bone only."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[4:20, 5:25, 5:15] = Tissue.FEMUR
    labels[4:12, 5:25, 15:18] = Tissue.FEMORAL_CARTILAGE
    signal = np.where(labels == Tissue.FEMUR, 20.0, 100.0).astype(np.float32)
    write_volume(Volume(signal, GRID, "a.u."), tmp_path / "a.nii.gz")
    write_label_map(LabelMap(labels, GRID), tmp_path / "a_dseg.nii.gz")
    return tmp_path


def datalist(folder: Path, *entries: dict[str, object]) -> Path:
    path = folder / "datalist.json"
    path.write_text(json.dumps({"training": entries}), encoding="utf-8")
    return path


ENTRY: dict[str, object] = {
    "image": "a.nii.gz", "label": "a_dseg.nii.gz", "participant": "A", "side": "right",
    "unknown": ["patella"],
}  # fmt: skip


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_labelled_image_lies_in_the_network_frame(labelled: Path, side: str) -> None:
    found = read_datalist(datalist(labelled, ENTRY | {"side": side}))
    pool = labelled / "pool"
    assert make_pool(found, labelled, pool, variants=3, donor=None, progress=quiet) == 1
    knee = load_knee(list_pool(pool)[0])
    assert knee.spacing_mm == (0.7, 0.4, 0.4)
    assert knee.is_real
    assert knee.unknown == (5,)
    cartilage = np.argwhere(knee.classes.numpy() == 2)
    bone = np.argwhere(knee.classes.numpy() == 1)
    # +x of LPS is left; a left knee is shown mirrored
    towards_right = cartilage[:, 0].mean() < bone[:, 0].mean()
    assert towards_right == (side == "right")
    assert cartilage[:, 2].mean() > bone[:, 2].mean()  # superior
    # 16 × 20 × 10 voxels of 1.4 × 0.8 × 0.8 mm
    assert len(bone) * 0.7 * 0.16 == pytest.approx(16 * 20 * 10 * 1.4 * 0.64, rel=0.02)
    inside = knee.content.numpy()[tuple(bone.T)].mean()
    assert inside < 0.2 < knee.content.numpy().mean()


def test_a_finished_knee_is_kept(labelled: Path) -> None:
    found = read_datalist(datalist(labelled, ENTRY))
    pool = labelled / "pool"
    make_pool(found, labelled, pool, variants=1, donor=None, progress=quiet)
    path = list_pool(pool)[0].path
    before = path.stat().st_mtime_ns
    assert make_pool(found, labelled, pool, variants=1, donor=None, progress=quiet) == 0
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"cut short")
    assert make_pool(found, labelled, pool, variants=1, donor=None, progress=quiet) == 1


def test_image_and_labels_on_different_grids_are_refused(labelled: Path) -> None:
    moved = Grid(GRID.shape, GRID.affine + np.array([[0, 0, 0, 3.0]] + [[0] * 4] * 3), "1.2.3")
    write_label_map(LabelMap(np.ones(GRID.shape, np.uint8), moved), labelled / "a_dseg.nii.gz")
    found = read_datalist(datalist(labelled, ENTRY))
    with pytest.raises(MaskError):
        make_pool(found, labelled, labelled / "pool", variants=1, donor=None, progress=quiet)


def test_a_label_value_outside_its_scheme_is_refused(labelled: Path) -> None:
    import nibabel

    values = np.full(GRID.shape, 99, np.uint8)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ GRID.affine
    nibabel.save(nibabel.Nifti1Image(values, affine), labelled / "a_dseg.nii.gz")
    found = read_datalist(datalist(labelled, ENTRY))
    with pytest.raises(MaskError, match="99"):
        make_pool(found, labelled, labelled / "pool", variants=1, donor=None, progress=quiet)


def test_a_label_map_that_is_no_whole_knee_is_refused(labelled: Path) -> None:
    entry = {key: value for key, value in ENTRY.items() if key != "image"}
    found = read_datalist(datalist(labelled, entry))
    with pytest.raises(MaskError, match="whole knee"):
        make_pool(found, labelled, labelled / "pool", variants=1, donor=None, progress=quiet)


def test_mistakes_in_a_datalist_are_named(labelled: Path) -> None:
    with pytest.raises(StudyError, match="empty"):
        read_datalist(datalist(labelled))
    with pytest.raises(StudyError, match="one scan"):
        read_datalist(datalist(labelled, ENTRY, ENTRY))
    for change, word in (
        ({"label": "b.nii.gz"}, "not there"),
        ({"sied": "left"}, "sied"),
        ({"unknown": ["kneecap"]}, "kneecap"),
        ({"side": "both"}, "side"),
    ):
        with pytest.raises(StudyError) as caught:
            read_datalist(datalist(labelled, ENTRY | change))
        assert word in str(caught.value)


def test_a_train_file_names_its_stages_and_refuses_unknown_keys(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text(
        '[data]\nheld_out = ["P01"]\n[coarse]\niterations = 7\n[fine]\npatch = [8, 32, 32]\n'
        "[model.fine]\nin_channels = 9\nfilters = [8, 16, 16]\nfold = [1, 2, 2]\n"
    )
    training = Training.read(path)
    assert training.settings("coarse").iterations == 7
    assert training.settings("fine").held_out == ("P01",)
    assert training.settings("fine").stage == "fine"
    for wrong in ("[fine]\nlearning_rat = 1\n", "[fine]\npatch = [7, 32, 32]\n", "nmae = 'x'\n"):
        path.write_text(wrong)
        with pytest.raises(StudyError):
            Training.read(path)
