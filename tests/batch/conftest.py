"""A plan whose cases cost nothing: the orchestration is tested with stages that write at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from kneeimg.batch import BatchSummary, run_batch
from kneeimg.core.measurement import Measurement
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.io.atomic import write_bytes, write_json
from kneeimg.io.results import KneeRecord, knee_file, record_to_json
from kneeimg.pipeline import runner
from kneeimg.pipeline.cases import Case, Plan
from kneeimg.pipeline.planned import planned_rows, row_context
from kneeimg.pipeline.planning import plan_cases
from kneeimg.trial.study import load_study

Stage = Callable[[Case, Path], tuple[KneeRecord, ...]]


def cheap_stage(case: Case, folder: Path) -> tuple[KneeRecord, ...]:
    """Every value is the size of the mask; masks named `bad` are refused, `bug` is a bug."""
    assert case.mask is not None
    name = case.mask.path.name
    if "bad" in name:
        raise MaskError("refused for the test", code=ReasonCode.NO_BONE, where=case.source)
    if "bug" in name:
        raise RuntimeError("SECRET^PATIENT at /home/someone")
    value = float(len(case.mask.path.read_bytes()))
    rows = tuple(
        Measurement(region, quantity, value, unit)
        for region, quantity, unit in planned_rows("mri", case.settings)
    )
    context = row_context("mri", case.settings, case.series_uid_hash)
    record = KneeRecord(case.visit, "mri", "measured", rows, context)
    visit = case.visit

    def path(suffix: str) -> Path:
        return folder / knee_file(visit.participant, visit.visit, visit.side, suffix, visit.scan)

    write_bytes(path("qc.png"), b"picture of " + name.encode())
    write_json(path("measurements.json"), record_to_json(record))
    return (record,)


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Plan]:
    """Plan of a study that lists masks: names of `participant_visit[_what]`, contents given."""

    def make(*names: str) -> Plan:
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        people = dict.fromkeys(name.split("_")[0] for name in names)
        rows = ["participant,visit,side,mask,day"]
        for number, name in enumerate(names):
            mask = folder / f"{name}.nii.gz"
            if not mask.exists():
                mask.write_bytes(b"x" * (number + 1))
            participant, visit = name.split("_")[:2]
            rows.append(f"{participant},{visit},R,{mask.name},{30 * int(visit[1:])}")
        lines = "".join(f"{name},right\n" for name in people)
        (folder / "participants.csv").write_text("participant,index_knee\n" + lines)
        (folder / "scans.csv").write_text("\n".join(rows) + "\n")
        (folder / "study.toml").write_text("[study]\nid = 'T1'\nscans = 'scans.csv'\n")
        return plan_cases(folder, load_study(folder / "study.toml"))

    return make


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stage], None]:
    """Replace what measures an MR case."""

    def use(function: Stage) -> None:
        monkeypatch.setitem(runner._STAGES, "mri", function)  # type: ignore[arg-type]

    use(cheap_stage)
    return use


@pytest.fixture
def run(
    stage: Callable[[Stage], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., BatchSummary]:
    """Run a plan in this process, without the report and without comparing visits."""
    monkeypatch.setattr("kneeimg.report.html.write_report", lambda out: out)
    monkeypatch.setattr("kneeimg.batch.run.pairs_of", lambda plan, records: [])

    def run_plan(plan: Plan, out: Path, **options: object) -> BatchSummary:
        with ThreadPoolExecutor(1) as executor:
            return run_batch(plan, out, executor=executor, **options)  # type: ignore[arg-type]

    return run_plan


def tree(folder: Path) -> dict[str, bytes]:
    """Relative path to content of every file but the audit log, which tells the time."""
    return {
        os.path.relpath(path, folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "audit.jsonl"
    }


@pytest.fixture(name="tree")
def tree_fixture() -> Callable[[Path], dict[str, bytes]]:
    """Function that reads a folder into a dictionary."""
    return tree


@pytest.fixture
def other_settings() -> Callable[[Case], Case]:
    """A case with another femur fraction: other settings, other results."""

    def change(case: Case) -> Case:
        morphometry = case.settings.morphometry.model_copy(update={"femur_fraction": 0.6})
        settings = case.settings.model_copy(update={"morphometry": morphometry})
        return replace(case, settings=settings)

    return change
