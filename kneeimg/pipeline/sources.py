"""Where a scan's files are: its DICOM series, the mask beside it, and what must not be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from kneeimg.core.laterality import combine_sides
from kneeimg.errors import Finding, InputError, MaskError, ReasonCode, StudyError
from kneeimg.io.private import private_texts
from kneeimg.io.results import Kind
from kneeimg.pipeline.cases import Case, MaskFile, redact, redacted_finding
from kneeimg.pipeline.models import card_for
from kneeimg.segment.models import NO_MODEL
from kneeimg.settings.reading import SeriesRule
from kneeimg.settings.study import MaskSettings, StudyFile

if TYPE_CHECKING:
    from kneeimg.io.dicom import Inventory, SeriesRecord

_IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def one_series(path: Path, kind: Kind, settings: StudyFile) -> SeriesRecord:
    """The series that a folder or file holds, picked by the rules of the study.

    Raises
    ------
    DicomError
        AMBIGUOUS_SERIES, NO_RULE_MATCHES, or the refusal of the series itself.
    """
    from kneeimg.io.dicom import find_series, select_series

    inventory = find_series(path, settings.reading)
    records = [record for record in inventory.records if record.kind == kind]
    if not records and inventory.findings:
        raise InputError.from_finding(inventory.findings[0])
    if all(record.skipped for record in records):
        raise InputError(
            "no series here can be taken",
            code=ReasonCode.NO_RULE_MATCHES,
            where=path.name,
            expected="MR images" if kind == "mri" else "a film",
            found=f"{len(records)} series, all skipped" if records else "none",
            action="`kneeimg inspect` shows what is in a folder, and why a series is skipped",
        )
    return require_usable(select_series(records, settings.series))


def require_usable(series: SeriesRecord) -> SeriesRecord:
    """The series itself, or its refusal as an error."""
    if series.refusal is not None:
        raise InputError.from_finding(series.refusal)
    return series


def with_series(
    case: Case,
    series: SeriesRecord,
    patient_id: str | None = None,
    rules: Sequence[SeriesRule] = (),
) -> Case:
    """The case with a DICOM series as its image; `rules` are those that chose it.

    Raises
    ------
    InputError
        SUBJECT_MISMATCH if the file names another person than `patient_id`, LATERALITY_CONFLICT
        if its side is not the one that is already known.
    """
    if patient_id and series.patient_id and series.patient_id != patient_id:
        raise InputError(
            "the person in the file is not the one in the participants table",
            code=ReasonCode.SUBJECT_MISMATCH,
            where=case.source,
            expected=f"the patient_id of participant {case.visit.participant}",
            found="another PatientID",
            action="correct the scan list or the participants table",
        )
    sides = (*case.sides, (series.side_source or "DICOM", series.side))
    agreed = combine_sides(sides, where=case.source)
    private = private_of(series)
    names = (redact(name, private) for name in series.names)
    return replace(
        case,
        visit=replace(case.visit, side=agreed[0] if agreed else None),
        series=series,
        sides=sides,
        bilateral=series.bilateral,
        inputs=(*case.inputs, *zip(names, series.files, strict=True)),
        series_uid_hash=series.uid_hash,
        findings=(*case.findings, *_remarks(series, rules, side_known=agreed is not None)),
        private=(*case.private, *private),
    )


def _remarks(
    series: SeriesRecord, rules: Sequence[SeriesRule], *, side_known: bool
) -> tuple[Finding, ...]:
    """Findings of a series, without the complaint about its side once the side is known."""
    from kneeimg.io.dicom import against_protocol

    extent = against_protocol(series, rules)
    return tuple(
        finding
        for finding in (*series.findings, *((extent,) if extent else ()))
        if not (side_known and finding.code is ReasonCode.NO_LATERALITY)
    )


def private_of(series: SeriesRecord) -> tuple[str, ...]:
    """Texts of the series that must not be shown."""
    texts = private_texts(series.files[0]) if series.files else ()
    own = (series.patient_id,) if series.patient_id else ()
    return tuple(dict.fromkeys((*own, *texts)))


def public_inventory(inventory: Inventory) -> Inventory:
    """The inventory as it may be shown: names and numbers also gone from folder names."""
    private = {text for record in inventory.records for text in private_of(record)}

    def shown(record: SeriesRecord) -> SeriesRecord:
        return replace(
            record,
            slices=tuple(replace(s, name=redact(s.name, private)) for s in record.slices),
            description=redact(record.description, private),
            selector=redact(record.selector, private),
            findings=tuple(redacted_finding(f, private) for f in record.findings),
            refusal=record.refusal and redacted_finding(record.refusal, private),
        )

    return replace(
        inventory,
        records=tuple(shown(record) for record in inventory.records),
        findings=tuple(redacted_finding(f, private) for f in inventory.findings),
        other_files=tuple(Path(redact(p.as_posix(), private)) for p in inventory.other_files),
    )


def masks_beside(series: SeriesRecord, settings: MaskSettings) -> tuple[Path, ...]:
    """Mask files that belong to a series.

    In its folder, in the parent and named after it, or in the folder of masks of the study.
    """
    folders = sorted({path.parent for path in series.files})
    found: list[Path] = []
    for folder in folders:
        found += [p for p in _files(folder) if _fits(p.name, settings.inside)]
        named = {f"{folder.name}{ending}" for ending in settings.beside}
        found += [p for p in _files(folder.parent) if p.name in named]
        found += masks_of_case(folder.name, settings)
    return tuple(dict.fromkeys(found))


def segmentations_of(
    series: SeriesRecord, records: Iterable[SeriesRecord]
) -> tuple[SeriesRecord, ...]:
    """The DICOM segmentations, among some records, that were drawn on a series."""
    return tuple(
        record
        for record in records
        if series.series_hash and series.series_hash in (record.refers_to or ())
    )


def masks_of_case(name: str, settings: MaskSettings) -> list[Path]:
    """Masks of a case in the folder of masks; an image may carry nnU-Net's channel number.

    `knee_0000.nii.gz` and the series folder `knee` both belong to `knee.nii.gz`.
    """
    if settings.folder is None:
        return []
    stem, files = case_stem(name), _files(Path(settings.folder))
    return [path for path in files if case_stem(path.name) == stem and _is_mask(path)]


def require_mask_folder(settings: MaskSettings) -> None:
    """Raise StudyError unless the folder of masks exists, if one is named."""
    if settings.folder is not None and not Path(settings.folder).is_dir():
        raise StudyError(
            "the folder of masks does not exist",
            where=Path(settings.folder).name,
            action="correct [masks] folder, or --masks",
        )


def case_stem(name: str) -> str:
    """File name without endings for images and masks, and without nnU-Net's channel number.

    >>> case_stem("P01_M06_0000.nii.gz"), case_stem("P01_M06.nii.gz")
    ('P01_M06', 'P01_M06')
    """
    for ending in _IMAGE_ENDINGS:
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
            break
    return re.sub(r"_0000$", "", name)


def _is_mask(path: Path) -> bool:
    return path.name.lower().endswith(_IMAGE_ENDINGS)


def with_anatomy(case: Case, masks: Sequence[Path], settings: StudyFile, scheme: str) -> Case:
    """The case with its one mask, or else with the model that segments it.

    Raises
    ------
    MaskError
        AMBIGUOUS_MASK; or NO_MASK when there is neither a mask nor a model.
    ModelError
        The model is there and refused.
    """
    if masks:
        return with_mask(case, only_mask(masks, case.source), scheme)
    if case.series is None and case.image is None:
        raise _no_mask(case.source, "no image to segment either")
    card = card_for(settings.segmentation)
    if card is None:
        raise _no_mask(case.source, _no_network(settings.segmentation.model))
    return replace(case, segmenter=card)


def with_mask(case: Case, mask: Path, scheme: str) -> Case:
    """The case with its mask, and with every file that tells what the mask means.

    Raises
    ------
    MaskError
        MASK_SERIES_MISMATCH for a DICOM segmentation of another series than that of the case.
    """
    from kneeimg.io.dicom_seg import require_mask_of
    from kneeimg.io.label_maps import is_dicom_mask, sidecar_path

    if case.series is not None and is_dicom_mask(mask):
        require_mask_of(mask, case.series)

    paths = [mask, sidecar_path(mask), Path(scheme)]  # a scheme may be a file of the user
    inputs = tuple((redact(p.name, case.private), p) for p in paths if p.is_file())
    return replace(case, mask=MaskFile(mask, scheme), inputs=(*case.inputs, *inputs))


def only_mask(masks: Sequence[Path], source: str) -> Path:
    """The one mask.

    Raises
    ------
    MaskError
        NO_MASK or AMBIGUOUS_MASK, with the names.
    """
    if len(masks) == 1:
        return masks[0]
    if masks:
        raise MaskError(
            "several masks lie beside the series",
            code=ReasonCode.AMBIGUOUS_MASK,
            where=source,
            expected="one mask",
            found=", ".join(sorted(mask.name for mask in masks)),
            action="keep one of them, or narrow [masks] in the study file",
        )
    raise _no_mask(source, _no_network(NO_MODEL))


def _no_network(model: str) -> str:
    if model == NO_MODEL:
        return "segmentation by a network is switched off (model = none)"
    return f"no segmentation model {Path(model).name} is installed"


def _no_mask(source: str, why: str) -> MaskError:
    return MaskError(
        "the series has no segmentation beside it",
        code=ReasonCode.NO_MASK,
        where=source,
        expected="a NIfTI or NRRD mask in the folder of the series, <folder>_dseg.nii.gz, or a "
        "DICOM SEG of the series",
        found=f"none, and {why}",
        action="put the mask there, or list scans and masks in scans.csv",
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name.lower(), pattern.lower()) for pattern in patterns)
