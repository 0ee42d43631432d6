"""Bad masks and films end as refused records with their code, never as an exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.visit import Visit
from kneeimg.errors import ReasonCode
from kneeimg.io.dicom import Origin, find_series, write_radiograph
from kneeimg.io.dicom.write_film import FilmTags
from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film
from kneeimg.pipeline.cases import Case
from kneeimg.pipeline.planned import planned_rows
from kneeimg.pipeline.runner import run_case
from kneeimg.pipeline.sources import with_mask, with_series
from kneeimg.settings.study import StageSettings

SETTINGS = StageSettings()


def _write(path: Path, labels: np.ndarray, spacing_mm: float = 0.5) -> Path:
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.uint8), affine), path)
    return path


def _case(mask: Path, image: Path | None = None, scheme: str = "knee-v1") -> Case:
    case = Case(
        visit=Visit("P01", "BL", Side.RIGHT, 0),
        kind="mri",
        source=mask.name,
        settings=SETTINGS,
        sides=(("scan list", Side.RIGHT),),
        image=image,
    )
    return with_mask(case, mask, scheme)


def _labels(*values: int) -> np.ndarray:
    labels = np.zeros((12, 12, 12))
    for number, value in enumerate(values):
        labels[2:10, 2:10, 2 + 4 * number : 6 + 4 * number] = value
    return labels


def _bad_file(folder: Path) -> Case:
    path = folder / "mask.nii.gz"
    path.write_bytes(b"not a NIfTI file")
    return _case(path)


def _other_grid(folder: Path) -> Case:
    image = _write(folder / "image.nii", np.ones((12, 12, 12)), spacing_mm=0.7)
    return _case(_write(folder / "mask.nii", _labels(1, 2)), image)


def _gone(folder: Path) -> Case:
    case = _case(_write(folder / "mask.nii", _labels(1, 2)))
    (folder / "mask.nii").unlink()
    return case


@pytest.mark.parametrize(
    "make, code",
    [
        (lambda f: _case(_write(f / "m.nii", _labels())), ReasonCode.EMPTY_MASK),
        (lambda f: _case(_write(f / "m.nii", _labels(2, 4))), ReasonCode.NO_BONE),
        (lambda f: _case(_write(f / "m.nii", _labels(1, 77))), ReasonCode.UNKNOWN_LABEL),
        (lambda f: _case(_write(f / "m.nii", _labels(1)), scheme="nonsense"), None),
        (_bad_file, ReasonCode.BAD_MASK_FILE),
        (_other_grid, ReasonCode.MASK_GRID_MISMATCH),
        (_gone, ReasonCode.BAD_MASK_FILE),
    ],
)
def test_bad_mask_is_a_refused_record(
    tmp_path: Path, make: Callable[[Path], Case], code: ReasonCode | None
) -> None:
    case = make(tmp_path)
    out = tmp_path / "out"
    (record,) = run_case(case, out).records
    assert record.status == "refused"
    if code is not None:
        assert record.findings[0].code is code
    assert len(record.measurements) == len(planned_rows("mri", SETTINGS))
    assert {m.reason for m in record.measurements} == {record.findings[0].code}
    manifest = out / case.folder / case.manifest
    if manifest.is_file():
        assert json.loads(manifest.read_text())["status"] == "refused"


def test_sides_that_disagree_are_refused(tmp_path: Path) -> None:
    case = _case(_write(tmp_path / "m.nii", _labels(1, 2)))
    case = replace(case, sides=(*case.sides, ("Laterality (0020,0060)", Side.LEFT)))
    (record,) = run_case(case, tmp_path / "out").records
    assert record.findings[0].code is ReasonCode.LATERALITY_CONFLICT


def test_unknown_side_is_refused_under_the_letter_x(tmp_path: Path) -> None:
    case = _case(_write(tmp_path / "m.nii", _labels(1, 2)))
    case = replace(case, sides=(), visit=Visit("P01", "BL", None, 0))
    (record,) = run_case(case, tmp_path / "out").records
    assert record.findings[0].code is ReasonCode.NO_LATERALITY
    assert (tmp_path / "out" / case.folder / "sub-P01_ses-BL_side-X_measurements.json").is_file()


def _film_case(folder: Path, image: np.ndarray, laterality: str) -> Case:
    tags = FilmTags(laterality=laterality, imager_pixel_spacing_mm=(0.3, 0.3))  # type: ignore[arg-type]
    write_radiograph(image, folder / "film.dcm", film=tags, origin=Origin(patient_id="P01"))
    (series,) = find_series(folder).records
    case = Case(Visit("P01", "BL", None, 0), "film", "film.dcm", SETTINGS)
    return with_series(case, series)


def test_film_without_a_knee_is_a_refused_record(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).random((240, 200)) * 0.2
    (record,) = run_case(_film_case(tmp_path, noise, "R"), tmp_path / "out").records
    assert record.status == "refused"
    assert len(record.measurements) == len(planned_rows("film", SETTINGS))


@pytest.mark.slow
def test_film_of_both_knees_gives_two_records(tmp_path: Path) -> None:
    setup = FilmSetup(pixel_mm=0.3)
    knees = [knee_film(FilmKnee(side=side), setup).radiograph.image for side in Side]
    left, right = ((k - k.min()) / (k.max() - k.min()) for k in knees)
    case = _film_case(tmp_path, np.hstack([right, left]), "B")
    report = run_case(case, tmp_path / "out")
    assert [record.visit.side for record in report.records] == [Side.LEFT, Side.RIGHT]
    names = {path.name for path in (tmp_path / "out" / case.folder).iterdir()}
    assert {
        "manifest.json",
        "sub-P01_ses-BL_side-L_qc.png",
        "sub-P01_ses-BL_side-R_qc.png",
    } <= names
    values = [
        {m.name: m.value for m in record.measurements}["medial_nmJSW"] for record in report.records
    ]
    assert values[0] == pytest.approx(values[1], abs=0.005)
    again = run_case(case, tmp_path / "out")
    assert again.reused
    assert [r.visit.side for r in again.records] == [Side.LEFT, Side.RIGHT]
