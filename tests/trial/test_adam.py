"""ADKNEE by hand: what AVAL, BASE and CHG are, repeated scans, windows, and nothing filled in."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import pandas as pd
import pytest

from kneeimg.core.dataset import Variable
from kneeimg.core.result_tables import CHANGE_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.errors import ReasonCode, StudyError
from kneeimg.longitudinal.change import CARRIED
from kneeimg.settings.study import VisitWindow
from kneeimg.trial import adam_rows
from kneeimg.trial.adam import AdamStudy, adknee, parameters_of, variables_of
from kneeimg.trial.adam_variables import adam_variables

NAN = math.nan
WINDOWS = (
    VisitWindow(name="BL", target_day=0, window_days=14),
    VisitWindow(name="M06", target_day=182, window_days=21),
)
STUDY = AdamStudy("T1", WINDOWS, index_knees={"P01": "right", "P02": "left"}, sites={"": "07"})


def scan(visit: str, value: float, day: int | None, **own: Any) -> dict[str, Any]:
    """A row of the measurements of P01's right MT."""
    row = dict.fromkeys(MEASUREMENT_COLUMNS, "") | {
        "participant": "P01",
        "side": "right",
        "visit": visit,
        "day": day,
        "kind": "mri",
        "region": "MT",
        "quantity": "ThCtAB_aMe",
        "value": value,
        "unit": "mm",
        "status": "not_measurable" if math.isnan(value) else "ok",
        "reason": "REGION_EMPTY" if math.isnan(value) else "",
        "femur_fraction": 0.75,
        "series_uid_hash": f"hash{day}",
    }
    return row | own


def change(visit: str, baseline: float, followup: float, **own: Any) -> dict[str, Any]:
    """A row of the change table of P01's right MT."""
    difference = followup - baseline
    missing = math.isnan(difference)
    row = dict.fromkeys(CHANGE_COLUMNS, "") | {
        "participant": "P01",
        "side": "right",
        "kind": "mri",
        "region": "MT",
        "quantity": "ThCtAB_aMe",
        "visit_from": "BL",
        "visit_to": visit,
        "baseline": baseline,
        "followup": followup,
        "change": difference,
        "change_pct": 100 * difference / baseline,
        "change_per_year": NAN,
        "unit": "mm",
        "reason": "REGISTRATION_FAILED" if missing else "",
        "change_class": "" if missing else "loss",
        "sdc": 0.08,
        "sdc_source": "retest",
        "tab_source": CARRIED,
        "drift": "",
    }
    return row | own


def table(
    scans: list[dict[str, Any]], changes: list[dict[str, Any]] | None = None, **options: Any
) -> pd.DataFrame:
    return adknee(scans, changes or [], options.pop("study", STUDY), **options)


def row_of(frame: pd.DataFrame, **where: Any) -> pd.Series:
    """The only row with these values."""
    for name, value in where.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_aval_is_the_visits_own_and_chg_the_paired_change() -> None:
    frame = table([scan("BL", 2.0, 0), scan("M06", 1.93, 190)], [change("M06", 1.98, 1.90)])
    start, later = row_of(frame, AVISIT="BL"), row_of(frame, AVISIT="M06")
    assert (start.AVAL, start.BASE, start.ABLFL, start.ANL01FL) == (2.0, 2.0, "Y", "Y")
    assert math.isnan(start.CHG)
    assert (later.AVAL, later.BASE, later.ABLFL, later.ANL01FL) == (1.93, 2.0, "", "Y")
    assert later.CHG == 1.90 - 1.98
    assert later.CHG == later.PAVAL - later.PBASE
    assert pytest.approx(100 * (1.90 - 1.98) / 1.98) == later.PCHG
    assert later.CHGMTHD == "PAIRED"
    assert pytest.approx(-0.08 + 0.07) == later.CHGDIFF
    assert (later.CHGCAT1, later.SDC, later.SDCSRC) == ("LOSS", 0.08, "retest")


