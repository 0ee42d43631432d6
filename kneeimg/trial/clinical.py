"""Clinical columns by participant and visit: symptoms, markers, adverse events."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kneeimg.errors import ReasonCode, StudyError
from kneeimg.trial.csv_lines import CsvLines, read_csv_lines
from kneeimg.trial.exclusions import Exclusion, shown_cell, shown_id
from kneeimg.trial.sealed import unknown_participant, wrong_width

ADVERSE_EVENTS = "ae_count"


@dataclass(frozen=True, slots=True)
class ClinicalColumn:
    """What a clinical column may hold.

    Attributes
    ----------
    name : Column name in the tables.
    low, high : Smallest and largest value that is possible.
    whole : Only whole numbers.
    units : Units that the header may say; empty when any unit will do.
    """

    name: str
    low: float = 0.0
    high: float = math.inf
    whole: bool = False
    units: tuple[str, ...] = ()


COLUMNS: Mapping[str, ClinicalColumn] = {
    column.name: column
    for column in (
        ClinicalColumn("vas", high=100.0, units=("", "mm", "0-100", "points")),
        ClinicalColumn("womac_pain"),
        ClinicalColumn("womac_stiffness"),
        ClinicalColumn("womac_function"),
        ClinicalColumn("womac_total"),
        ClinicalColumn("il1b"),
        ClinicalColumn("tnfa"),
        ClinicalColumn("il6"),
        ClinicalColumn("mmp13"),
        ClinicalColumn(ADVERSE_EVENTS, whole=True),
    )
}

#: Columns whose change is analysed; adverse events are counts, not changes.
MARKERS = tuple(name for name in COLUMNS if name != ADVERSE_EVENTS)

_MISSING = frozenset({"", "na", "n/a", "nan", ".", "-"})
_HEADER = re.compile(r"^(?P<name>[^\[(]*)(?:[\[(](?P<unit>[^\])]*)[\])])?\s*$")
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_SAME_SIGNS = str.maketrans({"μ": "u", "µ": "u", "–": "-"})
_ALIASES = {"il1beta": "il1b", "tnfalpha": "tnfa", "vaspain": "vas", "aes": "aecount"}
_KEYS = {"participant": "participant", "visit": "visit"} | {
    name.replace("_", ""): name for name in COLUMNS
}


@dataclass(frozen=True, slots=True)
class Clinical:
    """Clinical values that can be used.

    Attributes
    ----------
    values : (participant, visit, column) to value.
    units : Column to its unit as the header says; empty when it says none.
    exclusions : Cells, lines and columns that are not used.
    """

    values: Mapping[tuple[str, str, str], float]
    units: Mapping[str, str]
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns with a header, in the order of `COLUMNS`."""
        return tuple(name for name in COLUMNS if name in self.units)


@dataclass(frozen=True, slots=True)
class _Cell:
    file: str
    line: int
    participant: str
    visit: str
    column: str
    text: str


def parse_header(text: str) -> tuple[str, str]:
    """Column name and unit of a header cell; the name is "" when it is none of ours.

    Case, spaces, hyphens and underscores do not matter; a unit stands in brackets.

    >>> parse_header("IL-6 [pg/mL]"), parse_header("WOMAC pain"), parse_header("comment")
    (('il6', 'pg/mL'), ('womac_pain', ''), ('', ''))
    """
    match = _HEADER.match(text)
    if match is None:
        return "", ""
    plain = match["name"].casefold().replace("β", "b").replace("α", "a")
    plain = re.sub(r"[\s_\-]", "", plain)
    return _KEYS.get(_ALIASES.get(plain, plain), ""), (match["unit"] or "").strip()


