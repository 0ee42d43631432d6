"""The study file and its tables as typed objects, checked row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Literal, cast

from kneeimg.core.anatomy import Side
from kneeimg.errors import Finding, ReasonCode, StudyError
from kneeimg.settings.study import StudyFile, VisitWindow
from kneeimg.settings.toml import load_toml
from kneeimg.trial.csv_table import Row, Table, nearest_name

Kind = Literal["mri", "film"]

PARTICIPANT_COLUMNS = ("participant", "index_knee", "patient_id", "baseline_date")
KEY_COLUMNS = ("participant", "patient_id")
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
    "scan",
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
    scan : "run-1", "run-2", ... of repeated scans that the table names so; else empty.
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
    scan: str = ""
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
    refused : Participants of whom nothing is measured, and why.
    owners : DICOM PatientID to the participants that claim it; never written out. Where several
        do, all of them are refused.
    """

    settings: StudyFile
    participants: Mapping[str, Participant]
    scans: tuple[ListedScan, ...] | None = None
    visits_given: bool = False
    refused: Mapping[str, Finding] = field(default_factory=dict)
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        """Name of the study."""
        return self.settings.study.id


def load_study(path: Path) -> Study:
    """Read `study.toml` and the tables that it names.

    A participant whose identity is uncertain is refused, and the others go on (`Study.refused`).

    Raises
    ------
    StudyError
        BAD_STUDY_FILE with file, line, what was expected and found; BAD_STUDY_ID for an id that
        cannot be part of a file name.
    """
    settings = load_toml(path, StudyFile)
    folder = path.resolve().parent
    if settings.masks.folder is not None:
        masks = settings.masks.model_copy(update={"folder": str(folder / settings.masks.folder)})
        settings = settings.model_copy(update={"masks": masks})
    key = folder / settings.study.key if settings.study.key else None
    people = read_participants(folder / settings.study.participants, key)
    scans = None
    if settings.study.scans:
        scans = read_scans(folder / settings.study.scans, people.participants, settings)
    given = "visits" in settings.model_fields_set
    return Study(
        settings, people.participants, scans, given, refused=people.refused, owners=people.owners
    )


@dataclass(frozen=True, slots=True)
class People:
    """The participants of a study; attributes as in :class:`Study`."""

    participants: Mapping[str, Participant]
    refused: Mapping[str, Finding]
    owners: Mapping[str, tuple[str, ...]] = field(repr=False)


def read_participants(path: Path, key: Path | None = None) -> People:
    """participants.csv: participant, index_knee, patient_id, baseline_date (all but the first
    optional). The arm does not belong here: it stays sealed until the analysis.

    `key` is a CSV of participant and patient_id that is kept apart from it.
    """
    rows = Table.read(path, PARTICIPANT_COLUMNS, required=("participant",))
    people: dict[str, Participant] = {}
    lines: dict[str, list[Row]] = {}  # a file system may not tell P01 from p01
    numbers: dict[str, list[tuple[str, Row]]] = {}
    for row in rows:
        person = _participant(row)
        people.setdefault(person.participant, person)
        lines.setdefault(person.participant.casefold(), []).append(row)
        if person.patient_id:
            numbers.setdefault(person.patient_id, []).append((person.participant, row))
    if not people:
        raise StudyError("no participant in the table", where=path.name)
    for row in Table.read(key, KEY_COLUMNS, KEY_COLUMNS) if key else ():
        name = row.study_id("participant")
        if name not in people:
            raise row.error(
                "participant is not in the participants table",
                found=name,
                expected=nearest_name(name, people),
            )
        if row.text("patient_id"):
            people[name] = replace(people[name], patient_id=row.text("patient_id"))
            numbers.setdefault(row.text("patient_id"), []).append((name, row))
    owners = {
        number: tuple(dict.fromkeys(n for n, _ in found)) for number, found in numbers.items()
    }
    return People(people, _uncertain(people, lines, numbers), owners)


def _participant(row: Row) -> Participant:
    return Participant(
        participant=row.study_id("participant"),
        index_knee=row.side("index_knee"),
        patient_id=row.text("patient_id") or None,
        baseline_date=row.date("baseline_date"),
    )


def _uncertain(
    people: Iterable[str],
    lines: Mapping[str, Sequence[Row]],
    numbers: Mapping[str, Sequence[tuple[str, Row]]],
) -> dict[str, Finding]:
    """Participants of whom nobody can say which scans are theirs."""
    refused: dict[str, Finding] = {}
    for name in people:
        rows = lines[name.casefold()]
        if len(rows) > 1:
            refused[name] = _duplicate("two rows have one participant id", rows, name)
    for found in numbers.values():
        names = list(dict.fromkeys(name for name, _ in found))
        if len(names) > 1:
            rows = [row for _, row in found]
            finding = _duplicate("one PatientID is given to several participants", rows, names)
            refused |= {name: refused.get(name, finding) for name in names}
    return refused


def _duplicate(message: str, rows: Sequence[Row], names: str | Sequence[str]) -> Finding:
    where = ", ".join(f"line {row.line}" for row in rows)
    shown = names if isinstance(names, str) else ", ".join(names)
    return Finding(
        ReasonCode.DUPLICATE_PARTICIPANT,
        message,
        where=f"{rows[0].file}, {where}",
        expected="one row and one PatientID for each participant",
        found=shown,
        action="find out whose row it is, correct the table, and run again",
    )


def read_scans(
    path: Path, participants: Mapping[str, Participant], settings: StudyFile
) -> tuple[ListedScan, ...]:
    """scans.csv: participant, visit, side, kind, path, mask, scheme, date, day, scan.

    Paths are absolute or relative to the table. Columns that are not needed may be left out.
    """
    checker = _ScanChecker(path.resolve().parent, participants, settings)
    scans = [checker.scan(row) for row in Table.read(path, SCAN_COLUMNS, ("participant", "visit"))]
    if not scans:
        raise StudyError("no scan in the table", where=path.name)
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
        self._runs: dict[tuple[object, ...], Row] = {}

    def scan(self, row: Row) -> ListedScan:
        participant = row.study_id("participant")
        if participant not in self._participants:
            raise row.error(
                "participant is not in the participants table",
                found=participant,
                expected=nearest_name(participant, self._participants),
            )
        if not row.text("visit"):
            raise row.error("the visit is not filled in", expected=", ".join(self._windows))
        visit = row.study_id("visit")
        if self._given and visit not in self._windows:
            raise row.error(
                "visit is not among [[visits]]", found=visit, expected=", ".join(self._windows)
            )
        scan = self._built(row, participant, visit)
        key = (participant, visit, scan.side, scan.kind, scan.scan)
        if scan.scan and key in self._runs:
            line = self._runs[key].line
            raise row.error(f"the same scan as in line {line}", found=f"{visit} {scan.scan}")
        self._runs[key] = row
        return scan

    def _built(self, row: Row, participant: str, visit: str) -> ListedScan:
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
            scan=row.scan("scan"),
            source=row.text("mask") or row.text("path"),
        )


def planned_visits(study: Study, kind: Kind) -> tuple[VisitWindow, ...]:
    """Visits at which a scan of this kind is planned.

    With a scan list and no `[[visits]]` of its own the study plans exactly what it lists.
    """
    if study.scans is not None and not study.visits_given:
        return ()
    return tuple(v for v in study.settings.visits if v.kinds is None or kind in v.kinds)
