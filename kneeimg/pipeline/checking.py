"""What a study has and lacks, from headers and tables alone: nothing is measured or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from kneeimg.core.anatomy import Side
from kneeimg.errors import Behaviour, ExitStatus, Finding, ReasonCode, behaviour
from kneeimg.pipeline.cases import Absent, Case, Plan, redacted_finding, row_side
from kneeimg.pipeline.longitudinal import lost_extent
from kneeimg.pipeline.planning import plan_cases
from kneeimg.pipeline.protocol import drift_between, header_protocol
from kneeimg.settings.study import VisitWindow
from kneeimg.trial.study import Study

Topic = Literal[
    "person", "dates", "side", "refused", "missing", "not due", "late", "early", "unscheduled",
    "duplicate", "protocol", "flag",
]  # fmt: skip

#: In the order in which they are shown; what is not due yet needs nobody's attention.
TOPICS: Mapping[Topic, str] = {
    "person": "nobody, or several people, could be meant",
    "dates": "dates contradict the order of visits",
    "side": "the side is unknown, contradicted, or not that of the baseline",
    "refused": "the scan cannot be measured as it is",
    "missing": "the window is closed and there is no scan",
    "late": "scanned after the window of the visit",
    "early": "scanned before the window of the visit",
    "unscheduled": "outside every window, and no visit is missing there",
    "duplicate": "another scan of the visit is measured",
    "protocol": "another scanner, sequence, voxel size or extent than at baseline",
    "flag": "measured, and flagged",
    "not due": "the window is still open",
}
_TOPIC_OF_CODE: Mapping[ReasonCode, Topic] = {
    ReasonCode.SUBJECT_MISMATCH: "person",
    ReasonCode.DUPLICATE_PARTICIPANT: "person",
    ReasonCode.DATES_BACKWARDS: "dates",
    ReasonCode.NO_LATERALITY: "side",
    ReasonCode.LATERALITY_CONFLICT: "side",
    ReasonCode.VISIT_MISSING: "missing",
    ReasonCode.DUPLICATE_SCAN: "duplicate",
}


@dataclass(frozen=True, slots=True)
class Note:
    """One thing about one scan, or one planned scan.

    Attributes
    ----------
    topic : What kind of thing, see `TOPICS`.
    participant, visit, side, kind : Study ids; empty where unknown.
    source : The scan as tables name it; free of private data.
    finding : Code, what was expected and found, and what to do.
    """

    topic: Topic
    participant: str
    visit: str
    side: str
    kind: str
    source: str
    finding: Finding

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        own = {name: getattr(self, name) for name in ("topic", "participant", "visit", "side")}
        return own | {"kind": self.kind, "source": self.source} | self.finding.as_dict()


@dataclass(frozen=True, slots=True)
class StudyCheck:
    """What `kneeimg study check` found.

    Attributes
    ----------
    study_id : Name of the study.
    visits : Participant to visit to what is there, e.g. {"P01": {"BL": "mri R, film R"}}.
    notes : Everything to know, what needs attention first.
    n_scans : Scans that can be measured.
    n_ignored : Series that no rule asks for, scouts and files of other kinds.
    looked : Whether there were scans to look at; otherwise only the tables were checked.
    """

    study_id: str
    visits: Mapping[str, Mapping[str, str]]
    notes: tuple[Note, ...]
    n_scans: int
    n_ignored: int
    looked: bool

    @property
    def counts(self) -> dict[str, int]:
        """Topic to number of notes, in the order of `TOPICS`."""
        found = Counter(note.topic for note in self.notes)
        return {topic: found[topic] for topic in TOPICS if found[topic]}

    @property
    def exit_status(self) -> ExitStatus:
        """0 nothing needs attention, 2 something does, 3 there is nothing that can be measured."""
        if self.looked and not self.n_scans:
            return ExitStatus.ALL_REFUSED
        busy = any(note.topic != "not due" for note in self.notes)
        return ExitStatus.SOME_REFUSED if busy else ExitStatus.MEASURED

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "study": self.study_id,
            "exit_status": int(self.exit_status),
            "scans": self.n_scans,
            "ignored": self.n_ignored,
            "counts": self.counts,
            "visits": {name: dict(visits) for name, visits in self.visits.items()},
            "findings": [note.to_json() for note in self.notes],
        }


def check_study(
    study: Study, folder: Path | None, *, on: date, side: Side | None = None
) -> StudyCheck:
    """Compare what a study plans with the scans there are.

    Parameters
    ----------
    study : The study.
    folder : Folder of DICOM and masks; None when the study lists its scans, or for the tables only.
    on : The day of the check: a window that is still open then is not missed.
    side : Which knee, for scans that do not say it themselves.
    """
    if folder is None and study.scans is None:
        notes = [
            Note("person", name, "", "", "", study.id, finding)
            for name, finding in study.refused.items()
        ]
        return StudyCheck(study.id, {}, tuple(notes), 0, 0, looked=False)
    plan = plan_cases(folder or Path(), study, side)
    notes = [*_of_absent(plan, study, on), *_of_cases(plan)]
    rank = {topic: number for number, topic in enumerate(TOPICS)}
    shown = [note for note in notes if note is not None]
    return StudyCheck(
        study_id=study.id,
        visits=_matrix(plan),
        notes=tuple(sorted(shown, key=lambda note: rank[note.topic])),
        n_scans=len(plan.cases),
        n_ignored=sum(_ignored(item) for item in plan.absent),
        looked=True,
    )


def _ignored(item: Absent) -> bool:
    finding = item.row.finding
    return (
        finding is not None
        and item.row.status == "skipped"
        and finding.code is not ReasonCode.DUPLICATE_SCAN
    )


def _of_absent(plan: Plan, study: Study, on: date) -> Iterator[Note]:
    """Refusals, missing visits and duplicates; what no rule asks for is only counted."""
    starts = _baseline_dates(plan, study)
    windows = {window.name: window for window in plan.settings.visits}
    for item in plan.absent:
        row, finding = item.row, item.row.finding
        if finding is None or _ignored(item):
            continue
        topic = _TOPIC_OF_CODE.get(finding.code, "refused")
        start = starts.get(row.participant)
        if topic == "missing" and start is not None and row.visit in windows:
            left = _days_left(start, windows[row.visit], on)
            if left >= 0:
                topic, finding = "not due", _not_due(row.visit, left)
        yield Note(topic, row.participant, row.visit, row.side, row.kind, row.source, finding)


def _baseline_dates(plan: Plan, study: Study) -> dict[str, date]:
    """Day 0 of each participant, where a date tells it."""
    starts = {n: p.baseline_date for n, p in study.participants.items() if p.baseline_date}
    for case in plan.cases:
        if case.series is not None and case.series.study_date and case.visit.day is not None:
            scanned = date.fromisoformat(case.series.study_date)
            starts.setdefault(case.visit.participant, scanned - timedelta(case.visit.day))
    return starts


def _days_left(start: date, window: VisitWindow, on: date) -> int:
    """Days until the window closes; negative when it is closed."""
    return window.target_day + window.window_days - (on - start).days


def _not_due(visit: str, left: int) -> Finding:
    return Finding(
        ReasonCode.VISIT_MISSING,
        "no scan yet, and the window is still open",
        expected=f"a scan of visit {visit} in the next {left} days",
        found="none",
        action="none yet",
    )


def _of_cases(plan: Plan) -> Iterator[Note]:
    missing = {
        (i.row.participant, i.row.kind, i.row.side, i.row.visit)
        for i in plan.absent
        if i.row.status == "missing"
    }
    for case in plan.cases:
        for finding in case.placing:
            yield _placed(case, finding, plan.settings.visits, missing)
        for finding in case.findings:
            topic = _TOPIC_OF_CODE.get(finding.code, "flag")
            if topic != "flag" or behaviour(finding.code) is Behaviour.FLAG:
                yield _note(topic, case, redacted_finding(finding, case.private))
        if case.visit.side is None and not case.bilateral and not _says_no_side(case):
            yield _note("side", case, _no_side())
    for first, *others in _knees(plan):
        for case in others:
            yield from _against_first(first, case)
    yield from _other_knees(plan)


def _says_no_side(case: Case) -> bool:
    return any(finding.code is ReasonCode.NO_LATERALITY for finding in case.findings)


def _no_side() -> Finding:
    return Finding(
        ReasonCode.NO_LATERALITY,
        "nothing but the labels can tell which knee this is",
        expected="left or right",
        found="no source",
        action="give it in the scan list, with --side, or by only_index_knee in the study file",
    )


def _note(topic: Topic, case: Case, finding: Finding) -> Note:
    visit = case.visit
    side = row_side(visit.side)
    label = visit.label
    return Note(topic, visit.participant, label, side, case.kind, case.source, finding)


def _placed(
    case: Case,
    finding: Finding,
    windows: Sequence[VisitWindow],
    missing: set[tuple[str, str, str, str]],
) -> Note:
    """Late or early for the visit that the scan is of, or that is missing nearest to it."""
    visit, day = case.visit, case.visit.day
    if day is None:
        return _note("unscheduled", case, finding)
    side = row_side(visit.side)
    candidates = [
        window
        for window in windows
        if window.name == visit.visit
        or (visit.participant, case.kind, side, window.name) in missing
    ]
    nearest = min(windows, key=lambda window: _outside_days(window, day))
    if nearest not in candidates:
        return _note("unscheduled", case, finding)
    days = _outside_days(nearest, day)
    late = day > nearest.target_day
    missed = Finding(
        finding.code,
        f"scanned {days} days {'after' if late else 'before'} the window of visit {nearest.name}",
        where=finding.where,
        expected=f"day {nearest.target_day - nearest.window_days} to "
        f"{nearest.target_day + nearest.window_days}",
        found=f"day {day}",
        action=finding.action,
    )
    return _note("late" if late else "early", case, missed)


def _outside_days(window: VisitWindow, day: int) -> int:
    """Days between a day and the window; 0 inside."""
    return max(abs(day - window.target_day) - window.window_days, 0)


def _knees(plan: Plan) -> list[list[Case]]:
    """Scans of one knee of one kind, in the order of visits."""
    groups: dict[tuple[object, ...], list[Case]] = {}
    for case in plan.cases:
        key = (case.visit.participant, case.kind, case.knees)
        groups.setdefault(key, []).append(case)
    return list(groups.values())


def _against_first(first: Case, case: Case) -> Iterator[Note]:
    """Another protocol than at the knee's first scan, or fewer slices."""
    if first.series is None or case.series is None:
        return
    drift = drift_between(header_protocol(first.series), header_protocol(case.series))
    if drift:
        yield _note("protocol", case, _drifted(first, drift))
    lost = lost_extent(first.series, case.series) if case.kind == "mri" else None
    if lost is not None:
        yield _note("protocol", case, redacted_finding(lost, case.private))


