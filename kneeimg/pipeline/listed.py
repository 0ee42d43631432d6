"""Plan the scans that a table lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from kneeimg.core.anatomy import Side
from kneeimg.core.laterality import SideSource, combine_sides
from kneeimg.core.visit import Visit
from kneeimg.errors import Finding, InputError, KneeimgError, ReasonCode
from kneeimg.pipeline.cases import Absent, Case, redact
from kneeimg.pipeline.plan_findings import dates_backwards, not_nearest, out_of_window
from kneeimg.pipeline.sources import (
    masks_beside,
    masks_of_case,
    one_series,
    private_of,
    segmentations_of,
    with_anatomy,
    with_mask,
    with_series,
)
from kneeimg.settings.study import VisitWindow
from kneeimg.trial.study import ListedScan, Participant, Study
from kneeimg.trial.visits import backwards, choose_scans

if TYPE_CHECKING:
    from kneeimg.io.dicom import SeriesRecord

_PLAIN_IMAGES = (".nii", ".nii.gz", ".png", ".tif", ".tiff", ".jpg", ".jpeg")


def plan_listed(study: Study, side: Side | None = None) -> tuple[list[Case], list[Absent]]:
    """One case for each row of scans.csv that is to be measured, and what became of the others."""
    cases: list[Case] = []
    absent: list[Absent] = []
    scans = with_days(study)
    refused = _refusals(scans, study)
    kept = _nearest([n for n in range(len(scans)) if n not in refused], scans, study)
    for number, scan in enumerate(scans):
        if number in refused:
            absent.append(_absent(scan, refused[number], study))
        elif number not in kept:
            absent.append(_absent(scan, not_nearest(scan.visit), study, "skipped"))
        else:
            try:
                cases.append(_listed_case(scan, study, side))
            except KneeimgError as error:
                absent.append(_absent(scan, error.finding, study))
    return cases, absent


def with_days(study: Study) -> list[ListedScan]:
    """Listed scans with days since baseline.

    Day 0 is the participant's `baseline_date`, or else the first dated scan of the first planned
    visit, or else the first dated scan of all.
    """
    listed = list(study.scans or ())
    people, first = study.participants, study.settings.visits[0].name
    dated: dict[str, list[tuple[bool, date]]] = defaultdict(list)
    for scan in listed:
        if scan.scan_date:
            dated[scan.participant].append((scan.visit != first, scan.scan_date))
    start = {name: people[name].baseline_date or min(found)[1] for name, found in dated.items()}
    return [
        replace(scan, day=(scan.scan_date - start[scan.participant]).days)
        if scan.day is None and scan.scan_date
        else scan
        for scan in listed
    ]


def _refusals(scans: Sequence[ListedScan], study: Study) -> dict[int, Finding]:
    """Rows that are not measured because of whose they are, or of when."""
    by_person: dict[str, dict[int, tuple[str, int]]] = defaultdict(dict)
    for number, scan in enumerate(scans):
        if scan.day is not None:
            by_person[scan.participant][number] = (scan.visit, scan.day)
    refused = {
        number: dates_backwards(scans[number].visit, other, scans[number].day)
        for placed in by_person.values()
        for number, other in backwards(placed, study.settings.visits).items()
    }
    for number, scan in enumerate(scans):
        if scan.participant in study.refused:
            refused[number] = study.refused[scan.participant]
    return refused


def _nearest(numbers: Sequence[int], scans: Sequence[ListedScan], study: Study) -> set[int]:
    """Rows to measure: of rows for one visit those with a `scan` of their own, or the nearest."""
    groups: dict[tuple[object, ...], dict[int, int | None]] = defaultdict(dict)
    kept: set[int] = set()
    for number in numbers:
        scan = scans[number]
        knee = (scan.participant, scan.visit, scan.kind, scan.side)
        if scan.scan:
            kept.add(number)
        groups[knee][number] = scan.day
    for days in groups.values():
        if kept & days.keys():
            continue  # the table says which scans of this visit are meant
        window = _window(study, scans[next(iter(days))].visit)
        target = window.target_day if window else None
        nearest, repeats = choose_scans(days, target, study.settings.study.repeat_within)
        kept |= {nearest, *repeats}
    return kept


def _listed_case(scan: ListedScan, study: Study, side: Side | None) -> Case:
    person = study.participants[scan.participant]
    stated = _stated_sides(scan, person, study, side)
    agreed = combine_sides(stated, where=Path(scan.source).name)
    given = study.visits_given or study.scans is None
    case = Case(
        visit=Visit(
            scan.participant, scan.visit, agreed[0] if agreed else None, scan.day, scan.scan
        ),
        kind=scan.kind,
        source=_shown(scan),
        settings=study.settings.stages(),
        sides=stated,
        placing=out_of_window(scan.day, _window(study, scan.visit)) if given else (),
    )
    return _with_mask(_with_image(case, scan, person, study), scan, study)


def _stated_sides(
    scan: ListedScan, person: Participant, study: Study, side: Side | None
) -> tuple[SideSource, ...]:
    index = person.index_knee if study.settings.study.only_index_knee else None
    return (
        ("scan list", scan.side),
        ("index knee", index),
        ("--side", side if scan.side is None else None),
    )


def _with_image(case: Case, scan: ListedScan, person: Participant, study: Study) -> Case:
    if scan.image is None:
        return case
    _require_exists(scan.image, case)
    if _is_plain_image(scan.image):
        return replace(case, image=scan.image, inputs=((scan.image.name, scan.image),))
    series = one_series(scan.image, scan.kind, study.settings)
    case = replace(case, source=redact(case.source, private_of(series)))
    return with_series(case, series, person.patient_id, study.settings.series)


def _with_mask(case: Case, scan: ListedScan, study: Study) -> Case:
    if case.kind == "film":
        return case
    scheme = scan.scheme or study.settings.study.label_scheme
    if scan.mask is not None:
        _require_exists(scan.mask, case)
        return with_mask(case, scan.mask, scheme)
    if case.series is not None:
        masks = masks_beside(case.series, study.settings.masks)
        masks += _segmentations(scan, case.series, study)
    else:
        masks = tuple(masks_of_case(case.image.name, study.settings.masks)) if case.image else ()
    return with_anatomy(case, masks, study.settings, scheme)


def _segmentations(scan: ListedScan, series: SeriesRecord, study: Study) -> tuple[Path, ...]:
    """DICOM segmentations of a series in the folder that the list names."""
    from kneeimg.io.dicom import find_series

    if scan.image is None or not scan.image.is_dir():
        return ()
    records = find_series(scan.image, study.settings.reading).records
    return tuple(record.files[0] for record in segmentations_of(series, records))


def _require_exists(path: Path, case: Case) -> None:
    if not path.exists():
        raise InputError(
            "a file that the scan list names does not exist",
            code=ReasonCode.BAD_MASK_FILE if case.kind == "mri" else ReasonCode.BAD_DICOM,
            where=case.source,
            found=path.name,
            action="correct the path in the scan list",
        )


def _is_plain_image(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(_PLAIN_IMAGES)


def _shown(scan: ListedScan) -> str:
    """The path as the table has it, but for the machine's folders of one that leads outside."""
    path = Path(scan.source)
    if path.is_absolute():
        return path.name
    return (
        "/".join([part for part in path.parts if part != ".."][-3:])
        if ".." in path.parts
        else (scan.source)
    )


def _window(study: Study, visit: str) -> VisitWindow | None:
    return next((w for w in study.settings.visits if w.name == visit), None)


def _private(scan: ListedScan, study: Study) -> tuple[str, ...]:
    """Texts that a row of a scan without a case must not show: folders may be named after people,
    also in a table that the user wrote."""
    if scan.image is None or not scan.image.exists() or _is_plain_image(scan.image):
        return ()
    from kneeimg.io.dicom import find_series

    records = find_series(scan.image, study.settings.reading).records
    return tuple(dict.fromkeys(text for record in records for text in private_of(record)))


def _absent(scan: ListedScan, finding: Finding, study: Study, status: str = "refused") -> Absent:
    visit = Visit(scan.participant, scan.visit, scan.side, scan.day)
    return Absent.because(
        finding,
        _shown(scan),
        visit=visit,
        kind=scan.kind,
        status=status,
        private=_private(scan, study),
        planned=status == "refused",
    )