def test_chg_of_what_is_not_carried_over_is_the_plain_difference() -> None:
    frame = table(
        [scan("BL", 4.0, 0), scan("M06", 3.7, 182)], [change("M06", 4.0, 3.7, tab_source="")]
    )
    later = row_of(frame, AVISIT="M06")
    assert (later.CHGMTHD, later.CHGDIFF) == ("DIFFERENCE", 0.0)
    assert later.CHG == later.AVAL - later.BASE


def test_chg_of_other_scans_than_aval_and_base_says_so() -> None:
    frame = table(
        [scan("BL", 4.0, 0), scan("M06", 3.7, 182)], [change("M06", 4.2, 3.7, tab_source="")]
    )
    later = row_of(frame, AVISIT="M06")
    assert later.CHGMTHD == "OTHER SCANS"
    assert pytest.approx(-0.2) == later.CHGDIFF


def test_chg_never_disagrees_with_aval_minus_base_unless_the_row_says_so() -> None:
    frame = table(
        [scan("BL", 4.0, 0), scan("M06", 3.7, 182), scan("U250", 3.0, 250)],
        [change("M06", 4.2, 3.7), change("U250", 4.0, 3.0, tab_source="")],
    )
    given = frame[frame.CHG.notna()]
    odd = (given.CHG - (given.AVAL - given.BASE)).abs() > 1e-12
    assert (given[odd].CHGMTHD != "DIFFERENCE").all()
    assert (given.CHGMTHD != "").all()
    assert set(frame[frame.CHG.isna()].CHGMTHD) == {""}


def test_no_change_is_made_up_where_no_pair_was_compared() -> None:
    frame = table([scan("BL", 2.0, 0), scan("M06", 1.9, 182)], [change("M06", 2.0, NAN)])
    later = row_of(frame, AVISIT="M06")
    assert later.AVAL == 1.9
    assert math.isnan(later.CHG)
    assert later.CHGRSN == "REGISTRATION_FAILED"


def test_the_baseline_record_has_no_change_from_itself() -> None:
    frame = table([scan("BL", 2.0, 0)], [change("BL", 2.0, 2.0)])
    assert frame.CHG.isna().all()
    assert set(frame.CHGMTHD) == {""}


def test_a_missing_visit_stays_missing_with_its_reason() -> None:
    frame = table([scan("BL", 2.0, 0), scan("M06", NAN, None)], [change("M06", 2.0, NAN)])
    later = row_of(frame, AVISIT="M06")
    assert math.isnan(later.AVAL)
    assert later.AVALRSN == "REGION_EMPTY"
    assert later.ANL01FL == ""
    assert later.BASE == 2.0
    assert pd.isna(later.ADY)
    assert pd.isna(later.AWTDIFF)


def test_a_refused_baseline_gives_no_base_and_no_flag() -> None:
    frame = table([scan("BL", NAN, 0), scan("M06", 1.9, 182)])
    assert frame.BASE.isna().all()
    assert set(frame.ABLFL) == {""}
    assert set(frame.DTYPE) == {""}


def test_two_baseline_scans_are_kept_and_their_average_is_analysed() -> None:
    scans = [
        scan("BL", 2.0, 0, qc_flags="COARSE_GRID"),
        scan("BL", 2.2, 3, qc_flags="COARSE_GRID;LOSSY_COMPRESSED"),
        scan("M06", 2.0, 182),
    ]
    frame = table(scans, [change("M06", 2.0, 2.0), change("M06", 2.1, 2.0)])
    first, second, average = (row for _, row in frame[frame.AVISIT == "BL"].iterrows())
    assert [r.AVAL for r in (first, second)] == [2.0, 2.2]
    assert pytest.approx(2.1) == average.AVAL
    assert [r.DTYPE for r in (first, second, average)] == ["", "", "AVERAGE"]
    assert [r.ANL01FL for r in (first, second, average)] == ["", "", "Y"]
    assert [r.ABLFL for r in (first, second, average)] == ["", "", "Y"]
    assert set(frame.BASE) == {average.AVAL}
    assert average.SRCUID == "hash0;hash3"
    assert average.QCCODES == "COARSE_GRID;LOSSY_COMPRESSED"
    assert (first.ADY, second.ADY, average.ADY) == (1, 4, 4)
    later = row_of(frame, AVISIT="M06")
    assert pytest.approx((0.0 - 0.1) / 2) == later.CHG
    assert pytest.approx(later.PAVAL - later.PBASE) == later.CHG


