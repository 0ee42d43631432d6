"""The demo's own check: it must notice what is missed, what is invented and what is not covered."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from kneeimg.demo import expected_minutes
from kneeimg.demo.check import check_demo
from kneeimg.demo.clinical import CLINICAL_COLUMNS, clinical_rows
from kneeimg.demo.compare import KEYS, DemoTables, mean_interval
from kneeimg.demo.masks import write_mask
from kneeimg.demo.plan import FULL, SMALL, DemoTrial, Fault, Planted
from kneeimg.demo.trial import ARMS, TRIAL_VISITS, VISITS
from kneeimg.phantoms.grids import sagittal_grid

PLANTED = (
    Planted(Fault.DROP_OUT, "P01", "M06"),
    Planted(Fault.SCANNER_CHANGE, "P02", "M06"),
    Planted(Fault.WRONG_SIDE, "P03", "M06"),
    Planted(Fault.MISSING_SLICE, "P04", "M12"),
    Planted(Fault.REPEAT_BASELINE, "P05", "BL"),
)
TRIAL = DemoTrial(people=6, visits=VISITS, planted=PLANTED)
LATER = ("M06", "M12")


def scan(participant, visit, kind="mri", status="measured", code=""):
    return {"participant": participant, "visit": visit, "side": "left", "kind": kind,
            "status": status, "code": code, "message": "m", "found": "f"}  # fmt: skip


def good_disposition():
    missing = {("P01", "M06"), ("P01", "M12")}
    rows = []
    for n in range(1, 7):
        for visit in ("BL", *LATER):
            for kind in ("mri", "film"):
                lost = (f"P0{n}", visit) in missing
                rows.append(
                    scan(f"P0{n}", visit, kind, *(("missing", "VISIT_MISSING") if lost else ()))
                )
    rows.append(scan("P05", "BL", "mri", "skipped", "DUPLICATE_SCAN"))
    for row in rows:
        if (row["participant"], row["visit"], row["kind"]) == ("P03", "M06", "mri"):
            row |= {"status": "refused", "code": "LATERALITY_CONFLICT"}
        if (row["participant"], row["visit"], row["kind"]) == ("P04", "M12", "mri"):
            row |= {"status": "refused", "code": "MISSING_SLICES"}
    # the knee that was planned did not come
    rows.append(scan("P03", "M06", "mri", "missing", "VISIT_MISSING"))
    return rows


def tables(disposition=None, *, bias_mm=0.0, extra_reason="", drift=True):
    truth, change, measured = [], [], []
    for n in range(1, 7):
        key = dict(zip(KEYS, (f"P0{n}", "left", "mri", "MT", "ThCtAB_aMe"), strict=True))
        for number, visit in enumerate(("BL", *LATER)):
            truth.append(key | {"visit": visit, "value": 2.0 - 0.1 * number})
            measured.append(key | {"visit": visit, "reason": "", "qc_flags": ""})
        for number, visit in enumerate(LATER, start=1):
            error = bias_mm + 0.01 * (n // 2 % 3 - 1)  # sums to 0 in each arm
            moved = "model: phantom -> phantom 2" if drift and n == 2 else ""
            change.append(key | {"visit_to": visit, "change": -0.1 * number + error, "sdc": 0.05,
                                 "reason": "", "drift": moved})  # fmt: skip
    measured[0]["reason"] = extra_reason
    arms = [{"participant": f"P0{n}", "arm": ARMS[n % 2]} for n in range(1, 7)]
    frames = (truth, arms, measured, change, disposition or good_disposition())
    return DemoTables(*map(pd.DataFrame, frames))


def verdicts(*args, **more):
    return {v.what: v for v in check_demo(TRIAL, tables(*args, **more)).verdicts}


def test_all_planted_faults_are_found_and_nothing_else():
    found = verdicts()
    assert len(found) == len(PLANTED) + 3
    assert all(verdict.ok for verdict in found.values()), found


@pytest.mark.parametrize("code", ["LATERALITY_CONFLICT", "MISSING_SLICES", "DUPLICATE_SCAN"])
def test_a_fault_that_is_not_named_is_missed(code):
    rows = [
        row | ({"code": "BAD_DICOM"} if row["code"] == code else {}) for row in good_disposition()
    ]
    found = verdicts(rows)
    missed = [v for v in found.values() if v.found.startswith("MISSED")]
    assert len(missed) == 1
    assert missed[0].planned.startswith(code)
    assert "BAD_DICOM" in found["anything else flagged"].found
    assert not check_demo(TRIAL, tables(rows)).ok


def test_a_drop_out_must_be_named_at_every_visit_and_kind():
    rows = [
        r
        for r in good_disposition()
        if (r["participant"], r["visit"], r["kind"]) != ("P01", "M12", "film")
    ]
    assert verdicts(rows)["drop-out: P01 M06 on"].found == "MISSED: P01 M12 film"


def test_a_scanner_change_without_drift_is_missed():
    found = verdicts(drift=False)["scanner change: P02 M06 on"]
    assert not found.ok
    assert "P02 M12 mri" in found.found


def test_drift_of_somebody_else_is_something_else():
    given = tables()
    given.change.loc[0, "drift"] = "coil: A -> B"
    verdict = {v.what: v for v in check_demo(TRIAL, given).verdicts}["anything else flagged"]
    assert verdict.found == "P01 M06 mri protocol drift (change)"


def test_a_value_that_is_missing_without_cause_is_something_else():
    verdict = verdicts(extra_reason="UNDETERMINED_SHARE")["anything else flagged"]
    assert verdict.found == "P01 BL mri UNDETERMINED_SHARE (measurements)"


def test_what_no_phantom_can_show_is_expected():
    given = tables()
    given.measured.loc[0, ["reason", "region"]] = ["TISSUE_MISSING", "MM"]
    assert check_demo(TRIAL, given).ok


def test_a_biased_change_is_not_covered():
    found = verdicts(bias_mm=0.1)
    assert not found["true mean change inside its 95 % interval (arm × visit × region)"].ok
    assert not found["true change of single knees within the SDC of the measured one"].ok


def test_every_interval_is_kept():
    cells = check_demo(TRIAL, tables()).cells
    assert len(cells) == len(ARMS) * len(LATER)
    assert all(cell.covered and cell.n == 3 and cell.within_sdc == 3 for cell in cells)
    assert cells[0].true_mm == pytest.approx(-0.1)


def test_an_interval_without_two_values_holds_everything():
    assert mean_interval([1.0]) == (-float("inf"), float("inf"))


def test_the_whole_trial_has_its_size_and_its_faults():
    scans = FULL.scans()
    assert len({s.person.participant for s in scans}) == 25
    arms = [person.arm for person in FULL.persons()]
    assert sorted((arms.count(ARMS[0]), arms.count(ARMS[1]))) == [12, 13]
    assert [visit.name for visit in FULL.visits] == ["BL", "M01", "M03", "M06", "M12"]
    repeats = [s for s in scans if s.repeat]
    assert len(scans) == 25 * 5 - 2 + len(repeats)
    assert all(s.visit.name == "BL" and 0 < s.day <= s.visit.window_days for s in repeats)
    assert {p.fault for p in FULL.planted} == set(Fault)
    # two faults on one person hide each other: without its baseline no drift can be named
    assert len({p.participant for p in FULL.planted}) == len(FULL.planted)
    assert not [s for s in scans if s.person.participant == "P07" and s.visit.name in LATER]


def test_scan_days_of_the_trial_lie_in_their_windows_and_repeats_differ():
    for scan_ in FULL.scans():
        assert 0 <= scan_.day - scan_.visit.day <= scan_.visit.window_days
    first, again = [s for s in FULL.scans() if s.person.participant == "P02"][:2]
    assert again.repeat
    assert again.seed(1) != first.seed(1)
    poses = [s.person.knee(s.visit, entropy=s.seed(1)).pose.matrix for s in (first, again)]
    assert not (poses[0] == poses[1]).all()


def test_the_small_demo_is_the_same_mechanism_without_faults():
    assert SMALL.planted == ()
    assert SMALL.error is None
    assert len(SMALL.scans()) == 18
    assert expected_minutes(SMALL, 2) < expected_minutes(FULL, 2)


def test_clinical_rows_exist_for_visits_that_took_place_and_stay_in_their_limits():
    rows = [dict(zip(CLINICAL_COLUMNS, row, strict=True)) for row in clinical_rows(FULL)]
    assert len(rows) == 25 * len(TRIAL_VISITS) - 2
    assert len({(row["participant"], row["visit"]) for row in rows}) == len(rows)
    for row in rows:
        assert 0 <= row["vas [0-100]"] <= 100
        parts = (row["womac_pain"], row["womac_stiffness"], row["womac_function"])
        assert row["womac_total"] == sum(parts) <= 96
    assert rows == [dict(zip(CLINICAL_COLUMNS, row, strict=True)) for row in clinical_rows(FULL)]
    shorter = replace(FULL, people=3)
    assert len(list(clinical_rows(shorter))) == 15


def test_a_trial_without_masks_expects_what_the_model_says_of_itself():
    disposition = good_disposition()
    for row in disposition:
        if row["kind"] == "mri" and row["status"] == "measured":
            row["code"] = "MODEL_PREVIEW"
    flagged = tables(disposition)
    segmented = replace(TRIAL, masked=False)
    assert check_demo(segmented, flagged).ok
    assert not check_demo(TRIAL, flagged).ok
    assert expected_minutes(segmented, 2) > 2 * expected_minutes(TRIAL, 2)
    assert {scan.masked for scan in segmented.scans()} == {False}


def test_no_mask_is_written_where_the_model_segments(tmp_path):
    person = SMALL.persons()[0]
    series = tmp_path / "dess"
    drawn = person.knee(VISITS[0], entropy=[1]).label_map(
        sagittal_grid((4.0, 4.0, 4.0), (20, 24, 24))
    )
    for masked in (True, False):
        made = replace(next(iter(SMALL.scans())), masked=masked)
        assert write_mask(series, made, person.knee(VISITS[0], entropy=[1]), drawn) is masked
        assert len(list(tmp_path.iterdir())) == 2  # mask and sidecar of the first
