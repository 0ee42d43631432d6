"""From a group of frames to a record: what it is, whether it can be read, and why not."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import datetime

import numpy as np
from pydicom import Dataset

from kneeimg.errors import DicomError, Finding, ReasonCode
from kneeimg.geometry.affines import spacing_of
from kneeimg.io.dicom import tags
from kneeimg.io.dicom.film_tags import film_spacing, film_view
from kneeimg.io.dicom.frames import Frame
from kneeimg.io.dicom.headers import is_grey
from kneeimg.io.dicom.pixels import read_frames
from kneeimg.io.dicom.records import Scanner, SeriesRecord
from kneeimg.io.dicom.segmentation import is_segmentation, referenced_series
from kneeimg.io.dicom.sides import side_from_tags
from kneeimg.io.dicom.splitting import FILM_MODALITIES, Group
from kneeimg.io.dicom.stack import SliceRef, Stack, assemble, orientation_is_sound, orientation_name
from kneeimg.io.dicom.transfer import SUPPORTED, refuse_transfer_syntax
from kneeimg.io.dicom.values import items, number, printable, text, texts
from kneeimg.settings.reading import Kind, ReadingSettings

_SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4.2"
_SCOUT = re.compile(r"\b(locali[sz]er|scout|survey|(3|three|tri)[- ]?plane)\b", re.IGNORECASE)


def describe(group: Group, settings: ReadingSettings) -> SeriesRecord:
    """The record of one group; every problem becomes its refusal or one of its findings."""
    dataset = group.frames[0].header.dataset
    kind = _kind(group)
    record = _identity(group, kind, dataset)
    if kind == "mri":
        record = _as_stack(record, group, settings)
    elif kind == "film":
        record = _as_film(record, group, dataset)
    else:
        record = replace(record, refusal=_unsupported(record))
    if kind == "other":
        return record
    side = side_from_tags((f.header.dataset for f in _one_per_file(group)), _where(record))
    findings = record.findings + ((side.finding,) if side.finding else ())
    if record.lossy:
        findings += (_lossy(record),)
    return replace(
        record,
        side=side.side,
        side_source=side.source,
        bilateral=side.bilateral,
        findings=findings,
    )


def _one_per_file(group: Group) -> list[Frame]:
    return list({frame.image.path: frame for frame in group.frames}.values())


def _kind(group: Group) -> Kind:
    first = group.frames[0]
    modality = text(first.header.dataset, tags.MODALITY).upper()
    grey = is_grey(first.header)
    if modality == "MR" and grey and text(first.header.dataset, tags.SOP_CLASS) != _SPECTROSCOPY:
        return "mri"
    if modality in FILM_MODALITIES and grey and first.image.pixels.frames == 1:
        return "film"
    return "other"


def _identity(group: Group, kind: Kind, dataset: Dataset) -> SeriesRecord:
    pixels = group.frames[0].image.pixels
    patient_id = text(dataset, tags.PATIENT_ID) or None
    series = text(dataset, tags.SERIES_UID) or group.frames[0].image.name
    study = text(dataset, tags.STUDY_UID)
    own = text(dataset, tags.SERIES_UID)
    return SeriesRecord(
        kind=kind,
        modality=printable(text(dataset, tags.MODALITY), 16),
        description=_description(dataset),
        slices=tuple(frame.image for frame in group.frames),
        shape=(pixels.rows, pixels.columns),
        uid_hash=_hash(f"{series}|{group.key}"),
        echo_number=group.echo_number,
        echo_time_ms=group.frames[0].echo_time_ms,
        image_type=tuple(printable(word, 64) for word in group.frames[0].image_type),
        scanner=_scanner(dataset),
        study_date=_date(dataset),
        frame_uid=group.frames[0].image.frame_uid,
        series_hash=_hash(own) if own else "",
        refers_to=_refers_to(dataset),
        transfer_syntax=pixels.transfer_syntax,
        lossy=any(_is_lossy(frame) for frame in _one_per_file(group)),
        study_hash=_hash(study) if study else "",
        person_hash=_hash(patient_id) if patient_id else None,
        patient_id=patient_id,
    )


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def _refers_to(dataset: Dataset) -> tuple[str, ...] | None:
    if not is_segmentation(dataset):
        return None
    return tuple(_hash(uid) for uid in referenced_series(dataset))


def _description(dataset: Dataset) -> str:
    for tag in (tags.SERIES_DESCRIPTION, tags.PROTOCOL_NAME, tags.SEQUENCE_NAME):
        if value := printable(text(dataset, tag), 64):
            return value
    return ""


def _date(dataset: Dataset) -> str:
    for tag in (tags.STUDY_DATE, tags.SERIES_DATE, tags.ACQUISITION_DATE):
        digits = text(dataset, tag).replace(".", "")[:8]
        try:
            return datetime.strptime(digits, "%Y%m%d").date().isoformat()
        except ValueError:
            continue
    return ""


def _is_lossy(frame: Frame) -> bool:
    if text(frame.header.dataset, tags.LOSSY) == "01":
        return True
    syntax = SUPPORTED.get(frame.image.pixels.transfer_syntax)
    # JPEG 2000 may be either; without a word from the file the cautious answer is lossy.
    unsaid = text(frame.header.dataset, tags.LOSSY) == ""
    return syntax is not None and (syntax.lossy is True or (syntax.lossy is None and unsaid))


def _scanner(dataset: Dataset) -> Scanner:
    def words(tag: tags.Tag) -> str:
        return printable("; ".join(texts(dataset, tag)), 120)

    shared = (items(dataset, tags.SHARED_GROUPS) or (Dataset(),))[0]
    first = (items(dataset, tags.FRAME_GROUPS) or (Dataset(),))[0]
    timing = (
        items(shared, tags.TIMING_SEQUENCE) or items(first, tags.TIMING_SEQUENCE) or (dataset,)
    )[0]
    coil = (items(shared, tags.RECEIVE_COIL_SEQUENCE) or (dataset,))[0]
    measures = (items(shared, tags.PIXEL_MEASURES_SEQUENCE) or (dataset,))[0]
    return Scanner(
        manufacturer=words(tags.MANUFACTURER),
        model=words(tags.MODEL),
        software=words(tags.SOFTWARE),
        coil=printable("; ".join(texts(coil, tags.COIL)), 120),
        sequence=words(tags.SEQUENCE_NAME),
        field_strength_t=number(dataset, tags.FIELD_STRENGTH),
        repetition_time_ms=number(timing, tags.REPETITION_TIME),
        flip_angle_deg=number(timing, tags.FLIP_ANGLE),
        slice_thickness_mm=number(measures, tags.SLICE_THICKNESS),
    )


def _where(record: SeriesRecord) -> str:
    return f"{record.folder} ({record.description})" if record.description else record.folder


def _as_stack(record: SeriesRecord, group: Group, settings: ReadingSettings) -> SeriesRecord:
    where = _where(record)
    images = [frame.image for frame in group.frames]
    rows, columns = record.shape
    record = replace(record, shape=(columns, rows, len(images)))
    refusal = (
        _refuse_encoding(record, where)
        or _localizer(record, images, settings)
        or _too_big(record, settings)
    )
    if refusal:
        return replace(record, refusal=refusal)
    stack = _without_duplicates(assemble(images, settings, where), where)
    record = replace(
        record,
        slices=stack.slices,
        duplicates=stack.duplicates,
        shape=(columns, rows, len(stack.slices)),
        affine=stack.affine,
        refusal=stack.refusal,
        findings=stack.notes,
    )
    placed = images[0].orientation
    if placed is not None and orientation_is_sound(placed):
        record = replace(record, orientation=orientation_name(placed))
    if stack.affine is None:
        return record
    stack.affine.flags.writeable = False
    return replace(record, spacing_mm=tuple(float(v) for v in spacing_of(stack.affine)))


def _refuse_encoding(record: SeriesRecord, where: str) -> Finding | None:
    bits_stored = record.slices[0].pixels.bits_stored
    return refuse_transfer_syntax(record.transfer_syntax, bits_stored, where)


def _localizer(
    record: SeriesRecord, images: list[SliceRef], settings: ReadingSettings
) -> Finding | None:
    few = len(images) <= settings.localizer_max_slices
    if "LOCALIZER" in record.image_type:
        found = "ImageType LOCALIZER"
    elif few and _SCOUT.search(record.description):
        found = "named as one"
    elif few and _crosses(images):
        found = f"{len(images)} slices in three crossing planes"
    else:
        return None
    return Finding(
        ReasonCode.LOCALIZER,
        "a scout or localizer, not a measurement series",
        where=_where(record),
        found=found,
    )


def _crosses(images: list[SliceRef]) -> bool:
    """Whether the slices lie in (about) three mutually perpendicular planes."""
    if any(not orientation_is_sound(image.orientation or ()) for image in images):
        return False
    normals = {orientation_name(image.orientation or ()) for image in images}
    return len(normals - {"oblique"}) == 3


def _too_big(record: SeriesRecord, settings: ReadingSettings) -> Finding | None:
    images = record.slices
    total = len(images) * images[0].pixels.frame_bytes
    if total <= settings.max_series_bytes:
        return None
    return Finding(
        ReasonCode.TOO_LARGE,
        "the series would need more memory than the limit",
        where=_where(record),
        expected=f"at most {settings.max_series_bytes} bytes",
        found=f"{total} bytes",
        action="raise max_series_bytes in the reading settings if the series is sound",
    )


def _without_duplicates(stack: Stack, where: str) -> Stack:
    """Compare the pixels at positions that occur twice: equal ones are dropped."""
    if stack.refusal or not stack.duplicates:
        return stack
    try:
        conflict = next((group for group in stack.duplicates if not _all_equal(group)), None)
    except DicomError as error:
        return replace(stack, refusal=error.finding, affine=None)
    if conflict is not None:
        refusal = Finding(
            ReasonCode.CONFLICTING_DUPLICATE,
            "different images lie at one slice position",
            where=where,
            expected="one image per position",
            found=", ".join(image.label for image in conflict[:4])
            + f" at {_place(conflict[0])} mm; {len(stack.duplicates)} positions occur repeatedly",
            action="keep one acquisition; check for a repeated or a mixed series",
        )
        return replace(stack, refusal=refusal, affine=None)
    dropped = [image.label for group in stack.duplicates for image in group[1:]]
    note = Finding(
        ReasonCode.DUPLICATE_DROPPED,
        "the same slice occurs twice with equal pixels; one was dropped",
        where=where,
        expected="one image per position",
        found=f"{len(dropped)} dropped: {', '.join(dropped[:4])}"
        + (" ..." if len(dropped) > 4 else ""),
    )
    return replace(stack, notes=(*stack.notes, note))


def _place(image: SliceRef) -> str:
    return "(" + ", ".join(f"{v:.3f}" for v in image.position or ()) + ")"


def _all_equal(group: tuple[SliceRef, ...]) -> bool:
    values = read_frames(group)
    return bool(all(np.array_equal(values[0], other) for other in values[1:]))


def _as_film(record: SeriesRecord, group: Group, dataset: Dataset) -> SeriesRecord:
    where = _where(record)
    images = tuple(frame.image for frame in group.frames)
    spacing = film_spacing(dataset, None, where)
    record = replace(
        record,
        slices=images[:1],
        duplicates=(images,) if len(images) > 1 else (),
        spacing_mm=spacing.spacing_mm,
        view=film_view(dataset) or "",
        refusal=_refuse_encoding(record, where),
        findings=(spacing.finding,) if spacing.finding else (),
    )
    if record.refusal or not record.duplicates:
        return record
    checked = _without_duplicates(Stack(record.slices, record.duplicates), where)
    return replace(record, refusal=checked.refusal, findings=(*record.findings, *checked.notes))


def _unsupported(record: SeriesRecord) -> Finding:
    if record.is_mask:
        return Finding(
            ReasonCode.UNSUPPORTED_IMAGE,
            "a segmentation: no image to measure, but the mask of one",
            where=_where(record),
            found=f"drawn on series {', '.join(record.refers_to or ()) or 'unknown'}",
            action="none needed; its series is measured with it",
        )
    pixels = record.slices[0].pixels
    colour = "one sample" if pixels.samples == 1 else "colour"
    return Finding(
        ReasonCode.UNSUPPORTED_IMAGE,
        "an image of a kind that kneeimg does not measure",
        where=_where(record),
        expected="grey MR, or single-frame grey CR, DX or RG",
        found=f"{record.modality or 'no modality'}, {colour}, {pixels.frames} frames",
    )


def _lossy(record: SeriesRecord) -> Finding:
    syntax = SUPPORTED.get(record.transfer_syntax)
    return Finding(
        ReasonCode.LOSSY_COMPRESSED,
        "the pixels went through lossy compression",
        where=_where(record),
        expected="lossless pixels",
        found=syntax.name if syntax else record.transfer_syntax,
        action="use the original images if they exist",
    )