def read_clinical(
    paths: Sequence[Path], participants: Collection[str], visits: Collection[str]
) -> Clinical:
    """Read clinical CSV files: participant, visit and any of `COLUMNS`, one line per visit.

    Parameters
    ----------
    paths : Files; the same column may stand in several of them, in the same unit.
    participants, visits : Of the results.

    Raises
    ------
    StudyError
        When a file as a whole cannot be used: unreadable, no participant or visit column, or one
        column twice.

    Notes
    -----
    What cannot be used becomes an exclusion and the rest stays: UNKNOWN_PARTICIPANT,
    UNKNOWN_VISIT, UNKNOWN_COLUMN, UNIT_CONFLICT, NOT_A_NUMBER, OUT_OF_RANGE, DUPLICATE_ENTRY.
    Empty cells, `NA`, `N/A`, `NaN`, `.` and `-` are missing values, which is no mistake.
    """
    units: dict[str, str] = {}
    cells: list[_Cell] = []
    exclusions: list[Exclusion] = []
    for path in paths:
        table = read_csv_lines(path)
        columns = _columns(table, units, exclusions)
        cells += _cells(table, columns, participants, visits, exclusions)
    values: dict[tuple[str, str, str], float] = {}
    for key, own in _by_key(cells).items():
        numbers = [(cell, _number(cell, exclusions)) for cell in own]
        usable = [(cell, number) for cell, number in numbers if number is not None]
        if len({number for _, number in usable}) > 1:
            exclusions += [_contradiction(cell) for cell, _ in usable]
        elif usable:
            values[key] = usable[0][1]
    return Clinical(values, units, tuple(exclusions))


def _columns(table: CsvLines, units: dict[str, str], exclusions: list[Exclusion]) -> dict[str, int]:
    """Usable columns and where they stand; `units` remembers those of all files."""
    columns: dict[str, int] = {}
    for number, text in enumerate(table.header):
        name, unit = parse_header(text)
        if name in columns:
            raise StudyError("a column stands twice", where=f"{table.file}, line 1", found=text)
        problem = _column_problem(table.file, text, name, unit, units)
        if problem is not None:
            exclusions.append(problem)
            continue
        columns[name] = number
        if name in COLUMNS:
            units.setdefault(name, unit)
    missing = [name for name in ("participant", "visit") if name not in columns]
    if missing:
        raise StudyError(
            "column missing",
            where=f"{table.file}, line 1",
            expected=", ".join(missing),
            found=", ".join(table.header),
        )
    return columns


def _column_problem(
    file: str, text: str, name: str, unit: str, units: Mapping[str, str]
) -> Exclusion | None:
    if not name:
        return Exclusion(
            ReasonCode.UNKNOWN_COLUMN,
            "the column is not one that is analysed",
            file,
            1,
            column=text[:32],
            expected=f"one of {', '.join(COLUMNS)}",
            found=text[:32] or "no name",
        )
    if name not in COLUMNS:
        return None
    allowed = COLUMNS[name].units
    said = units.get(name, unit)
    if _same_unit(said, unit) and (not allowed or _plain_unit(unit) in allowed):
        return None
    return Exclusion(
        ReasonCode.UNIT_CONFLICT,
        "the unit differs from the one in an earlier file"
        if not _same_unit(said, unit)
        else "the scale is another one",
        file,
        1,
        column=name,
        expected=(said or "no unit") if not _same_unit(said, unit) else "0 to 100 (mm)",
        found=unit or "no unit",
    )


def _plain_unit(unit: str) -> str:
    return re.sub(r"\s", "", unit).casefold().translate(_SAME_SIGNS)


def _same_unit(first: str, second: str) -> bool:
    return _plain_unit(first) == _plain_unit(second)


