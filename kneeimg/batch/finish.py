"""What stands at the top of OUT: tables, participants, settings, logs. All made from records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kneeimg import __version__
from kneeimg.core.precision import PrecisionStudy
from kneeimg.core.result_tables import CHANGE_COLUMNS, DISPOSITION_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.errors import Finding
from kneeimg.io.atomic import canonical_json, sha256_text, write_json, write_text
from kneeimg.io.precision import header_path, write_precision
from kneeimg.io.results import DESCRIPTION, KneeRecord
from kneeimg.io.tables import (
    WIDE_KEYS,
    DispositionRow,
    Row,
    measurement_rows,
    wide_rows,
    write_csv,
    write_parquet,
)
from kneeimg.pipeline.adam import ADAM_FOLDER, remove_adam, write_adam
from kneeimg.pipeline.cases import Absent, Case, Plan
from kneeimg.settings.toml import dump_toml
from kneeimg.trial.adam import AdamStudy, adknee


def run_id(plan: Plan) -> str:
    """Twelve hex digits of everything that decides the numbers, inputs apart.

    The same settings and software give the same id, so that a second run adds nothing.
    """
    content = {
        "software": __version__,
        "settings": plan.settings.model_dump(mode="json"),
    }
    return sha256_text(canonical_json(content))[:12]


def write_head(plan: Plan, out: Path) -> None:
    """dataset_description.json, participants.tsv and the resolved settings of the run."""
    write_json(
        out / DESCRIPTION,
        {
            "Name": plan.study_id,
            "Layout": "folders in the style of BIDS derivatives; not a BIDS dataset",
            "GeneratedBy": [{"Name": "kneeimg", "Version": __version__}],
            "Notice": "For research. Not a medical device, not for diagnosis.",
        },
    )
    people = [
        {"participant_id": f"sub-{name}", "index_knee": side.value if side else "n/a"}
        for name, side in plan.participants.items()
    ]
    write_csv(out / "participants.tsv", ("participant_id", "index_knee"), people)
    resolved = {"software": {"name": "kneeimg", "version": __version__}}
    resolved |= plan.settings.model_dump(mode="json")
    write_text(out / f"run-{run_id(plan)}" / "config.toml", dump_toml(resolved))


def disposition_of(case: Case, record: KneeRecord) -> DispositionRow:
    """The disposition of one knee of a case: its refusal, or its first remark."""
    visit = record.visit
    return DispositionRow(
        participant=visit.participant,
        visit=visit.visit,
        side=visit.side.value if visit.side else "",
        kind=record.kind,
        source=case.source,
        status=record.status,
        series_uid_hash=record.context.series_uid_hash,
        # whoever excluded the scan said why; the remarks of measuring stand in its record
        finding=record.findings[0] if record.status == "excluded" else _headline(record.findings),
    )


def _headline(findings: Sequence[Finding]) -> Finding | None:
    """The first finding, and how many more stand in the record."""
    if not findings:
        return None
    first, more = findings[0], len(findings) - 1
    if not more:
        return first
    also = ", ".join(dict.fromkeys(finding.code.value for finding in findings[1:]))
    return Finding(
        first.code,
        f"{first.message} (also: {also})",
        first.where,
        first.expected,
        first.found,
        first.action,
    )


def write_tables(
    out: Path,
    records: Sequence[KneeRecord],
    disposition: Sequence[Mapping[str, str]],
    changes: Sequence[Row],
    analysis: AdamStudy | None = None,
) -> int:
    """Write every table, with a study also ADKNEE; the number of measurement rows."""
    rows: list[dict[str, Any]] = [row for record in records for row in measurement_rows(record)]
    tables = out / "tables"
    write_csv(tables / "measurements.csv", MEASUREMENT_COLUMNS, rows)
    write_parquet(tables / "measurements.parquet", MEASUREMENT_COLUMNS, rows)
    write_wide(tables, rows)
    write_csv(tables / "change.csv", CHANGE_COLUMNS, changes)
    write_parquet(tables / "change.parquet", CHANGE_COLUMNS, changes)
    write_csv(out / "disposition.csv", DISPOSITION_COLUMNS, disposition)
    if analysis is None:
        remove_adam(out / ADAM_FOLDER)
    else:
        write_adam(out / ADAM_FOLDER, adknee(rows, changes, analysis), analysis)
    return len(rows)


def write_wide(tables: Path, rows: Sequence[Row]) -> None:
    """Both forms of the table with one line per knee and visit."""
    columns, wide = wide_rows(rows)
    write_csv(tables / "measurements_wide.csv", columns, wide)
    measured = columns[len(WIDE_KEYS) :]
    write_parquet(tables / "measurements_wide.parquet", columns, wide, more_floats=measured)


def write_repeatability(out: Path, study: PrecisionStudy | None) -> None:
    """The repeatability table that changes were judged by, beside them; none, if there is none."""
    path = out / "tables" / "precision.csv"
    if study is not None:
        write_precision(study, path)
        return
    for old in (path, header_path(path)):
        old.unlink(missing_ok=True)


def absent_rows(absent: Sequence[Absent]) -> list[dict[str, str]]:
    """Disposition rows of scans without a case."""
    return [item.row.as_row() for item in absent]
