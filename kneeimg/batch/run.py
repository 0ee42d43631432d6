"""Run a plan: cases side by side, change between visits, tables, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from kneeimg.batch.audit import RunAudit
from kneeimg.batch.crash import Crash, clear_logs
from kneeimg.batch.exclusions import mark_excluded, write_exclusions
from kneeimg.batch.finish import (
    absent_rows,
    disposition_of,
    write_head,
    write_repeatability,
    write_tables,
)
from kneeimg.batch.stage import Engine, run_units
from kneeimg.batch.stale import departed, withdraw_stale
from kneeimg.batch.summary import BatchSummary, Progress
from kneeimg.batch.workers import BYTES_PER_NETWORK, default_workers
from kneeimg.core.anatomy import Side
from kneeimg.core.visit import Visit
from kneeimg.errors import KneeimgError, OutputError
from kneeimg.io.atomic import clear_leftovers, require_writable
from kneeimg.io.exclusive import only_writer
from kneeimg.io.freeze import require_unlocked
from kneeimg.io.results import Kind, KneeRecord
from kneeimg.pipeline.adam import adam_study
from kneeimg.pipeline.cases import Absent, Case, CaseReport, Plan
from kneeimg.pipeline.longitudinal import Pair, PairReport, pairs_of, run_pair, unmeasured_rows
from kneeimg.pipeline.planned import refused_record
from kneeimg.pipeline.planning import plan_cases
from kneeimg.pipeline.repeatability import load_repeatability
from kneeimg.pipeline.repeats import change_rows, with_averages
from kneeimg.pipeline.runner import refused_case, run_case, with_visit
from kneeimg.settings.study import StudyFile
from kneeimg.trial.study import Study, load_study


def run_study(
    source: Path,
    out: Path,
    *,
    study_file: Path | None = None,
    side: Side | None = None,
    workers: int = 0,
    force: bool = False,
    progress: Progress | None = None,
    executor: Executor | None = None,
    reason: str = "",
    user: str = "",
    model: str | None = None,
    masks: Path | None = None,
) -> BatchSummary:
    """Plan and measure everything below a folder; see :func:`run_batch`.

    `model` and `masks` stand above `[segmentation] model` and `[masks] folder` of the study file.

    Raises
    ------
    StudyError
        A mistake in the study file, its tables or the repeatability table; nothing is written.
    InputError
        The folder does not exist.
    OutputError
        OUT is INPUT, cannot be written, or the disk is full.
    """
    _require_apart(source, out)
    study = load_study(study_file) if study_file else None
    settings = with_choices(study.settings if study else StudyFile(), model, masks)
    if study is not None:
        study = replace(study, settings=settings)
    plan = plan_cases(source, study, side, settings)
    folder = study_file.resolve().parent if study_file else None
    precision = load_repeatability(plan.settings.change.precision, folder)
    plan = replace(plan, precision=precision)
    return run_batch(
        plan,
        out,
        executor=executor,
        workers=workers,
        progress=progress,
        force=force,
        study=study,
        reason=reason,
        user=user,
        files=_study_files(study_file, plan),
    )


def with_choices(settings: StudyFile, model: str | None, masks: Path | None) -> StudyFile:
    """Settings with what the command line says about segmentation."""
    changes: dict[str, Any] = {}
    if model is not None:
        changes["segmentation"] = settings.segmentation.model_copy(update={"model": model})
    if masks is not None:
        changes["masks"] = settings.masks.model_copy(update={"folder": str(masks)})
    return settings.model_copy(update=changes)


def run_batch(
    plan: Plan,
    out: Path,
    *,
    executor: Executor | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    force: bool = False,
    study: Study | None = None,
    reason: str = "",
    user: str = "",
    files: Sequence[Path] = (),
) -> BatchSummary:
    """Run a plan into a results folder.

    Parameters
    ----------
    plan : What to do.
    out : Results folder, made if missing. Nothing is written anywhere else.
    executor : Any `concurrent.futures.Executor`, e.g. of dask; None for a process pool.
    workers : Processes of that pool; 0 as the machine and its memory allow.
    progress : Called with done, total and a line once per case.
    force : Measure again what is already done; needs a reason if there is anything.
    study : The study of the plan; with it the analysis dataset ADKNEE is written too.
    reason, user : Why, and who is said to run this, for the audit log.
    files : Study file and tables that made the plan; their hashes are recorded.

    Returns
    -------
    BatchSummary
        With the exit status. A failing or crashing case is a row of it, never an exception.

    Raises
    ------
    OutputError
        OUTPUT_NOT_WRITABLE before anything is measured, or OUTPUT_FULL; finished cases stay.
        LOCKED, AUDIT_BROKEN: nothing is written.
    StudyError
        REASON_MISSING: `force` would overwrite finished cases and nobody says why.
    """
    from kneeimg.report.html import write_report

    require_unlocked(out)
    require_writable(out)
    with only_writer(out):
        audit = RunAudit.begin(plan, out, force=force, reason=reason, user=user, files=files)
        clear_leftovers(out)
        clear_logs(out)
        write_head(plan, out)
        needs = BYTES_PER_NETWORK if any(case.segmenter for case in plan.cases) else 0
        engine = Engine(out, workers or default_workers(needs), force, executor)
        reports = run_units(
            engine,
            run_case,
            plan.cases,
            on_crash=_crashed_case,
            describe=_case_line,
            progress=progress or _silent,
            on_done=audit.case_done,
        )
        reports = mark_excluded(reports, audit.excluded)
        records = all_records(plan, reports)
        disposition = all_dispositions(plan, reports)
        disposition += [row.as_row() for row in departed(out, plan.participants)]
        pairs = pairs_of(plan, records)
        changes = run_units(
            engine,
            run_pair,
            pairs,
            on_crash=_crashed_pair,
            describe=_pair_line,
            progress=progress or _silent,
            on_done=audit.pair_done,
        )
        withdraw_stale(
            out,
            plan.participants,
            (
                *(case.folder / case.manifest for case in plan.cases),
                *(pair.manifest for pair in pairs if pair.comparable),
            ),
        )
        rows = change_rows(pairs, changes)
        analysis = (
            adam_study(study.settings, study.participants, plan.visit_order) if study else None
        )
        n_rows = write_tables(out, with_averages(records), disposition, rows, analysis)
        write_repeatability(out, plan.precision)
        write_exclusions(out, audit.excluded)
        write_report(out)
        summary = _summary(plan, pairs, reports, changes, disposition, (n_rows, len(rows)))
        audit.end(summary)
    return summary


def _summary(
    plan: Plan,
    pairs: Sequence[Pair],
    reports: Sequence[CaseReport],
    changes: Sequence[PairReport],
    disposition: Sequence[Mapping[str, str]],
    n_rows: tuple[int, int],
) -> BatchSummary:
    """The summary of a run; `n_rows` of measurements and of changes."""
    return BatchSummary(
        disposition=tuple(disposition),
        n_rows=n_rows[0],
        n_cases=len(plan.cases),
        n_reused=sum(report.reused for report in reports),
        n_change_rows=n_rows[1],
        findings=tuple(dict.fromkeys(f for p in pairs for f in p.repeatability.findings)),
        changed=(
            *(c.name for c, report in zip(plan.cases, reports, strict=True) if report.changed),
            *(p.name for p, report in zip(pairs, changes, strict=True) if report.changed),
        ),
        crashed=(
            *(c.name for c, report in zip(plan.cases, reports, strict=True) if report.crashed),
            *(p.name for p, report in zip(pairs, changes, strict=True) if report.crashed),
        ),
    )


def all_records(plan: Plan, reports: Sequence[CaseReport]) -> list[KneeRecord]:
    """Records of cases and of planned scans without a case, by participant, visit and knee."""
    records = [record for report in reports for record in report.records]
    records += [_absent_record(item, plan) for item in plan.absent if item.planned]
    people = {name: n for n, name in enumerate(plan.participants)}

    def place(record: KneeRecord) -> tuple[int, int, str, str, str]:
        participant, visit, side, kind = record.key
        at = plan.visit_order[participant].index(visit)
        return people[participant], at, kind, side, record.visit.scan

    return sorted(records, key=place)


def all_dispositions(plan: Plan, reports: Sequence[CaseReport]) -> list[dict[str, str]]:
    """One row per knee of a case, then one per scan that never became a case."""
    rows = [
        disposition_of(case, record).as_row()
        for case, report in zip(plan.cases, reports, strict=True)
        for record in report.records
    ]
    return rows + absent_rows(plan.absent)


def _absent_record(item: Absent, plan: Plan) -> KneeRecord:
    row = item.row
    assert row.finding is not None
    side = Side(row.side) if row.side else None
    kind: Kind = "film" if row.kind == "film" else "mri"
    return refused_record(
        Visit(row.participant, row.visit, side, item.day),
        kind,
        row.finding,
        plan.settings.stages(),
        status="missing" if row.status == "missing" else "refused",
        series_uid_hash=row.series_uid_hash,
    )


def _crashed_case(case: Case, crash: Crash) -> CaseReport:
    error = KneeimgError.from_finding(crash.finding(case.name))
    return CaseReport(records=with_visit(case, refused_case(case, error)), crashed=True)


def _case_line(case: Case, report: CaseReport) -> str:
    if report.reused:
        return f"{case.name}: kept"
    codes = [r.findings[0].code.value for r in report.records if r.status == "refused"]
    again = " (an output had changed)" if report.changed else ""
    return f"{case.name}: {'refused ' + ', '.join(codes) if codes else 'measured'}{again}"


def _crashed_pair(pair: Pair, crash: Crash) -> PairReport:
    rows = unmeasured_rows(pair, crash.finding(pair.name).code)
    return PairReport(rows=rows, crashed=True)


def _pair_line(pair: Pair, report: PairReport) -> str:
    if report.reused:
        return f"{pair.name}: kept"
    return f"{pair.name}: {'compared' if pair.comparable else 'not comparable'}"


def _study_files(study_file: Path | None, plan: Plan) -> tuple[Path, ...]:
    """The study file and the tables that it names."""
    if study_file is None:
        return ()
    section = plan.settings.study
    names = (section.participants, section.scans)
    return (study_file, *(study_file.parent / name for name in names if name))


def _require_apart(source: Path, out: Path) -> None:
    if source.resolve() == out.resolve():
        raise OutputError(
            "the results folder is the input folder",
            where=out.name,
            expected="a folder of its own for the results",
            action="name another folder with -o",
        )


def _silent(done: int, total: int, what: str) -> None:
    """No progress is shown."""