def _cells(
    table: CsvLines,
    columns: Mapping[str, int],
    participants: Collection[str],
    visits: Collection[str],
    exclusions: list[Exclusion],
) -> list[_Cell]:
    """Cells of the lines that name a known participant and visit."""
    lines: dict[tuple[str, str], list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for line, row in table.lines:
        if len(row) != len(table.header):
            exclusions.append(wrong_width(table, line, row))
            continue
        person, visit = row[columns["participant"]], row[columns["visit"]]
        if person not in participants:
            exclusions.append(unknown_participant(table.file, line, person, participants))
        elif visit not in visits:
            exclusions.append(_unknown_visit(table.file, line, person, visit, visits))
        else:
            lines[person, visit].append((line, row))
    cells = []
    for (person, visit), rows in lines.items():
        for line, row in _unrepeated(table, person, visit, rows, exclusions):
            cells += [
                _Cell(table.file, line, person, visit, name, row[columns[name]])
                for name in COLUMNS
                if name in columns
            ]
    return cells


def _unknown_visit(
    file: str, line: int, person: str, visit: str, visits: Collection[str]
) -> Exclusion:
    return Exclusion(
        ReasonCode.UNKNOWN_VISIT,
        "the visit is not in the results",
        file,
        line,
        participant=person,
        visit=shown_id(visit, visits),
        expected=", ".join(sorted(visits)),
        found=shown_id(visit, visits) or "a name that is not written like the study's",
    )


def _unrepeated(
    table: CsvLines,
    person: str,
    visit: str,
    rows: list[tuple[int, tuple[str, ...]]],
    exclusions: list[Exclusion],
) -> list[tuple[int, tuple[str, ...]]]:
    """The line of a participant and visit; none when two lines of one file disagree."""
    if len(rows) == 1:
        return rows
    same = len({row for _, row in rows}) == 1
    message = (
        "the participant and visit are listed again with the same values; the first line is used"
        if same
        else "the participant and visit are listed with different values; none is used"
    )
    exclusions += [
        Exclusion(
            ReasonCode.DUPLICATE_ENTRY,
            message,
            table.file,
            line,
            participant=person,
            visit=visit,
            expected="one line per participant and visit",
            found=f"{len(rows)} lines",
        )
        for line, _ in (rows[1:] if same else rows)
    ]
    return rows[:1] if same else []


def _by_key(cells: Iterable[_Cell]) -> dict[tuple[str, str, str], list[_Cell]]:
    found: dict[tuple[str, str, str], list[_Cell]] = defaultdict(list)
    for cell in cells:
        found[cell.participant, cell.visit, cell.column].append(cell)
    return found


def _number(cell: _Cell, exclusions: list[Exclusion]) -> float | None:
    """The value of a cell; None when it is missing or cannot be used (then with an exclusion)."""
    if cell.text.casefold() in _MISSING:
        return None
    column = COLUMNS[cell.column]
    value = float(cell.text) if _NUMBER.match(cell.text) else math.nan
    if math.isnan(value):
        hint = " (a point in decimals, not a comma)" if "," in cell.text else ""
        exclusions.append(
            _cell_problem(
                cell,
                ReasonCode.NOT_A_NUMBER,
                "the cell is not a number",
                f"a number{hint}, or an empty cell",
                shown_cell(cell.text),
            )
        )
        return None
    inside = column.low <= value <= column.high and math.isfinite(value)
    if not inside or (column.whole and value != int(value)):
        top = "" if math.isinf(column.high) else f" to {column.high:g}"
        kind = "a whole number" if column.whole else "a number"
        wanted = f"{kind}, {column.low:g}{top or ' or more'}"
        problem = "the value lies outside its scale"
        exclusions.append(
            _cell_problem(cell, ReasonCode.OUT_OF_RANGE, problem, wanted, cell.text[:16])
        )
        return None
    return value


def _cell_problem(
    cell: _Cell, code: ReasonCode, message: str, expected: str, found: str
) -> Exclusion:
    return Exclusion(
        code,
        message,
        cell.file,
        cell.line,
        cell.participant,
        cell.visit,
        cell.column,
        expected,
        found,
    )


def _contradiction(cell: _Cell) -> Exclusion:
    return _cell_problem(
        cell,
        ReasonCode.DUPLICATE_ENTRY,
        "two files give different values; none is used",
        "one value per participant, visit and column",
        cell.text[:16],
    )
