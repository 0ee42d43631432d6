"""A small trial as DICOM on disk, with everything private that a scanner writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.io.dicom import Origin, write_mr_series, write_radiograph
from kneeimg.io.dicom.write_film import FilmTags
from kneeimg.io.label_maps import write_label_map
from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film
from kneeimg.phantoms.grids import sagittal_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.mr import mr_image

NAME = "Mustermann^<script>alert(1)</script>"
BIRTH = "19590307"


@dataclass(frozen=True)
class Trial:
    """Where the trial lies and what must never be seen again."""

    scans: Path
    study: Path
    private: tuple[str, ...]


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """P01: right knee at baseline and month 6, film at baseline. P02: a mask without bone."""
    root = tmp_path_factory.mktemp("trial")
    scans = root / "scans"
    grid = sagittal_grid((1.8, 0.9, 0.9), (60, 130, 130))
    labels = KneePhantom(side=Side.RIGHT).label_map(grid)
    image = mr_image(labels, rng=np.random.default_rng(1))
    for person, date in (("HOSP-4711", "2024-01-10"), ("HOSP-4711", "2024-07-08")):
        folder = scans / f"Mustermann_{person}" / date / "dess"
        origin = Origin(patient_id=person, study_date=date, description="SAG DESS")
        write_mr_series(image, folder, side=Side.RIGHT, origin=origin)
        write_label_map(labels, folder / "knee_probseg.nii.gz", soft=True)
    folder = scans / "HOSP-0815" / "dess"
    origin = Origin(patient_id="HOSP-0815", study_date="2024-01-12", description="SAG DESS")
    write_mr_series(image, folder, side=Side.LEFT, origin=origin)
    write_label_map(labels, folder / "knee_dseg.nii.gz")
    film = knee_film(FilmKnee(side=Side.RIGHT), FilmSetup(pixel_mm=0.3))
    picture = film.radiograph.image
    picture = (picture - picture.min()) / (picture.max() - picture.min())
    write_radiograph(
        picture,
        scans / "Mustermann_HOSP-4711" / "film.dcm",
        film=FilmTags(laterality="R", imager_pixel_spacing_mm=(0.3, 0.3)),
        origin=Origin(patient_id="HOSP-4711", study_date="2024-01-10", description="KNEE PA"),
    )
    for path in scans.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientName = NAME
        dataset.PatientBirthDate = BIRTH
        dataset.save_as(path)
    (root / "participants.csv").write_text(
        "participant,index_knee,patient_id\nP01,right,HOSP-4711\nP02,left,HOSP-0815\n"
    )
    (root / "study.toml").write_text(
        "[study]\nid = 'T1'\n"
        "[[visits]]\nname = 'BL'\ntarget_day = 0\nkinds = ['mri', 'film']\n"
        "[[visits]]\nname = 'M06'\ntarget_day = 182\nwindow_days = 21\nkinds = ['mri']\n"
    )
    private = ("Mustermann", "<script>alert", "alert(1)", "HOSP-4711", "HOSP-0815", BIRTH)
    private += ("20240110", "1959-03-07")
    return Trial(scans, root / "study.toml", private)
