"""From folders and tables to cases and dispositions; headers only, so the images are tiny."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.errors import Finding, KneeimgError, ReasonCode
from kneeimg.io.dicom import MrProtocol, Origin, write_mr_series, write_radiograph
from kneeimg.io.dicom.write_film import FilmTags
from kneeimg.pipeline.cases import Plan
from kneeimg.pipeline.longitudinal import pairs_of
from kneeimg.pipeline.planned import refused_record
from kneeimg.pipeline.planning import names_of_mask, plan_cases
from kneeimg.trial.study import load_study

BASELINE = date(2024, 1, 10)
GRID = Grid((6, 8, 8), np.diag([1.0, 0.5, 0.5, 1.0]), "1.2.3")
IMAGE = Volume(np.arange(6 * 8 * 8, dtype=np.int16).reshape(6, 8, 8), GRID, "a.u.")


def _day(day: int) -> str:
    return (BASELINE + timedelta(days=day)).isoformat()


def _series(
    folder: Path,
    *,
    person: str | None = "HOSP-1",
    day: int | None = 0,
    side: Side | None = Side.RIGHT,
    mask: bool = True,
    description: str = "SAG DESS",
    number: int = 1,
    echo: int | None = None,
) -> Path:
    origin = Origin(
        patient_id=person,
        study_date="" if day is None else _day(day),
        description=description,
        series_number=number,
        seed=f"{folder}",
    )
    protocol = MrProtocol() if echo is None else MrProtocol(echo_number=echo)
    write_mr_series(IMAGE, folder, side=side, origin=origin, protocol=protocol)
    if mask:
        (folder / "dess_dseg.nii.gz").write_bytes(b"mask of " + str(folder).encode())
    return folder


def _film(path: Path, *, person: str = "HOSP-1", day: int = 0, laterality: str = "R") -> Path:
    image = np.linspace(0, 1, 20 * 30).reshape(20, 30)
    tags = FilmTags(laterality=laterality)  # type: ignore[arg-type]
    origin = Origin(patient_id=person, study_date=_day(day), description="PA", seed=str(path))
    return write_radiograph(image, path, film=tags, origin=origin)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


@pytest.fixture
def plan(scans: Path, tmp_path: Path) -> Callable[..., Plan]:
    def make(
        people: str | None = "participant,index_knee,patient_id\nP01,right,HOSP-1\n",
        toml: str = "[study]\nid='T1'\n",
        side: Side | None = None,
    ) -> Plan:
        if people is None:
            return plan_cases(scans, None, side)
        (tmp_path / "participants.csv").write_text(people)
        (tmp_path / "study.toml").write_text(toml)
        return plan_cases(scans, load_study(tmp_path / "study.toml"), side)

    return make


def _codes(plan: Plan) -> list[tuple[str, str, str]]:
    return [
        (item.row.visit, item.row.status, item.row.finding.code.value if item.row.finding else "")
        for item in plan.absent
    ]


ONE_VISIT = "[study]\nid='T1'\n[[visits]]\nname='BL'\ntarget_day=0\nwindow_days=14\n"
TWO_VISITS = ONE_VISIT + "[[visits]]\nname='M06'\ntarget_day=182\nwindow_days=21\n"


def test_visits_follow_from_dates_and_missing_ones_are_rows(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", day=0)
    _series(scans / "b", day=180)
    made = plan()
    assert [(c.visit.visit, c.visit.day, c.visit.side) for c in made.cases] == [
        ("BL", 0, Side.RIGHT),
        ("M06", 180, Side.RIGHT),
    ]
    assert _codes(made) == [(v, "missing", "VISIT_MISSING") for v in ("M01", "M03", "M12")]
    assert all(item.planned and item.row.side == "right" for item in made.absent)
    assert made.visit_order["P01"] == ("BL", "M01", "M03", "M06", "M12")


def test_two_scans_in_one_window_keep_the_nearest(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "a", day=0)
    _series(scans / "late", day=195)
    _series(scans / "near", day=184)
    made = plan(toml=TWO_VISITS)
    assert [(c.visit.visit, c.source) for c in made.cases] == [("BL", "a"), ("M06", "near")]
    assert _codes(made) == [("M06", "skipped", "DUPLICATE_SCAN")]
    assert not made.absent[0].planned


def test_scan_outside_every_window_is_measured_flagged_and_unscheduled(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", day=0)
    _series(scans / "b", day=100)
    made = plan(toml=TWO_VISITS)
    unscheduled = made.cases[1]
    assert unscheduled.visit.visit == "U100"
    assert [f.code for f in unscheduled.placing] == [ReasonCode.VISIT_OUT_OF_WINDOW]
    assert made.visit_order["P01"] == ("BL", "U100", "M06")


@pytest.mark.parametrize(
    "names, code",
    [((), "NO_MASK"), (("a_dseg.nii.gz", "b_dseg.nrrd"), "AMBIGUOUS_MASK")],
)
def test_no_mask_and_several_masks(
    scans: Path, plan: Callable[..., Plan], names: tuple[str, ...], code: str
) -> None:
    folder = _series(scans / "a", mask=False)
    for name in names:
        (folder / name).write_bytes(b"m")
    made = plan(toml=ONE_VISIT + "[segmentation]\nmodel='none'\n")
    assert made.cases == ()
    (absent,) = made.absent
    assert absent.planned
    assert absent.row.finding is not None
    assert absent.row.finding.code == code
    for name in names:
        assert name in absent.row.finding.found


def test_mask_beside_the_series_folder(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "dess", mask=False)
    (scans / "dess_probseg.nii.gz").write_bytes(b"m")
    (scans / "other_dseg.nii.gz").write_bytes(b"m")
    (case,) = plan(toml=ONE_VISIT).cases
    assert case.mask is not None
    assert case.mask.path.name == "dess_probseg.nii.gz"


def test_stranger_is_refused_without_his_number(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "a")
    _series(scans / "HOSP-9", person="HOSP-9")
    made = plan(toml=ONE_VISIT)
    assert len(made.cases) == 1
    (absent,) = made.absent
    assert absent.row.finding is not None
    assert absent.row.finding.code is ReasonCode.SUBJECT_MISMATCH
    assert absent.row.participant == ""
    assert "HOSP-9" not in repr(absent)
    assert "[redacted]" in absent.row.source


def test_study_id_as_patient_id(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "P07" / "dess", person="P07")
    made = plan("participant,index_knee\nP07,right\n", ONE_VISIT)
    assert made.cases[0].visit.participant == "P07"
    assert made.cases[0].source == "P07/dess"


def test_without_dates_and_numbers_folders_may_say_both(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "sub-P01" / "ses-M06" / "dess", person=None, day=None)
    made = plan("participant,index_knee\nP01,right\n", TWO_VISITS)
    assert [(c.visit.participant, c.visit.visit) for c in made.cases] == [("P01", "M06")]
    assert _codes(made) == [("BL", "missing", "VISIT_MISSING")]


def test_both_knees_of_a_visit_have_manifests_of_their_own(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "r", side=Side.RIGHT)
    _series(scans / "l", side=Side.LEFT)
    made = plan(toml=ONE_VISIT)
    assert {c.manifest for c in made.cases} == {"manifest_side-L.json", "manifest_side-R.json"}
    assert len({c.name for c in made.cases}) == 2


def test_side_sources(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "a", side=None)
    assert plan(toml=ONE_VISIT).cases[0].visit.side is None
    assert plan(toml=ONE_VISIT, side=Side.LEFT).cases[0].visit.side is Side.LEFT
    index = ONE_VISIT.replace("id='T1'", "id='T1'\nonly_index_knee=true")
    case = plan(toml=index).cases[0]
    assert case.visit.side is Side.RIGHT
    assert ReasonCode.NO_LATERALITY not in {f.code for f in case.findings}


def test_file_against_index_knee_is_a_conflict(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "a", side=Side.LEFT)
    made = plan(toml=ONE_VISIT.replace("id='T1'", "id='T1'\nonly_index_knee=true"))
    assert made.cases == ()
    assert ("BL", "refused", "LATERALITY_CONFLICT") in _codes(made)


def test_two_scans_of_unknown_side_are_refused(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "a", side=Side.RIGHT)
    _series(scans / "b", side=None)
    made = plan(toml=ONE_VISIT)
    assert [c.source for c in made.cases] == ["a"]
    assert _codes(made) == [("BL", "refused", "NO_LATERALITY")]
    assert not made.absent[0].planned  # the knee that was planned has its case


def test_ambiguous_series_gives_a_selector_and_a_rule_solves_it(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", description="SAG DESS", number=1)
    _series(scans / "b", description="SAG PD", number=2)
    made = plan(toml=ONE_VISIT)
    finding = made.absent[0].row.finding
    assert finding is not None
    assert finding.code is ReasonCode.AMBIGUOUS_SERIES
    assert "[[series]]" in finding.action
    assert sum(item.planned for item in made.absent) == 1
    assert [item.row.status for item in made.absent] == ["refused", "skipped"]
    assert {code for _, _, code in _codes(made)} == {"AMBIGUOUS_SERIES"}
    ruled = plan(toml=ONE_VISIT + "[[series]]\nkind='mri'\ndescription='DESS'\n")
    assert [c.source for c in ruled.cases] == ["a"]
    assert _codes(ruled) == [("BL", "skipped", "NO_RULE_MATCHES")]


def test_series_that_no_rule_takes_leaves_the_visit_missing(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", description="SAG PD")
    _film(scans / "r.dcm", laterality="R")
    made = plan(toml=ONE_VISIT + "[[series]]\nkind='mri'\ndescription='DESS'\n")
    found = {
        (item.row.kind, item.row.status, item.row.finding and item.row.finding.code, item.planned)
        for item in made.absent
    }
    assert found == {
        ("mri", "skipped", "NO_RULE_MATCHES", False),
        ("film", "skipped", "NO_RULE_MATCHES", False),
        ("mri", "missing", "VISIT_MISSING", True),
    }


def test_broken_series_keeps_its_planned_rows(scans: Path, plan: Callable[..., Plan]) -> None:
    folder = _series(scans / "a")
    sorted(folder.glob("*.dcm"))[2].unlink()
    made = plan(toml=ONE_VISIT)
    assert _codes(made) == [("BL", "refused", "MISSING_SLICES")]
    assert made.absent[0].planned


def test_films_and_odd_files(scans: Path, plan: Callable[..., Plan]) -> None:
    _film(scans / "r.dcm", laterality="R")
    _film(scans / "both.dcm", laterality="B", day=182)
    (scans / "cut.dcm").write_bytes(bytes(128) + b"DICM" + b"\x08\x00")
    made = plan(toml=TWO_VISITS)
    assert [(c.kind, c.visit.visit, c.bilateral) for c in made.cases] == [
        ("film", "BL", False),
        ("film", "M06", True),
    ]
    assert [item.row.source for item in made.absent] == ["cut.dcm"]


def test_without_a_study_people_are_numbered_and_dates_ordered(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", person="HOSP-1", day=0)
    _series(scans / "b", person="HOSP-1", day=190)
    _series(scans / "c", person="HOSP-2", day=5)
    made = plan(None)
    found = {(c.visit.participant, c.visit.visit, c.visit.day) for c in made.cases}
    assert {participant for participant, _, _ in found} == {"P01", "P02"}
    assert {(visit, day) for _, visit, day in found} == {("V01", 0), ("V02", 190)}
    assert "HOSP" not in repr(made.absent) + repr([c.source for c in made.cases])


def test_without_a_study_the_series_with_a_mask_is_taken(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", description="SAG DESS", number=1)
    _series(scans / "b", description="SAG PD", number=2, mask=False)
    assert [c.source for c in plan(None).cases] == ["a"]


def test_plain_masks(scans: Path, plan: Callable[..., Plan]) -> None:
    for name in ("P01_M00.nii.gz", "sub-A1_ses-M06_side-L_dseg.nii.gz", "x" * 40 + ".nii"):
        (scans / name).write_bytes(b"m")
    made = plan(None, side=Side.RIGHT)
    found = [(c.visit.participant, c.visit.visit, c.visit.side) for c in made.cases]
    assert found == [("A1", "M06", Side.LEFT), ("P01-M00", "V01", Side.RIGHT)]
    assert _codes(made) == [("", "refused", "BAD_STUDY_ID")]


def test_names_of_masks() -> None:
    assert names_of_mask(Path("sub-01_ses-BL_dseg.nrrd")) == ("01", "BL", None, "")
    with pytest.raises(KneeimgError):
        names_of_mask(Path("....nii"))


def test_empty_folder_is_an_error(scans: Path, plan: Callable[..., Plan]) -> None:
    (scans / "readme.txt").write_text("nothing")
    with pytest.raises(KneeimgError, match="nothing to measure"):
        plan(None)


def test_cases_can_be_sent_to_another_process(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "a")
    (case,) = plan(toml=ONE_VISIT).cases
    back = pickle.loads(pickle.dumps(case))
    assert back.identity() == case.identity()
    assert back.inputs == case.inputs


def test_listed_dicom_of_another_person_is_refused(scans: Path, tmp_path: Path) -> None:
    _series(scans / "a", person="HOSP-2")
    (tmp_path / "participants.csv").write_text("participant,patient_id\nP01,HOSP-1\n")
    (tmp_path / "scans.csv").write_text("participant,visit,path\nP01,BL,scans/a\n")
    (tmp_path / "study.toml").write_text("[study]\nscans='scans.csv'\n")
    made = plan_cases(tmp_path, load_study(tmp_path / "study.toml"))
    assert _codes(made) == [("BL", "refused", "SUBJECT_MISMATCH")]


def test_listed_dicom_folder_with_its_mask(scans: Path, tmp_path: Path) -> None:
    _series(scans / "a", person="HOSP-1")
    (tmp_path / "participants.csv").write_text("participant,patient_id\nP01,HOSP-1\n")
    (tmp_path / "scans.csv").write_text(
        "participant,visit,path,date\nP01,BL,scans/a,2024-01-10\nP01,M06,scans/gone,\n"
    )
    (tmp_path / "study.toml").write_text("[study]\nscans='scans.csv'\n")
    made = plan_cases(tmp_path, load_study(tmp_path / "study.toml"))
    (case,) = made.cases
    assert case.visit.side is Side.RIGHT
    assert case.mask is not None
    assert len(case.inputs) == 7
    assert [item.row.status for item in made.absent] == ["refused"]


def test_name_in_a_folder_name_is_redacted(scans: Path, plan: Callable[..., Plan]) -> None:
    folder = _series(scans / "SMITH_JOHN" / "dess")
    for path in folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientName = "Smith^John"
        dataset.save_as(path)
    (case,) = plan(toml=ONE_VISIT).cases
    assert case.source == "[redacted]_[redacted]/dess"
    assert not any("SMITH" in name for name, _ in case.inputs)


def test_echoes_without_a_patient_id_and_with_torn_studies_are_one_person(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    for number in (1, 2):
        folder = _series(scans / f"e{number}", person=None, echo=number, mask=False)
        for path in folder.glob("*.dcm"):
            dataset = pydicom.dcmread(path)
            dataset.StudyInstanceUID = f"1.2.3.{number}"
            dataset.SeriesInstanceUID = f"1.2.4.{number}"
            dataset.save_as(path)
    made = plan(None)
    assert {item.row.participant for item in made.absent} == {"P01"}
    assert {code for _, _, code in _codes(made)} == {"AMBIGUOUS_SERIES"}
    assert "echo_number = 2" in str([item.row.finding for item in made.absent])


def test_slices_other_than_the_protocol_are_flagged(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "a")
    rule = "[[series]]\nkind='mri'\nprotocol_slices={}\n"
    (case,) = plan(toml=ONE_VISIT + rule.format(8)).cases
    (finding,) = case.findings
    assert finding.code is ReasonCode.EXTENT_MISMATCH
    assert "6 slices" in finding.found
    assert "8 slices" in finding.expected
    assert plan(toml=ONE_VISIT + rule.format(6)).cases[0].findings == ()


def test_a_follow_up_that_lost_its_end_slice_is_not_compared(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", day=0)
    shorter = _series(scans / "b", day=182)
    sorted(shorter.glob("*.dcm"))[-1].unlink()
    made = plan(toml=TWO_VISITS)
    settings = made.settings.stages()
    finding = Finding(ReasonCode.NO_MASK, "stands in for a measured record")
    records = [
        replace(refused_record(case.visit, "mri", finding, settings), status="measured")
        for case in made.cases
    ]
    (pair,) = pairs_of(made, records)
    assert pair.refusal is not None
    assert pair.refusal.code is ReasonCode.EXTENT_MISMATCH
    assert not pair.comparable


AVERAGED = TWO_VISITS.replace("id='T1'", "id='T1'\nrepeats='average'\nrepeat_days=14")


def test_repeats_of_a_day_and_of_a_window_are_all_measured(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", day=0, number=1)
    _series(scans / "b", day=0, number=2)
    _series(scans / "c", day=9)
    _series(scans / "m1", day=184)
    _series(scans / "m2", day=162)
    made = plan(toml=AVERAGED)
    assert [(c.visit.visit, c.visit.scan, c.source) for c in made.cases] == [
        ("BL", "run-1", "a"),
        ("BL", "run-2", "b"),
        ("BL", "run-3", "c"),
        ("M06", "", "m1"),
    ]
    assert _codes(made) == [("M06", "skipped", "DUPLICATE_SCAN")]  # 22 days from the nearest
    assert len({c.manifest for c in made.cases[:3]}) == 3


def test_series_of_another_protocol_are_no_repeats(scans: Path, plan: Callable[..., Plan]) -> None:
    _series(scans / "a", description="SAG DESS", number=1)
    _series(scans / "b", description="SAG PD", number=2)
    made = plan(toml=AVERAGED)
    assert made.cases == ()
    assert ("BL", "refused", "AMBIGUOUS_SERIES") in _codes(made)


def test_a_broken_repeat_is_listed_and_the_other_measured(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", number=1)
    broken = _series(scans / "b", number=2)
    sorted(broken.glob("*.dcm"))[2].unlink()
    made = plan(toml=ONE_VISIT.replace("id='T1'", "id='T1'\nrepeats='average'"))
    assert [(c.visit.scan, c.source) for c in made.cases] == [("", "a")]
    assert _codes(made) == [("BL", "refused", "MISSING_SLICES")]
    assert not made.absent[0].planned


def test_participants_who_share_a_number_are_refused_and_the_others_measured(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "a", person="HOSP-1")
    _series(scans / "b", person="HOSP-2")
    people = "participant,index_knee,patient_id\nP01,right,HOSP-1\nP02,left,HOSP-1\nP03,,HOSP-2\n"
    made = plan(people, ONE_VISIT)
    assert [c.visit.participant for c in made.cases] == ["P03"]
    found = [
        (i.row.participant, i.row.status, i.row.finding.code, i.planned)
        for i in made.absent
        if i.row.finding
    ]
    code = ReasonCode.DUPLICATE_PARTICIPANT
    assert sorted(found) == [
        ("", "refused", code, False),
        ("P01", "refused", code, True),
        ("P02", "refused", code, True),
    ]
    assert "HOSP-1" not in repr(made.absent)


def test_one_id_for_two_people_is_refused_with_the_scans_of_both(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    for number in (1, 2, 3):
        _series(scans / f"s{number}", person=f"HOSP-{number}")
    people = "participant,patient_id\nP01,HOSP-1\nP02,HOSP-3\nP01,HOSP-2\n"
    made = plan(people, ONE_VISIT)
    assert [c.visit.participant for c in made.cases] == ["P02"]
    sources = {i.row.source for i in made.absent if i.row.participant == "P01"}
    assert {"s1", "s2"} <= sources
    assert {code for _, _, code in _codes(made)} == {"DUPLICATE_PARTICIPANT"}


def test_a_refused_participant_without_a_scan_is_still_named(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    made = plan("participant\nP01\nP01\n", ONE_VISIT)
    (absent,) = made.absent
    assert (absent.row.participant, absent.row.status) == ("P01", "refused")


def test_a_follow_up_folder_dated_before_the_baseline_is_refused(
    scans: Path, plan: Callable[..., Plan]
) -> None:
    _series(scans / "P01" / "ses-BL" / "dess", day=0)
    _series(scans / "P01" / "ses-M06" / "dess", day=-180)
    people = f"participant,index_knee,patient_id,baseline_date\nP01,right,HOSP-1,{BASELINE}\n"
    made = plan(people, TWO_VISITS)
    assert [c.visit.visit for c in made.cases] == ["BL"]
    assert _codes(made) == [("M06", "refused", "DATES_BACKWARDS")]
    assert made.absent[0].planned
    # without the name of a follow-up it is an early scan, measured and flagged
    (scans / "P01" / "ses-M06").rename(scans / "P01" / "screening")
    early = plan(people, TWO_VISITS)
    assert [c.visit.visit for c in early.cases] == ["U-180", "BL"]
    assert "before the baseline" in early.cases[0].placing[0].message


def test_listed_dates_that_run_backwards(scans: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.nii").write_bytes(b"m")
    (tmp_path / "participants.csv").write_text("participant\nP01\nP02\n")
    (tmp_path / "scans.csv").write_text(
        "participant,visit,side,mask,date\nP01,M06,R,b.nii,2023-07-01\n"
        "P01,BL,R,a.nii,2024-01-01\nP01,M12,R,c.nii,2025-01-01\nP02,BL,L,d.nii,2024-01-01\n"
    )
    (tmp_path / "study.toml").write_text("[study]\nscans='scans.csv'\n")
    made = plan_cases(tmp_path, load_study(tmp_path / "study.toml"))
    found = [(c.visit.participant, c.visit.visit, c.visit.day) for c in made.cases]
    assert found == [("P01", "BL", 0), ("P01", "M12", 366), ("P02", "BL", 0)]
    (absent,) = made.absent
    finding = absent.row.finding
    assert finding is not None
    assert finding.code is ReasonCode.DATES_BACKWARDS
    assert (absent.row.visit, absent.planned, finding.found) == ("M06", True, "day -184")
    assert finding.expected
    assert finding.action


def test_names_in_listed_paths_are_redacted(scans: Path, tmp_path: Path) -> None:
    for folder in ("HOSP-1", "HOSP-1b"):
        _series(scans / folder / "dess", mask=folder == "HOSP-1")
    (tmp_path / "participants.csv").write_text("participant,patient_id\nP01,HOSP-1\n")
    (tmp_path / "scans.csv").write_text(
        "participant,visit,path\nP01,BL,scans/HOSP-1/dess\nP01,M06,scans/HOSP-1b/dess\n"
    )
    (tmp_path / "study.toml").write_text(
        "[study]\nscans='scans.csv'\n[segmentation]\nmodel='none'\n"
    )
    made = plan_cases(tmp_path, load_study(tmp_path / "study.toml"))
    assert [case.source for case in made.cases] == ["scans/[redacted]/dess"]
    assert [item.row.source for item in made.absent] == ["scans/[redacted]b/dess"]
    assert "HOSP-1" not in repr(made.absent)
