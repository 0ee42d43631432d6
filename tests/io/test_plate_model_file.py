"""The plate model's file: shipped, small, read back as written, refused when it is not one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone
from kneeimg.core.plate_model import BonePlates, PlateModel
from kneeimg.errors import GeometryError, StudyError
from kneeimg.io.plate_model import read_plate_model, shipped_plate_model, write_plate_model
from kneeimg.settings.resources import model_path


def small() -> BonePlates:
    rng = np.random.default_rng(0)
    normals = np.tile([0.0, 0.0, 1.0], (5, 1))
    return BonePlates(rng.normal(size=(5, 3)), normals, rng.normal(size=5), np.zeros((5, 2)))


def test_the_shipped_model_has_every_bone_and_is_small() -> None:
    model = shipped_plate_model()
    assert set(model.bones) == set(Bone)
    assert len(model.sha256) == 64
    assert (model_path("plate_model") / "plate_model.npz").stat().st_size < 300_000
    for plates in model.bones.values():
        assert np.allclose(np.linalg.norm(plates.normals, axis=1), 1.0, atol=2e-3)
        assert 0.2 < np.mean(plates.inside_mm > 0) < 0.8


def test_written_and_read_back(tmp_path: Path) -> None:
    plates = small()
    write_plate_model(PlateModel({Bone.TIBIA: plates}), tmp_path / "model.npz")
    back = read_plate_model(tmp_path / "model.npz")
    assert set(back.bones) == {Bone.TIBIA}
    assert np.allclose(back.bones[Bone.TIBIA].points_mm, plates.points_mm, atol=1e-5)
    assert np.allclose(back.bones[Bone.TIBIA].inside_mm, plates.inside_mm, atol=5e-3)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(StudyError, match="cannot be read"):
        read_plate_model(tmp_path / "model.npz")


def test_another_layout_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", format=np.array(99))
    with pytest.raises(StudyError, match="another layout"):
        read_plate_model(tmp_path / "model.npz")


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    plates = small()
    with pytest.raises(GeometryError, match="plate model"):
        BonePlates(plates.points_mm, plates.normals, plates.inside_mm[:3], plates.modes_mm)
    with pytest.raises(GeometryError, match="finite"):
        BonePlates(plates.points_mm * np.nan, plates.normals, plates.inside_mm, plates.modes_mm)
