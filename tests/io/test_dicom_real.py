"""Real scans: echoes in one folder, big endian, and 48 manual label maps."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.errors import ReasonCode
from kneeimg.io.dicom import SeriesRecord, find_series, read_volume
from kneeimg.io.label_maps import read_label_map

pytestmark = pytest.mark.real


def oracle_agrees(record: SeriesRecord) -> None:
    """highdicom puts the same values at the same places."""
    other = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in record.files])
    ours, _ = read_volume(record)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in other.array.shape])).reshape(3, -1).T
    places = corners @ other.affine[:3, :3].T + other.affine[:3, 3]
    index = ours.grid.to_index(places)
    gap_mm = np.linalg.norm((index - np.rint(index)) * ours.grid.spacing_mm, axis=1)
    assert gap_mm.max() < 0.01
    assert sorted(other.array.shape) == sorted(ours.data.shape)
    i, j, k = np.rint(index).astype(int).T
    np.testing.assert_array_equal(ours.data[i, j, k], other.array[tuple(corners.T)])
    assert int(other.array.sum(dtype=np.int64)) == int(ours.data.sum(dtype=np.int64))


def test_qdess_is_two_echoes_of_eighty_slices(real_data: Path) -> None:
    inventory = find_series(real_data / "mri" / "dicom" / "qdess")
    assert inventory.findings == ()
    assert [(r.echo_number, r.echo_time_ms) for r in inventory.records] == [(1, 7.48), (2, 42.52)]
    for record in inventory.records:
        assert record.refusal is None
        assert record.shape == (512, 512, 80)
        assert record.spacing_mm == pytest.approx((0.3125, 0.3125, 1.5), abs=1e-4)
        assert record.orientation == "sagittal"
        assert record.person_hash is None
        assert [f.code for f in record.findings] == [ReasonCode.NO_LATERALITY]
    oracle_agrees(inventory.records[0])


def test_mese_is_eight_echoes_of_24_slices(real_data: Path) -> None:
    inventory = find_series(real_data / "mri" / "dicom" / "mese")
    assert [r.echo_number for r in inventory.records] == list(range(1, 9))
    times = [r.echo_time_ms for r in inventory.records]
    assert times == pytest.approx([6.312 * n for n in range(1, 9)])
    assert all(r.refusal is None and r.shape == (256, 256, 24) for r in inventory.records)
    assert {r.transfer_syntax for r in inventory.records} == {"1.2.840.10008.1.2.2"}
    assert inventory.records[0].spacing_mm == pytest.approx((0.625, 0.625, 4.0), abs=1e-4)
    for record in (inventory.records[0], inventory.records[-1]):
        oracle_agrees(record)


def test_both_folders_at_once(real_data: Path) -> None:
    inventory = find_series(real_data / "mri" / "dicom")
    assert len(inventory.records) == 10
    assert inventory.n_files == 352


def test_separate_labels_show_a_right_knee(real_data: Path) -> None:
    path = real_data / "mri" / "labels" / "mskt_right_knee_with_menisci.nrrd"
    label_map = read_label_map(path, "pymskt")
    assert label_map.side_from_labels is Side.RIGHT
    assert label_map.tissues() == frozenset(Tissue) - {Tissue.BACKGROUND}
    label_map.require_measurable()


@pytest.mark.slow
def test_manual_label_maps_read(real_data: Path) -> None:
    paths = sorted((real_data / "mri" / "labels").glob("*.nii.gz"))
    assert len(paths) == 48
    for path in paths[::8]:
        label_map = read_label_map(path, "oai-akoa")
        label_map.require_measurable()
        assert label_map.grid.spacing_mm == pytest.approx((0.7, 0.365, 0.365), abs=1e-3)
        assert len(label_map.tissues()) == 6
