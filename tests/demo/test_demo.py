"""The synthetic trial: same pipeline, known answers, sealed arms, no patient number anywhere."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from kneeimg.demo import DemoResult, run_demo
from kneeimg.demo.compare import KEYS, read_tables
from kneeimg.demo.plan import SMALL
from kneeimg.demo.trial import ARMS, VISITS, demo_people

TWO_PEOPLE = replace(SMALL, people=2)


def test_people_are_reproducible_balanced_and_of_both_sides() -> None:
    people = demo_people(6)
    assert people == demo_people(6)
    assert [person.arm for person in people].count(ARMS[0]) == 3
    assert len({person.side for person in people}) == 2
    assert len({person.patient_id for person in people}) == 6


def test_scan_days_lie_in_their_windows() -> None:
    for person in demo_people(6):
        baseline = person.scan_date(VISITS[0])
        for visit in VISITS:
            assert 0 <= (person.scan_date(visit) - baseline).days - visit.day <= 6


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoResult]:
    out = tmp_path_factory.mktemp("demo")
    return out, run_demo(out, trial=TWO_PEOPLE, workers=2)


@pytest.mark.slow
def test_everything_is_measured(result: tuple[Path, DemoResult]) -> None:
    _, demo = result
    assert demo.summary.exit_status == 0
    assert not demo.summary.refusals


@pytest.mark.slow
def test_measured_thickness_and_change_agree_with_the_truth(
    result: tuple[Path, DemoResult],
) -> None:
    out, _ = result
    truth = pd.read_csv(out / "input" / "truth.csv")
    tables = out / "results" / "tables"
    measured = pd.read_parquet(tables / "measurements.parquet")
    both = truth.merge(measured, on=[*KEYS, "visit"], suffixes=("_true", ""), validate="1:1")
    plates = both[both.region.isin(["MT", "LT", "cMF", "cLF", "TrF", "P"])]
    thickness = plates[plates.quantity == "ThCtAB_aMe"]
    assert len(thickness) == 36
    assert (thickness.value - thickness.value_true).abs().max() < 0.045
    volume = plates[plates.quantity == "VC"]
    assert ((volume.value / volume.value_true - 1).abs().max()) < 0.05
    film = both[(both.kind == "film") & (both.quantity == "mJSW")]
    assert (film.value - film.value_true).abs().max() < 0.10


@pytest.mark.slow
def test_both_tables_are_printed_for_both_arms(result: tuple[Path, DemoResult]) -> None:
    out, demo = result
    again = read_tables(out / "input", out / "results").comparisons()
    assert again == demo.comparisons
    values, change = again
    assert {row[0] for row in change.rows} == set(ARMS)
    assert all("6 of 6" in row for row in values.rows)


@pytest.mark.slow
def test_nothing_is_flagged_and_the_check_is_written(result: tuple[Path, DemoResult]) -> None:
    out, demo = result
    verdicts = {verdict.what: verdict for verdict in demo.check.verdicts}
    assert verdicts["anything else flagged"].ok
    with (out / "demo-check.csv").open(newline="") as file:
        assert [row["what"] for row in csv.DictReader(file)] == list(verdicts)


@pytest.mark.slow
def test_neither_arm_nor_patient_number_reaches_the_results(
    result: tuple[Path, DemoResult],
) -> None:
    out, _ = result
    with (out / "input" / "participants.csv").open(newline="") as file:
        hidden = [row["patient_id"].encode() for row in csv.DictReader(file)]
    hidden.append(b"secretome")  # in both arms' names; four letters alone turn up in any binary
    for path in (out / "results").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(word in content for word in hidden), path


@pytest.mark.slow
def _contents(results: Path) -> dict[Path, bytes]:
    """Every file but the log, which grows with every run."""
    files = (p for p in results.rglob("*") if p.is_file() and p.name != "audit.jsonl")
    return {path: path.read_bytes() for path in files}


def test_a_second_demo_keeps_what_the_first_made(result: tuple[Path, DemoResult]) -> None:
    out, first = result
    before = _contents(out / "results")
    again = run_demo(out, trial=TWO_PEOPLE, workers=2)
    assert again.summary.n_reused == first.summary.n_cases
    assert _contents(out / "results") == before
