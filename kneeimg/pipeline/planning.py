"""What a batch will do, decided from headers and tables before any pixel is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from kneeimg.core.anatomy import Side
from kneeimg.core.laterality import combine_sides
from kneeimg.core.visit import STUDY_ID, Visit
from kneeimg.errors import (
    Behaviour,
    Finding,
    InputError,
    KneeimgError,
    ReasonCode,
    StudyError,
    behaviour,
)
from kneeimg.pipeline.cases import Absent, Case, Plan, row_side
from kneeimg.pipeline.found import plan_found
from kneeimg.pipeline.listed import plan_listed
from kneeimg.pipeline.plan_findings import second_scan, unknown_side_among_others
from kneeimg.pipeline.schedule import (
    missing_visits,
    name_manifests,
    number_repeats,
    silent_refusals,
    visit_order,
)
from kneeimg.pipeline.sources import require_mask_folder, with_mask
from kneeimg.settings.study import StudyFile
from kneeimg.trial.study import Study

_BIDS_NAME = re.compile(
    r"sub-(?P<participant>[A-Za-z0-9-]+)_ses-(?P<visit>[A-Za-z0-9-]+)"
    r"(?:_side-(?P<side>[LR]))?(?:_(?P<scan>run-[1-9][0-9]?))?(?=[_.]|$)"
)
_LETTER_SIDES = {"L": Side.LEFT, "R": Side.RIGHT}
_MASK_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def plan_cases(
    input_dir: Path,
    study: Study | None = None,
    side: Side | None = None,
    settings: StudyFile | None = None,
) -> Plan:
    """Decide what to measure.

    Parameters
    ----------
    input_dir : Folder of DICOM and masks, or of masks alone. Not searched when the study lists
        its scans.
    study : The study; None to group by PatientID and date.
    side : Which knee, for scans that do not say it themselves.
    settings : Settings where there is no study; None for the defaults.

    Returns
    -------
    Plan
        Cases in the order participant, visit, kind, side, and a disposition for everything else.

    Raises
    ------
    InputError
        If the folder does not exist.
    StudyError
        If there is nothing at all to plan, or the folder of masks does not exist.
    """
    settings = study.settings if study else settings or StudyFile()
    require_mask_folder(settings.masks)
    if study is not None and study.scans is not None:
        return _unique_rows(_assemble(*plan_listed(study, side), study.settings, study))
    from kneeimg.io.dicom import find_series

    inventory = find_series(input_dir, settings.reading)
    if inventory.records:
        found = plan_found(inventory, settings, study, side)
        cases, absent = found.cases, found.absent
    else:
        masks = [name for name in inventory.other_files if _is_mask(name)]
        cases, absent = _plan_masks(input_dir, masks, settings, study, side)
    if not cases and not absent and study is None:
        raise StudyError(
            "nothing to measure was found",
            where=input_dir.name,
            expected="DICOM series or films, or masks (NIfTI, NRRD, MHA)",
            found=f"{inventory.n_files} files of other kinds",
            action="give the folder that holds the scans; `kneeimg inspect` shows what is in one",
        )
    return _unique_rows(_assemble(cases, absent, settings, study))


def _assemble(
    cases: Sequence[Case], absent: Sequence[Absent], settings: StudyFile, study: Study | None
) -> Plan:
    numbered = number_repeats(cases, average=settings.study.repeats == "average")
    kept, dropped = _without_clashes(numbered)
    absent = [*absent, *dropped]
    if study is not None:
        absent += missing_visits(study, kept, absent)
        absent += silent_refusals(study, absent)
    order = visit_order(study, kept, absent)
    if study is not None:
        knees = {name: person.index_knee for name, person in study.participants.items()}
    else:
        knees = dict.fromkeys(sorted(order))
    return Plan(
        study_id=settings.study.id,
        settings=settings,
        cases=tuple(name_manifests(_in_order(kept, knees, order))),
        absent=tuple(absent),
        participants=knees,
        visit_order=order,
    )


def _in_order(
    cases: Iterable[Case], people: Iterable[str], order: dict[str, tuple[str, ...]]
) -> list[Case]:
    rank = {name: n for n, name in enumerate(people)}

    def key(case: Case) -> tuple[int, int, str, str, str]:
        visit = case.visit
        place = order[visit.participant].index(visit.visit)
        return rank[visit.participant], place, case.kind, row_side(visit.side), visit.scan

    return sorted(cases, key=key)


def _without_clashes(cases: Sequence[Case]) -> tuple[list[Case], list[Absent]]:
    """One scan per knee, visit and kind, named repeats apart, and none of unknown side beside
    another."""
    crowd = Counter((c.visit.participant, c.visit.visit, c.kind) for c in cases)
    kept: list[Case] = []
    dropped: list[Absent] = []
    taken: dict[tuple[str, str, str, Side], set[str]] = {}
    # films of one knee come before a film of both: they show the joint larger and centred
    for case in sorted(cases, key=lambda c: len(c.knees)):
        visit = case.visit
        scan = (visit.participant, visit.visit, case.kind)
        if None in case.knees and crowd[scan] > 1:
            dropped.append(_dropped(case, unknown_side_among_others()))
            continue
        knees = [(*scan, side) for side in case.knees if side]
        if any(_clashes(visit.scan, taken.get(knee, set())) for knee in knees):
            dropped.append(_dropped(case, second_scan(visit.visit)))
            continue
        for knee in knees:
            taken.setdefault(knee, set()).add(visit.scan)
        kept.append(case)
    return kept, dropped


def _clashes(scan: str, taken: set[str]) -> bool:
    """Whether a scan cannot stand beside those of its knee: only named repeats can."""
    return bool(taken) and (not scan or scan in taken or "" in taken)


def _dropped(case: Case, finding: Finding) -> Absent:
    return Absent.because(
        finding,
        case.source,
        visit=case.visit,
        kind=case.kind,
        series_uid_hash=case.series_uid_hash,
        planned=behaviour(finding.code) is not Behaviour.SKIP,
    )


def _unique_rows(plan: Plan) -> Plan:
    """Each planned measurement of a knee belongs to one case or one absent scan, never to two."""
    taken: set[tuple[str, ...]] = set()
    scans: set[tuple[str, ...]] = set()
    for case in plan.cases:
        scan = (case.visit.participant, case.visit.visit, case.kind)
        scans.add(scan)
        for side in case.knees:
            taken.add((*scan, row_side(side)))
            # a side that only the labels will tell may be either
            if side is None:
                taken |= {(*scan, other.value) for other in Side}
    unique: list[Absent] = []
    # knees of a known side come first: an unknown one then counts only where none is known
    for item in sorted(plan.absent, key=lambda item: not item.row.side):
        where = (item.row.participant, item.row.visit, item.row.kind)
        knee = (*where, item.row.side)
        free = knee not in taken and (bool(item.row.side) or where not in scans)
        if item.planned and free:
            taken.add(knee)
            scans.add(where)
        unique.append(item if free or not item.planned else replace(item, planned=False))
    order = {id(item.row): n for n, item in enumerate(plan.absent)}
    unique.sort(key=lambda item: order[id(item.row)])
    return replace(plan, absent=tuple(unique))


def _is_mask(name: Path) -> bool:
    return name.name.lower().endswith(_MASK_ENDINGS)


def _plan_masks(
    root: Path,
    masks: Iterable[Path],
    settings: StudyFile,
    study: Study | None,
    side: Side | None,
) -> tuple[list[Case], list[Absent]]:
    """One case per mask of a folder without DICOM; the file name tells participant and visit."""
    cases: list[Case] = []
    absent: list[Absent] = []
    used: dict[tuple[str, ...], str] = {}
    for name in sorted(masks):
        try:
            case = _mask_case(root, name, settings, study, side)
            visit = case.visit
            key = (visit.participant.casefold(), visit.visit, row_side(visit.side), visit.scan)
            if key in used:
                raise _same_ids(name, used[key])
            used[key] = name.as_posix()
            cases.append(case)
        except KneeimgError as error:
            refusal = Absent.because(error.finding, name.as_posix(), kind="mri", status="refused")
            absent.append(refusal)
    return cases, absent


def _mask_case(
    root: Path, name: Path, settings: StudyFile, study: Study | None, side: Side | None
) -> Case:
    participant, visit, named_side, scan = names_of_mask(name)
    if study is not None and participant not in study.participants:
        raise InputError(
            "the mask is of nobody in the participants table",
            code=ReasonCode.SUBJECT_MISMATCH,
            where=name.as_posix(),
            expected="sub-<participant>_ses-<visit>...",
            found=participant,
        )
    sides = (("file name", named_side), ("--side", side if named_side is None else None))
    agreed = combine_sides(sides, where=name.as_posix())
    path = root if root.is_file() else root / name
    case = Case(
        visit=Visit(participant, visit, agreed[0] if agreed else None, scan=scan),
        kind="mri",
        source=name.as_posix(),
        settings=settings.stages(),
        sides=sides,
    )
    return with_mask(case, path, settings.study.label_scheme)


def names_of_mask(path: Path) -> tuple[str, str, Side | None, str]:
    """Participant, visit, side and repeat that the file name of a mask tells.

    `sub-P01_ses-M06_side-R_run-2_dseg.nii.gz` tells all four; any other name is the participant
    of a single visit V01, with characters that an id cannot have replaced by hyphens.

    >>> names_of_mask(Path("P01_M72.nii.gz"))
    ('P01-M72', 'V01', None, '')
    """
    match = _BIDS_NAME.search(path.name)
    if match:
        side = _LETTER_SIDES[match["side"]] if match["side"] else None
        return match["participant"], match["visit"], side, match["scan"] or ""
    stem = path.name
    for ending in _MASK_ENDINGS:
        stem = stem[: -len(ending)] if stem.lower().endswith(ending) else stem
    name = re.sub(r"[^A-Za-z0-9-]+", "-", stem).strip("-")
    if not STUDY_ID.fullmatch(name):
        raise StudyError(
            "the file name cannot serve as a participant id",
            code=ReasonCode.BAD_STUDY_ID,
            where=PurePosixPath(path).as_posix(),
            expected="1 to 32 letters, digits or hyphens",
            found=name,
            action="list the masks in scans.csv",
        )
    return name, "V01", None, ""


def _same_ids(name: Path, other: str) -> StudyError:
    return StudyError(
        "two masks give the same participant and visit",
        code=ReasonCode.DUPLICATE_SCAN,
        where=name.as_posix(),
        found=f"the same as {other}",
        action="list the masks in scans.csv",
    )
