"""The study file and its tables as typed objects, checked row by row."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

from kneeimg.core.anatomy import Side
from kneeimg.core.visit import require_study_id
from kneeimg.errors import ReasonCode, StudyError
from kneeimg.settings.study import StudyFile, VisitWindow
from kneeimg.settings.toml import load_toml

Kind = Literal["mri", "film"]

PARTICIPANT_COLUMNS = ("participant", "index_knee", "patient_id", "baseline_date")
SCAN_COLUMNS = (
    "participant",
    "visit",
    "side",
    "kind",
    "path",
    "mask",
    "scheme",
    "date",
    "day",
)


@dataclass(frozen=True, slots=True)
class Participant:
    """One person, by study id.

    Attributes
    ----------
    participant : Study id.
    index_knee : The knee under study; None when not said.
    patient_id : DICOM PatientID to recognise the scans by; never written out, never shown.
    baseline_date : Day 0; None to take the first scan.
    """

    participant: str
    index_knee: Side | None = None
    patient_id: str | None = field(default=None, repr=False)
    baseline_date: date | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ListedScan:
    """One row of scans.csv.

    Attributes
    ----------
    participant, visit : Study ids.
    side : Which knee; None when the file shall say so (or a bilateral film).
    kind : "mri" or "film".
    image : Image file or series folder; None when only a mask exists.
    mask : Mask file; None for films, or to look beside the series.
    scheme : Label scheme of the mask; None for the study's.
    scan_date : Never written out.
    day : Days since baseline; None when unknown.
    source : The path as the table has it, for messages.
    """

    participant: str
    visit: str
    side: Side | None
    kind: Kind
    image: Path | None
    mask: Path | None
    scheme: str | None
    scan_date: date | None = field(default=None, repr=False)
    day: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """A study file with its tables.

    Attributes
    ----------
    settings : The validated study file.
    participants : By study id, in the order of the table.
    scans : Rows of scans.csv; None when scans are found in the DICOM folder.
    visits_given : The study file lists its visits, so that a visit without a scan is missing.
    """

    settings: StudyFile
    participants: Mapping[str, Participant]
    scans: tuple[ListedScan, ...] | None = None
    visits_given: bool = False

    @property
    def id(self) -> str:
        """Name of the study."""
        return self.settings.study.id

    def by_patient_id(self) -> dict[str, Participant]:
        """DICOM PatientID to participant."""
        return {p.patient_id: p for p in self.participants.values() if p.patient_id}


def load_study(path: Path) -> Study:
    """Read `study.toml` and the tables that it names.

    Raises
    ------
    StudyError
        BAD_STUDY_FILE with file, line, what was expected and found; BAD_STUDY_ID for an id that
        cannot be part of a file name.
    """
    settings = load_toml(path, StudyFile)
    folder = path.resolve().parent
    participants = read_participants(folder / settings.study.participants)
    scans = None
    if settings.study.scans:
        scans = read_scans(folder / settings.study.scans, participants, settings)
    given = "visits" in settings.model_fields_set
    return Study(settings, participants, scans, visits_given=given)


def read_participants(path: Path) -> dict[str, Participant]:
    """participants.csv: participant, index_knee, patient_id, baseline_date (all but the first
    optional). The arm does not belong here: it stays sealed until the analysis."""
    people: dict[str, Participant] = {}
    owners: dict[str, str] = {}
    for row in _Table.read(path, PARTICIPANT_COLUMNS, required=("participant",)):
        person = Participant(
            participant=row.study_id("participant"),
            index_knee=row.side("index_knee"),
            patient_id=row.text("patient_id") or None,
            baseline_date=row.date("baseline_date"),
        )
        if person.participant.casefold() in {name.casefold() for name in people}:
            raise row.error("participant listed twice", found=person.participant)
        if person.patient_id and person.patient_id in owners:
            other = owners[person.patient_id]
            raise row.error(f"patient_id already belongs to participant {other}")
        if person.patient_id:
            owners[person.patient_id] = person.participant
        people[person.participant] = person
    if not people:
        raise StudyError("no participant in the table", where=path.name)
    return people


def read_scans(
    path: Path, participants: Mapping[str, Participant], settings: StudyFile
) -> tuple[ListedScan, ...]:
    """scans.csv: participant, visit, side, kind, path, mask, scheme, date, day.

    Paths are absolute or relative to the table. Columns that are not needed may be left out.
    """
    checker = _ScanChecker(path.resolve().parent, participants, settings)
    scans = [checker.scan(row) for row in _Table.read(path, SCAN_COLUMNS, ("participant", "visit"))]
    if not scans:
        raise StudyError("no scan in the table", where=path.name)
    checker.require_dates_forward()
    return tuple(scans)


class _ScanChecker:
    """Turns rows into scans and remembers what must not repeat."""

    def __init__(
        self, folder: Path, participants: Mapping[str, Participant], settings: StudyFile
    ) -> None:
        self._folder = folder
        self._participants = participants
        self._windows = {v.name: v for v in settings.visits}
        self._given = "visits" in settings.model_fields_set
        self._seen: dict[tuple[str, str, Side | None, str], _Row] = {}
        self._dated: list[tuple[ListedScan, _Row]] = []

    def scan(self, row: _Row) -> ListedScan:
        participant = row.study_id("participant")
        if participant not in self._participants:
            raise row.error(
                "participant is not in the participants table",
                found=participant,
                expected=_nearest(participant, self._participants),
            )
        visit = row.study_id("visit")
        if self._given and visit not in self._windows:
            raise row.error(
                "visit is not among [[visits]]", found=visit, expected=", ".join(self._windows)
            )
        scan = self._built(row, participant, visit)
        key = (participant, visit, scan.side, scan.kind)
        if key in self._seen:
            raise row.error(f"the same scan as in line {self._seen[key].line}", found=str(key[:2]))
        self._seen[key] = row
        self._dated.append((scan, row))
        return scan

    def _built(self, row: _Row, participant: str, visit: str) -> ListedScan:
        kind = row.text("kind") or "mri"
        if kind not in ("mri", "film"):
            raise row.error("unknown kind", expected="mri or film", found=kind)
        image, mask = row.path("path", self._folder), row.path("mask", self._folder)
        if image is None and mask is None:
            raise row.error("neither path nor mask is given")
        if kind == "film" and image is None:
            raise row.error("a film needs a path")
        scan_date, day = row.date("date"), row.integer("day")
        baseline = self._participants[participant].baseline_date
        if day is None and scan_date and baseline:
            day = (scan_date - baseline).days
        if day is None and visit in self._windows:
            day = self._windows[visit].target_day if scan_date is None else None
        return ListedScan(
            participant=participant,
            visit=visit,
            side=row.side("side"),
            kind=cast(Kind, kind),
            image=image,
            mask=mask,
            scheme=row.text("scheme") or None,
            scan_date=scan_date,
            day=day,
            source=row.text("mask") or row.text("path"),
        )

    def require_dates_forward(self) -> None:
        """Visits of one participant must lie in the order of their target days."""
        by_person: dict[str, list[tuple[int, ListedScan, _Row]]] = {}
        for scan, row in self._dated:
            window = self._windows.get(scan.visit)
            if scan.scan_date and window:
                entry = (window.target_day, scan, row)
                by_person.setdefault(scan.participant, []).append(entry)
        for entries in by_person.values():
            entries.sort(key=lambda entry: entry[0])
            for (day, first, _), (next_day, second, row) in pairwise(entries):
                assert first.scan_date
                assert second.scan_date
                if next_day > day and second.scan_date < first.scan_date:
                    raise row.error(
                        f"visit {second.visit} of {second.participant} is dated before "
                        f"visit {first.visit}"
                    )


@dataclass(frozen=True, slots=True)
class _Row:
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

    def integer(self, column: str) -> int | None:
        value = self.text(column)
        try:
            return int(value) if value else None
        except ValueError:
            raise self.error(f"{column} is not a whole number of days", found=value) from None

    def path(self, column: str, folder: Path) -> Path | None:
        value = self.text(column)
        return folder / value if value else None


class _Table:
    """A CSV file with a header that is checked before its rows."""

    @staticmethod
    def read(path: Path, columns: Sequence[str], required: Sequence[str]) -> list[_Row]:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise StudyError(
                "the table cannot be read",
                where=path.name,
                expected="a CSV file in UTF-8",
                found=getattr(error, "strerror", None) or type(error).__name__,
            ) from error
        reader = csv.reader(text.splitlines())
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
            rows.append(_Row(values, path.name, reader.line_num))
        return rows


def _check_header(
    header: Sequence[str], columns: Sequence[str], required: Sequence[str], file: str
) -> None:
    where = f"{file}, line 1"
    if len(set(header)) != len(header):
        raise StudyError("a column stands twice", where=where, found=", ".join(header))
    for name in header:
        if name.casefold() in ("arm", "treatment", "group", "trtp"):
            raise StudyError(
                "the arm does not belong here: measuring is blind",
                where=where,
                found=name,
                action="remove the column and give the sealed arms to the analysis only",
            )
        if name not in columns:
            raise StudyError(
                "unknown column", where=where, found=name, expected=_nearest(name, columns)
            )
    missing = [name for name in required if name not in header]
    if missing:
        raise StudyError(
            "column missing", where=where, expected=", ".join(missing), found=", ".join(header)
        )


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"one of {', '.join(names)}"


def planned_visits(study: Study, participant: str, kind: Kind) -> tuple[VisitWindow, ...]:
    """Visits at which a scan of this kind is planned for the participant.

    With a scan list and no `[[visits]]` of its own the study plans exactly what it lists.
    """
    if study.scans is not None and not study.visits_given:
        return ()
    return tuple(v for v in study.settings.visits if v.kinds is None or kind in v.kinds)
