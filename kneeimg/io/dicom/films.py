"""Knee films: one grey image, bright where dense, with its pixel size, side and projection."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from kneeimg.core.anatomy import Side
from kneeimg.core.laterality import combine_sides
from kneeimg.core.radiograph import Radiograph
from kneeimg.errors import DicomError, Finding, ReasonCode
from kneeimg.io.dicom import tags
from kneeimg.io.dicom.faults import PARSE_ERRORS
from kneeimg.io.dicom.film_tags import (
    film_spacing,
    film_view,
    head_is_down,
    patient_left_on_image_right,
)
from kneeimg.io.dicom.headers import Header, is_grey, read_header
from kneeimg.io.dicom.pixels import decoded_frame, native_frame, read_dataset
from kneeimg.io.dicom.records import SeriesRecord
from kneeimg.io.dicom.sides import side_from_tags
from kneeimg.io.dicom.transfer import SUPPORTED, refuse_transfer_syntax
from kneeimg.io.dicom.values import floats, items, number, text
from kneeimg.settings.reading import ReadingSettings

#: Volume modalities: never a film, whatever the user says.
_NOT_FILMS = frozenset({"MR", "CT", "PT", "NM", "US", "SEG", "RTDOSE", "OPT"})


def read_radiograph(
    source: SeriesRecord | Path,
    pixel_spacing_mm: float | tuple[float, float] | None = None,
    side: Side | None = None,
    settings: ReadingSettings | None = None,
) -> Radiograph:
    """Read one DICOM film.

    Parameters
    ----------
    source : A record of kind "film" from :func:`find_series`, or the path of a DICOM file. A
        path may also hold a secondary capture (modality OT and the like).
    pixel_spacing_mm : Pixel size given by the user, mm; wins over the tags.
    side : Side given by the user; must not contradict the tags.
    settings : Size limits.

    Returns
    -------
    Radiograph
        Modality LUT, VOI LUT or window, and inversion (MONOCHROME1, presentation LUT shape
        INVERSE) are applied; grey values run from 0 to 1, dense tissue bright. Row 0 is
        proximal: a film that PatientOrientation declares upside down is flipped. `side` is None
        for a bilateral film and where nothing says (with the finding NO_LATERALITY).

    Raises
    ------
    DicomError
        If the file is refused.
    InputError
        LATERALITY_CONFLICT if tags contradict each other or the side given.
    """
    if isinstance(source, SeriesRecord):
        if source.refusal is not None:
            raise DicomError.from_finding(source.refusal)
        path, where = source.slices[0].path, source.folder
        notes = tuple(f for f in source.findings if f.code is ReasonCode.DUPLICATE_DROPPED)
    else:
        path, where, notes = Path(source), Path(source).name, ()
    header = read_header(path, settings or ReadingSettings(), where)
    _require_film(header, where)
    dataset = read_dataset(path, where)
    spacing = film_spacing(dataset, pixel_spacing_mm, where)
    tag_side = side_from_tags([header.dataset], where)
    findings = list(notes)
    if spacing.finding:
        findings.append(spacing.finding)
    findings += _lossy(header, where)
    if tag_side.finding and tag_side.finding.code is ReasonCode.LATERALITY_CONFLICT:
        raise DicomError.from_finding(tag_side.finding)
    known = combine_sides([("given", side), (tag_side.source, tag_side.side)], where=where)
    if known is None and tag_side.finding:
        findings.append(tag_side.finding)
    image = _grey_image(dataset, header, where)
    if head_is_down(dataset):
        image = np.ascontiguousarray(image[::-1])
    return Radiograph(
        image=image,
        spacing_mm=spacing.spacing_mm,
        spacing_source=spacing.source,
        side=known[0] if known else None,
        bilateral=tag_side.bilateral,
        patient_left_on_image_right=patient_left_on_image_right(dataset),
        view=film_view(dataset),
        findings=tuple(findings),
    )


def _require_film(header: Header, where: str) -> None:
    modality = text(header.dataset, tags.MODALITY).upper()
    pixels = header.pixels
    refusal = refuse_transfer_syntax(pixels.transfer_syntax, pixels.bits_stored, where)
    if refusal:
        raise DicomError.from_finding(refusal)
    if modality in _NOT_FILMS or not is_grey(header) or pixels.frames != 1:
        raise DicomError(
            "not a film",
            code=ReasonCode.UNSUPPORTED_IMAGE,
            where=where,
            expected="one grey projection image",
            found=f"{modality or 'no modality'}, {pixels.samples} samples, {pixels.frames} frames",
            action="give a CR or DX film; an MR mask is measured with kneeimg measure mr",
        )


def _lossy(header: Header, where: str) -> list[Finding]:
    syntax = SUPPORTED[header.pixels.transfer_syntax]
    said = text(header.dataset, tags.LOSSY)
    if said != "01" and not (syntax.lossy or (syntax.lossy is None and not said)):
        return []
    return [
        Finding(
            ReasonCode.LOSSY_COMPRESSED,
            "the film went through lossy compression",
            where=where,
            expected="lossless pixels",
            found=syntax.name,
            action="use the original image if it exists",
        )
    ]


def _grey_image(dataset: Dataset, header: Header, where: str) -> NDArray[np.float32]:
    pixels = header.pixels
    if pixels.native and pixels.offset is not None:
        stored = native_frame(header.path, pixels, 0, where)
    else:
        stored = decoded_frame(dataset, 0, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shown = _displayed(_modality_values(stored, dataset), dataset)
    except PARSE_ERRORS as error:
        raise DicomError(
            "the grey-value tables of the film cannot be applied",
            where=where,
            found=type(error).__name__,
        ) from error
    return np.ascontiguousarray(1 - shown if _inverted(dataset) else shown, dtype=np.float32)


def _inverted(dataset: Dataset) -> bool:
    # INVERSE is required beside MONOCHROME1, so the two together are one inversion.
    shape = text(dataset, (0x2050, 0x0020)).upper()
    return text(dataset, tags.PHOTOMETRIC).upper() == "MONOCHROME1" or shape == "INVERSE"


def _modality_values(stored: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    if items(dataset, (0x0028, 0x3000)):
        from pydicom.pixels import apply_modality_lut  # type: ignore[attr-defined]

        return np.asarray(apply_modality_lut(stored, dataset))
    slope, intercept = number(dataset, tags.SLOPE), number(dataset, tags.INTERCEPT)
    if slope in (None, 0.0, 1.0) and not intercept:
        return stored
    return stored.astype(np.float32) * np.float32(slope or 1.0) + np.float32(intercept or 0.0)


def _displayed(values: NDArray[Any], dataset: Dataset) -> NDArray[np.float32]:
    """VOI table or window, to 0..1; without either the range of the image."""
    tables = items(dataset, (0x0028, 0x3010))
    if tables and values.dtype.kind in "iu":
        from pydicom.pixels import apply_voi  # type: ignore[attr-defined]

        entries = [int(entry) for entry in tables[0].LUTDescriptor]
        table = np.asarray(apply_voi(values, dataset, index=0), dtype=np.float32)
        top: NDArray[np.float32] = table / np.float32(2 ** entries[2] - 1)
        return top
    centre = (floats(dataset, (0x0028, 0x1050)) or (None,))[0]
    width = (floats(dataset, (0x0028, 0x1051)) or (None,))[0]
    if centre is not None and width is not None and width >= 1:
        function = text(dataset, (0x0028, 0x1056)).upper()
        return _windowed(values.astype(np.float32), centre, width, function)
    low, high = float(values.min()), float(values.max())
    scaled: NDArray[np.float32] = (values.astype(np.float32) - low) / np.float32(high - low or 1.0)
    return scaled


def _windowed(
    values: NDArray[np.float32], centre: float, width: float, function: str
) -> NDArray[np.float32]:
    """DICOM PS3.3 C.11.2.1: LINEAR, LINEAR_EXACT or SIGMOID, to 0..1."""
    if function == "SIGMOID":
        power = np.clip(-4 * (values - centre) / width, -60, 60)
        curve: NDArray[np.float32] = (1 / (1 + np.exp(power))).astype(np.float32)
        return curve
    if function == "LINEAR_EXACT" or width <= 1:
        scaled = (values - centre) / width + 0.5
    else:
        scaled = (values - (centre - 0.5)) / (width - 1) + 0.5
    clipped: NDArray[np.float32] = np.clip(scaled, 0, 1).astype(np.float32)
    return clipped
