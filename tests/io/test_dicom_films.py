"""Films: grey values, pixel-size table, side, and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.sequence import Sequence

from kneeimg.core.anatomy import Side
from kneeimg.core.radiograph import SpacingSource
from kneeimg.errors import DicomError, InputError, ReasonCode
from kneeimg.io.dicom import FilmTags, Origin, find_series, read_radiograph, write_radiograph
from kneeimg.io.pictures import read_film_picture

STEP = 1 / 4095


def film(rows: int = 60, columns: int = 44) -> np.ndarray[Any, Any]:
    """A ramp with a bright bone-like block, grey values 0..1."""
    image = np.linspace(0.1, 0.6, rows * columns).reshape(rows, columns)
    image[10:20, 5:30] = 0.95
    image[0, 0], image[-1, -1] = 0.0, 1.0
    return image


def edit(path: Path, change: Callable[[Dataset], None]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


@pytest.mark.parametrize("modality", ["CR", "DX"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("encoding", ["explicit", "big-endian", "jpeg-ls"])
def test_dense_is_bright_whatever_the_file_says(
    modality: Any, photometric: Any, encoding: str, tmp_path: Path
) -> None:
    tags = FilmTags(modality=modality, photometric=photometric, laterality="L")
    path = write_radiograph(film(), tmp_path / "film", film=tags, encoding=encoding)
    record = find_series(path).records[0]
    assert (record.kind, record.modality, record.view) == ("film", modality, "PA")
    read = read_radiograph(record)
    assert read.image.dtype == np.float32
    np.testing.assert_allclose(read.image, film(), atol=0.51 * STEP)
    assert (read.side, read.view, read.patient_left_on_image_right) == (Side.LEFT, "PA", True)
    assert read.findings == ()


SAME, OTHER = (0.15, 0.15), (0.12, 0.12)


@pytest.mark.parametrize(
    "tags, given, spacing, source",
    [
        ((SAME, None, None, ""), None, SAME, SpacingSource.UNKNOWN_CALIBRATION),
        ((SAME, None, 1.2, "GEOMETRY"), None, SAME, SpacingSource.UNKNOWN_CALIBRATION),
        ((None, SAME, None, ""), None, SAME, SpacingSource.DETECTOR_PLANE),
        ((None, SAME, 1.2, ""), None, (0.125, 0.125), SpacingSource.ERMF),
        ((SAME, SAME, None, ""), None, SAME, SpacingSource.DETECTOR_PLANE),
        ((SAME, SAME, 1.2, ""), None, SAME, SpacingSource.DETECTOR_PLANE),
        ((OTHER, SAME, None, "GEOMETRY"), None, OTHER, SpacingSource.CALIBRATED),
        ((OTHER, SAME, None, "FIDUCIAL"), None, OTHER, SpacingSource.CALIBRATED),
        ((OTHER, SAME, None, ""), None, OTHER, SpacingSource.UNKNOWN_CALIBRATION),
        ((OTHER, SAME, None, "FIDUCIAL"), 0.2, (0.2, 0.2), SpacingSource.USER),
        ((None, None, None, ""), 0.2, (0.2, 0.2), SpacingSource.USER),
        (((0.1, 0.2), None, None, ""), None, (0.1, 0.2), SpacingSource.UNKNOWN_CALIBRATION),
        (((0.0, 0.0), SAME, None, ""), None, SAME, SpacingSource.DETECTOR_PLANE),
    ],
)
def test_pixel_size_table(
    tags: Any, given: float | None, spacing: Any, source: SpacingSource, tmp_path: Path
) -> None:
    pixel, imager, magnification, calibration = tags
    header = FilmTags(
        pixel_spacing_mm=pixel,
        imager_pixel_spacing_mm=imager,
        magnification=magnification,
        calibration_type=calibration,
    )
    path = write_radiograph(film(), tmp_path / "film.dcm", film=header)
    read = read_radiograph(path, pixel_spacing_mm=given)
    assert read.spacing_mm == pytest.approx(spacing)
    assert read.spacing_source is source


@pytest.mark.parametrize(
    "pixel, code",
    [(None, ReasonCode.NO_PIXEL_SPACING), ((0.0, 0.0), ReasonCode.ZERO_PIXEL_SPACING)],
)
def test_no_pixel_size_means_no_millimetres(pixel: Any, code: ReasonCode, tmp_path: Path) -> None:
    header = FilmTags(pixel_spacing_mm=pixel, imager_pixel_spacing_mm=None)
    path = write_radiograph(film(), tmp_path / "film.dcm", film=header)
    read = read_radiograph(path)
    assert read.spacing_mm is None
    assert read.spacing_source is SpacingSource.NONE
    assert [f.code for f in read.findings] == [code]
    record = find_series(path).records[0]
    assert record.refusal is None
    assert [f.code for f in record.findings] == [code]


def test_window_functions(tmp_path: Path) -> None:
    path = write_radiograph(film(), tmp_path / "film.dcm")
    stored = pydicom.dcmread(path).pixel_array.astype(float)

    def window(function: str) -> np.ndarray[Any, Any]:
        def change(dataset: Dataset) -> None:
            dataset.WindowCenter, dataset.WindowWidth = "2000", "1000"
            dataset.VOILUTFunction = function

        edit(path, change)
        return read_radiograph(path).image

    linear = np.clip((stored - 1999.5) / 999 + 0.5, 0, 1)
    np.testing.assert_allclose(window("LINEAR"), linear, atol=1e-6)
    exact = np.clip((stored - 2000) / 1000 + 0.5, 0, 1)
    np.testing.assert_allclose(window("LINEAR_EXACT"), exact, atol=1e-6)
    sigmoid = 1 / (1 + np.exp(-4 * (stored - 2000) / 1000))
    np.testing.assert_allclose(window("SIGMOID"), sigmoid, atol=1e-5)


def test_voi_table_wins_over_the_window(tmp_path: Path) -> None:
    path = write_radiograph(film(), tmp_path / "film.dcm")
    stored = pydicom.dcmread(path).pixel_array

    def change(dataset: Dataset) -> None:
        table = Dataset()
        table.LUTDescriptor = [4096, 0, 16]
        table["LUTDescriptor"].VR = "US"
        table.LUTData = (np.arange(4096, dtype="<u2") * 16 + 15).tobytes()
        table["LUTData"].VR = "OW"
        dataset.VOILUTSequence = Sequence([table])

    edit(path, change)
    expected = (stored.astype(float) * 16 + 15) / 65535
    np.testing.assert_allclose(read_radiograph(path).image, expected, atol=1e-6)


def test_without_any_window_the_range_of_the_image_counts(tmp_path: Path) -> None:
    path = write_radiograph(film(), tmp_path / "film.dcm")

    def change(dataset: Dataset) -> None:
        del dataset.WindowCenter, dataset.WindowWidth
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-100"

    edit(path, change)
    np.testing.assert_allclose(read_radiograph(path).image, film(), atol=0.51 * STEP)


def test_upside_down_film_is_turned(tmp_path: Path) -> None:
    header = FilmTags(patient_orientation=("R", "H"))
    path = write_radiograph(film(), tmp_path / "film.dcm", film=header)
    read = read_radiograph(path)
    np.testing.assert_allclose(read.image, film()[::-1], atol=0.51 * STEP)
    assert read.patient_left_on_image_right is False


def test_bilateral_film(tmp_path: Path) -> None:
    for n, modality in enumerate(("CR", "DX")):
        tags = FilmTags(modality=modality, laterality="B")  # type: ignore[arg-type]
        read = read_radiograph(write_radiograph(film(), tmp_path / str(n), film=tags))
        assert (read.bilateral, read.side, read.findings) == (True, None, ())


def test_side_given_must_not_contradict_the_tag(tmp_path: Path) -> None:
    path = write_radiograph(film(), tmp_path / "film.dcm", film=FilmTags(laterality="L"))
    assert read_radiograph(path, side=Side.LEFT).side is Side.LEFT
    with pytest.raises(InputError) as caught:
        read_radiograph(path, side=Side.RIGHT)
    assert caught.value.code is ReasonCode.LATERALITY_CONFLICT


def test_side_tags_that_disagree_are_refused(tmp_path: Path) -> None:
    path = write_radiograph(film(), tmp_path / "film.dcm", film=FilmTags(laterality="L"))
    edit(path, lambda ds: setattr(ds, "Laterality", "R"))
    with pytest.raises(DicomError) as caught:
        read_radiograph(path)
    assert caught.value.code is ReasonCode.LATERALITY_CONFLICT


def test_side_given_where_the_tags_are_silent(tmp_path: Path) -> None:
    path = write_radiograph(film(), tmp_path / "film.dcm", film=FilmTags(laterality=""))
    assert read_radiograph(path, side=Side.RIGHT).side is Side.RIGHT
    silent = read_radiograph(path)
    assert silent.side is None
    assert [f.code for f in silent.findings] == [ReasonCode.NO_LATERALITY]


def test_every_film_is_its_own_record_and_copies_are_one(tmp_path: Path) -> None:
    first = write_radiograph(film(), tmp_path / "a.dcm", instance=1)
    write_radiograph(film() * 0.9, tmp_path / "b.dcm", instance=2)
    (tmp_path / "copy.dcm").write_bytes(first.read_bytes())
    records = find_series(tmp_path).records
    assert len(records) == 2
    assert [f.code for r in records for f in r.findings] == [ReasonCode.DUPLICATE_DROPPED]
    assert all(r.refusal is None for r in records)


def test_an_mr_image_is_not_a_film(tmp_path: Path) -> None:
    path = write_radiograph(film(), tmp_path / "film.dcm")
    edit(path, lambda ds: setattr(ds, "Modality", "MR"))
    with pytest.raises(DicomError) as caught:
        read_radiograph(path)
    assert caught.value.code is ReasonCode.UNSUPPORTED_IMAGE


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    origin = Origin(patient_id="P7", seed="x")
    one = write_radiograph(film(), tmp_path / "one.dcm", origin=origin)
    two = write_radiograph(film(), tmp_path / "two.dcm", origin=origin)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("bad", [film() * 2, film() - 0.1, np.full((4, 4), np.nan)])
def test_writer_refuses_values_outside_the_range(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="within 0 and 1"):
        write_radiograph(bad, tmp_path / "film.dcm")


# --- pictures ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("depth", [8, 16])
def test_grey_pictures(suffix: str, depth: int, tmp_path: Path) -> None:
    top = 2**depth - 1
    stored = np.rint(film() * top).astype(np.uint8 if depth == 8 else np.uint16)
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(stored).save(path)
    read = read_film_picture(path, pixel_spacing_mm=0.2, side=Side.LEFT)
    np.testing.assert_allclose(read.image, film(), atol=0.51 / top)
    assert (read.spacing_mm, read.spacing_source) == ((0.2, 0.2), SpacingSource.USER)
    assert read.findings == ()


def test_grey_stored_as_colour(tmp_path: Path) -> None:
    stored = np.rint(film() * 255).astype(np.uint8)
    for mode, channels in (("RGB", 3), ("RGBA", 4)):
        values = np.repeat(stored[..., None], channels, axis=2)
        Image.fromarray(values).save(tmp_path / f"{mode}.png")
        read = read_film_picture(tmp_path / f"{mode}.png")
        np.testing.assert_allclose(read.image, film(), atol=0.51 / 255)
        assert {f.code for f in read.findings} == {
            ReasonCode.NO_PIXEL_SPACING,
            ReasonCode.NO_LATERALITY,
        }


def test_colour_picture_is_refused(tmp_path: Path) -> None:
    values = np.zeros((20, 20, 3), np.uint8)
    values[..., 0] = 200
    Image.fromarray(values).save(tmp_path / "red.png")
    with pytest.raises(InputError) as caught:
        read_film_picture(tmp_path / "red.png")
    assert caught.value.code is ReasonCode.UNSUPPORTED_IMAGE


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n broken", b"text"])
def test_broken_picture_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_film_picture(path)
