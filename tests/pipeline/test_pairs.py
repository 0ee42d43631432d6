"""Which visits are compared, and what stands in the table when they cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.measurement import Measurement
from kneeimg.core.result_tables import CHANGE_COLUMNS
from kneeimg.core.visit import Visit
from kneeimg.errors import Finding, ReasonCode
from kneeimg.io.results import Kind, KneeRecord
from kneeimg.pipeline.cases import Plan
from kneeimg.pipeline.longitudinal import Pair, pairs_of, run_pair
from kneeimg.pipeline.planned import planned_rows, refused_record, row_context
from kneeimg.pipeline.protocol import drift_between
from kneeimg.settings.study import StageSettings, StudyFile

SETTINGS = StageSettings()
PLANNED = len(planned_rows("film", SETTINGS))


def _record(
    visit: str, day: int | None, value: float = 4.0, kind: Kind = "film", source: str = "user"
) -> KneeRecord:
    rows = tuple(Measurement(r, q, value, u) for r, q, u in planned_rows(kind, SETTINGS))
    context = row_context(kind, SETTINGS, "", spacing_source=source)
    return KneeRecord(Visit("P01", visit, Side.LEFT, day), kind, "measured", rows, context)


def _refused(visit: str, code: ReasonCode = ReasonCode.KNEE_NOT_FOUND) -> KneeRecord:
    where = Visit("P01", visit, Side.LEFT, None)
    return refused_record(where, "film", Finding(code, "for the test"), SETTINGS)


def _plan(*visits: str) -> Plan:
    return Plan("T1", StudyFile(), (), (), {"P01": None}, {"P01": visits})


def test_every_follow_up_is_compared_with_the_first_visit() -> None:
    records = [_record("M12", 365), _record("BL", 0), _record("M06", 180)]
    pairs = pairs_of(_plan("BL", "M06", "M12"), records)
    assert [(p.baseline.visit.visit, p.followup.visit.visit, p.days) for p in pairs] == [
        ("BL", "M06", 180),
        ("BL", "M12", 365),
    ]


def test_a_knee_without_any_measured_visit_has_no_pairs() -> None:
    assert pairs_of(_plan("BL", "M06"), [_refused("BL"), _refused("M06")]) == []


@pytest.mark.parametrize(
    "records, reason",
    [
        ([_record("M06", 180)], "NO_BASELINE"),
        ([_refused("BL"), _record("M06", 180)], "KNEE_NOT_FOUND"),
        ([_record("BL", 0), _refused("M06")], "KNEE_NOT_FOUND"),
    ],
)
def test_unmeasured_visits_keep_their_rows(
    records: list[KneeRecord], reason: str, tmp_path: Path
) -> None:
    (pair,) = pairs_of(_plan("BL", "M06"), records)
    report = run_pair(pair, tmp_path)
    assert len(report.rows) == PLANNED
    assert {row["reason"] for row in report.rows} == {reason}
    assert {row["status"] for row in report.rows} == {"not_measurable"}
    assert list(tmp_path.iterdir()) == []


def test_a_forbidden_comparison_says_why(tmp_path: Path) -> None:
    refusal = Finding(ReasonCode.EXTENT_MISMATCH, "fewer slices")
    pair = Pair(_record("BL", 0), _record("M06", 180), SETTINGS, refusal)
    assert {row["reason"] for row in run_pair(pair, tmp_path).rows} == {"EXTENT_MISMATCH"}


def test_films_are_compared_kept_and_compared_again(tmp_path: Path) -> None:
    pair = Pair(_record("BL", 0, 4.0), _record("M06", 180, 3.5), SETTINGS)
    first = run_pair(pair, tmp_path)
    assert {tuple(row) for row in first.rows} == {CHANGE_COLUMNS}
    jsw = next(row for row in first.rows if row["quantity"] == "mJSW")
    assert jsw["change"] == -0.5
    assert jsw["days"] == 180
    assert jsw["change_per_year"] == pytest.approx(-0.5 * 365.25 / 180)
    again = run_pair(pair, tmp_path)
    assert again.reused
    assert [row["change"] for row in again.rows] == [row["change"] for row in first.rows]
    (written,) = (tmp_path / "sub-P01/longitudinal").glob("*_change.json")
    written.write_text("{}")
    assert run_pair(pair, tmp_path).changed


def test_days_are_unknown_when_one_visit_has_none() -> None:
    assert Pair(_record("BL", None), _record("M06", 180), SETTINGS).days is None


def test_millimetres_of_different_calibration_are_not_compared(tmp_path: Path) -> None:
    pair = Pair(_record("BL", 0), _record("M06", 180, source="ermf"), SETTINGS)
    rows = {row["quantity"]: row for row in run_pair(pair, tmp_path).rows}
    assert rows["mJSW"]["reason"] == "PROTOCOL_DRIFT"
    assert rows["nmJSW"]["status"] == "ok"


def test_drift_stands_on_the_row(tmp_path: Path) -> None:
    before = replace(_record("BL", 0), protocol=(("model", "A"), ("view", "PA")))
    after = replace(_record("M06", 180), protocol=(("model", "B"), ("view", "PA")))
    row = run_pair(Pair(before, after, SETTINGS), tmp_path).rows[0]
    assert row["drift"] == "model: A -> B"
    assert drift_between((), (("coil", "knee"),)) == ("coil: unknown -> knee",)