def test_an_average_that_the_tables_bring_is_taken_as_it_is() -> None:
    scans = [
        scan("BL", 2.0, 0, scan="run-1", dtype=""),
        scan("BL", 2.2, 3, scan="run-2", dtype=""),
        scan("BL", 2.15, 0, scan="", dtype="AVERAGE"),
        scan("M06", 2.0, 182, scan="", dtype=""),
    ]
    both = [change("M06", 2.0, 2.0), change("M06", 2.15, 2.0, dtype="AVERAGE")]
    frame = table(scans, both)
    assert list(frame.SCAN) == ["run-1", "run-2", "", ""]
    assert list(frame.DTYPE) == ["", "", "AVERAGE", ""]
    assert set(frame.BASE) == {2.15}
    assert row_of(frame, AVISIT="M06").CHG == 2.0 - 2.15


def test_of_two_scans_the_only_measured_one_stands_for_the_visit() -> None:
    frame = table([scan("BL", NAN, 0), scan("BL", 2.2, 3)])
    assert list(frame.DTYPE) == ["", ""]
    assert list(frame.ANL01FL) == ["", "Y"]
    assert set(frame.BASE) == {2.2}


def test_there_is_no_day_zero_and_windows_count_alike() -> None:
    frame = table([scan("U-20", 2.0, -20), scan("BL", 2.0, 0), scan("M06", 2.0, 190)])
    before, start, later = (row for _, row in frame.iterrows())
    assert [r.ADY for r in (before, start, later)] == [-20, 1, 191]
    assert [r.AVISITN for r in (before, start, later)] == [-20, 0, 182]
    assert (later.AWTARGET, later.AWLO, later.AWHI) == (183, 162, 204)
    assert (later.AWTDIFF, later.AWU) == (8, "DAYS")
    assert (start.AWLO, start.AWHI) == (-14, 15)
    assert pd.isna(before.AWTARGET)
    assert before.ANL01FL == ""


def test_a_visit_without_a_window_gets_a_number_of_its_own() -> None:
    frame = table([scan("BL", 2.0, 0), scan("LATE", 2.0, None), scan("LAST", 2.0, None)])
    assert dict(zip(frame.AVISIT, frame.AVISITN, strict=True)) == {
        "BL": 0,
        "LATE": 9001,
        "LAST": 9002,
    }
    assert set(frame.ANL01FL) == {"Y"}


def test_dates_only_where_day_zero_is_given() -> None:
    frame = table([scan("BL", 2.0, 0), scan("M06", 2.0, 190)])
    assert list(frame.ADT) == [None, None]
    dated = AdamStudy("T1", WINDOWS, baseline_dates={"P01": date(2024, 2, 28)})
    frame = table([scan("BL", 2.0, 0), scan("M06", 2.0, 2), scan("M06", 2.0, None)], study=dated)
    assert list(frame[frame.DTYPE == ""].ADT) == [date(2024, 2, 28), date(2024, 3, 1), None]


def test_subject_knee_and_site() -> None:
    scans = [
        scan("BL", 2.0, 0),
        scan("BL", 2.1, 0, side="left"),
        scan("BL", 2.2, 0, participant="P02", side="left"),
        scan("BL", NAN, 0, participant="P03", side=""),
    ]
    frame = table(scans)
    assert list(frame.USUBJID) == ["T1-P01", "T1-P01", "T1-P02", "T1-P03"]
    assert list(frame.LAT) == ["LEFT", "RIGHT", "LEFT", ""]
    assert list(frame.INDEXFL) == ["N", "Y", "Y", ""]
    assert list(frame.ASEQ) == [1, 2, 1, 1]
    assert set(frame.SITEID) == {"07"}


