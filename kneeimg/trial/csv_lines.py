"""A CSV file as lines with their numbers; what is wrong with a line never stops the others."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from kneeimg.errors import StudyError


@dataclass(frozen=True, slots=True)
class CsvLines:
    """Header and lines of one CSV file.

    Attributes
    ----------
    file : File name without its folder.
    header : Column names, stripped.
    lines : (line number, stripped cells) of every line that is not empty.
    """

    file: str
    header: tuple[str, ...]
    lines: tuple[tuple[int, tuple[str, ...]], ...]


def read_csv_text(path: Path) -> str:
    """Text of a CSV file in UTF-8, with or without a byte-order mark.

    Raises
    ------
    StudyError
        BAD_STUDY_FILE when it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(
            "the table cannot be read",
            where=path.name,
            expected="a CSV file in UTF-8",
            found=getattr(error, "strerror", None) or type(error).__name__,
        ) from error


def read_csv_lines(path: Path) -> CsvLines:
    """Read a comma-separated file in UTF-8.

    Raises
    ------
    StudyError
        BAD_STUDY_FILE when it cannot be read, has no header, or is separated by semicolons.
    """
    text = read_csv_text(path)
    reader = csv.reader(io.StringIO(text))
    try:
        header = tuple(cell.strip() for cell in next(reader, []))
        lines = tuple(
            (reader.line_num, tuple(cell.strip() for cell in cells))
            for cells in reader
            if any(cell.strip() for cell in cells)
        )
    except csv.Error as error:
        raise StudyError("the table is no CSV", where=path.name, found=str(error)) from error
    if not any(header):
        raise StudyError("the table is empty", where=path.name, expected="a header line")
    if len(header) == 1 and ";" in header[0]:
        raise StudyError(
            "the columns are separated by semicolons",
            where=path.name,
            expected="commas between columns, a point in decimals",
            found="semicolons",
            action="save it as comma-separated CSV",
        )
    return CsvLines(path.name, header, lines)
