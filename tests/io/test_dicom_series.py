"""Series assembly: one good series, and one mutation of it per reason code."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.errors import DicomError, InputError, ReasonCode
from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.rigid import rotation
from kneeimg.io.dicom import (
    Extent,
    FileStyle,
    Inventory,
    MrProtocol,
    Origin,
    SeriesRecord,
    compare_extent,
    find_series,
    matching_rule,
    read_volume,
    select_series,
    write_enhanced_mr,
    write_mr_series,
)
from kneeimg.io.dicom.transfer import refuse_transfer_syntax
from kneeimg.io.dicom.write_mr import scanner_layout
from kneeimg.settings.reading import ReadingSettings, SeriesRule

SPACING = (0.70, 0.5, 0.4)
SHAPE = (12, 18, 16)
TILT = rotation([1.0, 2.0, 3.0], 20.0)
#: Array layouts: columns of the linear part as (axis 0, axis 1, axis 2) directions in LPS.
LAYOUTS = {
    "sagittal": np.diag([1.0, 1.0, 1.0]),
    "sagittal flipped": np.diag([-1.0, 1.0, -1.0]),
    "axial": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "coronal": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "oblique": TILT,
    "oblique flipped": TILT @ np.diag([-1.0, 1.0, 1.0]),
}


def knee(layout: str = "sagittal", seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Volume:
    """Random integers on a grid whose slices (axis 0) lie 0.70 mm apart."""
    linear = LAYOUTS[layout] @ np.diag(SPACING)
    grid = Grid(shape, from_linear(linear, (-31.5, 12.25, 70.125)), "1.2.826.0.1.3680043.8.498.1")
    values = np.random.default_rng(seed).integers(0, 4000, shape)
    return Volume(values.astype(np.int16), grid, "a.u.")


@pytest.fixture(scope="module")
def good_series(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """One good sagittal series, written once."""
    return write_mr_series(knee(), tmp_path_factory.mktemp("good"), side=Side.RIGHT)


@pytest.fixture
def series(good_series: tuple[Path, ...], tmp_path: Path) -> tuple[Path, ...]:
    """Files of a copy of the good series, in order of position, to be damaged."""
    (tmp_path / "dicom").mkdir()
    return tuple(Path(shutil.copy(path, tmp_path / "dicom")) for path in good_series)


def edit(path: Path, change: Callable[[pydicom.Dataset], None]) -> None:
    """Rewrite one file after a change of its data set."""
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def only(inventory: Inventory) -> SeriesRecord:
    """The one record of a folder."""
    assert len(inventory.records) == 1, inventory.records
    return inventory.records[0]


def refusal_of(folder: Path, settings: ReadingSettings | None = None) -> tuple[ReasonCode, str]:
    """Code and full text of the refusal of the one record below a folder."""
    record = only(find_series(folder, settings))
    assert record.refusal is not None
    with pytest.raises(DicomError) as caught:
        read_volume(record)
    assert caught.value.finding == record.refusal
    return record.refusal.code, str(record.refusal)


def codes(record: SeriesRecord) -> set[ReasonCode]:
    return {finding.code for finding in record.findings}


# --- a good series -------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_comes_back_voxel_for_voxel(layout: str, tmp_path: Path) -> None:
    volume = knee(layout)
    write_mr_series(volume, tmp_path, side=Side.LEFT, style=FileStyle(shuffle=True), slice_axis=0)
    record = only(find_series(tmp_path))
    assert record.refusal is None
    assert record.spacing_mm == pytest.approx((0.5, 0.4, 0.7), abs=1e-9) or record.spacing_mm == (
        pytest.approx((0.4, 0.5, 0.7), abs=1e-9)
    )
    read, findings = read_volume(record)
    assert findings == ()
    assert np.linalg.det(read.grid.affine[:3, :3]) > 0
    # The same value at the same place in the patient, whatever the array order.
    index = np.array([(i, j, k) for i in range(12) for j in range(18) for k in range(16)])
    places = volume.grid.to_mm(index)
    back = read.grid.to_index(places)
    assert np.abs(back - np.rint(back)).max() < 1e-6
    i, j, k = np.rint(back).astype(int).T
    np.testing.assert_array_equal(read.data[i, j, k], volume.data[tuple(index.T)])


def test_record_says_what_it_is(series: tuple[Path, ...], tmp_path: Path) -> None:
    record = only(find_series(tmp_path))
    assert (record.kind, record.modality, record.orientation) == ("mri", "MR", "sagittal")
    assert record.shape == (18, 16, 12)
    assert (record.side, record.side_source) == (Side.RIGHT, "Laterality (0020,0060)")
    assert record.scanner.field_strength_t == 3.0
    assert record.study_date == "2025-01-01"
    assert record.patient_id == "PHANTOM"
    assert record.files == series
    assert record.folder == "dicom"


def test_frame_of_reference_is_the_one_of_the_file(
    series: tuple[Path, ...], tmp_path: Path
) -> None:
    volume, _ = read_volume(only(find_series(tmp_path)))
    assert volume.grid.frame_uid == knee().grid.frame_uid


def test_frame_of_reference_is_made_from_content_when_absent(
    series: tuple[Path, ...], tmp_path: Path
) -> None:
    for path in series:
        edit(path, lambda ds: ds.__delattr__("FrameOfReferenceUID"))
    first, _ = read_volume(only(find_series(tmp_path)))
    again, _ = read_volume(only(find_series(tmp_path)))
    assert first.grid.frame_uid == again.grid.frame_uid
    assert first.grid.frame_uid is not None
    assert first.grid.frame_uid.startswith("2.25.")
    edit(series[3], lambda ds: setattr(ds, "PixelData", bytes(len(ds.PixelData))))
    other, _ = read_volume(only(find_series(tmp_path)))
    assert other.grid.frame_uid != first.grid.frame_uid


def test_shuffled_instance_numbers_change_nothing(tmp_path: Path) -> None:
    write_mr_series(knee(), tmp_path / "a", side=None)
    write_mr_series(knee(), tmp_path / "b", side=None, style=FileStyle(shuffle=True))
    in_order, _ = read_volume(only(find_series(tmp_path / "a")))
    shuffled, _ = read_volume(only(find_series(tmp_path / "b")))
    np.testing.assert_array_equal(in_order.data, shuffled.data)
    np.testing.assert_array_equal(in_order.grid.affine, shuffled.grid.affine)


def test_names_and_folders_do_not_matter(series: tuple[Path, ...], tmp_path: Path) -> None:
    for n, path in enumerate(series):
        folder = tmp_path / "dicom" / f"Ordner {n % 3} – колено"
        folder.mkdir(exist_ok=True)
        path.rename(folder / f"画像{n}")
    (tmp_path / "participants.csv").write_text("participant,arm\nP01,A\n")
    (tmp_path / "mask.nii.gz").write_bytes(b"\x1f\x8b not looked into")
    inventory = find_series(tmp_path)
    assert only(inventory).shape[2] == 12
    assert inventory.findings == ()
    assert {str(p) for p in inventory.other_files} == {"participants.csv", "mask.nii.gz"}
    assert inventory.n_files == 14


def test_absent_person_is_normal(tmp_path: Path) -> None:
    write_mr_series(knee(), tmp_path, side=None, origin=Origin(patient_id=None))
    record = only(find_series(tmp_path))
    assert record.refusal is None
    assert (record.patient_id, record.person_hash) == (None, None)


def test_rescaled_values_are_floats(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(0, 5, SHAPE).astype(np.float32)
    write_mr_series(knee().with_data(values, unit="a.u."), tmp_path, side=None)
    read, _ = read_volume(only(find_series(tmp_path)))
    planes, _ = scanner_layout(knee().with_data(values, unit="a.u."))
    step = (values.max() - values.min()) / 65535
    assert read.data.dtype == np.float32
    np.testing.assert_allclose(read.data, planes.transpose(2, 1, 0), atol=0.51 * step)


def test_per_slice_rescale_is_applied_per_slice(series: tuple[Path, ...], tmp_path: Path) -> None:
    plain, _ = read_volume(only(find_series(tmp_path)))

    def rescale(dataset: pydicom.Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "2.5", "-7"

    edit(series[4], rescale)
    scaled, _ = read_volume(only(find_series(tmp_path)))
    np.testing.assert_allclose(scaled.data[..., 4], plain.data[..., 4] * 2.5 - 7, rtol=1e-6)
    np.testing.assert_array_equal(scaled.data[..., 5], plain.data[..., 5])


def test_unused_high_bits_are_masked(series: tuple[Path, ...], tmp_path: Path) -> None:
    plain, _ = read_volume(only(find_series(tmp_path)))
    for path in series:

        def overlay(dataset: pydicom.Dataset) -> None:
            values = np.frombuffer(dataset.PixelData, "<u2") | 0x8000
            dataset.PixelData = values.astype("<u2").tobytes()
            dataset.BitsStored, dataset.HighBit = 12, 11

        edit(path, overlay)
    masked, _ = read_volume(only(find_series(tmp_path)))
    np.testing.assert_array_equal(masked.data, plain.data)


def test_signed_twelve_bits_keep_their_sign(series: tuple[Path, ...], tmp_path: Path) -> None:
    for path in series:

        def signed(dataset: pydicom.Dataset) -> None:
            values = np.frombuffer(dataset.PixelData, "<u2") & 0x0FFF  # upper bits cut off
            dataset.PixelData = values.astype("<u2").tobytes()
            dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1

        edit(path, signed)
    read, _ = read_volume(only(find_series(tmp_path)))
    assert read.data.min() < 0
    oracle = pydicom.dcmread(series[0]).pixel_array.T
    np.testing.assert_array_equal(read.data[..., 0], oracle)


# --- gaps, duplicates, shear ---------------------------------------------------------------


@pytest.mark.parametrize("gone", [(5,), (5, 6), (2, 8), tuple(range(1, 11, 2))[:3]])
def test_missing_slices(series: tuple[Path, ...], tmp_path: Path, gone: tuple[int, ...]) -> None:
    for n in gone:
        series[n].unlink()
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.MISSING_SLICES
    assert "0.7000 mm, 12 in all" in text
    assert f"IM{gone[0]:05d}.dcm" in text  # the neighbour before the gap


def test_missing_slice_in_a_very_short_stack(series: tuple[Path, ...], tmp_path: Path) -> None:
    for path in (*series[3:4], *series[5:]):
        path.unlink()  # slices 0, 1, 2 and 4 are left
    assert refusal_of(tmp_path)[0] is ReasonCode.MISSING_SLICES


def test_end_slices_missing_is_an_extent_mismatch(series: tuple[Path, ...], tmp_path: Path) -> None:
    whole = only(find_series(tmp_path))
    assert compare_extent(whole, whole) is None
    assert compare_extent(whole, Extent(12, 0.7)) is None
    series[-1].unlink()
    shorter = only(find_series(tmp_path))
    assert shorter.refusal is None
    finding = compare_extent(shorter, whole)
    assert finding is not None
    assert finding.code is ReasonCode.EXTENT_MISMATCH
    assert "12 slices" in finding.expected
    assert "11 slices" in finding.found


def test_equal_duplicate_is_dropped_and_spacing_stays(
    series: tuple[Path, ...], tmp_path: Path
) -> None:
    plain, _ = read_volume(only(find_series(tmp_path)))
    shutil.copy(series[4], series[4].with_name("copy.dcm"))
    record = only(find_series(tmp_path))
    volume, findings = read_volume(record)
    assert [f.code for f in findings] == [ReasonCode.DUPLICATE_DROPPED]
    assert record.spacing_mm is not None
    assert record.spacing_mm[2] == pytest.approx(0.70, abs=1e-9)  # not 0.64
    np.testing.assert_array_equal(volume.data, plain.data)
    assert len(record.files) == 13


def test_whole_series_copied_twice(series: tuple[Path, ...], tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "dicom", tmp_path / "again")
    record = only(find_series(tmp_path))
    assert record.refusal is None
    assert codes(record) == {ReasonCode.DUPLICATE_DROPPED}
    assert "12 dropped" in record.findings[0].found


def test_conflicting_duplicate(series: tuple[Path, ...], tmp_path: Path) -> None:
    copy = series[4].with_name("other.dcm")
    shutil.copy(series[4], copy)
    edit(copy, lambda ds: setattr(ds, "PixelData", bytes(len(ds.PixelData))))
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.CONFLICTING_DUPLICATE
    assert "IM00005.dcm" in text
    assert "other.dcm" in text


def test_duplicate_with_another_rescale_conflicts(series: tuple[Path, ...], tmp_path: Path) -> None:
    copy = series[4].with_name("other.dcm")
    shutil.copy(series[4], copy)
    edit(copy, lambda ds: setattr(ds, "RescaleSlope", "2"))
    assert refusal_of(tmp_path)[0] is ReasonCode.CONFLICTING_DUPLICATE


def shift(path: Path, mm: tuple[float, float, float]) -> None:
    """Move one slice in the patient."""

    def change(dataset: pydicom.Dataset) -> None:
        moved = np.array(dataset.ImagePositionPatient, dtype=float) + mm
        dataset.ImagePositionPatient = [f"{v:.6f}" for v in moved]

    edit(path, change)


@pytest.mark.parametrize("mm", [0.02, -0.2, 0.35])
def test_nonuniform_spacing(series: tuple[Path, ...], tmp_path: Path, mm: float) -> None:
    shift(series[6], (mm, 0, 0))
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.NONUNIFORM_SPACING
    assert "0.7000 mm" in text


def test_a_deviation_within_one_percent_is_uniform(
    series: tuple[Path, ...], tmp_path: Path
) -> None:
    shift(series[6], (0.005, 0, 0))
    assert only(find_series(tmp_path)).refusal is None


def test_sheared_stack(series: tuple[Path, ...], tmp_path: Path) -> None:
    for n, path in enumerate(series):
        shift(path, (0, 0.05 * n, 0))
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.SHEARED_STACK
    assert "0.550 mm off" in text


def test_one_slice_shifted_sideways_is_sheared(series: tuple[Path, ...], tmp_path: Path) -> None:
    shift(series[5], (0, 0, 0.5))
    assert refusal_of(tmp_path)[0] is ReasonCode.SHEARED_STACK


def test_mixed_orientation(series: tuple[Path, ...], tmp_path: Path) -> None:
    turned = rotation([0, 0, 1], 3.0)

    def turn(dataset: pydicom.Dataset) -> None:
        cosines = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3) @ turned.T
        dataset.ImageOrientationPatient = [f"{v:.8f}" for v in cosines.ravel()]

    edit(series[5], turn)
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.MIXED_ORIENTATION
    assert "IM00006.dcm" in text


def test_mixed_frames(series: tuple[Path, ...], tmp_path: Path) -> None:
    for path in series[6:]:
        edit(path, lambda ds: setattr(ds, "FrameOfReferenceUID", "1.2.3"))
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.MIXED_FRAMES
    assert "2 of them" in text


def test_pixel_spacing_that_varies_is_refused(series: tuple[Path, ...], tmp_path: Path) -> None:
    edit(series[3], lambda ds: setattr(ds, "PixelSpacing", ["0.4", "0.6"]))
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.NONUNIFORM_SPACING
    assert "pixel spacing" in text


@pytest.mark.parametrize("tag_mm", ["0.77", "1.4", "0.6"])
def test_spacing_tag_disagrees(series: tuple[Path, ...], tmp_path: Path, tag_mm: str) -> None:
    for path in series:
        edit(path, lambda ds: setattr(ds, "SpacingBetweenSlices", tag_mm))
    record = only(find_series(tmp_path))
    assert codes(record) == {ReasonCode.SPACING_TAG_DISAGREES}
    assert record.spacing_mm is not None
    assert record.spacing_mm[2] == pytest.approx(0.7, abs=1e-9)


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_no_geometry(series: tuple[Path, ...], tmp_path: Path, tag: str) -> None:
    edit(series[2], lambda ds: ds.__delattr__(tag))
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.NO_GEOMETRY
    assert tag in text
    assert "IM00003.dcm" in text


@pytest.mark.parametrize(
    "tag, value",
    [
        ("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"]),
        ("ImageOrientationPatient", ["0", "0", "0", "0", "0", "0"]),
        ("PixelSpacing", ["0", "0"]),
    ],
)
def test_impossible_geometry(
    series: tuple[Path, ...], tmp_path: Path, tag: str, value: list[str]
) -> None:
    for path in series:
        edit(path, lambda ds: setattr(ds, tag, value))
    assert refusal_of(tmp_path)[0] is ReasonCode.NO_GEOMETRY


def test_too_few_slices(series: tuple[Path, ...], tmp_path: Path) -> None:
    for path in series[2:]:
        path.unlink()
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.TOO_FEW_SLICES
    assert "found: 2" in text


# --- what does not belong into a stack ------------------------------------------------------


def test_localizer_by_image_type(tmp_path: Path) -> None:
    protocol = MrProtocol(image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    write_mr_series(knee(), tmp_path, side=None, protocol=protocol)
    record = only(find_series(tmp_path))
    assert record.skipped
    assert refusal_of(tmp_path)[0] is ReasonCode.LOCALIZER


def test_three_crossing_planes_are_a_localizer(tmp_path: Path) -> None:
    for n, layout in enumerate(("sagittal", "axial", "coronal")):
        write_mr_series(knee(layout, shape=(3, 18, 18)), tmp_path / str(n), side=None, slice_axis=0)
    assert refusal_of(tmp_path)[0] is ReasonCode.LOCALIZER


def test_two_whole_orientations_of_one_series_are_split(tmp_path: Path) -> None:
    write_mr_series(knee("sagittal"), tmp_path / "s", side=None, slice_axis=0)
    write_mr_series(knee("axial"), tmp_path / "a", side=None, slice_axis=0)
    records = find_series(tmp_path).records
    assert sorted(r.orientation for r in records) == ["axial", "sagittal"]
    assert all(r.refusal is None for r in records)


@pytest.mark.parametrize(
    "change, found",
    [
        ({"Modality": "CT"}, "CT"),
        ({"SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "colour"),
    ],
)
def test_unsupported_image(
    series: tuple[Path, ...], tmp_path: Path, change: dict[str, object], found: str
) -> None:
    for path in series:

        def apply(dataset: pydicom.Dataset) -> None:
            for name, value in change.items():
                setattr(dataset, name, value)
            dataset.PixelData = dataset.PixelData * 3

        edit(path, apply)
    record = only(find_series(tmp_path))
    assert record.kind == "other"
    assert record.skipped
    assert record.refusal is not None
    assert record.refusal.code is ReasonCode.UNSUPPORTED_IMAGE
    assert found in record.refusal.found


# --- files ---------------------------------------------------------------------------------


def test_not_dicom_and_the_rest_goes_on(series: tuple[Path, ...], tmp_path: Path) -> None:
    (tmp_path / "dicom" / "Thumbs.db").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "dicom" / "empty").write_bytes(b"")
    inventory = find_series(tmp_path)
    assert [f.code for f in inventory.findings] == [ReasonCode.NOT_DICOM] * 2
    assert {f.where for f in inventory.findings} == {"dicom/Thumbs.db", "dicom/empty"}
    assert only(inventory).refusal is None


def test_bad_dicom(series: tuple[Path, ...], tmp_path: Path) -> None:
    edit(series[0], lambda ds: setattr(ds, "Rows", 0))
    inventory = find_series(tmp_path)
    assert [f.code for f in inventory.findings] == [ReasonCode.BAD_DICOM]
    assert only(inventory).shape[2] == 11


@pytest.mark.parametrize("keep", [0.999, 0.7])
def test_truncated_pixel_data(series: tuple[Path, ...], tmp_path: Path, keep: float) -> None:
    raw = series[3].read_bytes()
    series[3].write_bytes(raw[: int(len(raw) * keep)])
    inventory = find_series(tmp_path)
    (finding,) = inventory.findings
    assert finding.code is ReasonCode.TRUNCATED_PIXEL_DATA
    assert finding.where == "dicom/IM00004.dcm"
    assert "576 bytes" in finding.expected
    assert only(inventory).refusal is not None  # and so a slice is missing
    assert only(inventory).refusal.code is ReasonCode.MISSING_SLICES  # type: ignore[union-attr]


def test_file_cut_inside_its_header(series: tuple[Path, ...], tmp_path: Path) -> None:
    series[3].write_bytes(series[3].read_bytes()[:600])
    (finding,) = find_series(tmp_path).findings
    assert finding.code in (ReasonCode.TRUNCATED_PIXEL_DATA, ReasonCode.BAD_DICOM)


def test_file_that_shrinks_between_header_and_pixels(
    series: tuple[Path, ...], tmp_path: Path
) -> None:
    record = only(find_series(tmp_path))
    series[3].write_bytes(series[3].read_bytes()[:-100])
    with pytest.raises(DicomError) as caught:
        read_volume(record)
    assert caught.value.code is ReasonCode.TRUNCATED_PIXEL_DATA


def test_too_large_file_is_refused_from_its_header(
    series: tuple[Path, ...], tmp_path: Path
) -> None:
    def huge(dataset: pydicom.Dataset) -> None:
        dataset.Rows = dataset.Columns = 65535
        dataset.NumberOfFrames = 100000

    edit(series[0], huge)
    (finding,) = find_series(tmp_path).findings
    assert finding.code is ReasonCode.TOO_LARGE
    assert "65535 x 65535 x 100000" in finding.found


def test_too_large_series(series: tuple[Path, ...], tmp_path: Path) -> None:
    code, text = refusal_of(tmp_path, ReadingSettings(max_series_bytes=5000))
    assert code is ReasonCode.TOO_LARGE
    assert "6912 bytes" in text


def test_deflated_bomb_is_stopped_while_inflating(tmp_path: Path) -> None:
    path = write_mr_series(knee(), tmp_path, side=None, style=FileStyle(encoding="deflated"))[0]
    (finding,) = find_series(path, ReadingSettings(max_image_bytes=1000)).findings
    assert finding.code is ReasonCode.TOO_LARGE


def test_not_an_image(series: tuple[Path, ...], tmp_path: Path) -> None:
    def report(dataset: pydicom.Dataset) -> None:
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
        for name in ("Rows", "Columns", "PixelData", "BitsAllocated"):
            delattr(dataset, name)

    edit(series[0], report)
    (finding,) = find_series(tmp_path).findings
    assert finding.code is ReasonCode.NOT_AN_IMAGE
    assert "Basic Text SR" in finding.found


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        find_series(tmp_path / "nowhere")


# --- encodings -----------------------------------------------------------------------------

BIG = (4, 64, 48)  # JPEG 2000 needs some pixels


@pytest.mark.parametrize(
    "encoding, preamble",
    [
        ("explicit", True), ("explicit", False), ("implicit", True), ("implicit", False),
        ("big-endian", True), ("big-endian", False), ("deflated", True), ("jpeg2000", True),
        ("jpeg-ls", True), ("rle", True),
    ],
)  # fmt: skip
def test_encodings(encoding: str, preamble: bool, tmp_path: Path) -> None:
    volume = knee(shape=BIG)
    style = FileStyle(encoding=encoding, preamble=preamble, suffix="")
    write_mr_series(volume, tmp_path, side=None, style=style, slice_axis=0)
    record = only(find_series(tmp_path))
    assert record.refusal is None, record.refusal
    assert not record.lossy
    read, _ = read_volume(record)
    planes, _ = scanner_layout(volume, 0)
    np.testing.assert_array_equal(read.data, planes.transpose(2, 1, 0))


@pytest.mark.parametrize("encoding", ["jpeg2000", "jpeg-ls", "rle"])
def test_truncated_compressed_pixels(encoding: str, tmp_path: Path) -> None:
    volume = knee(shape=BIG)
    paths = write_mr_series(
        volume, tmp_path, side=None, style=FileStyle(encoding=encoding), slice_axis=0
    )
    paths[1].write_bytes(paths[1].read_bytes()[:-200])
    (finding,) = find_series(tmp_path).findings
    assert finding.code is ReasonCode.TRUNCATED_PIXEL_DATA


def test_unsupported_transfer_syntax(series: tuple[Path, ...], tmp_path: Path) -> None:
    for path in series:
        raw = path.read_bytes().replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.9\x00")
        path.write_bytes(raw)
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.UNSUPPORTED_TRANSFER_SYNTAX
    assert "1.2.840.10008.1.2.9" in text
    assert "JPEG 2000" in text


def test_declared_but_missing_decoder_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mr_series(
        knee(shape=BIG), tmp_path, side=None, style=FileStyle(encoding="rle"), slice_axis=0
    )
    monkeypatch.setattr("kneeimg.io.dicom.transfer.has_decoder", lambda uid: False)
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.UNSUPPORTED_TRANSFER_SYNTAX
    assert "RLE Lossless" in text
    lossless_jpeg = refuse_transfer_syntax("1.2.840.10008.1.2.4.70", 16, "file.dcm")
    assert lossless_jpeg is not None
    assert "pip install python-gdcm" in lossless_jpeg.action


def test_lossy_compressed_is_flagged(series: tuple[Path, ...], tmp_path: Path) -> None:
    for path in series:
        edit(path, lambda ds: setattr(ds, "LossyImageCompression", "01"))
    record = only(find_series(tmp_path))
    assert record.lossy
    assert codes(record) == {ReasonCode.LOSSY_COMPRESSED}


# --- splitting -----------------------------------------------------------------------------


def write_echoes(folder: Path, count: int, *, equal_times: bool = False) -> None:
    """Several echoes in one series and one folder, as scanners export them."""
    for echo in range(1, count + 1):
        time = 10.0 if equal_times else 6.3 * echo
        write_mr_series(
            knee(seed=echo),
            folder,
            side=None,
            protocol=MrProtocol(echo_time_ms=time, echo_number=echo),
            first_number=1 + 12 * (echo - 1),
        )


@pytest.mark.parametrize("equal_times", [False, True])
def test_echoes_of_one_series_are_split(tmp_path: Path, equal_times: bool) -> None:
    write_echoes(tmp_path, 3, equal_times=equal_times)
    records = find_series(tmp_path).records
    assert [r.echo_number for r in records] == [1, 2, 3]
    assert all(r.refusal is None and r.shape[2] == 12 for r in records)
    assert len({r.uid_hash for r in records}) == 3
    for seed, record in enumerate(records, 1):
        read, _ = read_volume(record)
        planes, _ = scanner_layout(knee(seed=seed))
        np.testing.assert_array_equal(read.data, planes.transpose(2, 1, 0))


def test_magnitude_and_phase_are_split(tmp_path: Path) -> None:
    for n, word in enumerate(("M", "P")):
        protocol = MrProtocol(image_type=("ORIGINAL", "PRIMARY", word, "ND"))
        write_mr_series(
            knee(seed=n), tmp_path, side=None, protocol=protocol, first_number=1 + 100 * n
        )
    records = find_series(tmp_path).records
    assert {r.image_type[2] for r in records} == {"M", "P"}
    assert all(r.refusal is None for r in records)


def test_matrix_sizes_are_split(tmp_path: Path) -> None:
    write_mr_series(knee(), tmp_path, side=None)
    write_mr_series(knee(shape=(12, 20, 22)), tmp_path, side=None, first_number=100)
    assert sorted(r.shape for r in find_series(tmp_path).records) == [(18, 16, 12), (20, 22, 12)]


def test_two_series_with_different_uids(tmp_path: Path) -> None:
    write_mr_series(knee(), tmp_path / "a", side=None, origin=Origin(description="SAG DESS"))
    write_mr_series(knee(), tmp_path / "b", side=None, origin=Origin(description="COR IW"))
    records = find_series(tmp_path).records
    assert [r.description for r in records] == ["SAG DESS", "COR IW"]


# --- choosing ------------------------------------------------------------------------------


def test_ambiguous_series_gives_selectors_that_work(tmp_path: Path) -> None:
    import tomllib

    write_echoes(tmp_path, 2)
    records = find_series(tmp_path).records
    with pytest.raises(DicomError) as caught:
        select_series(records, [])
    assert caught.value.code is ReasonCode.AMBIGUOUS_SERIES
    for record in records:
        assert record.selector in str(caught.value)
        rule = SeriesRule.model_validate(tomllib.loads(record.selector)["series"][0])
        assert select_series(records, [rule]) is record
        assert matching_rule(record, [rule]) == 0


def test_selector_of_twins_falls_back_to_the_hash(tmp_path: Path) -> None:
    for number in (1, 2):
        origin = Origin(description="odd 'name' \\d [x]", series_number=number)
        write_mr_series(knee(seed=number), tmp_path / str(number), side=None, origin=origin)
    records = find_series(tmp_path).records
    import tomllib

    for record in records:
        rule = SeriesRule.model_validate(tomllib.loads(record.selector)["series"][0])
        assert rule.uid_hash == record.uid_hash
        assert select_series(records, [rule]) is record


def test_no_rule_matches(series: tuple[Path, ...], tmp_path: Path) -> None:
    records = find_series(tmp_path).records
    with pytest.raises(DicomError) as caught:
        select_series(records, [SeriesRule(description="CORONAL")])
    assert caught.value.code is ReasonCode.NO_RULE_MATCHES
    assert "PHANTOM" in caught.value.finding.found


def test_first_rule_that_fits_decides(tmp_path: Path) -> None:
    write_echoes(tmp_path, 2)
    records = find_series(tmp_path).records
    rules = [SeriesRule(orientation="coronal"), SeriesRule(echo_time_ms=(10, 20))]
    assert select_series(records, rules).echo_number == 2


def test_a_refused_series_is_chosen_so_that_its_refusal_shows(
    series: tuple[Path, ...], tmp_path: Path
) -> None:
    series[5].unlink()
    chosen = select_series(find_series(tmp_path).records, [])
    assert chosen.refusal is not None
    assert chosen.refusal.code is ReasonCode.MISSING_SLICES


# --- enhanced multi-frame ------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_enhanced_echoes(layout: str, reverse: bool, tmp_path: Path) -> None:
    echoes = [(5.0, knee(layout, seed=1)), (40.0, knee(layout, seed=2))]
    write_enhanced_mr(
        echoes, tmp_path / "all.dcm", side=Side.LEFT, reverse_frames=reverse, slice_axis=0
    )
    records = find_series(tmp_path).records
    assert [(r.echo_number, r.echo_time_ms) for r in records] == [(1, 5.0), (2, 40.0)]
    for (_, volume), record in zip(echoes, records, strict=True):
        assert (record.side, record.side_source) == (Side.LEFT, "Frame Laterality (0020,9072)")
        read, _ = read_volume(record)
        planes, grid = scanner_layout(volume, 0)
        np.testing.assert_array_equal(read.data, planes.transpose(2, 1, 0))
        np.testing.assert_allclose(read.grid.affine, grid.affine, atol=1e-9)


@pytest.mark.parametrize("encoding", ["big-endian", "rle"])
def test_enhanced_encodings(encoding: str, tmp_path: Path) -> None:
    volume = knee(shape=BIG)
    write_enhanced_mr([(5.0, volume)], tmp_path / "e", side=None, encoding=encoding, slice_axis=0)
    read, _ = read_volume(only(find_series(tmp_path)))
    planes, _ = scanner_layout(volume, 0)
    np.testing.assert_array_equal(read.data, planes.transpose(2, 1, 0))


@pytest.mark.parametrize(
    "group, sequence",
    [
        ("PerFrameFunctionalGroupsSequence", "PlanePositionSequence"),
        ("SharedFunctionalGroupsSequence", "PlaneOrientationSequence"),
        ("SharedFunctionalGroupsSequence", "PixelMeasuresSequence"),
    ],
)
def test_enhanced_without_geometry(group: str, sequence: str, tmp_path: Path) -> None:
    path = write_enhanced_mr([(5.0, knee())], tmp_path / "e.dcm", side=None)

    def strip(dataset: pydicom.Dataset) -> None:
        for item in dataset[group].value:
            delattr(item, sequence)

    edit(path, strip)
    assert refusal_of(tmp_path)[0] is ReasonCode.NO_GEOMETRY


def test_enhanced_with_a_missing_frame(tmp_path: Path) -> None:
    path = write_enhanced_mr([(5.0, knee())], tmp_path / "e.dcm", side=None)

    def drop(dataset: pydicom.Dataset) -> None:
        size = len(dataset.PixelData) // 12
        del dataset.PerFrameFunctionalGroupsSequence[5]
        dataset.PixelData = dataset.PixelData[: 5 * size] + dataset.PixelData[6 * size :]
        dataset.NumberOfFrames = 11

    edit(path, drop)
    code, text = refusal_of(tmp_path)
    assert code is ReasonCode.MISSING_SLICES
    assert "e.dcm#5 and e.dcm#6" in text


# --- side ----------------------------------------------------------------------------------


def test_side_missing(tmp_path: Path) -> None:
    write_mr_series(knee(), tmp_path, side=None)
    record = only(find_series(tmp_path))
    assert record.refusal is None
    assert record.side is None
    assert codes(record) == {ReasonCode.NO_LATERALITY}


def test_side_tags_that_disagree(series: tuple[Path, ...], tmp_path: Path) -> None:
    edit(series[4], lambda ds: setattr(ds, "ImageLaterality", "L"))
    record = only(find_series(tmp_path))
    assert record.side is None
    assert codes(record) == {ReasonCode.LATERALITY_CONFLICT}


@pytest.mark.parametrize("value", ["B", "L"])
def test_side_from_image_laterality(tmp_path: Path, value: str) -> None:
    for path in write_mr_series(knee(), tmp_path, side=None):
        edit(path, lambda ds: setattr(ds, "ImageLaterality", value))
    record = only(find_series(tmp_path))
    assert record.bilateral is (value == "B")
    assert record.side is (Side.LEFT if value == "L" else None)


# --- privacy -------------------------------------------------------------------------------


def test_no_identity_leaves_the_record(series: tuple[Path, ...], tmp_path: Path) -> None:
    import json

    for path in series:

        def identify(dataset: pydicom.Dataset) -> None:
            dataset.PatientName = "Doe^Jane<script>"
            dataset.PatientBirthDate = "19500203"
            dataset.PatientID = "MRN-12345"
            dataset.SeriesDescription = "SAG\x1b[31m\nDESS"

        edit(path, identify)
    series[4].unlink()
    inventory = find_series(tmp_path)
    shown = json.dumps(inventory.to_json()) + repr(inventory) + repr(inventory.records)
    for secret in ("Doe", "Jane", "<script>", "19500203", "MRN-12345"):
        assert secret not in shown
    assert generate_uid(entropy_srcs=["x"]) not in shown
    record = only(inventory)
    assert record.patient_id == "MRN-12345"
    assert record.description == "SAG [31m DESS"


# --- further dimensions of a multi-frame file -----------------------------------------------


def test_time_points_of_a_multi_frame_file_are_split(tmp_path: Path) -> None:
    """Equal echo times: only the dimension index tells the two stacks apart."""
    pair = [(5.0, knee(seed=1)), (5.0, knee(seed=2))]
    write_enhanced_mr(pair, tmp_path / "e.dcm", side=None)
    records = find_series(tmp_path).records
    assert [r.refusal for r in records] == [None, None]
    sums = {int(read_volume(record)[0].data.sum()) for record in records}
    assert sums == {int(volume.data.sum()) for _, volume in pair}


def test_multi_frame_without_dimensions_cannot_hold_two_stacks(tmp_path: Path) -> None:
    pair = [(5.0, knee(seed=1)), (5.0, knee(seed=2))]
    path = write_enhanced_mr(pair, tmp_path / "e.dcm", side=None)
    edit(path, lambda ds: ds.__delattr__("DimensionIndexSequence"))
    assert refusal_of(tmp_path)[0] is ReasonCode.CONFLICTING_DUPLICATE


def test_half_of_the_slices_missing_everywhere(series: tuple[Path, ...], tmp_path: Path) -> None:
    """A uniform gap cannot be told from a coarser scan, but the tag gives it away."""
    for path in series[1::2]:
        path.unlink()
    record = only(find_series(tmp_path))
    assert record.refusal is None
    assert codes(record) == {ReasonCode.SPACING_TAG_DISAGREES}
    assert record.spacing_mm is not None
    assert record.spacing_mm[2] == pytest.approx(1.4)
