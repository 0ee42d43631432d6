"""participants.csv and scans.csv: every mistake is named with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kneeimg.core.anatomy import Side
from kneeimg.errors import ReasonCode, StudyError
from kneeimg.trial.study import Study, load_study

PEOPLE = "participant,index_knee,patient_id,baseline_date\nP01,right,HOSP-77,2024-03-01\nP02,L,,\n"
HEADER = "participant,visit,side,kind,path,mask,scheme,date\n"


def _study(tmp_path: Path, people: str = PEOPLE, scans: str | None = None) -> Study:
    (tmp_path / "participants.csv").write_text(people, encoding="utf-8")
    text = "[study]\nid = 'T1'\n"
    if scans is not None:
        (tmp_path / "scans.csv").write_text(scans, encoding="utf-8")
        text += "scans = 'scans.csv'\n"
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    return load_study(tmp_path / "study.toml")


def test_participants(tmp_path: Path) -> None:
    study = _study(tmp_path, "\ufeff" + PEOPLE)
    assert list(study.participants) == ["P01", "P02"]
    assert study.participants["P01"].index_knee is Side.RIGHT
    assert study.participants["P02"].index_knee is Side.LEFT
    assert study.by_patient_id()["HOSP-77"].participant == "P01"


def test_repr_of_a_participant_hides_the_patient_id(tmp_path: Path) -> None:
    text = repr(_study(tmp_path).participants)
    assert "HOSP-77" not in text
    assert "2024" not in text


@pytest.mark.parametrize(
    "people, message, where",
    [
        ("participant\nP01\nP01\n", "listed twice", "participants.csv, line 3"),
        ("participant\nP01\np01\n", "listed twice", "participants.csv, line 3"),
        ("participant,patient_id\nP1,X\nP2,X\n", "already belongs", "participants.csv, line 3"),
        ("participant,index_knee\nP01,up\n", "not a side", "participants.csv, line 2"),
        ("participant,baseline_date\nP01,1.3.2024\n", "not a date", "participants.csv, line 2"),
        ("participant,indexknee\nP01,R\n", "unknown column", "participants.csv, line 1"),
        ("participant,arm\nP01,A\n", "measuring is blind", "participants.csv, line 1"),
        ("index_knee\nR\n", "column missing", "participants.csv, line 1"),
        ("participant,participant\nP,Q\n", "stands twice", "participants.csv, line 1"),
        ("participant,index_knee\nP01\n", "wrong number of cells", "participants.csv, line 2"),
        ("participant\n", "no participant", "participants.csv"),
    ],
)
def test_bad_participants(tmp_path: Path, people: str, message: str, where: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        _study(tmp_path, people)
    assert caught.value.finding.where == where


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "x" * 33, "Jörg", "P 1", "."])
def test_ids_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError) as caught:
        _study(tmp_path, f'participant,index_knee\n"{name}",R\n')
    assert caught.value.code is ReasonCode.BAD_STUDY_ID
    assert caught.value.finding.where == "participants.csv, line 2"


def test_scans_with_relative_and_absolute_paths(tmp_path: Path) -> None:
    absolute = tmp_path / "far" / "b.nii.gz"
    study = _study(
        tmp_path,
        scans=HEADER + f"P01,BL,right,mri,,masks/a.nii.gz,,\nP01,M06,R,mri,,{absolute},knee-v1,\n",
    )
    assert study.scans is not None
    first, second = study.scans
    assert first.mask == tmp_path.resolve() / "masks" / "a.nii.gz"
    assert first.side is Side.RIGHT
    assert first.day == 0
    assert second.mask == absolute
    assert second.scheme == "knee-v1"


def test_days_come_from_the_baseline_date(tmp_path: Path) -> None:
    study = _study(tmp_path, scans=HEADER + "P01,M06,R,mri,,a.nii,,2024-09-01\n")
    assert study.scans is not None
    assert study.scans[0].day == 184


@pytest.mark.parametrize(
    "scans, message, line",
    [
        (HEADER + "P09,BL,R,mri,,a.nii,,\n", "not in the participants table", 2),
        (HEADER + "P01,BL,R,mri,,a.nii,,\nP01,BL,R,mri,,b.nii,,\n", "same scan as in line 2", 3),
        (HEADER + "P01,BL,R,ct,,a.nii,,\n", "unknown kind", 2),
        (HEADER + "P01,BL,R,mri,,,,\n", "neither path nor mask", 2),
        (HEADER + "P01,BL,R,film,,a.nii,,\n", "film needs a path", 2),
        (
            HEADER + "P01,M06,R,mri,,a.nii,,2024-03-01\nP01,M12,R,mri,,b.nii,,2024-02-01\n",
            "dated before",
            3,
        ),
    ],
)
def test_bad_scans(tmp_path: Path, scans: str, message: str, line: int) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        _study(tmp_path, scans=scans)
    assert caught.value.finding.where == f"scans.csv, line {line}"


def test_unknown_visit_when_the_study_gives_its_visits(tmp_path: Path) -> None:
    (tmp_path / "participants.csv").write_text(PEOPLE, encoding="utf-8")
    (tmp_path / "scans.csv").write_text(HEADER + "P01,M07,R,mri,,a.nii,,\n", encoding="utf-8")
    (tmp_path / "study.toml").write_text(
        "[study]\nscans='scans.csv'\n[[visits]]\nname='M06'\ntarget_day=182\n", encoding="utf-8"
    )
    with pytest.raises(StudyError, match="not among"):
        load_study(tmp_path / "study.toml")
