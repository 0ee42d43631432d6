"""Scans that must not be used: recorded in the audit log, flagged in the tables, kept on disk."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kneeimg.batch.derived import DerivedFiles
from kneeimg.batch.finish import write_wide
from kneeimg.core.audit import Entry
from kneeimg.core.audit_history import (
    EXCLUDED,
    INCLUDED,
    Exclusion,
    ScanKey,
    ever_excluded,
    exclusions,
    scan_subject,
)
from kneeimg.core.measurement import Status
from kneeimg.core.result_tables import DISPOSITION_COLUMNS, unquoted
from kneeimg.errors import Finding, ReasonCode, StudyError, unreadable_table
from kneeimg.io.audit_log import AuditLog, broken
from kneeimg.io.exclusive import only_writer
from kneeimg.io.freeze import require_reason, require_results, require_unlocked
from kneeimg.io.results import KneeRecord
from kneeimg.io.tables import read_parquet, write_csv, write_parquet
from kneeimg.pipeline.cases import CaseReport

EXCLUSIONS_FILE = "exclusions.csv"
EXCLUSION_COLUMNS = ("participant", "visit", "side", "kind", "reason")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ScanChoice:
    """Which scans of a visit are meant; an empty part means every one."""

    participant: str
    visit: str
    side: str = ""
    kind: str = ""

    def fits(self, scan: ScanKey) -> bool:
        """Whether a scan is meant.

        >>> ScanChoice("P01", "M06").fits(("P01", "M06", "left", "film"))
        True
        """
        own = (self.participant, self.visit, self.side, self.kind)
        return all(wanted in ("", found) for wanted, found in zip(own, scan, strict=True))

    def __str__(self) -> str:
        return " ".join(
            part for part in (self.participant, self.visit, self.side, self.kind) if part
        )


def known_exclusions(out: Path, entries: Sequence[Entry]) -> dict[ScanKey, Exclusion]:
    """The standing exclusions of a log, if the table beside it lists none that the log lacks.

    Raises
    ------
    OutputError
        AUDIT_BROKEN: without this check a log that was moved away would bring scans back.
    """
    known = ever_excluded(entries)
    for row in read_rows(out / EXCLUSIONS_FILE):
        scan = _scan_of(row)
        if scan not in known:
            raise broken(
                f"{EXCLUSIONS_FILE} lists a scan that the log never excluded", " ".join(scan)
            )
    return exclusions(entries)


def mark_excluded(
    reports: Sequence[CaseReport], excluded: Mapping[ScanKey, Exclusion]
) -> list[CaseReport]:
    """Reports in which the records of excluded scans have no value."""
    if not excluded:
        return list(reports)
    return [
        replace(report, records=tuple(_marked(record, excluded) for record in report.records))
        for report in reports
    ]


def _marked(record: KneeRecord, excluded: Mapping[ScanKey, Exclusion]) -> KneeRecord:
    exclusion = excluded.get(record.key)
    if exclusion is None:
        return record
    rows = tuple(
        replace(m, value=math.nan, status=Status.NOT_MEASURABLE, reason=ReasonCode.EXCLUDED)
        for m in record.measurements
    )
    findings = (exclusion_finding(exclusion.reason), *record.findings)
    return replace(record, status="excluded", measurements=rows, findings=findings)


def exclusion_finding(reason: str) -> Finding:
    """What stands in the disposition table of an excluded scan."""
    return Finding(ReasonCode.EXCLUDED, f"excluded: {reason}")


def write_exclusions(out: Path, standing: Mapping[ScanKey, Exclusion]) -> None:
    """The table of standing exclusions; none is written before the first exclusion."""
    path = out / EXCLUSIONS_FILE
    if standing or path.is_file():
        rows = [scan_subject(key) | {"reason": item.reason} for key, item in standing.items()]
        write_csv(path, EXCLUSION_COLUMNS, sorted(rows, key=lambda row: _scan_of(row)))


def exclude_scans(out: Path, choice: ScanChoice, reason: str, user: str = "") -> tuple[Entry, ...]:
    """Exclude every measured scan that fits; one entry of the log each.

    Values leave the tables at once: every row of the scan, and every change that it takes part in,
    becomes not measurable with reason EXCLUDED. Files stay. The next run compares the visits that
    are left anew.

    Raises
    ------
    StudyError
        REASON_MISSING; NO_SUCH_SCAN when no measured scan fits.
    OutputError
        LOCKED; AUDIT_BROKEN; another command is writing.
    """
    why = require_reason(reason, "excluding a scan")
    return _decide(out, choice, EXCLUDED, why, user)


def include_scans(out: Path, choice: ScanChoice, reason: str, user: str = "") -> tuple[Entry, ...]:
    """Take back the exclusion of every scan that fits; its values come back with the next run.

    Raises
    ------
    StudyError
        REASON_MISSING; NO_SUCH_SCAN when no excluded scan fits.
    OutputError
        LOCKED; AUDIT_BROKEN; another command is writing.
    """
    why = require_reason(reason, "including a scan again")
    return _decide(out, choice, INCLUDED, why, user)


def _decide(out: Path, choice: ScanChoice, what: str, why: str, user: str) -> tuple[Entry, ...]:
    require_results(out)
    with only_writer(out):
        require_unlocked(out)
        log = AuditLog(out, user)
        standing = known_exclusions(out, log.entries())
        wanted = "measured" if what == EXCLUDED else "excluded"
        rows = read_rows(out / "disposition.csv")
        scans = {_scan_of(row) for row in rows if row.get("status") == wanted}
        scans = scans - set(standing) if what == EXCLUDED else set(standing)
        chosen = sorted(scan for scan in scans if choice.fits(scan))
        if not chosen:
            raise StudyError(
                f"there is no {wanted} scan with these ids",
                code=ReasonCode.NO_SUCH_SCAN,
                where=out.name,
                found=str(choice),
            )
        entries = tuple(log.append(what, why=why, subject=scan_subject(scan)) for scan in chosen)
        if what == EXCLUDED:
            apply_to_tables(out, log)
        else:
            _renew_list(out, log)
    return entries


def apply_to_tables(out: Path, log: AuditLog) -> None:
    """Take excluded scans out of the tables and the report as they stand, and record the files."""
    from kneeimg.report.html import write_report

    derived = DerivedFiles.of(out)
    standing = exclusions(log.entries())
    write_exclusions(out, standing)
    tables = out / "tables"
    rows = _rewrite(tables / "measurements", lambda row: _blank_measurement(row, standing))
    if rows:
        write_wide(tables, rows)
    _rewrite(tables / "change", lambda row: _blank_change(row, standing))
    disposition = [_blank_disposition(row, standing) for row in read_rows(out / "disposition.csv")]
    columns = tuple(disposition[0]) if disposition else DISPOSITION_COLUMNS
    write_csv(out / "disposition.csv", columns, disposition)
    write_report(out)
    log.append("tables.updated", why="exclusion", outputs=derived.written())


def _renew_list(out: Path, log: AuditLog) -> None:
    derived = DerivedFiles.of(out)
    write_exclusions(out, exclusions(log.entries()))
    log.append("tables.updated", why="inclusion", outputs=derived.written())


def _rewrite(stem: Path, blank: Callable[[Row], Row]) -> list[Row]:
    """Both forms of a table, row by row; the rows, or none if there is no such table."""
    path = stem.with_suffix(".parquet")
    if not path.is_file():
        return []
    columns, found = read_parquet(path)
    rows = [blank(row) for row in found]
    write_csv(stem.with_suffix(".csv"), columns, rows)
    write_parquet(path, columns, rows)
    return rows


def _blank_measurement(row: Row, standing: Mapping[ScanKey, Exclusion]) -> Row:
    return row | _NOTHING | {"value": None} if _scan_of(row) in standing else row


_NOTHING: Row = {
    "status": Status.NOT_MEASURABLE.value,
    "reason": ReasonCode.EXCLUDED.value,
}
_NO_CHANGE: Row = {
    **dict.fromkeys(
        ("change", "change_pct", "change_per_year", "sdc", "registration_rms_mm"), None
    ),
    **dict.fromkeys(("change_class", "sdc_source", "tab_source", "drift", "progression"), ""),
}


def _blank_change(row: Row, standing: Mapping[ScanKey, Exclusion]) -> Row:
    ends = {"visit_from": "baseline", "visit_to": "followup"}
    gone = [
        value
        for visit, value in ends.items()
        if (row["participant"], row[visit], row["side"], row["kind"]) in standing
    ]
    if not gone:
        return row
    # where the other visit was not measurable either, the earlier one gives the reason, as in a run
    missing = row["status"] != Status.OK.value and row["baseline"] is None
    earlier = missing and "baseline" not in gone
    reason = {} if earlier else _NOTHING
    return row | reason | _NO_CHANGE | dict.fromkeys(gone, None)


def _blank_disposition(row: Row, standing: Mapping[ScanKey, Exclusion]) -> Row:
    exclusion = standing.get(_scan_of(row))
    if exclusion is None or row["status"] == "excluded":
        return row
    empty = dict.fromkeys(("code", "message", "expected", "found", "action"), "")
    return row | empty | {"status": "excluded"} | exclusion_finding(exclusion.reason).as_dict()


def read_rows(path: Path) -> list[Row]:
    """Rows of a CSV table of kneeimg as text, apostrophes before formula signs taken off.

    Raises
    ------
    InputError
        OUTPUT_CHANGED when it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise unreadable_table(path.name, error) from error
    rows = csv.DictReader(text.splitlines(keepends=True))
    return [{name: unquoted(cell or "") for name, cell in row.items() if name} for row in rows]


def _scan_of(row: Mapping[str, Any]) -> ScanKey:
    return row["participant"], row["visit"], row["side"], row["kind"]
