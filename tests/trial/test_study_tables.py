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
    assert study.owners == {"HOSP-77": ("P01",)}


def test_repr_of_a_participant_hides_the_patient_id(tmp_path: Path) -> None:
    text = repr(_study(tmp_path).participants)
    assert "HOSP-77" not in text
    assert "2024" not in text


@pytest.mark.parametrize(
    "people, message, where",
    [
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
        (HEADER + "P01,BL,R,ct,,a.nii,,\n", "unknown kind", 2),
        (HEADER + "P01,BL,R,mri,,,,\n", "neither path nor mask", 2),
        (HEADER + "P01,BL,R,film,,a.nii,,\n", "film needs a path", 2),
    ],
)
def test_bad_scans(tmp_path: Path, scans: str, message: str, line: int) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        _study(tmp_path, scans=scans)
    assert caught.value.finding.where == f"scans.csv, line {line}"


RUNS = "participant,visit,side,mask,scan\n"


@pytest.mark.parametrize(
    "scans, message, line",
    [
        (RUNS + "P01,BL,R,a.nii,run-1\nP01,BL,R,b.nii,run-1\n", "same scan as in line 2", 3),
        (RUNS + "P01,BL,R,a.nii,second\n", "does not name a repeated scan", 2),
    ],
)
def test_bad_names_of_repeated_scans(tmp_path: Path, scans: str, message: str, line: int) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        _study(tmp_path, scans=scans)
    assert caught.value.finding.where == f"scans.csv, line {line}"


@pytest.mark.parametrize(
    "people, refused, lines",
    [
        ("participant\nP01\nP02\nP01\n", {"P01"}, "line 2, line 4"),
        ("participant\nP01\nP02\np01\n", {"P01", "p01"}, "line 2, line 4"),
        ("participant,patient_id\nP01,X\nP02,Y\nP03,X\n", {"P01", "P03"}, "line 2, line 4"),
    ],
)
def test_people_who_cannot_be_told_apart_are_refused_and_the_others_stay(
    tmp_path: Path, people: str, refused: set[str], lines: str
) -> None:
    study = _study(tmp_path, people)
    assert set(study.refused) == refused
    assert "P02" in study.participants
    for finding in study.refused.values():
        assert finding.code is ReasonCode.DUPLICATE_PARTICIPANT
        assert finding.where == f"participants.csv, {lines}"
        assert finding.expected
        assert finding.action
        assert "X" not in finding.found


def _keyed(tmp_path: Path, key: str) -> Study:
    (tmp_path / "participants.csv").write_text("participant,index_knee\nP01,R\nP02,L\n")
    (tmp_path / "key.csv").write_text(key)
    (tmp_path / "study.toml").write_text("[study]\nkey = 'key.csv'\n")
    return load_study(tmp_path / "study.toml")


def test_a_key_kept_apart_says_whose_number_it_is(tmp_path: Path) -> None:
    study = _keyed(tmp_path, "participant,patient_id\nP02,HOSP-2\nP01,HOSP-1\n")
    assert study.owners == {"HOSP-1": ("P01",), "HOSP-2": ("P02",)}
    assert study.participants["P01"].patient_id == "HOSP-1"
    assert "HOSP" not in repr(study)
    assert set(_keyed(tmp_path, "participant,patient_id\nP02,H\nP01,H\n").refused) == {
        "P01",
        "P02",
    }


def test_a_key_of_nobody_in_the_study_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="not in the participants table") as caught:
        _keyed(tmp_path, "participant,patient_id\nP03,HOSP-2\n")
    assert caught.value.finding.where == "key.csv, line 2"


@pytest.mark.parametrize("column", ["arm", "Treatment", "TRT01P", "allocation"])
def test_the_arm_is_refused_in_every_table(tmp_path: Path, column: str) -> None:
    for people, scans in (
        (f"participant,{column}\nP01,A\n", None),
        (PEOPLE, f"participant,visit,mask,{column}\nP01,BL,a.nii,A\n"),
    ):
        with pytest.raises(StudyError, match="measuring is blind") as caught:
            _study(tmp_path, people, scans)
        assert caught.value.finding.found == column
        assert "sealed" in caught.value.finding.action


def test_unknown_visit_when_the_study_gives_its_visits(tmp_path: Path) -> None:
    (tmp_path / "participants.csv").write_text(PEOPLE, encoding="utf-8")
    (tmp_path / "scans.csv").write_text(HEADER + "P01,M07,R,mri,,a.nii,,\n", encoding="utf-8")
    (tmp_path / "study.toml").write_text(
        "[study]\nscans='scans.csv'\n[[visits]]\nname='M06'\ntarget_day=182\n", encoding="utf-8"
    )
    with pytest.raises(StudyError, match="not among"):
        load_study(tmp_path / "study.toml")
