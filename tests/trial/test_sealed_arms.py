"""The sealed arms: every line that cannot be used is named, the others stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from kneeimg.errors import StudyError
from kneeimg.trial.exclusions import shown_cell, shown_id
from kneeimg.trial.sealed import Arms, read_arms

KNOWN = ["P01", "P02", "P03", "P04"]


def arms_of(tmp_path: Path, text: str) -> Arms:
    path = tmp_path / "arms.csv"
    path.write_text(text, encoding="utf-8")
    return read_arms(path, KNOWN)


def codes(arms: Arms) -> list[tuple[str, int | None, str]]:
    return [(e.code.value, e.line, e.participant) for e in arms.exclusions]


def test_good_arms(tmp_path: Path) -> None:
    text = "\ufeffparticipant,arm,site\nP01,b,x\nP02,a,x\n\nP03, b ,x\nP04,a,x\n"
    arms = arms_of(tmp_path, text)
    assert dict(arms.of) == {"P01": "b", "P02": "a", "P03": "b", "P04": "a"}
    assert arms.exclusions == ()
    assert arms.names() == ("a", "b")
    assert arms.names("b") == ("b", "a")
    with pytest.raises(StudyError, match="reference arm is not among"):
        arms.names("c")


def test_lines_that_cannot_be_used_are_named_and_the_rest_stays(tmp_path: Path) -> None:
    text = "participant,arm\nP01,a\nP02,b\nP2,b\nP99,a\nP03,\nP04\n"
    arms = arms_of(tmp_path, text)
    assert dict(arms.of) == {"P01": "a", "P02": "b"}
    assert codes(arms) == [
        ("UNKNOWN_PARTICIPANT", 4, ""),
        ("UNKNOWN_PARTICIPANT", 5, "P99"),
        ("NO_ARM", 6, "P03"),
        ("BAD_STUDY_FILE", 7, ""),
        ("NO_ARM", None, "P04"),
    ]
    assert arms.exclusions[0].expected == "did you mean P02?"


def test_a_participant_listed_twice(tmp_path: Path) -> None:
    arms = arms_of(tmp_path, "participant,arm\nP01,a\nP01,a\nP02,a\nP02,b\nP03,b\nP04,b\n")
    assert dict(arms.of) == {"P01": "a", "P03": "b", "P04": "b"}
    assert codes(arms) == [
        ("DUPLICATE_ENTRY", 3, "P01"),
        ("DUPLICATE_ENTRY", 4, "P02"),
        ("DUPLICATE_ENTRY", 5, "P02"),
    ]


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "the table is empty"),
        ("participant;arm\nP01;a\n", "semicolons"),
        ("participant,group\nP01,a\n", "column missing"),
        ("participant,arm,arm\nP01,a,a\n", "stands twice"),
        ("participant,arm\nX,a\n", "no participant of the results has an arm"),
    ],
)
def test_a_file_that_cannot_be_used_at_all(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=said):
        arms_of(tmp_path, text)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "arms.csv").write_bytes(b"\xff\xfe\x00p")
    with pytest.raises(StudyError, match="cannot be read"):
        read_arms(tmp_path / "arms.csv", KNOWN)
    with pytest.raises(StudyError, match="cannot be read"):
        read_arms(tmp_path / "gone.csv", KNOWN)


def test_a_hospital_number_in_place_of_a_study_id_is_not_repeated(tmp_path: Path) -> None:
    arms = arms_of(tmp_path, "participant,arm\nHOSP-4711,a\nP01,a\nP02,a\nP03,a\nP04,a\n")
    (problem,) = arms.exclusions
    assert problem.line == 2
    assert "4711" not in str(problem.as_row())
    assert shown_id("P07", KNOWN) == "P07"
    assert shown_id("Mustermann", KNOWN) == ""
    assert "Muster" not in shown_cell("Mustermann")
