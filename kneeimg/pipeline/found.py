"""Plan the scans of a DICOM folder: who, which visit, which series, which mask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kneeimg.core.anatomy import Side
from kneeimg.core.laterality import SideSource
from kneeimg.core.visit import Visit
from kneeimg.errors import Behaviour, Finding, KneeimgError, behaviour
from kneeimg.io.results import Kind
from kneeimg.pipeline.cases import Absent, Case, redact, row_side
from kneeimg.pipeline.people import group_people, numbered_ids, owners_of
from kneeimg.pipeline.plan_findings import (
    dates_backwards,
    farther_from_target,
    mask_of_nothing,
    not_chosen,
    not_measured,
    refused_with,
    stranger,
    undated,
    unplanned_day,
    unused_mask,
)
from kneeimg.pipeline.schedule import KINDS
from kneeimg.pipeline.sources import (
    masks_beside,
    private_of,
    require_usable,
    segmentations_of,
    with_anatomy,
    with_series,
)
from kneeimg.settings.study import StudyFile
from kneeimg.trial.study import Participant, Study
from kneeimg.trial.visits import Placement, Placing, place_scans

if TYPE_CHECKING:
    from kneeimg.io.dicom import Inventory, SeriesRecord


@dataclass(frozen=True, slots=True)
class Person:
    """A participant and the series that belong to them."""

    participant: Participant
    series: tuple[SeriesRecord, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """The series of one person, kind, date and side, of which one is to be measured."""

    kind: Kind
    scan_date: date | None
    side: Side | None
    series: tuple[SeriesRecord, ...]
    folder_visit: str = ""


@dataclass(slots=True)
class Found:
    """What a DICOM folder yields while it is being planned."""

    settings: StudyFile
    study: Study | None
    side: Side | None
    private: tuple[str, ...] = ()
    cases: list[Case] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    masks: tuple[SeriesRecord, ...] = ()
    used: set[Path] = field(default_factory=set)

    def add_case(self, case: Case) -> None:
        self.cases.append(replace(case, private=self.private))

    def masks_of(self, series: SeriesRecord) -> tuple[Path, ...]:
        """Mask files beside a series, and DICOM segmentations of it wherever they lie."""
        drawn = (record.files[0] for record in segmentations_of(series, self.masks))
        return (*masks_beside(series, self.settings.masks), *drawn)

    def add_absent(
        self,
        series: SeriesRecord,
        finding: Finding,
        *,
        visit: Visit | None = None,
        kind: str = "",
        status: str = "",
        planned: bool = False,
        participant: str = "",
    ) -> None:
        self.absent.append(
            Absent.because(
                finding,
                series.folder,
                visit=visit,
                participant=participant,
                side=series.side,
                kind=kind or (series.kind if series.kind != "other" else ""),
                status=status,
                series_uid_hash=series.uid_hash,
                private=self.private,
                planned=planned,
            )
        )


def plan_found(
    inventory: Inventory, settings: StudyFile, study: Study | None, side: Side | None
) -> Found:
    """Cases and dispositions of everything in an inventory."""
    private = {text for record in inventory.records for text in private_of(record)}
    # a study id is public by definition, also where it serves as the PatientID
    public = set(study.participants) if study else set()
    masks = tuple(record for record in inventory.records if record.is_mask)
    found = Found(settings, study, side, tuple(sorted(private - public)), masks=masks)
    for finding in inventory.findings:
        found.absent.append(Absent.because(finding, finding.where, private=found.private))
    for person in _people(found, inventory):
        _plan_person(found, person)
    _add_unused_masks(found, inventory)
    return found


def _add_unused_masks(found: Found, inventory: Inventory) -> None:
    """Segmentations that no case uses: of a series that is not there, or not measured."""
    known = {record.series_hash for record in inventory.records if not record.is_mask}
    for record in found.masks:
        if record.files[0] in found.used:
            continue
        named = tuple(record.refers_to or ())
        finding = unused_mask() if known & set(named) else mask_of_nothing(named)
        found.add_absent(record, finding)


def _people(found: Found, inventory: Inventory) -> list[Person]:
    """Series by participant; series of strangers and of no use are disposed of here."""
    usable: list[SeriesRecord] = []
    for record in inventory.records:
        if record.is_mask:
            continue
        if record.skipped or record.kind not in KINDS:
            finding = record.refusal or not_measured(record)
            found.add_absent(record, finding, status="skipped")
        else:
            usable.append(record)
    groups = group_people(usable)
    if found.study is not None:
        return _study_people(found, found.study, groups)
    return [
        Person(Participant(name), tuple(series))
        for name, series in zip(numbered_ids(len(groups)), groups.values(), strict=True)
    ]


def _study_people(
    found: Found, study: Study, groups: Mapping[str, Sequence[SeriesRecord]]
) -> list[Person]:
    owned: dict[str, list[SeriesRecord]] = {name: [] for name in study.participants}
    for record in (record for series in groups.values() for record in series):
        owners = owners_of(record, study)
        refusal = next((study.refused[name] for name in owners if name in study.refused), None)
        if refusal is not None:
            # of two participants with one number nobody knows whose scan it is
            whose = owners[0] if len(owners) == 1 else ""
            found.add_absent(record, refusal, kind=record.kind, participant=whose)
        elif len(owners) == 1:
            owned[owners[0]].append(record)
        else:
            found.add_absent(record, stranger(), kind=record.kind)
    return [Person(study.participants[name], tuple(series)) for name, series in owned.items()]


def _plan_person(found: Found, person: Person) -> None:
    scans = _scans(person, found)
    dated = [scan.scan_date for scan in scans if scan.scan_date]
    start = person.participant.baseline_date or (min(dated) if dated else None)
    placements = _placements(scans, start, found)
    for number, scan in enumerate(scans):
        day = (scan.scan_date - start).days if scan.scan_date and start else None
        placement = placements.get(number)
        if placement is None:
            for record in scan.series:
                found.add_absent(record, undated(), kind=scan.kind)
            continue
        visit = Visit(person.participant.participant, placement.visit, scan.side, day)
        contradicted = _contradicted(scan, day, placement, found)
        if contradicted is not None:
            for record in scan.series:
                found.add_absent(
                    record, contradicted, visit=replace(visit, visit=scan.folder_visit),
                    kind=scan.kind, planned=True,
                )  # fmt: skip
            continue
        _plan_scan(found, person, scan, visit, placement)


def _contradicted(
    scan: Scan, day: int | None, placement: Placement, found: Found
) -> Finding | None:
    """DATES_BACKWARDS when a folder says follow-up and the date says before the baseline."""
    windows = {window.name: window for window in found.settings.visits}
    window = windows.get(scan.folder_visit)
    if day is None or window is None or placement.placing is not Placing.UNSCHEDULED:
        return None
    first = found.settings.visits[0]
    if day >= 0 or window.target_day <= first.target_day:
        return None
    return dates_backwards(window.name, first.name, day)


def _scans(person: Person, found: Found) -> list[Scan]:
    """Group the series of a person by kind, date and side."""
    groups: dict[tuple[str, str, str], list[SeriesRecord]] = defaultdict(list)
    for record in person.series:
        where = record.study_date or _folder_visit(record, found) or f"~{record.study_hash}"
        side = "both" if record.bilateral else row_side(record.side)
        groups[record.kind, where, side].append(record)
    scans = []
    for (kind, _, _), records in sorted(groups.items()):
        first = records[0]
        scans.append(
            Scan(
                kind="film" if kind == "film" else "mri",
                scan_date=date.fromisoformat(first.study_date) if first.study_date else None,
                side=first.side,
                series=tuple(records),
                folder_visit=_folder_visit(first, found),
            )
        )
    return scans


def _folder_visit(record: SeriesRecord, found: Found) -> str:
    """A planned visit after which a folder of the series is named; for files without a date."""
    folders = {part.removeprefix("ses-").casefold() for part in PurePosixPath(record.folder).parts}
    if found.study is None:
        return ""
    names = [v.name for v in found.settings.visits if v.name.casefold() in folders]
    return names[0] if len(names) == 1 else ""


def _placements(scans: Sequence[Scan], start: date | None, found: Found) -> dict[int, Placement]:
    """Number of a scan to its visit; a scan without date or visit folder has none in a study."""
    if found.study is None:
        keys = [str(scan.scan_date or f"~{scan.series[0].study_hash}") for scan in scans]
        order = {key: f"V{n:02}" for n, key in enumerate(sorted(set(keys)), start=1)}
        return {n: Placement(order[key], Placing.PLANNED) for n, key in enumerate(keys)}
    placements: dict[int, Placement] = {}
    groups: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for number, scan in enumerate(scans):
        if scan.scan_date and start:
            group = (scan.kind, row_side(scan.side))
            groups[group][number] = (scan.scan_date - start).days
        elif scan.folder_visit:
            placements[number] = Placement(scan.folder_visit, Placing.PLANNED)
    for days in groups.values():
        within = found.settings.study.repeat_within
        placements |= place_scans(days, found.settings.visits, within)
    return placements


def _plan_scan(
    found: Found, person: Person, scan: Scan, visit: Visit, placement: Placement
) -> None:
    """Pick the series of a scan and make cases of them, or say why not."""
    if placement.placing is Placing.DUPLICATE:
        for record in scan.series:
            finding = farther_from_target(placement.visit)
            found.add_absent(record, finding, visit=visit, kind=scan.kind, status="skipped")
        return
    try:
        chosen = _choose(scan, found)
        others = not_chosen(chosen[0])
    except KneeimgError as error:
        chosen, others = scan.series[:1], refused_with(error.finding)
        _add_refusal(found, scan, chosen[0], visit, error.finding)
    else:
        for series in chosen:
            try:
                found.add_case(_case(found, person, series, visit, placement))
            except KneeimgError as error:
                others = refused_with(error.finding) if len(chosen) == 1 else others
                _add_refusal(found, scan, series, visit, error.finding)
    for record in scan.series:
        if not any(record is series for series in chosen):
            found.add_absent(record, others, visit=visit, kind=scan.kind, status="skipped")


def _add_refusal(
    found: Found, scan: Scan, series: SeriesRecord, visit: Visit, finding: Finding
) -> None:
    # what no rule asks for was never planned; a refusal of what was asked for is
    wanted = behaviour(finding.code) is not Behaviour.SKIP
    found.add_absent(series, finding, visit=visit, kind=scan.kind, planned=wanted)


def _choose(scan: Scan, found: Found) -> tuple[SeriesRecord, ...]:
    """The series to measure: by the rules, or without rules the one that has a mask.

    More than one only where the study averages repeats.
    """
    from kneeimg.io.dicom import select_repeats, select_series

    candidates = scan.series
    if scan.kind == "mri" and not found.settings.series:
        masked = [s for s in candidates if found.masks_of(s)]
        candidates = tuple(masked) or candidates
    if found.settings.study.repeats == "average":
        return select_repeats(candidates, found.settings.series)
    return (select_series(candidates, found.settings.series),)


def _case(
    found: Found, person: Person, series: SeriesRecord, visit: Visit, placement: Placement
) -> Case:
    only_index = found.settings.study.only_index_knee
    stated: tuple[SideSource, ...] = (
        ("index knee", person.participant.index_knee if only_index else None),
        # a side for all scans is meant for those that do not say it themselves
        ("--side", found.side if series.side is None and not series.bilateral else None),
    )
    unscheduled = placement.placing is Placing.UNSCHEDULED
    case = Case(
        visit=visit,
        kind="film" if series.kind == "film" else "mri",
        source=redact(series.folder, found.private),
        settings=found.settings.stages(),
        sides=stated,
        placing=(unplanned_day(visit.day),) if unscheduled else (),
    )
    case = with_series(
        case, require_usable(series), person.participant.patient_id, found.settings.series
    )
    if case.kind == "film":
        return case
    masks = found.masks_of(series)
    found.used.update(masks)
    return with_anatomy(case, masks, found.settings, found.settings.study.label_scheme)
