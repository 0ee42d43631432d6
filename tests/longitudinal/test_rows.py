"""Rows of the change table, film comparisons and their derived columns."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from kneeimg.core.measurement import Measurement, Status
from kneeimg.errors import ReasonCode
from kneeimg.longitudinal.change import compare_films
from kneeimg.longitudinal.rows import (
    ChangeClass,
    ChangeRow,
    PrecisionTable,
    Repeatability,
    change_row,
    classify,
)

COLUMNS = """
    participant side kind region quantity visit_from visit_to days dtype baseline followup change
    change_pct change_per_year unit status reason change_class sdc sdc_source progression tab_source
    registration_rms_mm drift method software_version
"""


def mm(value: float, region: str = "medial", quantity: str = "mJSW") -> Measurement:
    return Measurement(region, quantity, value, "mm", method="duryea")


def test_attributes_are_the_columns_in_order() -> None:
    assert [field.name for field in fields(ChangeRow)] == COLUMNS.split()


def test_change_percent_and_rate() -> None:
    row = change_row(mm(4.0), mm(3.4), 730.5)
    assert row.change == pytest.approx(-0.6)
    assert row.change_pct == pytest.approx(-15.0)
    assert row.change_per_year == pytest.approx(-0.3)
    assert (row.status, row.reason, row.method) == (Status.OK, None, "duryea")
    assert row.change_class is ChangeClass.NO_DATA


def test_no_percentage_of_zero_or_of_an_angle() -> None:
    assert math.isnan(change_row(mm(0.0), mm(0.2), None).change_pct)
    angle = Measurement("knee", "JLCA", 2.0, "deg")
    assert math.isnan(change_row(angle, angle, 10).change_pct)


@pytest.mark.parametrize("days", [None, 0, -5])
def test_no_rate_without_time(days: float | None) -> None:
    assert math.isnan(change_row(mm(4.0), mm(3.0), days).change_per_year)


def test_a_missing_visit_keeps_the_other_value() -> None:
    gone = Measurement.missing("medial", "mJSW", "mm", ReasonCode.MARGIN_UNCERTAIN)
    row = change_row(mm(4.0), gone, 100)
    assert (row.baseline, row.status, row.reason) == (
        4.0,
        Status.NOT_MEASURABLE,
        ReasonCode.MARGIN_UNCERTAIN,
    )
    assert math.isnan(row.change)


def test_a_change_of_method_is_said() -> None:
    before = Measurement("MT", "VC", 1.0, "mm^3", method="ray/soft")
    after = Measurement("MT", "VC", 1.0, "mm^3", method="ray/hard")
    assert change_row(before, after, None).method == "ray/soft -> ray/hard"


def test_unlike_quantities_are_not_compared() -> None:
    with pytest.raises(ValueError, match="against"):
        change_row(mm(1.0), mm(1.0, quantity="JSA"), None)


@pytest.mark.parametrize(
    "change, expected",
    [
        (-0.3, ChangeClass.LOSS),
        (0.3, ChangeClass.GAIN),
        (-0.2, ChangeClass.WITHIN),
        (math.nan, ChangeClass.NO_DATA),
    ],
)
def test_classes(change: float, expected: ChangeClass) -> None:
    assert classify(change, Repeatability(0.2, "rescans")) is expected


def test_repeatability_is_a_finite_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        Repeatability(math.nan, "")


def test_films_of_the_same_spacing_source() -> None:
    table = PrecisionTable({("medial", "mJSW"): Repeatability(0.4, "repositioned films")})
    rows = compare_films([mm(4.0)], [mm(3.4)], 365.25, True, table)
    assert [(row.kind, row.change_class) for row in rows] == [("film", ChangeClass.LOSS)]
    assert rows[0].change == pytest.approx(-0.6)


def test_millimetres_of_different_sources_are_never_compared() -> None:
    ratio = Measurement("medial", "nmJSW", 0.05, "ratio")
    rows = compare_films([mm(4.0), ratio], [mm(3.4), ratio], None, False)
    assert rows[0].reason is ReasonCode.PROTOCOL_DRIFT
    assert math.isnan(rows[0].change)
    assert rows[0].baseline == 4.0
    assert rows[1].change == 0.0


def test_films_without_a_counterpart() -> None:
    rows = compare_films([mm(4.0)], [mm(1.0, "lateral")], None, True)
    assert [(row.region, row.reason) for row in rows] == [
        ("medial", ReasonCode.VISIT_MISSING),
        ("lateral", ReasonCode.NO_BASELINE),
    ]


def test_no_percentage_of_a_denuded_area_that_begins_near_zero() -> None:
    before, after = (Measurement("MT", "dAB", value, "mm^2") for value in (0.1, 12.0))
    row = change_row(before, after, 365.25)
    assert row.change == pytest.approx(11.9)
    assert math.isnan(row.change_pct)
