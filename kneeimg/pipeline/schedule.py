"""Visits of a plan: windows, order in time, planned scans that are missing, manifest names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kneeimg.io.results import Kind, side_letter
from kneeimg.io.tables import DispositionRow
from kneeimg.pipeline.cases import Absent, Case, row_side
from kneeimg.pipeline.plan_findings import no_scan
from kneeimg.trial.study import Participant, Study, planned_visits

KINDS: tuple[Kind, ...] = ("mri", "film")


def missing_visits(study: Study, cases: Sequence[Case], absent: Sequence[Absent]) -> list[Absent]:
    """Planned scans that are not there: neither a case nor a refusal stands for them."""
    seen = _seen(cases, absent)
    missing: list[Absent] = []
    for person in study.participants.values():
        for kind in _planned_kinds(study, cases):
            for side in _expected_sides(cases, person, kind):
                for window in planned_visits(study, kind):
                    knee = (person.participant, window.name, kind)
                    # a scan of unknown side may be the very one that is looked for
                    if not {(*knee, side), (*knee, "")} & seen:
                        missing.append(_missing(study, *knee, side))
    return missing


def visit_order(
    study: Study | None, cases: Iterable[Case], absent: Iterable[Absent]
) -> dict[str, tuple[str, ...]]:
    """Participant to visits in time, the baseline first.

    Planned visits come at their target day. Where the study plans none, visits are ordered by
    their day, and by their first appearance where days are unknown.
    """
    planned = {w.name: w.target_day for w in study.settings.visits} if study else {}
    listed_only = study is not None and study.scans is not None and not study.visits_given
    start = () if study is None or listed_only else tuple(planned)
    order: dict[str, dict[str, int | None]] = {}
    for participant in study.participants if study else ():
        order[participant] = {name: planned[name] for name in start}
    found = [(c.visit.participant, c.visit.visit, c.visit.day) for c in cases]
    found += [(a.row.participant, a.row.visit, a.day) for a in absent if a.row.visit]
    for participant, visit, day in found:
        days = order.setdefault(participant, {})
        if days.get(visit) is None:
            days[visit] = planned[visit] if visit in start else day
    return {name: _by_day(days) for name, days in order.items()}


def _by_day(days: dict[str, int | None]) -> tuple[str, ...]:
    """Visits sorted by day; a visit without a day keeps its place after the one before it."""
    last = -(10**9)
    keys: dict[str, int] = {}
    for visit, day in days.items():
        last = day if day is not None else last
        keys[visit] = last
    return tuple(sorted(days, key=keys.__getitem__))


def name_manifests(cases: Iterable[Case]) -> list[Case]:
    """Cases whose manifests do not collide.

    A scan alone in its folder has `manifest.json`; where both knees of a visit were scanned each
    has its own, `manifest_side-L.json` and `manifest_side-R.json`, and so has each repeat,
    `manifest_side-L_run-1.json`.
    """
    listed = list(cases)
    crowd = Counter(case.folder for case in listed)
    return [
        replace(case, manifest=f"manifest_{_label(case)}.json") if crowd[case.folder] > 1 else case
        for case in listed
    ]


def _label(case: Case) -> str:
    side = f"side-{side_letter(case.visit.side)}"
    return f"{side}_{case.visit.scan}" if case.visit.scan else side


def number_repeats(cases: Iterable[Case], *, average: bool) -> list[Case]:
    """Name repeated scans run-1, run-2, ... in the order of their dates.

    Cases of one knee, visit and kind are repeats when the study averages them. Those that already
    have names keep them, and without `average` nothing else is named: the rest are duplicates.
    """
    listed = list(cases)
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, case in enumerate(listed):
        visit = case.visit
        groups.setdefault((visit.participant, visit.visit, case.kind, case.knees), []).append(
            number
        )
    for numbers in groups.values():
        named = [n for n in numbers if listed[n].visit.scan]
        if len(numbers) == 1 or named or not average:
            continue
        numbers.sort(key=lambda n: _scan_order(listed[n]))
        for run, number in enumerate(numbers, start=1):
            case = listed[number]
            listed[number] = replace(case, visit=replace(case.visit, scan=f"run-{run}"))
    return listed


def _scan_order(case: Case) -> tuple[float, str, str]:
    day = case.visit.day
    return (math.inf if day is None else day, case.source, case.series_uid_hash)


def _seen(cases: Iterable[Case], absent: Iterable[Absent]) -> set[tuple[str, str, str, str]]:
    seen = {(a.row.participant, a.row.visit, a.row.kind, a.row.side) for a in absent if a.planned}
    for case in cases:
        for side in case.knees:
            seen.add((case.visit.participant, case.visit.visit, case.kind, row_side(side)))
    return seen


def _planned_kinds(study: Study, cases: Iterable[Case]) -> tuple[Kind, ...]:
    """Kinds of scan that the study has: by its rules, its visits, or what was found."""
    wanted = {rule.kind for rule in study.settings.series if rule.kind}
    for window in study.settings.visits:
        wanted |= set(window.kinds or ())
    wanted |= {case.kind for case in cases}
    return tuple(kind for kind in KINDS if kind in wanted)


def _expected_sides(cases: Iterable[Case], person: Participant, kind: Kind) -> tuple[str, ...]:
    """The index knee; without one, the knees that other visits of the participant show."""
    if person.index_knee:
        return (person.index_knee.value,)
    shown = {
        row_side(side)
        for case in cases
        if case.visit.participant == person.participant and case.kind == kind
        for side in case.knees
    }
    return tuple(sorted(shown)) or ("",)


def _missing(study: Study, participant: str, visit: str, kind: Kind, side: str) -> Absent:
    refusal = study.refused.get(participant)
    finding = refusal or no_scan(kind, visit)
    row = DispositionRow(
        participant, visit, side, kind, study.id, "refused" if refusal else "missing",
        finding=finding,
    )  # fmt: skip
    return Absent(row, planned=True)


def silent_refusals(study: Study, absent: Iterable[Absent]) -> list[Absent]:
    """A row for each refused participant that has none, so that nobody disappears."""
    named = {item.row.participant for item in absent}
    return [
        Absent.because(finding, study.id, participant=name, status="refused")
        for name, finding in study.refused.items()
        if name not in named
    ]
