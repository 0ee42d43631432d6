"""Repeatability tables: `precision.csv`, its header `precision.json`, and tables by other hands."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from kneeimg.core.precision import PrecisionHeader, PrecisionRow, PrecisionStudy, StudyKind
from kneeimg.errors import InputError, StudyError
from kneeimg.io.atomic import write_json, write_text
from kneeimg.io.results import read_json
from kneeimg.io.tables import csv_text

#: Layout of both files; another number is another layout.
FORMAT = 1
PRECISION_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(PrecisionRow))
_COUNTS = ("n_people", "n_knees", "n_scans")
_TEXTS = ("kind", "method", "procedure", "region", "quantity", "unit", "sample")


def header_path(table: Path) -> Path:
    """The header beside a table: the same name, ending in .json."""
    return table.with_suffix(".json")


def write_precision(study: PrecisionStudy, path: Path) -> None:
    """Write the table, then its header with the hash of the table, each atomically."""
    text = csv_text(PRECISION_COLUMNS, [_rounded(asdict(row)) for row in study.rows])
    write_text(path, text)
    header = {"format": FORMAT, **asdict(study.header)}
    write_json(header_path(path), header | {"table_sha256": _sha256(text)})


def read_precision(path: Path) -> PrecisionStudy:
    """Read a table and its header.

    Raises
    ------
    StudyError
        One of the two files is absent or no repeatability table, or the table is not the one that
        the header was written for.
    """
    text, header = _text(path), _header(header_path(path))
    sha256 = _sha256(text)
    if header.pop("table_sha256", None) != sha256:
        raise StudyError(
            "the repeatability table is not the one that its header belongs to",
            where=path.name,
            expected="the table as kneeimg wrote it",
            action="make it again with kneeimg precision",
        )
    try:
        found = PrecisionHeader(**header | {"kind": StudyKind(header["kind"])})
        rows = tuple(_row(line) for line in csv.DictReader(io.StringIO(text)))
        return PrecisionStudy(found, rows, sha256)
    except (KeyError, TypeError, ValueError) as error:
        raise _not_a_table(path, str(error)) from error


def read_repeats(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV that somebody else made, with the columns that are required.

    Raises
    ------
    StudyError
        The file cannot be read or a required column is missing.
    """
    lines = list(csv.DictReader(io.StringIO(_text(path))))
    columns = set(lines[0]) if lines else set()
    missing = [name for name in required if name not in columns]
    if missing:
        raise StudyError(
            f"the table has no column {', '.join(missing)}",
            where=path.name,
            expected=", ".join(required),
            found=", ".join(sorted(c for c in columns if c)) or "no rows",
        )
    return [{key: (value or "").strip() for key, value in line.items() if key} for line in lines]


def number_of(text: str, *, where: str) -> float:
    """A finite number, or NaN for an empty cell.

    Raises
    ------
    StudyError
        The text is no finite number.
    """
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise StudyError("a value is not a number", where=where, found=text[:40])
    return value


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Seven digits: the same table on every machine, far finer than any measurement."""
    return {k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in row.items()}


def _row(line: Mapping[str, str]) -> PrecisionRow:
    values: dict[str, Any] = {name: line[name] for name in _TEXTS}
    values |= {name: int(line[name]) for name in _COUNTS}
    for name in PRECISION_COLUMNS:
        if name not in values:
            values[name] = float(line[name]) if line[name] else math.nan
    return PrecisionRow(**values)


def _header(path: Path) -> dict[str, Any]:
    try:
        header = read_json(path)
    except InputError as error:
        raise StudyError(
            "the header of the repeatability table cannot be read",
            where=path.name,
            action="keep precision.json beside precision.csv",
        ) from error
    if header.pop("format", None) != FORMAT:
        raise _not_a_table(path, "another layout")
    return header


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(
            "the table cannot be read",
            where=path.name,
            found=getattr(error, "strerror", None) or type(error).__name__,
            action="check the path; it is relative to the study file",
        ) from error


def _not_a_table(path: Path, found: str) -> StudyError:
    return StudyError(
        "the file is no repeatability table",
        where=path.name,
        expected="a table that kneeimg precision wrote",
        found=found[:200],
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
