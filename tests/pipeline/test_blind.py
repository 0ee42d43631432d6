"""Measuring never sees visit, day or person: other visits and dates change no hash and no input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.measurement import Measurement
from kneeimg.core.visit import Visit
from kneeimg.errors import Finding, MaskError, ReasonCode
from kneeimg.io.results import KneeRecord, read_json
from kneeimg.pipeline import film, mr, runner
from kneeimg.pipeline.cases import Case, MaskFile
from kneeimg.pipeline.planned import planned_rows, row_context
from kneeimg.pipeline.runner import Signature, run_case
from kneeimg.settings.study import StageSettings

LATE = Finding(ReasonCode.VISIT_OUT_OF_WINDOW, "late", found="day 250")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    mask = tmp_path / "mask.nii.gz"
    mask.write_bytes(b"mask")
    return Case(
        visit=Visit("P01", "M06", Side.LEFT, 250, "run-2"),
        kind="mri",
        source="mask.nii.gz",
        settings=StageSettings(),
        mask=MaskFile(mask, "knee-v1"),
        inputs=(("mask.nii.gz", mask),),
        placing=(LATE,),
    )


def test_other_visits_days_and_people_leave_the_key_as_it_is(case: Case) -> None:
    other = replace(case, visit=Visit("P09", "W26", Side.LEFT, 3), placing=())
    assert Signature.of_case(other).key == Signature.of_case(case).key
    # what does change a number changes the key
    turned = replace(case, visit=replace(case.visit, side=Side.RIGHT))
    assert Signature.of_case(turned).key != Signature.of_case(case).key


@pytest.mark.parametrize(
    "module, entry, run, kind",
    [(mr, "measure_scan", "run_mr_case", "mri"), (film, "read_film", "run_film_case", "film")],
)
def test_the_stages_get_neither_visit_nor_day_nor_person(
    case: Case,
    module: object,
    entry: str,
    run: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Case] = []

    def spy(given: Case) -> None:
        seen.append(given)
        raise MaskError("for the test", code=ReasonCode.EMPTY_MASK)

    monkeypatch.setattr(module, entry, spy)
    with pytest.raises(MaskError):
        getattr(module, run)(replace(case, kind=kind), tmp_path)
    (given,) = seen
    assert given.visit == Visit("blind", "blind", Side.LEFT)
    assert given.placing == ()
    assert given.name == "blind_blind_mri_L".replace("mri", kind)
    text = repr(given)
    assert not [word for word in ("P01", "M06", "250", "run-2", "arm") if word in text]


def _stage(case: Case, folder: Path) -> tuple[KneeRecord, ...]:
    rows = tuple(Measurement(r, q, 1.0, u) for r, q, u in planned_rows("mri", case.settings))
    context = row_context("mri", case.settings, "")
    record = KneeRecord(case.visit, "mri", "measured", rows, context)
    visit = case.visit
    name = runner.knee_file(
        visit.participant, visit.visit, visit.side, "measurements.json", visit.scan
    )
    runner.write_json(folder / name, runner.record_to_json(record))
    return (record,)


def test_day_and_window_join_after_measuring(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner._STAGES, "mri", _stage)  # type: ignore[arg-type]
    out = tmp_path / "out"
    (record,) = run_case(case, out).records
    assert record.visit == case.visit
    assert record.findings == (LATE,)
    (written,) = (out / case.folder).glob("*_run-2_measurements.json")
    assert "day" not in read_json(written)
    assert read_json(written)["findings"] == []
    moved = replace(case, visit=replace(case.visit, day=182), placing=())
    again = run_case(moved, out)
    assert again.reused
    assert again.records[0].visit.day == 182
    assert again.records[0].findings == ()


def test_a_refusal_says_why_before_it_says_when(case: Case, tmp_path: Path) -> None:
    (record,) = run_case(case, tmp_path / "out").records  # the mask is no image
    assert record.status == "refused"
    assert [f.code for f in record.findings] == [ReasonCode.BAD_MASK_FILE, LATE.code]
