"""Every mistake a study can come with, in one study: each is named, and the rest is analysed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from kneeimg.cli import app
from kneeimg.core.anatomy import Side
from kneeimg.io.dicom import Origin, write_radiograph
from kneeimg.io.dicom.write_film import FilmTags
from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film

pytestmark = pytest.mark.slow

GOOD = ("P01", "P02", "P03", "P04", "P05", "P06")
#: One id for two people, dates that run backwards, no side, a baseline that nothing is seen on.
TWICE, BACKWARDS, NO_SIDE, BAD_BASELINE = "P07", "P08", "P09", "P10"

STUDY = """
[study]
id = "BAD1"
scans = "scans.csv"
[[visits]]
name = "BL"
target_day = 0
kinds = ["film"]
[[visits]]
name = "M06"
target_day = 182
window_days = 21
kinds = ["film"]
"""
TRIAL = """
visits = ["M06"]
primary = ["medial_mJSW"]
secondary = []
associated = ["medial_mJSW"]
permutations = 199
resamples = 199
"""


def write_film(path: Path, medial_mm: float, *, seen: bool = True) -> None:
    """A film of a right knee, or of nothing."""
    knee = FilmKnee(side=Side.RIGHT, medial_jsw_mm=medial_mm)
    picture = knee_film(knee, FilmSetup(pixel_mm=0.3)).radiograph.image
    if not seen:
        picture = np.random.default_rng(3).random(picture.shape) * 0.2
    tags = FilmTags(laterality="R", imager_pixel_spacing_mm=(0.3, 0.3))
    picture = (picture - picture.min()) / (picture.max() - picture.min())
    write_radiograph(picture, path, film=tags, origin=Origin(patient_id=path.stem))


def write_mask_without_side(path: Path) -> None:
    """Bone and cartilage that could be of either knee, and nothing that says which."""
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[2:10, 2:10, 2:6], labels[2:10, 2:10, 6:10] = 1, 2
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([0.5, 0.5, 0.5, 1.0])), path)


def write_study(root: Path) -> None:
    """Six good participants and four with a mistake each; tables with the other mistakes."""
    films = root / "films"
    films.mkdir()
    for number, name in enumerate(GOOD):
        write_film(films / f"{name}-BL.dcm", 4.0 + 0.1 * number)
        write_film(films / f"{name}-M06.dcm", 3.7 + 0.1 * number + 0.2 * (number % 2))
    for name in (TWICE, BACKWARDS):
        write_film(films / f"{name}-BL.dcm", 4.2)
    write_film(films / f"{BAD_BASELINE}-BL.dcm", 4.0, seen=False)
    write_film(films / f"{BAD_BASELINE}-M06.dcm", 4.0)
    write_film(films / f"{BACKWARDS}-M06.dcm", 4.0)
    people = (*GOOD, TWICE, TWICE, BACKWARDS, NO_SIDE, BAD_BASELINE)
    (root / "participants.csv").write_text("participant\n" + "\n".join(people) + "\n")
    (root / "scans.csv").write_text(
        "participant,visit,kind,path,mask,date\n" + "\n".join(_scans(films))
    )
    write_mask_without_side(root / "mask.nii")
    (root / "study.toml").write_text(STUDY)
    (root / "trial.toml").write_text(TRIAL)
    arms = [f"{name},{'verum' if n % 2 else 'placebo'}" for n, name in enumerate(GOOD)]
    arms += [f"{name},verum" for name in (BACKWARDS, NO_SIDE, BAD_BASELINE)]
    (root / "arms.csv").write_text("participant,arm\n" + "\n".join(arms) + "\nP77,verum\n")
    _clinical(root)


def _scans(films: Path) -> list[str]:
    rows = []
    for path in sorted(films.glob("*.dcm")):
        participant, _, visit = path.stem.partition("-")
        date = "2024-01-10" if visit == "BL" else "2024-07-08"
        if path.stem == f"{BACKWARDS}-M06":
            date = "2023-07-08"
        rows.append(f"{participant},{visit},film,films/{path.name},,{date}")
    return [*rows, f"{NO_SIDE},BL,mri,,mask.nii,2024-01-10"]


def _clinical(root: Path) -> None:
    """Symptoms with a word for a number; markers in two units."""
    visits = [(name, visit) for name in GOOD for visit in ("BL", "M06")]
    vas = [f"{name},{visit},{50 + 3 * n}" for n, (name, visit) in enumerate(visits)]
    vas[1] = f"{GOOD[0]},M06,severe"
    (root / "symptoms.csv").write_text("participant,visit,vas [0-100]\n" + "\n".join(vas) + "\n")
    first, second = visits[:6], visits[6:]
    for file, unit, rows in (("a.csv", "pg/mL", first), ("b.csv", "ng/mL", second)):
        lines = [f"{name},{visit},{n + 1}" for n, (name, visit) in enumerate(rows)]
        text = f"participant,visit,il6 [{unit}]\n" + "\n".join(lines) + "\n"
        (root / file).write_text(text)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RESULTS of `kneeimg run` and `kneeimg trial`; both end with 2, for what was left out."""
    root = tmp_path_factory.mktemp("bad")
    write_study(root)
    out = root / "out"
    for command in (
        ["run", str(root), "-o", str(out), "--study", str(root / "study.toml"), "--workers", "1"],
        [
            "trial",
            str(out),
            "--arms",
            str(root / "arms.csv"),
            "--settings",
            str(root / "trial.toml"),
        ]
        + [
            part
            for name in ("symptoms", "a", "b")
            for part in ("--clinical", str(root / f"{name}.csv"))
        ],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2, result.output
    return out


@pytest.mark.parametrize(
    "participant, visit, code",
    [
        (TWICE, "BL", "DUPLICATE_PARTICIPANT"),
        (BACKWARDS, "M06", "DATES_BACKWARDS"),
        (NO_SIDE, "BL", "NO_LATERALITY"),
        (BAD_BASELINE, "BL", "KNEE_NOT_FOUND"),
    ],
)
def test_each_scan_that_cannot_be_trusted_is_listed(
    done: Path, participant: str, visit: str, code: str
) -> None:
    found = [
        row
        for row in rows_of(done / "disposition.csv")
        if (row["participant"], row["visit"], row["status"]) == (participant, visit, "refused")
    ]
    assert [row["code"] for row in found] == [code]
    assert all(row["message"] and row["action"] for row in found)


def test_everybody_else_is_measured_and_compared(done: Path) -> None:
    measured = {
        (row["participant"], row["visit"])
        for row in rows_of(done / "disposition.csv")
        if row["status"] == "measured"
    }
    good = {(name, visit) for name in GOOD for visit in ("BL", "M06")}
    assert measured == good | {(BACKWARDS, "BL"), (BAD_BASELINE, "M06")}
    changes = [r for r in rows_of(done / "tables/change.csv") if r["quantity"] == "mJSW"]
    assert {r["participant"] for r in changes if r["change"]} == set(GOOD)


def test_a_refused_baseline_is_the_reason_of_its_changes(done: Path) -> None:
    changes = [r for r in rows_of(done / "tables/change.csv") if r["participant"] == BAD_BASELINE]
    assert changes
    assert {(r["change"], r["reason"]) for r in changes} == {("", "KNEE_NOT_FOUND")}


def test_each_line_of_the_tables_that_cannot_be_used_is_listed(done: Path) -> None:
    listed = rows_of(done / "tables/trial/excluded.csv")
    found = {(r["source"], r["participant"], r["code"]) for r in listed}
    assert ("arms.csv", "P77", "UNKNOWN_PARTICIPANT") in found
    assert ("symptoms.csv", GOOD[0], "NOT_A_NUMBER") in found
    assert ("b.csv", "UNIT_CONFLICT") in {(source, code) for source, _, code in found}
    assert all(row["message"] for row in listed)


def test_the_arms_are_compared_with_who_is_left(done: Path) -> None:
    (row,) = (
        r
        for r in rows_of(done / "tables/trial/ancova.csv")
        if (r["endpoint"], r["arm"], r["reference_arm"]) == ("medial_mJSW", "verum", "placebo")
    )
    assert (row["status"], row["n_arm"], row["n_reference"]) == ("ok", "3", "3")
    # the knees of one arm lost 0.3 mm, those of the other 0.1 mm
    assert float(row["difference"]) == pytest.approx(0.2, abs=0.05)
    said = json.loads((done / "trial/statistics.json").read_text())
    assert said["excluded"]["UNKNOWN_PARTICIPANT"] == 1
