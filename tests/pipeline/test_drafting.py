"""Drafts of a study from headers: ids, key, visits, sides, rules; what is open stays open."""

from __future__ import annotations

import csv
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from kneeimg.core.anatomy import Side
from kneeimg.errors import ExitStatus
from kneeimg.io.dicom import MrProtocol
from kneeimg.pipeline.drafting import Draft, draft_study, existing_drafts, known_ids, write_draft
from kneeimg.pipeline.planning import plan_cases
from kneeimg.trial.study import load_study

Write = Callable[..., Path]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def init(scans: Path, tmp_path: Path) -> Callable[[], tuple[Draft, Path]]:
    def run() -> tuple[Draft, Path]:
        out = tmp_path / "study"
        draft = draft_study(scans, known_ids(out))
        write_draft(draft, scans, out)
        return draft, out

    return run


def test_a_plain_trial_is_drafted_and_runs_as_drafted(
    scans: Path, write_scan: Write, init: Callable[[], tuple[Draft, Path]]
) -> None:
    for person, side in (("HOSP-1", Side.RIGHT), ("HOSP-2", Side.LEFT)):
        for day in (0, 180, 370):
            write_scan(f"{person}-{day}", person=person, side=side, day=day)
    draft, out = init()
    assert draft.exit_status is ExitStatus.MEASURED
    assert draft.open_questions == ()
    settings = tomllib.loads((out / "study.toml").read_text())
    assert [v["name"] for v in settings["visits"]] == ["BL", "M06", "M12"]
    assert "series" not in settings
    assert settings["study"]["key"] == "key.csv"
    people = _rows(out / "participants.csv")
    assert [p["participant"] for p in people] == ["P01", "P02"]
    assert {p["index_knee"] for p in people} == {"left", "right"}
    key = {row["patient_id"]: row["participant"] for row in _rows(out / "key.csv")}
    knees = {row["participant"]: row["index_knee"] for row in people}
    assert knees[key["HOSP-2"]] == "left"
    plan = plan_cases(scans, load_study(out / "study.toml"))
    assert len(plan.cases) == 6
    assert plan.absent == ()


def test_numbers_stand_in_the_sealed_key_alone(
    write_scan: Write, init: Callable[[], tuple[Draft, Path]]
) -> None:
    write_scan("a", person="SECRET-7")
    draft, out = init()
    assert stat.S_IMODE((out / "key.csv").stat().st_mode) == 0o600
    others = [p for p in out.iterdir() if p.name != "key.csv"]
    assert {p.name for p in others} == {"study.toml", "participants.csv"}
    assert not [p for p in others if "SECRET" in p.read_text()]
    assert "SECRET" not in f"{draft.to_json()}{draft.headline()}{draft.open_questions}"
    assert existing_drafts(out) == ["study.toml", "participants.csv", "key.csv"]


def test_a_second_draft_renumbers_nobody(
    write_scan: Write, init: Callable[[], tuple[Draft, Path]]
) -> None:
    for number in (3, 4):
        write_scan(f"s{number}", person=f"HOSP-{number}")
    _, out = init()
    before = {row["patient_id"]: row["participant"] for row in _rows(out / "key.csv")}
    for number in range(8):
        write_scan(f"s{number}", person=f"HOSP-{number}")
    _, out = init()
    after = {row["patient_id"]: row["participant"] for row in _rows(out / "key.csv")}
    assert after.items() >= before.items()
    assert len(set(after.values())) == 8
    assert stat.S_IMODE((out / "key.csv").stat().st_mode) == 0o600


def test_what_is_not_decided_is_left_empty_and_listed(
    write_scan: Write, init: Callable[[], tuple[Draft, Path]]
) -> None:
    write_scan("a", person="A", side=Side.RIGHT)
    write_scan("b", person="A", side=Side.LEFT)
    write_scan("c", person="B", side=None)
    write_scan("d", person="C", day=0)
    write_scan("e", person="C", day=260)
    draft, out = init()
    assert draft.exit_status is ExitStatus.SOME_REFUSED
    key = {row["patient_id"]: row["participant"] for row in _rows(out / "key.csv")}
    knees = {row["participant"]: row["index_knee"] for row in _rows(out / "participants.csv")}
    assert {number: knees[name] for number, name in key.items()} == {"A": "", "B": "", "C": "right"}
    asked = {(q.participant, q.what) for q in draft.open_questions}
    assert asked == {(key["A"], "index knee"), (key["B"], "index knee"), (key["C"], "visit")}
    assert "U260" in next(q.found for q in draft.open_questions if q.participant == key["C"])
    assert all(q.action for q in draft.open_questions)


def test_rules_are_proposed_where_a_scan_has_several_series(
    scans: Path, write_scan: Write, init: Callable[[], tuple[Draft, Path]]
) -> None:
    for day in (0, 182):
        write_scan(f"pd{day}", day=day, description="SAG PD FS (2)", number=2, mask=False)
        for echo in (1, 2):
            protocol = MrProtocol(echo_number=echo, echo_time_ms=5.0 * echo)
            name, number = f"dess{day}-{echo}", 2 + echo
            write_scan(
                name, day=day, description="SAG 3D DESS", number=number, protocol=protocol,
                mask=echo == 1,
            )  # fmt: skip
    draft, out = init()
    settings = tomllib.loads((out / "study.toml").read_text())
    (rule,) = settings["series"]
    assert rule["kind"] == "mri"
    assert "DESS" in rule["description"]
    assert "PD FS \\(2\\)" in (out / "study.toml").read_text()  # as a comment
    assert [q.what for q in draft.open_questions] == ["series of mri scans"]
    plan = plan_cases(scans, load_study(out / "study.toml"))
    assert [case.source for case in plan.cases] == ["dess0-1", "dess182-1"]


def test_repeated_scans_propose_the_average(
    scans: Path, write_scan: Write, init: Callable[[], tuple[Draft, Path]]
) -> None:
    write_scan("a", day=0)
    write_scan("b", day=0, number=2)
    write_scan("c", day=180)
    draft, out = init()
    assert draft.repeats
    assert [q.what for q in draft.open_questions] == ["repeated scans"]
    plan = plan_cases(scans, load_study(out / "study.toml"))
    assert [case.visit.label for case in plan.cases] == ["BL run-1", "BL run-2", "M06"]


def test_without_numbers_and_dates_the_scans_are_listed(
    scans: Path, write_scan: Write, init: Callable[[], tuple[Draft, Path]]
) -> None:
    write_scan("x/ses-BL/dess", person=None, day=None)
    write_scan("x/ses-M06/dess", person=None, day=None)
    draft, out = init()
    assert draft.lists_scans
    assert not (out / "key.csv").exists()
    assert stat.S_IMODE((out / "scans.csv").stat().st_mode) == 0o600
    listed = _rows(out / "scans.csv")
    assert [(row["participant"], row["visit"]) for row in listed] == [("P01", "BL"), ("P01", "M06")]
    plan = plan_cases(out, load_study(out / "study.toml"))
    assert len(plan.cases) == 2
    write_scan("x/other/dess", person=None, day=None)
    draft, out = init()
    assert ("P01", "visit") in {(q.participant, q.what) for q in draft.open_questions}
    assert "" in {row["visit"] for row in _rows(out / "scans.csv")}


def test_an_empty_folder_drafts_nothing(
    init: Callable[[], tuple[Draft, Path]], scans: Path
) -> None:
    draft, out = init()
    assert draft.exit_status is ExitStatus.ALL_REFUSED
    assert not out.exists()
