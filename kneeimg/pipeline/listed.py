"""Plan the scans that a table lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from kneeimg.core.anatomy import Side
from kneeimg.core.laterality import SideSource, combine_sides
from kneeimg.core.visit import Visit
from kneeimg.errors import Finding, InputError, KneeimgError, ReasonCode
from kneeimg.io.tables import DispositionRow
from kneeimg.pipeline.cases import Absent, Case, Plan
from kneeimg.pipeline.schedule import (
    missing_visits,
    name_manifests,
    out_of_window,
    row_side,
    visit_order,
)
from kneeimg.pipeline.sources import masks_beside, one_series, only_mask, with_mask, with_series
from kneeimg.settings.study import VisitWindow
from kneeimg.trial.study import ListedScan, Participant, Study

_PLAIN_IMAGES = (".nii", ".nii.gz", ".png", ".tif", ".tiff", ".jpg", ".jpeg")


def plan_listed(study: Study, side: Side | None = None) -> Plan:
    """One case per row of scans.csv; a visit planned by the study but not listed is missing."""
    cases: list[Case] = []
    absent: list[Absent] = []
    for scan in with_days(study.scans or (), study.participants):
        try:
            cases.append(_listed_case(scan, study, side))
        except KneeimgError as error:
            absent.append(_refused(scan, error.finding))
    cases = name_manifests(cases)
    absent += missing_visits(study, cases, absent)
    return Plan(
        study_id=study.id,
        settings=study.settings,
        cases=tuple(cases),
        absent=tuple(absent),
        participants={name: p.index_knee for name, p in study.participants.items()},
        visit_order=visit_order(study, cases, absent),
    )


def with_days(scans: Iterable[ListedScan], people: Mapping[str, Participant]) -> list[ListedScan]:
    """Scans with days since baseline: its date, or else the participant's first dated scan."""
    listed = list(scans)
    start = {name: p.baseline_date for name, p in people.items() if p.baseline_date}
    for scan in listed:
        if scan.scan_date and people[scan.participant].baseline_date is None:
            known = start.get(scan.participant, scan.scan_date)
            start[scan.participant] = min(known, scan.scan_date)
    return [
        replace(scan, day=(scan.scan_date - start[scan.participant]).days)
        if scan.day is None and scan.scan_date
        else scan
        for scan in listed
    ]


def _listed_case(scan: ListedScan, study: Study, side: Side | None) -> Case:
    person = study.participants[scan.participant]
    stated = _stated_sides(scan, person, study, side)
    agreed = combine_sides(stated, where=Path(scan.source).name)
    given = study.visits_given or study.scans is None
    case = Case(
        visit=Visit(scan.participant, scan.visit, agreed[0] if agreed else None, scan.day),
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
    return with_series(case, series, person.patient_id, study.settings.series)


def _with_mask(case: Case, scan: ListedScan, study: Study) -> Case:
    if case.kind == "film":
        return case
    path = scan.mask
    if path is None and case.series is not None:
        path = only_mask(masks_beside(case.series, study.settings.masks), case.source)
    if path is None:
        raise InputError(
            "the scan has no segmentation",
            code=ReasonCode.NO_MASK,
            where=case.source,
            action="name the mask in the scan list",
        )
    _require_exists(path, case)
    scheme = scan.scheme or study.settings.study.label_scheme
    return with_mask(case, path, scheme)


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
    """The path as the table has it; an absolute one would tell the machine's folders."""
    return Path(scan.source).name if Path(scan.source).is_absolute() else scan.source


def _window(study: Study, visit: str) -> VisitWindow | None:
    return next((w for w in study.settings.visits if w.name == visit), None)


def _refused(scan: ListedScan, finding: Finding) -> Absent:
    row = DispositionRow(
        scan.participant,
        scan.visit,
        row_side(scan.side),
        scan.kind,
        _shown(scan),
        "refused",
        finding=finding,
    )
    return Absent(row, day=scan.day, planned=True)
