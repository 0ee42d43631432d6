"""Repeated scans in a results folder to a repeatability table of this software and settings."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kneeimg import __version__
from kneeimg.core.precision import (
    PrecisionHeader,
    PrecisionRow,
    PrecisionStudy,
    Procedure,
    StudyKind,
)
from kneeimg.errors import Finding, InputError, ReasonCode, StudyError
from kneeimg.io.atomic import write_bytes
from kneeimg.io.freeze import require_results
from kneeimg.io.precision import header_path, number_of, read_repeats, write_precision
from kneeimg.io.results import DESCRIPTION, read_json
from kneeimg.longitudinal.change import compare_films, compare_knees
from kneeimg.longitudinal.retest import (
    RepeatedChange,
    RepeatedValue,
    changes_from,
    method_of,
    precision_rows,
    values_from,
)
from kneeimg.pipeline.repeatability import settings_hash
from kneeimg.pipeline.repeated_scans import FinishedScan, finished_scans, repeated_scans
from kneeimg.settings.change import ChangeSettings
from kneeimg.settings.study import StageSettings, StudyFile
from kneeimg.settings.toml import load_toml, validate

if TYPE_CHECKING:
    from kneeimg.report.figures import AgreementPanel

_CSV_COLUMNS = ("participant", "region", "quantity", "value")
#: Stages whose settings stand in the manifest of a scan and decide its numbers.
_STAGES = {"mri": "morphometry", "film": "film"}


@dataclass(frozen=True, slots=True)
class PrecisionResult:
    """A repeatability study with the repeats that it was made from.

    Attributes
    ----------
    study : Header and rows.
    values, changes : Every repeated value and every change between repeats.
    findings : Knees that could not be used or compared, and why.
    """

    study: PrecisionStudy
    values: tuple[RepeatedValue, ...]
    changes: tuple[RepeatedChange, ...] = ()
    findings: tuple[Finding, ...] = ()


def precision_of_results(
    out: Path,
    *,
    pairs: Path | None = None,
    study_file: Path | None = None,
    study: str = "",
    date: str = "",
) -> PrecisionResult:
    """Repeatability from the repeated scans in a results folder.

    Parameters
    ----------
    out : Folder that `kneeimg run` wrote.
    pairs : CSV with participant, visit_a, visit_b (and side, if wanted): visits that repeat each
        other. Without it the scans of one visit do.
    study_file : study.toml whose `[change]` is used; without it that of the run.
    study : Name of the study; by default as in the results folder.
    date : Day of the table, YYYY-MM-DD.

    Raises
    ------
    InputError
        No results folder, no repeats (`NO_REPEATS`), or scans that were not measured alike.
    StudyError
        A mistake in one of the files.
    """
    require_results(out)
    groups = repeated_scans(finished_scans(out), pairs)
    if not groups:
        raise InputError("no knee was scanned and measured twice", code=ReasonCode.NO_REPEATS)
    scans = [scan for group in groups for scan in group]
    settings = _common_settings(scans, _change_settings(out, study_file))
    name = study or str(read_json(out / DESCRIPTION).get("Name", "study"))
    values, changes, findings = _compared(groups, settings, f"study {name}")
    kinds = sorted({scan.record.kind for scan in scans})
    header = PrecisionHeader(
        kind=StudyKind.RETEST,
        study=name,
        software_version=_common_software(scans),
        models={kind: _common_model(kind, scans) for kind in kinds},
        settings={kind: settings_hash(kind, settings) for kind in kinds},
        n_people=len({scan.record.visit.participant for scan in scans}),
        date=date,
    )
    rows = precision_rows(values, changes)
    return PrecisionResult(PrecisionStudy(header, rows), values, changes, findings)


def precision_of_csv(path: Path, *, study: str = "", date: str = "") -> PrecisionResult:
    """Repeatability of values in a CSV, whoever measured them.

    Parameters
    ----------
    path : Columns participant, region, quantity, value, and where known side, scan, unit, kind,
        method; one row for each repeat, repeats of a knee in their order. An empty value was not
        measured.

    Notes
    -----
    Nothing is known about software and settings, so no run takes such a table for its own.
    """
    values = []
    for number, line in enumerate(read_repeats(path, _CSV_COLUMNS), start=2):
        value = number_of(line["value"], where=f"{path.name}, line {number}")
        if value == value:
            values.append(_listed(line, value, study or path.stem, str(number)))
    rows = precision_rows(values)
    if not rows:
        raise InputError(
            "no knee has two values", code=ReasonCode.NO_REPEATS, where=path.name, action="check it"
        )
    people = {value.participant for value in values}
    header = PrecisionHeader(
        kind=StudyKind.RETEST,
        study=study or path.stem,
        software_version="",
        n_people=len(people),
        date=date,
    )
    return PrecisionResult(PrecisionStudy(header, rows), tuple(values))


def _listed(line: Mapping[str, str], value: float, study: str, scan: str) -> RepeatedValue:
    return RepeatedValue(
        kind=line.get("kind", ""),
        method=line.get("method", ""),
        region=line["region"],
        quantity=line["quantity"],
        unit=line.get("unit", ""),
        sample=f"study {study}",
        participant=line["participant"],
        side=line.get("side", ""),
        scan=line.get("scan") or scan,
        value=value,
    )


def _change_settings(out: Path, study_file: Path | None) -> ChangeSettings:
    """How visits are compared: as the study file says, or as the run that made the folder."""
    if study_file is not None:
        return load_toml(study_file, StudyFile).change
    tables = [
        validate(tomllib.loads(path.read_text(encoding="utf-8")).get("change", {}), ChangeSettings,
                 where=path.parent.name)
        for path in sorted(out.glob("run-*/config.toml"))
    ]  # fmt: skip
    plain = list({t.model_copy(update={"precision": ""}): t for t in tables}.values())
    if len(plain) > 1:
        raise StudyError(
            "the results folder was written with several [change] settings",
            where=out.name,
            action="name the study file that holds with --study",
        )
    return plain[0] if plain else ChangeSettings()


def _common_settings(scans: Sequence[FinishedScan], change: ChangeSettings) -> StageSettings:
    """The settings with which all scans were measured."""
    stages: dict[str, Any] = {}
    for scan in scans:
        stage = _STAGES[scan.record.kind]
        if stages.setdefault(stage, scan.settings.get(stage)) != scan.settings.get(stage):
            raise _not_alike("settings", stage, scan.path.name)
    return validate(stages, StageSettings, where="manifest").model_copy(update={"change": change})


def _common_software(scans: Sequence[FinishedScan]) -> str:
    versions = sorted({scan.record.context.software_version for scan in scans})
    if versions != [__version__]:
        raise _not_alike("software", __version__, ", ".join(versions))
    return __version__


def _common_model(kind: str, scans: Sequence[FinishedScan]) -> str:
    models = sorted({s.record.context.model_sha256 for s in scans if s.record.kind == kind})
    if len(models) > 1:
        raise _not_alike("model", models[0], ", ".join(models[1:]))
    return models[0]


def _not_alike(what: str, expected: str, found: str) -> InputError:
    return InputError(
        f"the repeated scans were not measured with the same {what}",
        code=ReasonCode.NO_REPEATABILITY,
        expected=expected,
        found=found,
        action="run kneeimg run again, so that all scans are measured alike",
    )


def _compared(
    groups: Sequence[Sequence[FinishedScan]], settings: StageSettings, sample: str
) -> tuple[tuple[RepeatedValue, ...], tuple[RepeatedChange, ...], tuple[Finding, ...]]:
    """Values of every scan, and the change from the first to each later one."""
    values: list[RepeatedValue] = []
    changes: list[RepeatedChange] = []
    findings: list[Finding] = []
    for group in groups:
        visit, kind = group[0].record.visit, group[0].record.kind
        own = {
            "kind": kind,
            "method": method_of(kind, group[0].record.measurements),
            "sample": sample,
            "participant": visit.participant,
            "side": visit.side.value if visit.side else "",
        }
        for scan in group:
            if method_of(kind, scan.record.measurements) != own["method"]:
                findings.append(_other_method(scan))
                continue
            values += values_from(scan.record.measurements, scan=scan.name, **own)
            if scan is not group[0]:
                found, noticed = _change(group[0], scan, settings, own)
                changes += found
                findings += noticed
    return tuple(values), tuple(changes), tuple(findings)


def _other_method(scan: FinishedScan) -> Finding:
    return Finding(
        ReasonCode.NO_REPEATABILITY,
        "a repeat was measured by another method than the first scan and is left out",
        where=f"{scan.record.visit.participant} {scan.name}",
        action="segment all repeats in the same way",
    )


def _change(
    first: FinishedScan, second: FinishedScan, settings: StageSettings, own: Mapping[str, str]
) -> tuple[list[RepeatedChange], list[Finding]]:
    """Change between two scans by the functions that make the change table."""
    before, after = first.record, second.record
    if before.kind == "film":
        same = before.context.spacing_source == after.context.spacing_source
        rows = compare_films(before.measurements, after.measurements, None, same)
        return changes_from(rows, (), **own), []
    change = compare_knees(
        first.surfaces(),
        second.surfaces(),
        None,
        before.measurements,
        after.measurements,
        settings=settings.change,
        morphometry=settings.morphometry,
    )
    who = f"{before.visit.participant} {first.name} and {second.name}"
    findings = [replace(f, where=f"{who}: {f.where}") for f in change.findings]
    return changes_from(change.rows, change.surfaces.values(), **own), findings


#: What the picture shows, where it was measured.
PRIMARY: tuple[tuple[str, str], ...] = (
    *((region, "ThCtAB_aMe") for region in ("MT", "cMF", "LT", "cLF", "MFTC", "LFTC", "FTJ", "P")),
    ("medial", "mJSW"),
    ("lateral", "mJSW"),
    ("medial", "fJSW_0250"),
    ("lateral", "fJSW_0775"),
)


def write_result(result: PrecisionResult, path: Path) -> list[Path]:
    """Table, header and Bland-Altman plots of a study; the files that were written."""
    from kneeimg.report.figures import agreement_grid

    write_precision(result.study, path)
    written = [path, header_path(path)]
    panels = _panels(result)
    if panels:
        header = result.study.header
        title = f"{header.kind} study {header.study} · {panels[0].row.procedure} procedure"
        picture = path.with_suffix(".png")
        write_bytes(picture, agreement_grid(panels, title=title))
        written.append(picture)
    return written


def _panels(result: PrecisionResult) -> list[AgreementPanel]:
    """The primary quantities; paired as the change table does where that was possible."""
    from kneeimg.report.figures import AgreementPanel

    procedure = Procedure.PAIRED if result.changes else Procedure.INDEPENDENT
    rows = [r for r in result.study.rows if r.procedure == procedure and r.bias == r.bias]
    primary = [row for row in rows if (row.region, row.quantity) in PRIMARY]
    panels = []
    for row in (primary or rows)[: len(PRIMARY)]:
        pairs = _changes_of(result, row) if result.changes else _values_of(result, row)
        both = np.array(pairs, dtype=np.float64)
        panels.append(AgreementPanel(row, both[:, 0], both[:, 1]))
    return panels


def _changes_of(result: PrecisionResult, row: PrecisionRow) -> list[tuple[float, float]]:
    knees: dict[tuple[str, str], tuple[float, float]] = {}
    for change in result.changes:
        if (change.kind, change.method, change.region, change.quantity) == (
            row.kind,
            row.method,
            row.region,
            row.quantity,
        ):
            knees.setdefault((change.participant, change.side), (change.baseline, change.followup))
    return list(knees.values())


def _values_of(result: PrecisionResult, row: PrecisionRow) -> list[tuple[float, float]]:
    knees: dict[tuple[str, str], list[float]] = defaultdict(list)
    for value in result.values:
        if (value.kind, value.method, value.region, value.quantity) == (
            row.kind,
            row.method,
            row.region,
            row.quantity,
        ):
            knees[value.participant, value.side].append(value.value)
    return [(own[0], own[1]) for own in knees.values() if len(own) > 1]
