"""What a study lacks, from headers alone: each fault is named once, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from kneeimg.core.anatomy import Side
from kneeimg.errors import ExitStatus, ReasonCode
from kneeimg.io.dicom import MrProtocol
from kneeimg.pipeline.checking import Note, StudyCheck, check_study
from kneeimg.trial.study import load_study

Write = Callable[..., Path]
Check = Callable[..., StudyCheck]

FIRST_DAY = date(2024, 1, 10)
VISITS = "".join(
    f"[[visits]]\nname='{name}'\ntarget_day={day}\nwindow_days=14\n"
    for name, day in (("BL", 0), ("M06", 182), ("M12", 365))
)
PEOPLE = "participant,index_knee,patient_id\nP01,right,HOSP-1\n"


@pytest.fixture
def check(scans: Path, tmp_path: Path) -> Check:
    def run(
        day: int = 1000, people: str = PEOPLE, study: str = "", side: Side | None = None
    ) -> StudyCheck:
        (tmp_path / "participants.csv").write_text(people)
        (tmp_path / "study.toml").write_text(f"[study]\nid='T1'\n{study}\n{VISITS}")
        loaded = load_study(tmp_path / "study.toml")
        return check_study(loaded, scans, on=FIRST_DAY + timedelta(days=day), side=side)

    return run


def _topics(result: StudyCheck) -> list[tuple[str, str]]:
    return [(note.topic, note.visit) for note in result.notes]


def _only(result: StudyCheck, topic: str) -> Note:
    (note,) = [note for note in result.notes if note.topic == topic]
    return note


def test_a_complete_study_needs_no_attention(write_scan: Write, check: Check) -> None:
    for day in (0, 180, 370):
        write_scan(f"d{day}", day=day)
    result = check()
    assert result.notes == ()
    assert result.exit_status is ExitStatus.MEASURED
    assert result.visits == {"P01": dict.fromkeys(("BL", "M06", "M12"), "mri right")}


def test_a_visit_is_missing_only_when_its_window_is_closed(write_scan: Write, check: Check) -> None:
    write_scan("a", day=0)
    result = check(day=250)
    assert _topics(result) == [("missing", "M06"), ("not due", "M12")]
    assert result.exit_status is ExitStatus.SOME_REFUSED
    assert "129 days" in _only(result, "not due").finding.expected
    soon = check(day=20)
    assert _topics(soon) == [("not due", "M06"), ("not due", "M12")]
    assert soon.exit_status is ExitStatus.MEASURED


def test_late_early_unscheduled_and_doubled(write_scan: Write, check: Check) -> None:
    write_scan("a", day=0)
    write_scan("b", day=220)  # M06 closed on day 196
    write_scan("c", day=360)
    write_scan("d", day=367)
    write_scan("e", day=500)
    result = check()
    assert _topics(result) == [
        ("missing", "M06"),
        ("late", "U220"),
        ("unscheduled", "U500"),
        ("duplicate", "M12"),
    ]
    late = _only(result, "late").finding
    assert "24 days after the window of visit M06" in late.message
    assert (late.expected, late.found) == ("day 168 to 196", "day 220")
    assert late.action


def test_another_scanner_than_at_baseline_is_named(write_scan: Write, check: Check) -> None:
    write_scan("a", day=0)
    write_scan("b", day=182, protocol=MrProtocol(field_strength_t=1.5, sequence="SPGR"))
    write_scan("c", day=365, voxel_mm=0.6)
    notes = [note for note in check().notes if note.topic == "protocol"]
    assert [note.visit for note in notes] == ["M06", "M12"]
    assert {note.finding.code for note in notes} == {ReasonCode.PROTOCOL_CHANGED}
    assert str(notes[0].finding.code) == "PROTOCOL_CHANGED"
    assert "field_strength_t: 3 -> 1.5" in notes[0].finding.found
    assert "sequence: DESS3D -> SPGR" in notes[0].finding.found
    assert "voxel_mm: 0.500 x 0.500 x 1.000 -> 0.600 x 0.600 x 1.000" in notes[1].finding.found


def test_fewer_slices_than_at_baseline(write_scan: Write, check: Check) -> None:
    for day in (0, 182, 365):
        folder = write_scan(f"d{day}", day=day)
    sorted(folder.glob("*.dcm"))[-1].unlink()
    note = _only(check(), "protocol")
    assert (note.visit, note.finding.code) == ("M12", ReasonCode.EXTENT_MISMATCH)


def test_sides_that_are_unknown_or_change(write_scan: Write, check: Check) -> None:
    people = "participant,patient_id\nP01,HOSP-1\nP02,HOSP-2\n"
    write_scan("a", day=0)
    write_scan("b", day=182, side=Side.LEFT)
    write_scan("c", person="HOSP-2", side=None)
    notes = [note for note in check(day=190, people=people).notes if note.topic == "side"]
    assert [(n.participant, n.visit, n.finding.code) for n in notes] == [
        ("P02", "BL", ReasonCode.NO_LATERALITY),
        ("P01", "M06", ReasonCode.LATERALITY_CONFLICT),
    ]
    assert notes[1].finding.expected == "the right knee"


def test_strangers_shared_numbers_and_broken_scans(write_scan: Write, check: Check) -> None:
    people = PEOPLE + "P02,left,HOSP-2\nP03,left,HOSP-2\n"
    for day in (0, 182, 365):
        folder = write_scan(f"d{day}", day=day)
    sorted(folder.glob("*.dcm"))[2].unlink()
    write_scan("HOSP-9", person="HOSP-9")
    result = check(people=people)
    codes = [note.finding.code.value for note in result.notes]
    assert codes.count("SUBJECT_MISMATCH") == 1
    assert codes.count("MISSING_SLICES") == 1
    assert {n.participant for n in result.notes if n.finding.code == "DUPLICATE_PARTICIPANT"} == {
        "P02",
        "P03",
    }
    assert not [text for text in ("HOSP-9", "HOSP-2") if text in str(result.to_json())]


def test_series_that_nobody_asks_for_are_only_counted(write_scan: Write, check: Check) -> None:
    for day in (0, 180, 370):
        write_scan(f"d{day}", day=day)
    write_scan("pd", day=0, description="SAG PD", number=2)
    result = check(study="[[series]]\ndescription='DESS'")
    assert result.notes == ()
    assert result.n_ignored == 1


def test_tables_alone_and_a_folder_without_a_usable_scan(
    check: Check, tmp_path: Path, scans: Path
) -> None:
    assert check().exit_status is ExitStatus.ALL_REFUSED
    (tmp_path / "participants.csv").write_text("participant\nP01\nP02\nP01\n")
    (tmp_path / "study.toml").write_text("[study]\n")
    result = check_study(load_study(tmp_path / "study.toml"), None, on=FIRST_DAY)
    assert not result.looked
    assert _topics(result) == [("person", "")]
    assert result.exit_status is ExitStatus.SOME_REFUSED