def test_baseline_may_be_another_visit_for_one_participant() -> None:
    study = AdamStudy("T1", WINDOWS, baselines={"P01": "M06"})
    frame = table([scan("M06", 2.0, 182), scan("U250", 1.9, 250)], study=study)
    assert list(frame.ABLFL) == ["Y", ""]
    assert set(frame.BASE) == {2.0}


def test_ordered_values_are_rows_of_their_own() -> None:
    ordered = change("M06", NAN, NAN, region="FTJ", quantity="OV1", reason="")
    ordered |= {"change": -0.2, "change_pct": NAN, "change_class": "loss"}
    frame = table([scan("BL", 2.0, 0), scan("M06", 1.9, 182)], [ordered])
    row = row_of(frame, PARAMCD="FTJOV01")
    assert (row.AVAL, row.AVISIT, row.ADY, row.ANL01FL) == (-0.2, "M06", 183, "Y")
    assert math.isnan(row.BASE)
    assert math.isnan(row.CHG)
    assert row.CHGCAT1 == "LOSS"


def test_treatment_stands_only_in_the_unblinded_dataset() -> None:
    scans = [scan("BL", 2.0, 0), scan("BL", 2.0, 0, participant="P02", side="left")]
    assert not {"TRTP", "TRTPN"} & set(table(scans).columns)
    frame = table(scans, arms={"P01": "B drug", "P09": "A drug"})
    assert list(frame.TRTP) == ["B drug", ""]
    assert frame.TRTPN[0] == 2
    assert pd.isna(frame.TRTPN[1])
    ordered = table(scans, arms={"P01": "B drug"}, arm_order=("B drug", "A drug"))
    assert ordered.TRTPN[0] == 1


def test_columns_types_and_metadata_agree() -> None:
    frame = table([scan("BL", 2.0, 0)], arms={"P01": "A"})
    variables = variables_of(frame)
    assert [v.name for v in variables] == list(frame.columns)
    types = {"text": "object", "date": "object", "integer": "Int64", "float": "float64"}
    assert [str(d) for d in frame.dtypes] == [types[v.data_type] for v in variables]
    assert [p.paramcd for p in parameters_of(frame)] == ["MTTTME"]


def test_an_empty_study_has_all_columns() -> None:
    frame = table([])
    assert list(frame.columns) == [v.name for v in adam_variables(with_arms=False)]
    assert len(frame) == 0
    assert parameters_of(frame) == ()


def test_names_labels_and_keys_fit_a_transport_file() -> None:
    variables = adam_variables(with_arms=True)
    names = [v.name for v in variables]
    assert len(set(names)) == len(names)
    assert sorted(v.key for v in variables if v.key) == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="no variable name"):
        Variable("TOOLONGNAME", "x", "text", "x")
    with pytest.raises(ValueError, match="label"):
        Variable("NAME", "x" * 41, "text", "x")


def test_carried_rows_are_recognised_by_the_word_of_the_change_table() -> None:
    assert adam_rows.CARRIED == CARRIED


def test_an_unknown_quantity_is_an_error_and_no_invented_code() -> None:
    with pytest.raises(StudyError) as caught:
        table([scan("BL", 2.0, 0, quantity="brandNew")])
    assert caught.value.code is ReasonCode.INTERNAL_ERROR


def test_the_order_of_rows_does_not_change_values() -> None:
    scans = [scan("BL", 2.0, 0), scan("M06", 1.9, 182), scan("BL", 3.0, 0, region="LT")]
    changes = [change("M06", 2.0, 1.9), change("M06", 3.0, NAN, region="LT")]
    pd.testing.assert_frame_equal(table(scans, changes), table(scans[::-1], changes[::-1]))
