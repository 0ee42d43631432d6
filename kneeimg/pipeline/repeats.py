"""Repeated scans of one visit: all are kept, and their mean is what the analysis takes.

Nothing is averaged but numbers. Each repeat is measured on its own, and each baseline is compared
with each follow-up over its own bone area; the rows of those comparisons are then averaged. The
mean change is therefore the mean of real comparisons between two scans, and a map belongs to one
of them. A value that one repeat does not have is the mean of the others.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from kneeimg.core.measurement import Measurement, Status
from kneeimg.errors import ReasonCode
from kneeimg.io.results import KneeRecord, RowContext
from kneeimg.longitudinal.progression import progression_of
from kneeimg.longitudinal.rows import DAYS_PER_YEAR, Repeatability, classify
from kneeimg.pipeline.longitudinal import Pair, PairReport, Row

AVERAGE: Literal["AVERAGE"] = "AVERAGE"
_LENGTH_UNITS = ("mm", "mm^2", "mm^3")


def with_averages(records: Iterable[KneeRecord]) -> list[KneeRecord]:
    """All records, and before the repeats of each visit their mean, as the scan without a name."""
    listed = list(records)
    repeats: dict[tuple[str, str, str, str], list[KneeRecord]] = defaultdict(list)
    for record in listed:
        if record.visit.scan:
            repeats[record.key].append(record)
    rows: list[KneeRecord] = []
    for record in listed:
        own = repeats.get(record.key, [])
        if own and own[0] is record:
            rows.append(average_record(own))
        rows.append(record)
    return rows


def average_record(repeats: Sequence[KneeRecord]) -> KneeRecord:
    """The mean of every measurement over the repeats that have it.

    Returns
    -------
    KneeRecord
        `dtype` AVERAGE, no scan name, the mean day (whole days), the findings of all measured
        repeats. Millimetres of films whose pixel sizes come from different sources are not
        averaged (PROTOCOL_DRIFT).
    """
    measured = [record for record in repeats if record.status == "measured"]
    used = measured or list(repeats)
    first = used[0]
    days = [record.visit.day for record in used if record.visit.day is not None]
    by_name = [{m.name: m for m in record.measurements} for record in used]
    drifts = len({record.context.spacing_source for record in used}) > 1
    return replace(
        first,
        visit=replace(first.visit, scan="", day=round(sum(days) / len(days)) if days else None),
        dtype=AVERAGE,
        measurements=tuple(
            _mean([rows[m.name] for rows in by_name if m.name in rows], drifts)
            for m in first.measurements
        ),
        context=_context([record.context for record in used]),
        findings=tuple(dict.fromkeys(f for record in used for f in record.findings)),
    )


def _mean(rows: Sequence[Measurement], drifts: bool) -> Measurement:
    known = [row for row in rows if row.status is Status.OK]
    if not known:
        return rows[0]
    first = known[0]
    if drifts and first.unit in _LENGTH_UNITS:
        reason = ReasonCode.PROTOCOL_DRIFT
        return Measurement.missing(first.region, first.quantity, first.unit, reason)
    return replace(
        first,
        value=sum(row.value for row in known) / len(known),
        method=_joined(row.method for row in known),
        tab_source=_joined(row.tab_source for row in known),
        flags=tuple(dict.fromkeys(flag for row in known for flag in row.flags)),
    )


def _context(contexts: Sequence[RowContext]) -> RowContext:
    return replace(
        contexts[0],
        spacing_source=_joined(c.spacing_source for c in contexts),
        series_uid_hash=_joined(c.series_uid_hash for c in contexts),
        model_sha256=_joined(c.model_sha256 for c in contexts),
    )


def change_rows(pairs: Sequence[Pair], reports: Sequence[PairReport]) -> list[Row]:
    """One row per knee, follow-up and measurement: of the only comparison, or the mean of all."""
    groups: dict[tuple[str, ...], list[tuple[Pair, PairReport]]] = defaultdict(list)
    for pair, report in zip(pairs, reports, strict=True):
        groups[pair.followup.key].append((pair, report))
    rows: list[Row] = []
    for group in groups.values():
        repeated = any(pair.scan for pair, _ in group)
        columns = [report.rows for _, report in group]
        if not repeated:
            rows += columns[0]
            continue
        by_name = [{_name(row): row for row in own} for own in columns]
        names = dict.fromkeys(name for own in by_name for name in own)
        rows += [average_change([own[n] for own in by_name if n in own]) for n in names]
    return rows


def _name(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["region"], row["quantity"]


def average_change(rows: Sequence[Row]) -> Row:
    """The mean of one quantity's change over comparisons of repeated scans.

    Parameters
    ----------
    rows : Rows of the change table, of one region and quantity.

    Returns
    -------
    Row
        Means of baseline, follow-up, change and days (whole days) over the comparisons that have
        the value, percent and rate from the mean change, the largest residual. The class stays
        that of a single scan's smallest detectable change: the mean of repeats is more precise
        than that, so that it errs towards "within measurement error".
    """
    known = [row for row in rows if row["status"] == Status.OK.value] or list(rows)
    first = known[0]
    change, baseline = (_mean_of(known, name) for name in ("change", "baseline"))
    days = _mean_of(known, "days")
    percent = not math.isnan(_mean_of(known, "change_pct"))
    sdc = _number(first["sdc"])
    limit = None if math.isnan(sdc) else Repeatability(sdc, first["sdc_source"])
    measured = first["status"] == Status.OK.value
    per_year = change * DAYS_PER_YEAR / days if days > 0 else math.nan
    return first | {
        "dtype": AVERAGE,
        "days": None if math.isnan(days) else round(days),
        "baseline": baseline,
        "followup": _mean_of(known, "followup"),
        "change": change,
        "change_pct": 100.0 * change / baseline if percent else math.nan,
        "change_per_year": per_year,
        "change_class": classify(change, limit).value if measured else "",
        "progression": progression_of(first["region"], first["quantity"], change, per_year),
        "registration_rms_mm": max(
            (_number(row["registration_rms_mm"]) for row in known), default=math.nan
        ),
        "tab_source": _joined(row["tab_source"] for row in known),
        "drift": _joined(row["drift"] for row in known),
        "method": _joined(row["method"] for row in known),
    }


def _mean_of(rows: Sequence[Row], column: str) -> float:
    values = [_number(row[column]) for row in rows]
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))
