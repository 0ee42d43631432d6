"""One folder with everything that can be wrong in it, through the real command line."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian

from kneeimg.core.anatomy import Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.io.dicom import Origin, write_mr_series
from kneeimg.io.label_maps import write_label_map
from kneeimg.phantoms.grids import sagittal_grid
from kneeimg.phantoms.knee import KneePhantom

NAME = "Mustermann^<script>alert(1)</script>"
PRIVATE = ("mustermann", "<script>alert", "alert(1)", "p-4711", "../../x", "19590307")
GRID = sagittal_grid((2.4, 1.2, 1.2), (46, 98, 98))


def kneeimg(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The installed command, with a narrow environment and no terminal."""
    command = [sys.executable, "-m", "kneeimg", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


class Folder:
    """Writes one scan after the other, each of its own person."""

    def __init__(self, root: Path, labels: LabelMap) -> None:
        self.root, self.labels, self.count = root, labels, 0
        values = np.random.default_rng(0).integers(0, 900, GRID.shape).astype(np.int16)
        self.image = Volume(values, GRID, "a.u.")

    def scan(self, name: str, *, person: str | None = "P-4711", mask: bool = True) -> list[Path]:
        folder = self.root / name
        self.count += 1
        number = f"{person}-{self.count}" if person else None
        origin = Origin(patient_id=number, study_date="2024-01-10")
        files = sorted(write_mr_series(self.image, folder, side=Side.RIGHT, origin=origin))
        if mask:
            write_label_map(self.labels, folder / "knee_dseg.nii.gz")
        for path in files if person else ():
            self.edit(path, lambda ds: setattr(ds, "PatientName", NAME))
        return files

    def edit(self, path: Path, change: Callable[[pydicom.Dataset], None]) -> None:
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)

    def mask(self, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.scan(name)
        path = self.root / name / "knee_dseg.nii.gz"
        image = nib.load(path)
        values = change(np.asarray(image.dataobj).astype(np.int16))  # type: ignore[attr-defined]
        nib.save(nib.Nifti1Image(values, image.affine), path)  # type: ignore[attr-defined]


def big_endian(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.pixel_array.astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(
        path, dataset, little_endian=False, implicit_vr=False, enforce_file_format=True
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    root = tmp_path_factory.mktemp("messy")
    made = Folder(root / "in", KneePhantom(side=Side.RIGHT).label_map(GRID))
    made.scan("good", person="../../x")
    made.scan("missing")[20].unlink()
    files = made.scan("double")
    shutil.copy(files[9], files[9].parent / "copy of ä€ (1)")
    files = made.scan("conflict")
    other = Path(shutil.copy(files[9], files[9].parent / "other.dcm"))
    made.edit(other, lambda ds: setattr(ds, "PixelData", ds.PixelData[::-1]))
    for path in made.scan("lossy"):
        made.edit(path, lambda ds: setattr(ds, "LossyImageCompression", "01"))
    files = made.scan("truncated")
    files[20].write_bytes(files[20].read_bytes()[:-5000])
    made.scan("Ünïcödé ordner/deep/C:\\scans? a|b")
    for number, path in enumerate(made.scan("plain")):
        path.rename(path.parent / f"IM{number:04}")
    for path in made.scan("bigendian"):
        big_endian(path)
    made.scan("nobody", person=None)
    made.scan("nomask", mask=False)
    made.scan("othergrid", mask=False)
    smaller = sagittal_grid((2.4, 1.2, 1.2), (44, 98, 98))
    write_label_map(
        KneePhantom(side=Side.RIGHT).label_map(smaller), root / "in/othergrid/m_dseg.nii.gz"
    )
    made.mask("empty", lambda a: a * 0)
    made.mask("boneless", lambda a: np.where(np.isin(a, [1, 3, 5]), 0, a))
    made.mask("unknown", lambda a: np.where(a == 1, 77, a))
    (root / "in/=cmd|' .dcm").write_bytes(b"\x01" * 3000)
    (root / "in/empty.dcm").write_bytes(b"")
    (root / "in/loop").symlink_to(root / "in")
    return root, kneeimg("run", "in", "-o", "out", "--workers", 2, "--model", "none", cwd=root)


EXPECTED = {
    "good": ("measured", ""),
    "missing": ("refused", "MISSING_SLICES"),
    "double": ("measured", "DUPLICATE_DROPPED"),
    "conflict": ("refused", "CONFLICTING_DUPLICATE"),
    "lossy": ("measured", "LOSSY_COMPRESSED"),
    "truncated": ("refused", "MISSING_SLICES"),
    "Ünïcödé ordner/deep/C:\\scans? a|b": ("measured", ""),
    "plain": ("measured", ""),
    "bigendian": ("measured", ""),
    "nobody": ("measured", ""),
    "nomask": ("refused", "NO_MASK"),
    "othergrid": ("refused", "MASK_GRID_MISMATCH"),
    "empty": ("refused", "EMPTY_MASK"),
    "boneless": ("refused", "NO_BONE"),
    "unknown": ("refused", "UNKNOWN_LABEL"),
    "'=cmd|' .dcm": ("skipped", "NOT_DICOM"),
    "empty.dcm": ("skipped", "NOT_DICOM"),
    "truncated/IM00021.dcm": ("refused", "TRUNCATED_PIXEL_DATA"),
}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_each_input_has_its_disposition_and_the_others_go_on(done) -> None:  # type: ignore[no-untyped-def]
    root, result = done
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    rows = _rows(root / "out/disposition.csv")
    # remarks that come with a coarse phantom are not what is tested here
    found = {
        r["source"]: (r["status"], r["code"] if r["code"] != "COARSE_GRID" else "") for r in rows
    }
    assert found == EXPECTED
    for row in rows:
        assert not row["code"] or (row["message"] and row["action"]), row


@pytest.mark.slow
def test_nothing_private_and_nothing_outside_out(done) -> None:  # type: ignore[no-untyped-def]
    root, result = done
    assert {path.name for path in root.iterdir()} == {"in", "out"}
    seen = [("terminal", (result.stdout + result.stderr).encode())]
    for path in sorted((root / "out").rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            seen.append((str(path.relative_to(root)), content))
    for name, content in seen:
        for text in PRIVATE:
            assert text.encode() not in name.lower().encode() + content.lower(), (name, text)


@pytest.mark.slow
def test_inspect_says_the_same_before_the_run(done) -> None:  # type: ignore[no-untyped-def]
    root, _ = done
    result = kneeimg("inspect", "in", "--json", cwd=root)
    assert result.returncode == 0
    verdicts = {entry["folder"]: entry["verdict"] for entry in json.loads(result.stdout)["series"]}
    assert verdicts["missing"] == "MISSING_SLICES"
    assert verdicts["conflict"] == "CONFLICTING_DUPLICATE"
    assert verdicts["good"] == "ok"
    assert "Mustermann" not in result.stdout
    assert "4711" not in result.stdout


@pytest.mark.slow
def test_a_results_folder_below_the_input_is_not_read_as_input(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    labels = KneePhantom(side=Side.RIGHT).label_map(GRID)
    write_label_map(labels, tmp_path / "in/sub-P01_ses-BL_side-R_dseg.nii.gz")
    for out in ("in/out", "in/out", "in/other"):
        result = kneeimg("run", "in", "-o", out, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert len(_rows(tmp_path / out / "disposition.csv")) == 1


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with something that is called a mask; nothing gets as far as reading it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/sub-P01_ses-BL_side-R_dseg.nii.gz").write_bytes(b"mask")
    return tmp_path


@pytest.mark.parametrize(
    "arguments, status, text",
    [
        (("run", "in", "-o", "in"), 4, "results folder is the input folder"),
        (("run", "in", "-o", "in/../in"), 4, "results folder is the input folder"),
        (("run", "gone", "-o", "out"), 1, "does not exist"),
        (("run", "nothing", "-o", "out"), 1, "nothing to measure"),
        (("run", "in", "-o", "file"), 4, "OUTPUT_NOT_WRITABLE"),
        (("run", "in", "-o", "file/out"), 4, "OUTPUT_NOT_WRITABLE"),
        (("run", "in", "-o", "out", "--study", "typo.toml"), 1, "did you mean visits"),
        (("run", "in", "-o", "out", "--study", "id.toml"), 1, "BAD_STUDY_ID"),
        (("inspect", "gone"), 1, "does not exist"),
    ],
)
def test_mistakes_of_the_caller(
    small: Path, arguments: tuple[str, ...], status: int, text: str
) -> None:
    (small / "file").write_text("")
    (small / "nothing").mkdir()
    (small / "typo.toml").write_text("[study]\nid = 'T1'\n[[vistis]]\nname = 'BL'\n")
    (small / "id.toml").write_text("[study]\nid = 'T1'\n")
    (small / "participants.csv").write_text("participant,index_knee\n../../etc,right\n")
    before = sorted(small.rglob("*"))
    result = kneeimg(*arguments, cwd=small)
    said = " ".join((result.stderr + result.stdout).replace("│", " ").split())
    assert (result.returncode, text in said) == (status, True), said
    assert "Traceback" not in said
    assert sorted(small.rglob("*")) == before
