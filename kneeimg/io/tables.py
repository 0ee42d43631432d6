"""The tables under OUT: rows with a fixed column order, as CSV and Parquet, without surprises.

A cell of text that a spreadsheet would take for a formula is written with a leading apostrophe;
numbers stay numbers, and a value that was not measured is an empty cell, never 0.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kneeimg.core.result_tables import (
    FLOAT_COLUMNS,
    INTEGER_COLUMNS,
    MEASUREMENT_COLUMNS,
    quoted,
)
from kneeimg.errors import Finding, unreadable_table
from kneeimg.io.atomic import write_bytes, write_text
from kneeimg.io.results import KneeRecord

Row = Mapping[str, Any]

WIDE_KEYS = ("participant", "side", "visit", "day")


@dataclass(frozen=True, slots=True)
class DispositionRow:
    """What became of one scan, or of one planned scan that never came.

    Attributes
    ----------
    participant, visit, side, kind : Study ids; empty where unknown.
    source : Path relative to INPUT, or the study id when there is no file.
    series_uid_hash : Names the series without its UID.
    status : "measured", "refused", "skipped", "missing" or "excluded".
    finding : Why; None for a measured scan without remarks.
    """

    participant: str
    visit: str
    side: str
    kind: str
    source: str
    status: str
    series_uid_hash: str = ""
    finding: Finding | None = None

    def as_row(self) -> dict[str, str]:
        """Values in the order of `DISPOSITION_COLUMNS`."""
        finding = self.finding
        return {
            "participant": self.participant,
            "visit": self.visit,
            "side": self.side,
            "kind": self.kind,
            "source": self.source,
            "series_uid_hash": self.series_uid_hash,
            "status": self.status,
            "code": finding.code.value if finding else "",
            "message": finding.message if finding else "",
            "expected": finding.expected if finding else "",
            "found": finding.found if finding else "",
            "action": finding.action if finding else "",
        }


def measurement_rows(record: KneeRecord) -> list[dict[str, Any]]:
    """One row for each measurement of a knee, columns as `MEASUREMENT_COLUMNS`."""
    context = record.context
    shared = {
        "participant": record.visit.participant,
        "side": record.visit.side.value if record.visit.side else "",
        "visit": record.visit.visit,
        "day": record.visit.day,
        "scan": record.visit.scan,
        "dtype": record.dtype,
        "kind": record.kind,
        "femur_fraction": context.femur_fraction,
        "spacing_source": context.spacing_source,
        "series_uid_hash": context.series_uid_hash,
        "software_version": context.software_version,
        "model_sha256": context.model_sha256,
    }
    rows = []
    for m in record.measurements:
        flags = dict.fromkeys((*m.flags, *record.flags))
        own = {
            "region": m.region,
            "quantity": m.quantity,
            "value": m.value,
            "unit": m.unit,
            "status": m.status.value,
            "reason": m.reason.value if m.reason else "",
            "method": m.method,
            "tab_source": m.tab_source,
            "aggregate": m.aggregate,
            "qc_flags": ";".join(flag.value for flag in flags),
        }
        merged = shared | own
        rows.append({column: merged[column] for column in MEASUREMENT_COLUMNS})
    return rows


def wide_rows(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Columns and rows with one row per knee and visit, named as the OAI files name them.

    MR and film of one knee and visit share a row; `MT_ThCtAB_aMe` and the like are the columns.
    Of repeated scans the row holds the average; the repeats stand in the long table.
    """
    rows = [row for row in rows if not row["scan"]]
    columns = tuple(dict.fromkeys(f"{row['region']}_{row['quantity']}" for row in rows))
    knees: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["participant"], row["side"], row["visit"])
        knee = knees.setdefault(key, {name: row[name] for name in WIDE_KEYS})
        if knee["day"] is None:
            knee["day"] = row["day"]
        knee[f"{row['region']}_{row['quantity']}"] = row["value"]
    return WIDE_KEYS + columns, list(knees.values())


def csv_text(columns: Sequence[str], rows: Iterable[Row], *, delimiter: str = ",") -> str:
    """CSV text with a header; missing cells, None and NaN are empty.

    >>> csv_text(("id", "x"), [{"id": "=1+1", "x": -2.5}, {"id": "b", "x": float("nan")}])
    "id,x\\n'=1+1,-2.5\\nb,\\n"
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n", delimiter=delimiter)
    writer.writerow([_cell(column) for column in columns])
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return buffer.getvalue()


def csv_of_columns(columns: Mapping[str, Sequence[Any]]) -> str:
    """The same as :func:`csv_text` for a table that is held by columns, many of them repetitive.

    >>> csv_of_columns({"id": ["=1", "b"], "x": [-2.5, None]})
    "id,x\\n'=1,-2.5\\nb,\\n"
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_cell(column) for column in columns])
    writer.writerows(zip(*(_cells(values) for values in columns.values()), strict=True))
    return buffer.getvalue()


def _cells(values: Sequence[Any]) -> list[str]:
    """Cells of one column; equal texts are written once."""
    texts = {value: _cell(value) for value in set(values) if isinstance(value, str)}
    return [texts[v] if isinstance(v, str) else _cell(v) for v in values]


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """CSV (or TSV, by the file name), atomically; see :func:`csv_text`."""
    delimiter = "\t" if path.suffix == ".tsv" else ","
    write_text(path, csv_text(columns, rows, delimiter=delimiter))


def write_parquet(
    path: Path, columns: Sequence[str], rows: Sequence[Row], *, more_floats: Iterable[str] = ()
) -> None:
    """Parquet with stated types: text, double or integer; None stays null, NaN becomes null.

    Columns that this module does not know are text, unless they are among `more_floats`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    floats = FLOAT_COLUMNS.union(more_floats)
    types = {name: pa.float64() if name in floats else _arrow_type(name) for name in columns}
    arrays = [pa.array(_column(name, rows, floats), type=types[name]) for name in columns]
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(columns)), buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


def read_parquet(path: Path) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Columns and rows of a result table.

    Raises
    ------
    InputError
        OUTPUT_CHANGED when the table is not there or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise unreadable_table(path.name, error) from error
    return tuple(table.column_names), table.to_pylist()


def _column(name: str, rows: Sequence[Row], floats: frozenset[str]) -> list[Any]:
    values = [row.get(name) for row in rows]
    if name in floats:
        return [None if v is None or math.isnan(v) else float(v) for v in values]
    return values


def _arrow_type(name: str) -> Any:
    import pyarrow as pa

    return pa.int64() if name in INTEGER_COLUMNS else pa.string()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = quoted(str(value))
        # the csv module leaves a bare carriage return unquoted, and readers take it for a new line
        return text.replace("\r\n", "\n").replace("\r", "\n")
    return repr(float(value)) if isinstance(value, float) else str(int(value))
