"""Draft the files of a study from the DICOM headers of a folder; nothing is guessed."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kneeimg.errors import ExitStatus
from kneeimg.io.atomic import require_writable, write_text
from kneeimg.io.results import Kind
from kneeimg.pipeline.cases import row_side
from kneeimg.pipeline.draft_rules import ScanSeries, propose_rules
from kneeimg.pipeline.people import group_people
from kneeimg.pipeline.schedule import KINDS
from kneeimg.settings.reading import ReadingSettings
from kneeimg.settings.study import StudySection, VisitWindow
from kneeimg.trial.csv_table import Table
from kneeimg.trial.draft import SCHEDULE, DraftRule, study_toml, table_text
from kneeimg.trial.study import KEY_COLUMNS
from kneeimg.trial.visits import Placing, place_scans

if TYPE_CHECKING:
    from kneeimg.io.dicom import SeriesRecord

STUDY, PEOPLE, KEY, SCANS = "study.toml", "participants.csv", "key.csv", "scans.csv"
_PEOPLE_COLUMNS = ("participant", "index_knee", "baseline_date")
_SCAN_COLUMNS = ("participant", "visit", "side", "kind", "path", "mask", "date", "scan")


@dataclass(frozen=True, slots=True)
class Question:
    """What the headers cannot decide: left empty in the draft, for a person to fill in."""

    participant: str
    what: str
    found: str
    action: str

    def cells(self) -> tuple[str, str, str, str]:
        """In the order of the attributes."""
        return self.participant, self.what, self.found, self.action


@dataclass(frozen=True, slots=True)
class DraftScan:
    """The series of one person, kind, date and side."""

    participant: str
    kind: Kind
    scan_date: date | None
    side: str
    series: tuple[SeriesRecord, ...]
    visit: str = ""
    placing: Placing = Placing.PLANNED


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafted study.

    Attributes
    ----------
    people : Participant to index knee, "" where it was not decided.
    numbers : Participant to PatientID; for key.csv only, never shown.
    scans : What was found, each with its proposed visit.
    rules : Proposed series rules.
    open_questions : What was left empty.
    n_files : Files looked at.
    """

    people: Mapping[str, str]
    numbers: Mapping[str, str]
    scans: tuple[DraftScan, ...]
    rules: tuple[DraftRule, ...]
    open_questions: tuple[Question, ...]
    n_files: int

    @property
    def lists_scans(self) -> bool:
        """Whether only a list can say whose and when: a file without PatientID or date."""
        nameless = any(scan.participant not in self.numbers for scan in self.scans)
        return nameless or any(scan.scan_date is None for scan in self.scans)

    @property
    def repeats(self) -> bool:
        """Whether scans of one knee and protocol were repeated at a visit."""
        return bool(repeated(self.scans, self.rules))

    @property
    def exit_status(self) -> ExitStatus:
        """0 complete, 2 something is left to fill in, 3 no scan was found."""
        if not self.scans:
            return ExitStatus.ALL_REFUSED
        return ExitStatus.SOME_REFUSED if self.open_questions else ExitStatus.MEASURED

    def headline(self) -> str:
        """One line for a person."""
        visits = [w.name for w, n in self.visits() if n]
        return (
            f"{len(self.people)} participants, {len(self.scans)} scans, visits "
            f"{', '.join(visits) or 'not known'}; {len(self.open_questions)} left for you to decide"
        )

    def visits(self) -> list[tuple[VisitWindow, int]]:
        """Windows of the schedule and how many scans fall into each."""
        found = Counter(s.visit for s in self.scans if s.placing is not Placing.UNSCHEDULED)
        return [(window, found[window.name]) for window in SCHEDULE]

    def to_json(self) -> dict[str, Any]:
        """Plain values; no PatientID."""
        return {
            "exit_status": int(self.exit_status),
            "participants": dict(self.people),
            "scans": len(self.scans),
            "visits": {window.name: n for window, n in self.visits() if n},
            "rules": [dict(rule.values) for rule in self.rules if rule.used],
            "repeats": self.repeats,
            "open": [
                dict(zip(("participant", "what", "found", "action"), q.cells(), strict=True))
                for q in self.open_questions
            ],
        }


def existing_drafts(out: Path) -> list[str]:
    """Files of a study that are already in a folder."""
    return [name for name in (STUDY, PEOPLE, KEY, SCANS) if (out / name).exists()]


