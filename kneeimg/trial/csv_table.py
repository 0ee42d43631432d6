"""CSV tables of a study, cell by cell, with messages that name file and line."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from kneeimg.core.anatomy import Side
from kneeimg.core.visit import SCAN_ID, require_study_id
from kneeimg.errors import ReasonCode, StudyError
from kneeimg.trial.csv_lines import read_csv_text

#: Names under which a treatment arm would come in; measuring is blind to it.
_ARM_COLUMNS = frozenset(
    {"arm", "treatment", "group", "allocation", "randomisation", "randomization"}
    | {"trt", "trta", "trtp", "trtan", "trtpn", "trt01p", "trt01a", "actarm", "armcd"}
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a CSV table, with typed access that names file and line."""

    cells: Mapping[str, str]
    file: str
    line: int

    def error(self, message: str, *, expected: str = "", found: str = "") -> StudyError:
        return StudyError(
            message, where=f"{self.file}, line {self.line}", expected=expected, found=found
        )

    def text(self, column: str) -> str:
        return self.cells.get(column, "")

    def study_id(self, column: str) -> str:
        try:
            return require_study_id(self.text(column), column)
        except StudyError as error:
            finding = error.finding
            raise StudyError(
                finding.message,
                code=ReasonCode.BAD_STUDY_ID,
                where=f"{self.file}, line {self.line}",
                expected=finding.expected,
                found=finding.found,
                action=finding.action,
            ) from None

    def side(self, column: str) -> Side | None:
        value = self.text(column).casefold()
        names = {"": None, "l": Side.LEFT, "r": Side.RIGHT, "left": Side.LEFT, "right": Side.RIGHT}
        if value not in names:
            raise self.error(
                f"{column} is not a side", expected="left, right or empty", found=value
            )
        return names[value]

    def date(self, column: str) -> date | None:
        value = self.text(column)
        try:
            return date.fromisoformat(value) if value else None
        except ValueError:
            raise self.error(f"{column} is not a date", expected="YYYY-MM-DD") from None

    def scan(self, column: str) -> str:
        value = self.text(column)
        if value and not SCAN_ID.fullmatch(value):
            raise self.error(
                f"{column} does not name a repeated scan",
                expected="run-1, run-2, ... or empty",
                found=value,
            )
        return value

    def integer(self, column: str) -> int | None:
        value = self.text(column)
        try:
            return int(value) if value else None
        except ValueError:
            raise self.error(f"{column} is not a whole number of days", found=value) from None

    def path(self, column: str, folder: Path) -> Path | None:
        value = self.text(column)
        return folder / value if value else None


class Table:
    """A CSV file with a header that is checked before its rows."""

    @staticmethod
    def read(path: Path, columns: Sequence[str], required: Sequence[str]) -> list[Row]:
        reader = csv.reader(read_csv_text(path).splitlines())
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, columns, required, path.name)
        rows = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise StudyError(
                    "wrong number of cells",
                    where=f"{path.name}, line {reader.line_num}",
                    expected=f"{len(header)} cells",
                    found=str(len(cells)),
                )
            values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            rows.append(Row(values, path.name, reader.line_num))
        return rows


def _check_header(
    header: Sequence[str], columns: Sequence[str], required: Sequence[str], file: str
) -> None:
    where = f"{file}, line 1"
    if len(set(header)) != len(header):
        raise StudyError("a column stands twice", where=where, found=", ".join(header))
    for name in header:
        if name.casefold() in _ARM_COLUMNS:
            raise StudyError(
                "the arm does not belong here: measuring is blind",
                where=where,
                found=name,
                action="remove the column and give the sealed arms to the analysis only",
            )
        if name not in columns:
            raise StudyError(
                "unknown column", where=where, found=name, expected=nearest_name(name, columns)
            )
    missing = [name for name in required if name not in header]
    if missing:
        raise StudyError(
            "column missing", where=where, expected=", ".join(missing), found=", ".join(header)
        )


def nearest_name(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"one of {', '.join(names)}"
