"""Other readers as oracles: on a good series highdicom, SimpleITK and pydicom agree with us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.rigid import rotation
from kneeimg.io.dicom import (
    FileStyle,
    find_series,
    read_volume,
    write_enhanced_mr,
    write_mr_series,
)

TURNS = {
    "sagittal": np.eye(3),
    "axial": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "coronal": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "oblique": rotation([1, 2, 3], 20),
    "oblique flipped": rotation([2, -1, 1], 35) @ np.diag([-1.0, 1, 1]),
}


def volume(turn: str) -> Volume:
    linear = TURNS[turn] @ np.diag([0.7, 0.4, 0.5])
    grid = Grid((9, 20, 24), from_linear(linear, (-40.5, 12.125, 333.25)), "1.2.3.4.5")
    values = np.random.default_rng(7).integers(0, 3000, grid.shape)
    return Volume(values.astype(np.uint16), grid, "a.u.")


def same_everywhere(data: Any, affine: Any, ours: Volume, atol_mm: float = 1e-4) -> None:
    """Every voxel of another reader's array has our value at its place in the patient."""
    index = np.stack(np.indices(data.shape), axis=-1).reshape(-1, 3)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    own = ours.grid.to_index(places)
    nearest = np.rint(own).astype(int)
    gap_mm = np.linalg.norm((own - nearest) * ours.grid.spacing_mm, axis=1).max()
    assert gap_mm < atol_mm
    np.testing.assert_array_equal(ours.data[tuple(nearest.T)], data.reshape(-1))


@pytest.mark.parametrize("turn", TURNS)
def test_highdicom_agrees(turn: str, tmp_path: Path) -> None:
    paths = write_mr_series(
        volume(turn), tmp_path, side=None, style=FileStyle(shuffle=True), slice_axis=0
    )
    other = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in paths])
    ours, _ = read_volume(find_series(tmp_path).records[0])
    same_everywhere(other.array, other.affine, ours)


@pytest.mark.parametrize("turn", TURNS)
def test_highdicom_reads_our_multi_frame_file(turn: str, tmp_path: Path) -> None:
    path = write_enhanced_mr([(5.0, volume(turn))], tmp_path / "e.dcm", side=None, slice_axis=0)
    other = highdicom.imread(path).get_volume()
    ours, _ = read_volume(find_series(tmp_path).records[0])
    same_everywhere(other.array, other.affine, ours)


@pytest.mark.parametrize("turn", TURNS)
def test_simpleitk_agrees(turn: str, tmp_path: Path) -> None:
    write_mr_series(volume(turn), tmp_path, side=None, slice_axis=0)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    linear = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    data = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    ours, _ = read_volume(find_series(tmp_path).records[0])
    same_everywhere(data, from_linear(linear, image.GetOrigin()), ours)


def test_written_files_are_valid_dicom(tmp_path: Path) -> None:
    # Reading with strict validation raises on a value that breaks its VR.
    write_mr_series(volume("oblique"), tmp_path / "s", side=None, slice_axis=0)
    write_enhanced_mr([(5.0, volume("oblique"))], tmp_path / "e.dcm", side=None)
    old = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    try:
        for path in (*(tmp_path / "s").iterdir(), tmp_path / "e.dcm"):
            for element in pydicom.dcmread(path).iterall():
                assert element.VR
    finally:
        pydicom.config.settings.reading_validation_mode = old