def known_ids(out: Path) -> dict[str, str]:
    """PatientID to study id as an earlier draft gave them, so that nobody is renumbered."""
    key = out / KEY
    if not key.is_file():
        return {}
    rows = Table.read(key, KEY_COLUMNS, KEY_COLUMNS)
    return {row.text("patient_id"): row.study_id("participant") for row in rows}


def draft_study(source: Path, known: Mapping[str, str] | None = None) -> Draft:
    """Draft a study from the DICOM below a folder.

    Parameters
    ----------
    source : Folder to search.
    known : PatientID to study id of people who have one already.
    """
    from kneeimg.io.dicom import find_series

    inventory = find_series(source, ReadingSettings())
    records = [r for r in inventory.records if not r.skipped and r.kind in KINDS]
    known = known or {}
    people = _named(group_people(records), known)
    scans = [scan for name, series in people.items() for scan in _placed(_scans(name, series))]
    rules, questions = propose_rules([ScanSeries(scan.series) for scan in scans])
    knees = {name: _index_knee(series) for name, series in people.items()}
    numbers = {name: s[0].patient_id for name, s in people.items() if s[0].patient_id}
    asked = [Question("", *question) for question in questions]
    asked += _repeat_questions(repeated(scans, rules))
    for name, series in people.items():
        asked += _side_questions(name, series)
        asked += _visit_questions([scan for scan in scans if scan.participant == name])
    for number, name in known.items():
        if name not in knees:  # keeps the id, which nobody else may get
            knees[name], numbers[name] = "", number
            action = "fill in index_knee, or remove the row from participants.csv and key.csv"
            asked.append(Question(name, "index knee", "in key.csv, but no scan here", action))
    return Draft(knees, numbers, tuple(scans), tuple(rules), tuple(asked), inventory.n_files)


def repeated(
    scans: Iterable[DraftScan], rules: Sequence[DraftRule]
) -> dict[tuple[str, str, str, str], int]:
    """Participant, visit, kind and side to the number of repeated scans, where there are any."""
    crowd: Counter[tuple[str, str, str, str]] = Counter()
    for scan in scans:
        if scan.visit and scan.placing is not Placing.DUPLICATE:
            key = (scan.participant, scan.visit, scan.kind, scan.side)
            crowd[key] += len(ScanSeries(scan.series).chosen(rules))
    return {key: n for key, n in crowd.items() if n > 1}


def _repeat_questions(found: Mapping[tuple[str, str, str, str], int]) -> list[Question]:
    if not found:
        return []
    (name, visit, kind, side), n = next(iter(found.items()))
    first = " ".join(filter(None, (name, visit, kind, side)))
    return [
        Question(
            "",
            "repeated scans",
            f"{len(found)} visits with more than one scan, e.g. {n} of {first}",
            'confirm repeats = "average" in study.toml, or take "nearest"',
        )
    ]


def write_draft(draft: Draft, source: Path, out: Path) -> list[str]:
    """Write the drafts into a folder; names of the files.

    What can tell a person, the key and the list of paths, is readable by its owner alone.
    """
    if not draft.scans:
        return []
    require_writable(out)
    toml = study_toml(
        visits=draft.visits(),
        rules=draft.rules,
        key=bool(draft.numbers),
        scans=draft.lists_scans,
        repeats=draft.repeats,
    )
    people = [{"participant": n, "index_knee": knee} for n, knee in draft.people.items()]
    written = {STUDY: toml, PEOPLE: table_text(_PEOPLE_COLUMNS, people)}
    if draft.numbers:
        rows = [{"participant": n, "patient_id": number} for n, number in draft.numbers.items()]
        written[KEY] = table_text(KEY_COLUMNS, rows)
    if draft.lists_scans:
        written[SCANS] = table_text(_SCAN_COLUMNS, _scan_rows(draft, source, out))
    for name, text in written.items():
        write_text(out / name, text, private=name in (KEY, SCANS))
    return list(written)


def _named(
    groups: Mapping[str, list[SeriesRecord]], known: Mapping[str, str]
) -> dict[str, list[SeriesRecord]]:
    """Series by study id: the known one, or the next free number."""
    taken = set(known.values())
    width = max(2, len(str(len(groups) + len(taken))))
    free = (name for n in range(1, 10**width) if (name := f"P{n:0{width}}") not in taken)
    named = {
        known.get(series[0].patient_id or "") or next(free): series for series in groups.values()
    }
    return {name: named[name] for name in sorted(named)}


