"""Files from the wild, and files damaged on purpose: a reason code, never a traceback."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kneeimg.core.grid import Grid
from kneeimg.core.radiograph import SpacingSource
from kneeimg.core.volume import Volume
from kneeimg.errors import KneeimgError, ReasonCode
from kneeimg.io.dicom import (
    FileStyle,
    find_series,
    read_radiograph,
    read_volume,
    write_enhanced_mr,
    write_mr_series,
    write_radiograph,
)
from kneeimg.io.dicom.frames import frames_of
from kneeimg.io.dicom.headers import read_header
from kneeimg.io.dicom.pixels import read_frames
from kneeimg.io.dicom.transfer import has_decoder, refuse_transfer_syntax
from kneeimg.settings.reading import ReadingSettings


def corpus() -> dict[str, Path]:
    """pydicom's own test files and the pydicom-data package, whatever is on this machine."""
    roots = [Path(pydicom.data.__file__).parent / "test_files"]
    try:
        import data_store  # pydicom-data

        roots.append(Path(data_store.__file__).parent)
    except ImportError:
        pass
    found = [path for root in roots for path in sorted(root.rglob("*")) if path.is_file()]
    return {path.name: path for path in found if path.suffix not in (".py", ".pyc")}


def try_everything(path: Path) -> set[ReasonCode]:
    """Look at a path and read what can be read; the codes met on the way."""
    inventory = find_series(path, ReadingSettings(max_image_bytes=64 * 1024**2))
    codes = {finding.code for finding in inventory.findings}
    inventory.to_json()
    for record in inventory.records:
        codes |= {finding.code for finding in record.findings}
        for task in (read_radiograph, read_volume, lambda record: read_frames(record.slices)):
            try:
                task(record)
            except KneeimgError as error:
                codes.add(error.code)
    return codes


@pytest.mark.slow
def test_every_file_of_the_corpora_one_by_one() -> None:
    files = corpus()
    assert len(files) > 60
    codes = {name: try_everything(path) for name, path in files.items()}
    assert ReasonCode.UNSUPPORTED_IMAGE in codes["CT_small.dcm"]
    assert codes["MR_small.dcm"] >= {ReasonCode.TOO_FEW_SLICES}
    assert ReasonCode.INTERNAL_ERROR not in set().union(*codes.values())


@pytest.mark.slow
def test_all_files_of_the_corpora_in_one_folder() -> None:
    root = Path(pydicom.data.__file__).parent
    inventory = find_series(root)
    assert inventory.n_files > 60
    assert inventory.count(ReasonCode.NOT_AN_IMAGE) > 3


def test_mr_truncated_of_pydicom() -> None:
    path = Path(str(pydicom.data.get_testdata_file("MR_truncated.dcm")))
    (finding,) = find_series(path).findings
    assert finding.code is ReasonCode.TRUNCATED_PIXEL_DATA
    assert finding.where == "MR_truncated.dcm"


@pytest.mark.parametrize(
    "name, spacing_code",
    [
        ("RG1_UNCR.dcm", ReasonCode.ZERO_PIXEL_SPACING),
        ("RG3_UNCR.dcm", ReasonCode.NO_PIXEL_SPACING),
    ],
)
def test_films_of_pydicom_data(name: str, spacing_code: ReasonCode) -> None:
    path = corpus().get(name)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    record = find_series(path).records[0]
    assert record.kind == "film"
    film = read_radiograph(record)
    assert spacing_code in {finding.code for finding in film.findings}
    assert film.spacing_source is SpacingSource.NONE
    assert 0 <= film.image.min() < film.image.max() <= 1


@pytest.mark.parametrize(
    "name",
    [
        "JPEG-LL.dcm",
        "JPEG2000.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_RLE.dcm",
        "JPEGLSNearLossless_16.dcm",
        "image_dfl.dcm",
    ],
)
def test_declared_compressions_decode(name: str) -> None:
    path = corpus().get(name)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    header = read_header(path, ReadingSettings())
    if not header.pixels.native and not has_decoder(header.pixels.transfer_syntax):
        pytest.skip("needs python-gdcm")
    (frame,) = frames_of(header, name)
    values = read_frames([frame.image])
    assert values.shape == (1, header.pixels.rows, header.pixels.columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(values[0], oracle)


def test_twelve_bit_jpeg_is_refused_from_the_header() -> None:
    path = Path(str(pydicom.data.get_testdata_file("JPGExtended.dcm")))
    pixels = read_header(path, ReadingSettings()).pixels
    refusal = refuse_transfer_syntax(pixels.transfer_syntax, pixels.bits_stored, path.name)
    assert refusal is not None
    assert refusal.code is ReasonCode.UNSUPPORTED_TRANSFER_SYNTAX
    assert "uncompressed" in refusal.action


def small_files(folder: Path) -> tuple[Path, ...]:
    """One file of each kind, small enough to damage thousands of times."""
    grid = Grid((3, 64, 48), np.diag([3.0, 0.5, 0.5, 1.0]), "1.2.3")
    values = np.random.default_rng(0).integers(0, 4000, grid.shape).astype(np.uint16)
    volume = Volume(values, grid, "a.u.")
    paths = [
        write_mr_series(volume, folder / name, side=None, style=FileStyle(encoding=name))[0]
        for name in ("explicit", "implicit", "big-endian", "deflated", "jpeg-ls", "jpeg2000", "rle")
    ]
    paths.append(
        write_mr_series(volume, folder / "bare", side=None, style=FileStyle(preamble=False))[0]
    )
    paths.append(write_enhanced_mr([(5.0, volume), (9.0, volume)], folder / "e.dcm", side=None))
    paths.append(write_radiograph(values[0] / 4000, folder / "film.dcm"))
    return tuple(paths)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in small_files(tmp_path_factory.mktemp("small")))


@settings(
    max_examples=250, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    which=st.integers(0, 9),
    cut=st.floats(0, 1),
    truncate=st.booleans(),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
)
def test_damaged_files_never_raise_anything_else(
    which: int,
    cut: float,
    truncate: bool,
    edits: list[tuple[float, int]],
    originals: tuple[bytes, ...],
    tmp_path: Path,
) -> None:
    raw = bytearray(originals[which])
    for place, value in edits:
        # Headers hold the lengths and tags that matter: damage them more often than pixels.
        raw[int(place**3 * (min(len(raw), 2500) - 1))] = value
    if truncate:
        raw = raw[: int(cut * len(raw))]
    path = tmp_path / "damaged"
    path.write_bytes(raw)
    try_everything(path)