def _other_knees(plan: Plan) -> Iterator[Note]:
    """Visits at which no knee of the participant's first visit was scanned."""
    people: dict[tuple[str, str], dict[str, list[Case]]] = {}
    for case in plan.cases:
        visits = people.setdefault((case.visit.participant, case.kind), {})
        visits.setdefault(case.visit.visit, []).append(case)
    for visits in people.values():
        first, *others = visits.values()
        known = {side for case in first for side in case.knees}
        for cases in others:
            shown = {side for case in cases for side in case.knees}
            if None not in known | shown and not known & shown:
                yield from (_note("side", case, _other_knee(first[0], case)) for case in cases)


def _drifted(first: Case, drift: Iterable[str]) -> Finding:
    return Finding(
        ReasonCode.PROTOCOL_CHANGED,
        f"not acquired as at visit {first.visit.label}",
        expected="the scanner and protocol of the participant's first scan",
        found="; ".join(drift),
        action="measured; the change rows carry it as drift. Scan the participant again as at "
        "first, if that is still possible",
    )


def _other_knee(first: Case, case: Case) -> Finding:
    return Finding(
        ReasonCode.LATERALITY_CONFLICT,
        f"shows the other knee than visit {first.visit.label}",
        expected=f"the {row_side(first.visit.side)} knee",
        found=f"the {row_side(case.visit.side)} knee",
        action="find out whether the wrong knee was scanned or the side is wrong in the file",
    )


def _matrix(plan: Plan) -> dict[str, dict[str, str]]:
    """Participant to visit to the scans that can be measured."""
    cells: dict[str, dict[str, list[str]]] = {name: {} for name in plan.participants}
    for case in plan.cases:
        visit = case.visit
        sides = "+".join(row_side(side) or "side?" for side in case.knees)
        text = " ".join(filter(None, (case.kind, sides, visit.scan)))
        cells[visit.participant].setdefault(visit.visit, []).append(text)
    return {
        name: {visit: ", ".join(texts) for visit, texts in visits.items()}
        for name, visits in cells.items()
    }