def _scans(name: str, records: Iterable[SeriesRecord]) -> list[DraftScan]:
    groups: dict[tuple[str, str, str], list[SeriesRecord]] = defaultdict(list)
    for record in records:
        when = record.study_date or f"~{record.study_hash}{record.folder}"
        side = "both" if record.bilateral else row_side(record.side)
        groups[record.kind, when, side].append(record)
    return [
        DraftScan(
            participant=name,
            kind="film" if kind == "film" else "mri",
            scan_date=date.fromisoformat(series[0].study_date) if series[0].study_date else None,
            side=side,
            series=tuple(series),
        )
        for (kind, _, side), series in sorted(groups.items())
    ]


def _placed(scans: Sequence[DraftScan]) -> list[DraftScan]:
    """Scans of one participant with the visits that the schedule proposes for their dates."""
    dates = [scan.scan_date for scan in scans if scan.scan_date]
    days: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for number, scan in enumerate(scans):
        if scan.scan_date:
            days[scan.kind, scan.side][number] = (scan.scan_date - min(dates)).days
    within = StudySection().repeat_days
    placed = {
        number: placement
        for group in days.values()
        for number, placement in place_scans(group, SCHEDULE, within).items()
    }
    return [
        replace(scan, visit=placed[number].visit, placing=placed[number].placing)
        if number in placed
        else replace(scan, visit=_folder_visit(scan))
        for number, scan in enumerate(scans)
    ]


def _folder_visit(scan: DraftScan) -> str:
    """A visit of the schedule after which a folder is named; "" if there is none."""
    parts = {
        part.removeprefix("ses-").casefold() for part in PurePosixPath(scan.series[0].folder).parts
    }
    names = [window.name for window in SCHEDULE if window.name.casefold() in parts]
    return names[0] if len(names) == 1 else ""


def _index_knee(series: Sequence[SeriesRecord]) -> str:
    """The one knee that all scans show; "" where they show both or do not say."""
    sides = {record.side for record in series if not record.bilateral}
    known = sides - {None}
    both = any(record.bilateral for record in series)
    return row_side(known.pop()) if len(known) == 1 and not both else ""


def _side_questions(name: str, series: Sequence[SeriesRecord]) -> list[Question]:
    sides = Counter("both" if r.bilateral else row_side(r.side) or "not said" for r in series)
    found = ", ".join(f"{n} series {side}" for side, n in sorted(sides.items()))
    if not _index_knee(series):
        action = "fill in index_knee in participants.csv; leave it empty if both are studied"
        return [Question(name, "index knee", found, action)]
    if sides["not said"]:
        action = (
            "if all scans show the index knee: only_index_knee = true in study.toml; "
            "otherwise list them in scans.csv with their sides"
        )
        return [Question(name, "side of some scans", found, action)]
    return []


def _visit_questions(scans: Sequence[DraftScan]) -> list[Question]:
    questions = []
    undated = [scan for scan in scans if not scan.visit]
    if undated:
        found = f"{len(undated)} scans without a date or a folder named after a visit"
        action = "fill in visit (and date or day) in scans.csv"
        questions.append(Question(undated[0].participant, "visit", found, action))
    odd = list(dict.fromkeys(s.visit for s in scans if s.placing is Placing.UNSCHEDULED))
    if odd:
        action = "they are measured as unscheduled; or widen a window or add [[visits]]"
        found = f"outside every window of the schedule: {', '.join(odd)}"
        questions.append(Question(scans[0].participant, "visit", found, action))
    return questions


def _scan_rows(draft: Draft, source: Path, out: Path) -> list[dict[str, str]]:
    root = source if source.is_dir() else source.parent
    place = {window.name: number for number, window in enumerate(SCHEDULE)}
    rows = []
    for scan in sorted(
        draft.scans,
        key=lambda s: (s.participant, s.scan_date or date.min, place.get(s.visit, len(place))),
    ):
        series = ScanSeries(scan.series).chosen(draft.rules) or scan.series
        for number, record in enumerate(series, start=1):
            path = Path(os.path.relpath((root / record.folder).resolve(), out.resolve()))
            rows.append(
                {
                    "participant": scan.participant,
                    "visit": scan.visit,
                    "side": scan.side if scan.side != "both" else "",
                    "kind": scan.kind,
                    "path": path.as_posix(),
                    "date": scan.scan_date.isoformat() if scan.scan_date else "",
                    "scan": f"run-{number}" if len(series) > 1 else "",
                }
            )
    return rows
