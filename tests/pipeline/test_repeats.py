"""Repeated scans: which are repeats, what their mean is, and what change is computed from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.result_tables import CHANGE_COLUMNS
from kneeimg.core.visit import Visit
from kneeimg.errors import Finding, ReasonCode
from kneeimg.io.results import KneeRecord
from kneeimg.io.tables import csv_text, measurement_rows, wide_rows
from kneeimg.pipeline.cases import Plan
from kneeimg.pipeline.longitudinal import Pair, PairReport, Row, pairs_of, run_pair, unmeasured_rows
from kneeimg.pipeline.planned import planned_rows, refused_record, row_context
from kneeimg.pipeline.planning import plan_cases
from kneeimg.pipeline.repeats import average_change, average_record, change_rows, with_averages
from kneeimg.settings.study import StageSettings, StudyFile
from kneeimg.trial.study import load_study

SETTINGS = StageSettings()
PLANNED = planned_rows("film", SETTINGS)


def _record(
    visit: str, day: int | None, value: float, scan: str = "", source: str = "user"
) -> KneeRecord:
    rows = tuple(Measurement(r, q, value, u) for r, q, u in PLANNED)
    context = row_context("film", SETTINGS, f"hash {visit} {scan}", spacing_source=source)
    return KneeRecord(Visit("P01", visit, Side.LEFT, day, scan), "film", "measured", rows, context)


def _refused(visit: str, scan: str) -> KneeRecord:
    finding = Finding(ReasonCode.KNEE_NOT_FOUND, "for the test")
    return refused_record(Visit("P01", visit, Side.LEFT, 3, scan), "film", finding, SETTINGS)


def _plan(*visits: str) -> Plan:
    return Plan("T1", StudyFile(), (), (), {"P01": None}, {"P01": visits})


def test_the_mean_stands_before_the_scans_it_is_of() -> None:
    records = [
        _record("BL", 0, 4.0, "run-1"),
        _record("BL", 7, 4.5, "run-2"),
        _record("M06", 182, 3.0),
    ]
    every = with_averages(records)
    assert [(r.visit.visit, r.visit.scan, r.dtype) for r in every] == [
        ("BL", "", "AVERAGE"),
        ("BL", "run-1", ""),
        ("BL", "run-2", ""),
        ("M06", "", ""),
    ]
    assert {m.value for m in every[0].measurements} == {4.25}
    assert every[0].visit.day == 4
    assert every[0].context.series_uid_hash == "hash BL run-1; hash BL run-2"
    _, knees = wide_rows([row for record in every for row in measurement_rows(record)])
    assert [knee["medial_mJSW"] for knee in knees] == [4.25, 3.0]


def test_a_value_that_one_repeat_lacks_is_the_mean_of_the_others() -> None:
    mean = average_record([_record("BL", 0, 4.0, "run-1"), _refused("BL", "run-2")])
    assert mean.status == "measured"
    assert {m.value for m in mean.measurements} == {4.0}
    none = average_record([_refused("BL", "run-1"), _refused("BL", "run-2")])
    assert none.status == "refused"
    assert {m.reason for m in none.measurements} == {ReasonCode.KNEE_NOT_FOUND}
    first, second = _record("BL", 0, 4.0, "run-1"), _record("BL", 0, 5.0, "run-2")
    hole = Measurement.missing(*PLANNED[0], ReasonCode.REGION_EMPTY)
    holed = replace(first, measurements=(hole, *first.measurements[1:]))
    assert [m.value for m in average_record([holed, second]).measurements[:2]] == [5.0, 4.5]


def test_millimetres_of_different_calibration_have_no_mean() -> None:
    repeats = [_record("BL", 0, 4.0, "run-1"), _record("BL", 0, 4.4, "run-2", "ermf")]
    rows = {m.quantity: m for m in average_record(repeats).measurements}
    assert rows["mJSW"].reason is ReasonCode.PROTOCOL_DRIFT
    assert rows["nmJSW"].value == pytest.approx(4.2)


def _changes(records: list[KneeRecord], out: Path) -> list[Row]:
    pairs = pairs_of(_plan("BL", "M06"), records)
    return change_rows(pairs, [run_pair(pair, out) for pair in pairs])


def test_each_baseline_is_compared_and_the_changes_are_averaged(tmp_path: Path) -> None:
    records = [
        _record("BL", 0, 4.0, "run-1"),
        _record("BL", 10, 4.4, "run-2"),
        _record("M06", 182, 3.0, "run-1"),
        _record("M06", 184, 3.4, "run-2"),
    ]
    rows = _changes(records, tmp_path)
    assert len(rows) == len(PLANNED)
    assert {tuple(row) for row in rows} == {CHANGE_COLUMNS}
    row = next(row for row in rows if row["quantity"] == "mJSW")
    assert row["dtype"] == "AVERAGE"
    assert (row["baseline"], row["followup"]) == (pytest.approx(4.2), pytest.approx(3.2))
    assert row["change"] == pytest.approx(-1.0)
    assert row["change_pct"] == pytest.approx(-100 / 4.2)
    assert row["days"] == 178
    assert row["change_per_year"] == pytest.approx(-365.25 / 178)
    # every comparison is kept under a name of its own, and kept when nothing changes
    written = sorted(p.name for p in (tmp_path / "sub-P01/longitudinal").glob("*_change.json"))
    assert len(written) == 4
    assert written[0] == "sub-P01_ses-M06_side-L_run-1_from-run-1_film_change.json"
    again = _changes(records, tmp_path)
    assert csv_text(CHANGE_COLUMNS, again) == csv_text(CHANGE_COLUMNS, rows)


def test_a_refused_repeat_of_the_baseline_leaves_the_other(tmp_path: Path) -> None:
    records = [_record("BL", 0, 4.0, "run-1"), _refused("BL", "run-2"), _record("M06", 182, 3.0)]
    rows = _changes(records, tmp_path)
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["change"] for row in rows} == {-1.0}
    both = [_refused("BL", "run-1"), _refused("BL", "run-2"), _record("M06", 182, 3.0)]
    assert {row["reason"] for row in _changes(both, tmp_path)} == {"KNEE_NOT_FOUND"}
    assert len(_changes(both, tmp_path)) == len(PLANNED)


def test_single_scans_keep_their_rows_as_they_are(tmp_path: Path) -> None:
    (pair,) = pairs_of(_plan("BL", "M06"), [_record("BL", 0, 4.0), _record("M06", 182, 3.0)])
    report = run_pair(pair, tmp_path)
    assert change_rows([pair], [report]) == list(report.rows)
    assert {row["dtype"] for row in report.rows} == {""}
    assert pair.scan == ""


def test_the_mean_change_is_classed_by_the_mean() -> None:
    pair = Pair(_record("BL", 0, 4.0), _record("M06", 182, 3.0), SETTINGS)
    row = unmeasured_rows(pair, ReasonCode.PROTOCOL_DRIFT)[0]
    known = row | {"status": Status.OK.value, "reason": "", "sdc": 0.2, "sdc_source": "retest"}
    changes = [known | {"baseline": 4.0, "followup": 4.0 - x, "change": -x} for x in (0.1, 0.5)]
    mean = average_change(changes)
    assert mean["change"] == pytest.approx(-0.3)
    assert mean["change_class"] == "loss"
    assert average_change([changes[0], row])["change_class"] == "within measurement error"
    assert math.isnan(average_change([row, row])["change"])
    assert PairReport((mean,)).rows[0]["dtype"] == "AVERAGE"


TABLE = "participant,visit,side,mask,date,scan\n"


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Plan]:
    def make(rows: str, study: str = "", visits: str = "") -> Plan:
        for name in "abcd":
            (tmp_path / f"{name}.nii").write_bytes(name.encode())
        (tmp_path / "participants.csv").write_text("participant\nP01\n")
        (tmp_path / "scans.csv").write_text(TABLE + rows)
        (tmp_path / "study.toml").write_text(f"[study]\nscans='scans.csv'\n{study}\n{visits}")
        return plan_cases(tmp_path, load_study(tmp_path / "study.toml"))

    return make


def _scans(plan: Plan) -> list[tuple[str, str, str]]:
    return [(case.visit.visit, case.visit.scan, case.source) for case in plan.cases]


TWO = "P01,BL,R,a.nii,2024-01-01,\nP01,BL,R,b.nii,2024-01-08,\n"


def test_listed_scans_of_one_visit(listed: Callable[..., Plan]) -> None:
    nearest = listed(TWO)
    assert _scans(nearest) == [("BL", "", "a.nii")]
    (absent,) = nearest.absent
    assert (absent.row.source, absent.row.status) == ("b.nii", "skipped")
    assert absent.row.finding is not None
    assert absent.row.finding.code is ReasonCode.DUPLICATE_SCAN
    both = listed(TWO, "repeats='average'")
    assert _scans(both) == [("BL", "run-1", "a.nii"), ("BL", "run-2", "b.nii")]
    assert len({case.manifest for case in both.cases}) == 2
    assert len({case.name for case in both.cases}) == 2
    assert _scans(listed(TWO, "repeats='average'\nrepeat_days=3")) == [("BL", "", "a.nii")]


def test_names_in_the_list_always_hold(listed: Callable[..., Plan]) -> None:
    rows = "P01,BL,R,a.nii,,run-2\nP01,BL,R,b.nii,,run-1\nP01,BL,R,c.nii,,\n"
    plan = listed(rows)
    assert _scans(plan) == [("BL", "run-1", "b.nii"), ("BL", "run-2", "a.nii")]
    assert [item.row.source for item in plan.absent] == ["c.nii"]


def test_masks_named_as_repeats(tmp_path: Path) -> None:
    for run in (1, 2):
        (tmp_path / f"sub-P01_ses-BL_side-R_run-{run}_dseg.nii").write_bytes(b"m")
    plan = plan_cases(tmp_path)
    assert [case.visit.scan for case in plan.cases] == ["run-1", "run-2"]
    assert plan.absent == ()
