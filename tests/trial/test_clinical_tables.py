"""Clinical CSV files: units, ranges, duplicates, strangers; the rest is always kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from kneeimg.errors import StudyError
from kneeimg.trial.clinical import COLUMNS, Clinical, parse_header, read_clinical

PEOPLE, VISITS = ("P01", "P02", "P03"), ("BL", "M06")


def clinical_of(tmp_path: Path, *texts: str) -> Clinical:
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"clinical{number}.csv")
        paths[-1].write_text(text, encoding="utf-8")
    return read_clinical(paths, PEOPLE, VISITS)


def codes(clinical: Clinical) -> list[tuple[str, int | None, str]]:
    return [(e.code.value, e.line, e.column) for e in clinical.exclusions]


def test_good_tables_join_by_participant_and_visit(tmp_path: Path) -> None:
    clinical = clinical_of(
        tmp_path,
        "participant,visit,vas,womac_pain,ae_count\nP01,BL,55,9,0\nP01,M06,40.5,NA,2\n",
        "Participant,Visit,IL-6 [pg/mL],TNF-α (pg/ml)\nP01,BL,3.2,1e1\nP02,BL,.,\n",
        "participant,visit,il6 [pg / ml]\nP02,M06,7\n",
    )
    assert clinical.exclusions == ()
    assert dict(clinical.values) == {
        ("P01", "BL", "vas"): 55.0,
        ("P01", "M06", "vas"): 40.5,
        ("P01", "BL", "womac_pain"): 9.0,
        ("P01", "BL", "ae_count"): 0.0,
        ("P01", "M06", "ae_count"): 2.0,
        ("P01", "BL", "il6"): 3.2,
        ("P01", "BL", "tnfa"): 10.0,
        ("P02", "M06", "il6"): 7.0,
    }
    assert clinical.units["il6"] == "pg/mL"
    assert clinical.columns == ("vas", "womac_pain", "tnfa", "il6", "ae_count")


@pytest.mark.parametrize("name", COLUMNS)
def test_headers_are_read_in_any_spelling(name: str) -> None:
    assert parse_header(name) == (name, "")
    assert parse_header(name.upper().replace("_", " ") + " [U/l]") == (name, "U/l")
    assert parse_header(f"{name} of the left knee") == ("", "")


def test_units_that_differ_between_files(tmp_path: Path) -> None:
    clinical = clinical_of(
        tmp_path,
        "participant,visit,il6 [pg/ml],mmp13 [ng/ml]\nP01,BL,3,5\n",
        "participant,visit,il6 [ng/ml],mmp13\nP02,BL,0.003,6\n",
    )
    assert codes(clinical) == [("UNIT_CONFLICT", 1, "il6"), ("UNIT_CONFLICT", 1, "mmp13")]
    assert [(e.expected, e.found) for e in clinical.exclusions] == [
        ("pg/ml", "ng/ml"),
        ("ng/ml", "no unit"),
    ]
    assert set(clinical.values) == {("P01", "BL", "il6"), ("P01", "BL", "mmp13")}


def test_signs_that_look_the_same_are_one_unit(tmp_path: Path) -> None:
    text = "participant,visit,vas [0–100],il6 [{}g/l]\nP01,BL,5,2\n"
    clinical = clinical_of(tmp_path, text.format("µ"), text.format("μ"), text.format("u"))
    assert clinical.exclusions == ()


def test_a_vas_on_another_scale(tmp_path: Path) -> None:
    clinical = clinical_of(tmp_path, "participant,visit,vas [cm],il6\nP01,BL,5.5,2\n")
    assert codes(clinical) == [("UNIT_CONFLICT", 1, "vas")]
    assert set(clinical.values) == {("P01", "BL", "il6")}


def test_cells_that_are_no_numbers(tmp_path: Path) -> None:
    text = 'participant,visit,vas,il6\nP01,BL,bad pain,<0.5\nP02,BL,"4,5",2\nP03,BL,inf,3\n'
    clinical = clinical_of(tmp_path, text)
    assert codes(clinical) == [
        ("NOT_A_NUMBER", 2, "vas"),
        ("NOT_A_NUMBER", 2, "il6"),
        ("NOT_A_NUMBER", 3, "vas"),
        ("NOT_A_NUMBER", 4, "vas"),
    ]
    assert clinical.exclusions[0].found == "text without a digit"
    assert clinical.exclusions[1].found == "<0.5"
    assert "not a comma" in clinical.exclusions[2].expected
    assert set(clinical.values) == {("P02", "BL", "il6"), ("P03", "BL", "il6")}


def test_numbers_outside_their_scale(tmp_path: Path) -> None:
    text = (
        "participant,visit,vas,il6,ae_count\nP01,BL,100.1,-1,1.5\nP02,BL,-1,0,1\nP03,BL,100,2,0\n"
    )
    clinical = clinical_of(tmp_path, text)
    assert {c for c, _, _ in codes(clinical)} == {"OUT_OF_RANGE"}
    assert len(clinical.exclusions) == 4
    assert clinical.values["P03", "BL", "vas"] == 100.0
    assert ("P02", "BL", "vas") not in clinical.values
    assert clinical.exclusions[0].expected == "a number, 0 to 100"


def test_repeated_participant_and_visit(tmp_path: Path) -> None:
    text = "participant,visit,vas\nP01,BL,5\nP01,BL,5\nP02,BL,6\nP02,BL,7\nP03,BL,8\n"
    clinical = clinical_of(tmp_path, text, "participant,visit,vas\nP03,BL,9\nP01,BL,5\n")
    found = [(e.code.value, e.source, e.line) for e in clinical.exclusions]
    assert found == [
        ("DUPLICATE_ENTRY", "clinical0.csv", 3),
        ("DUPLICATE_ENTRY", "clinical0.csv", 4),
        ("DUPLICATE_ENTRY", "clinical0.csv", 5),
        ("DUPLICATE_ENTRY", "clinical0.csv", 6),
        ("DUPLICATE_ENTRY", "clinical1.csv", 2),
    ]
    assert dict(clinical.values) == {("P01", "BL", "vas"): 5.0}


def test_strangers_unknown_visits_and_columns(tmp_path: Path) -> None:
    text = "participant,visit,vas,comment\nP09,BL,5,x\nP01,M03,5,x\nP01,BL,5\nP02,BL,5,x\n"
    clinical = clinical_of(tmp_path, text)
    assert codes(clinical) == [
        ("UNKNOWN_COLUMN", 1, "comment"),
        ("UNKNOWN_PARTICIPANT", 2, ""),
        ("UNKNOWN_VISIT", 3, ""),
        ("BAD_STUDY_FILE", 4, ""),
    ]
    assert set(clinical.values) == {("P02", "BL", "vas")}


@pytest.mark.parametrize(
    "text, said",
    [
        ("participant,vas\nP01,5\n", "column missing"),
        ("participant,visit,vas,VAS [mm]\nP01,BL,5,5\n", "stands twice"),
    ],
)
def test_a_file_that_cannot_be_used_at_all(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=said):
        clinical_of(tmp_path, text)
