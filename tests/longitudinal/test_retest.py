"""Repeatability studies against simulated data of known error and published worked examples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.measurement import Measurement
from kneeimg.core.precision import (
    PrecisionHeader,
    PrecisionRow,
    PrecisionStudy,
    Procedure,
    StudyKind,
)
from kneeimg.errors import ReasonCode
from kneeimg.longitudinal.precision import (
    icc_2_1_interval,
    icc_3_1_interval,
    sdc95,
    sdc95_interval,
)
from kneeimg.longitudinal.retest import (
    RepeatedChange,
    RepeatedValue,
    method_of,
    precision_rows,
    table_of,
    values_from,
)

#: Six targets, four judges: Shrout & Fleiss 1979, table 2.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]],
    dtype=float,
)
OWN = {
    "kind": "mri",
    "method": "ray/hard",
    "region": "MT",
    "quantity": "ThCtAB_aMe",
    "unit": "mm",
    "sample": "for the test",
    "side": "right",
}


def values(table: np.ndarray, **other: str) -> list[RepeatedValue]:
    """(knees, repeats) as repeated values, one participant per knee."""
    return [
        RepeatedValue(**OWN | other, participant=f"P{i}", scan=f"run-{j}", value=float(v))
        for i, row in enumerate(table)
        for j, v in enumerate(row)
        if not math.isnan(v)
    ]


def changes(table: np.ndarray, **other: str) -> list[RepeatedChange]:
    """(knees, repeats) as changes from the first repeat."""
    return [
        RepeatedChange(
            **OWN | other,
            participant=f"P{i}",
            baseline=float(row[0]),
            followup=float(later),
            change=float(later - row[0]),
        )
        for i, row in enumerate(table)
        for later in row[1:]
    ]


def simulated(people: int, repeats: int, sd: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    truth = rng.normal(2.0, 0.3, size=(people, 1))
    return truth + rng.normal(0.0, sd, size=(people, repeats))


def test_the_published_example() -> None:
    (row,) = precision_rows(values(SHROUT_FLEISS))
    assert (row.n_people, row.n_knees, row.n_scans) == (6, 6, 24)
    assert row.icc_2_1 == pytest.approx(0.29, abs=0.005)
    assert row.icc_3_1 == pytest.approx(0.71, abs=0.005)
    # the intervals that R's psych package gives for this table
    assert icc_2_1_interval(SHROUT_FLEISS) == pytest.approx((0.019, 0.761), abs=0.001)
    assert icc_3_1_interval(SHROUT_FLEISS) == pytest.approx((0.342, 0.946), abs=0.001)
    assert (row.icc_3_1_low, row.icc_3_1_high) == icc_3_1_interval(SHROUT_FLEISS)


@pytest.mark.parametrize("repeats", [2, 3])
def test_known_error_is_recovered_by_both_procedures(repeats: int) -> None:
    table = simulated(400, repeats, 0.05, 1)
    own, paired = precision_rows(values(table), changes(table))
    assert (own.procedure, paired.procedure) == (Procedure.INDEPENDENT, Procedure.PAIRED)
    for row in (own, paired):
        assert row.rms_sd == pytest.approx(0.05, rel=0.08)
        true_sdc = 1.96 * math.sqrt(2) * 0.05
        assert row.sdc95_low < true_sdc < row.sdc95_high
        assert row.n_scans == 400 * repeats
    assert own.sdc95 == pytest.approx(sdc95(table))
    assert own.df == 400 * (repeats - 1)
    if repeats == 2:  # one difference of each knee: the same numbers
        assert paired.sdc95 == pytest.approx(own.sdc95)
        assert paired.df == pytest.approx(own.df)


def test_the_interval_of_three_shared_repeats_covers_as_it_says() -> None:
    """Changes from one first scan share its error; the degrees of freedom know that."""
    true_sdc, hits, rounds = 1.96 * math.sqrt(2) * 0.1, 0, 400
    for seed in range(rounds):
        table = simulated(12, 3, 0.1, seed)
        d = table[:, 1:] - table[:, :1]
        low, high = sdc95_interval(float(np.sqrt((d**2).mean() / 2)), 12 * 4 * 2 / 5)
        hits += low < true_sdc < high
    assert 0.93 <= hits / rounds <= 0.97
    (row,) = precision_rows([], changes(simulated(12, 3, 0.1, 0)))
    assert row.df == pytest.approx(12 * 4 * 2 / 5)


def test_paired_is_the_difference_formula_and_holds_a_bias() -> None:
    d = np.array([0.1, -0.2, 0.4])
    table = np.column_stack([np.array([2.0, 1.5, 1.8]), np.array([2.0, 1.5, 1.8]) + d])
    (row,) = precision_rows([], changes(table))
    assert row.rms_sd == pytest.approx(math.sqrt((d**2).sum() / 6))
    assert row.bias == pytest.approx(0.1)
    assert row.sdc95 == pytest.approx(1.96 * math.sqrt((d**2).mean()))


def test_knees_with_one_scan_and_missing_values_are_left_out() -> None:
    table = np.array([[2.0, 2.2], [1.8, math.nan], [1.0, 1.0]])
    (row,) = precision_rows(values(table))
    assert (row.n_knees, row.n_scans, row.df) == (2, 4, 2.0)
    assert row.rms_sd == pytest.approx(0.1)
    assert precision_rows(values(table[:, :1])) == ()


def test_unequal_numbers_of_scans() -> None:
    table = np.array([[1.0, 1.2, 1.1], [2.0, 2.2, math.nan]])
    (row,) = precision_rows(values(table))
    assert row.rms_sd == pytest.approx(math.sqrt((0.01 + 0.02) / 2))
    assert row.df == pytest.approx(4 / (1 / 2 + 1))


def test_one_knee_has_an_sdc_but_no_correlation() -> None:
    (row,) = precision_rows(values(np.array([[2.0, 2.2]])))
    assert row.sdc95 == pytest.approx(0.392)
    assert row.sdc95_low < row.sdc95 < row.sdc95_high
    assert math.isnan(row.icc_2_1)
    assert math.isnan(row.bias)


def test_both_knees_of_a_person_are_two_knees_of_one() -> None:
    right, left = (values(simulated(5, 2, 0.1, 3), side=side) for side in ("right", "left"))
    (row,) = precision_rows(right + left)
    assert (row.n_people, row.n_knees) == (5, 10)


def test_values_that_never_differ() -> None:
    (row,) = precision_rows(values(np.array([[1.0, 1.0], [2.0, 2.0]])))
    assert row.sdc95 == 0.0
    assert (row.icc_2_1, row.icc_2_1_low, row.icc_2_1_high) == (1.0, 1.0, 1.0)
    (flat,) = precision_rows(values(np.ones((3, 2))))
    assert math.isnan(flat.icc_3_1)


def test_no_cv_around_zero_and_no_agreement_of_pure_changes() -> None:
    (angle,) = precision_rows(values(np.array([[-1.0, -1.2], [0.5, 0.6]])))
    assert math.isnan(angle.rms_cv_pct)
    spread = [replace(c, baseline=math.nan, followup=math.nan) for c in changes(np.ones((3, 2)))]
    (row,) = precision_rows([], [replace(c, change=0.2) for c in spread])
    assert row.sdc95 == pytest.approx(1.96 * 0.2)
    assert math.isnan(row.icc_2_1)
    assert math.isnan(row.mean)


def test_only_paired_rows_of_one_method_judge_a_change() -> None:
    table = simulated(6, 2, 0.1, 0)
    rows = precision_rows(values(table), changes(table) + changes(2 * table, method="ray/soft"))
    header = PrecisionHeader(
        kind=StudyKind.SIMULATED, study="S", software_version="0.1.0", n_people=6
    )
    study = PrecisionStudy(header, rows)
    hard, soft = (
        table_of(study, "mri", m).get("MT", "ThCtAB_aMe") for m in ("ray/hard", "ray/soft")
    )
    assert hard is not None
    assert soft is not None
    assert soft.sdc == pytest.approx(2 * hard.sdc)
    assert hard.source == "simulated: for the test, n=6"
    assert not table_of(study, "film", "ray/hard").entries
    only = PrecisionStudy(header, precision_rows(values(table)))
    assert not table_of(only, "mri", "ray/hard").entries


def test_a_retest_study_is_named_in_the_source() -> None:
    header = PrecisionHeader(kind=StudyKind.RETEST, study="RT1", software_version="0.1.0")
    (row,) = precision_rows(values(simulated(4, 2, 0.1, 0)))
    assert header.source(row) == "retest: study RT1, n=4"


def test_a_key_twice_is_refused() -> None:
    row = PrecisionRow(
        kind="mri", method="", procedure="paired", region="MT", quantity="VC", unit="mm^3",
        sample="", n_people=1, n_knees=1, n_scans=2,
    )  # fmt: skip
    header = PrecisionHeader(kind=StudyKind.RETEST, study="S", software_version="")
    with pytest.raises(ValueError, match="once"):
        PrecisionStudy(header, (row, row))


def test_values_of_a_scan_leave_out_what_was_not_measured() -> None:
    rows = [
        Measurement("MT", "ThCtAB_aMe", 2.0, "mm", method="ray/soft"),
        Measurement.missing("LT", "ThCtAB_aMe", "mm", ReasonCode.TISSUE_MISSING),
    ]
    own = {"kind": "mri", "method": method_of("mri", rows), "sample": "", "participant": "P1"}
    (value,) = values_from(rows, scan="run-1", side="left", **own)
    assert (value.region, value.value, value.method) == ("MT", 2.0, "ray/soft")
    assert method_of("film", [Measurement("medial", "mJSW", 4.0, "mm", method="x")]) == "x"
