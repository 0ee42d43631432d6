"""How DICOM is read, and the rules by which a study picks its series."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kneeimg.settings.base import Settings

Kind = Literal["mri", "film", "other"]
Orientation = Literal["sagittal", "coronal", "axial", "oblique"]
Positive = Annotated[float, Field(gt=0)]


def _compilable(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


class ReadingSettings(Settings):
    """Limits and tolerances of DICOM series assembly.

    Attributes
    ----------
    max_image_bytes : Refuse one file whose header announces more decoded bytes (TOO_LARGE), or
        that would inflate to more.
    max_series_bytes : Refuse a series that would take more memory than this, in bytes.
    min_slices : Fewer distinct slice positions are not a volume (TOO_FEW_SLICES).
    spacing_tolerance : Relative deviation of the distance between neighbouring slices that is
        still uniform.
    duplicate_tolerance_mm : Two slices nearer than this lie at one position.
    shear_tolerance_mm : Largest distance of a slice origin from the line along the normal.
    orientation_tolerance_deg : Angle by which slices of one stack may differ.
    echo_tolerance_ms : Echo times nearer than this are one echo.
    localizer_max_slices : A series of crossing stacks, or one named scout, counts as a localizer
        up to this many slices.
    """

    max_image_bytes: Annotated[int, Field(gt=0)] = 2 * 1024**3
    max_series_bytes: Annotated[int, Field(gt=0)] = 4 * 1024**3
    min_slices: Annotated[int, Field(ge=2)] = 3
    spacing_tolerance: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    duplicate_tolerance_mm: Positive = 0.01
    shear_tolerance_mm: Positive = 0.1
    orientation_tolerance_deg: Positive = 0.1
    echo_tolerance_ms: Positive = 0.05
    localizer_max_slices: Annotated[int, Field(ge=0)] = 45


class SeriesRule(Settings):
    """What a series must be like to be taken; a field that is left out accepts anything.

    In a study file each rule is one `[[series]]` table; every field given must hold.

    Attributes
    ----------
    kind : "mri" or "film".
    description : Regular expression searched in the series description, case ignored.
    modality : DICOM modality, e.g. "MR", "CR", "DX".
    orientation : Of the slices: "sagittal", "coronal", "axial" or "oblique".
    echo_number : Number of the echo, from 1 in order of echo time.
    echo_time_ms : Lowest and highest echo time in ms.
    repetition_time_ms : Lowest and highest repetition time in ms.
    image_type : Words that must all stand in ImageType, e.g. ["M"] for magnitude.
    matrix : Rows and columns.
    slices : Lowest and highest number of slices.
    slice_spacing_mm : Lowest and highest distance between slices in mm.
    protocol_slices : Slices that the protocol asks for. Not a condition: a series with fewer or
        more is taken, measured and flagged (EXTENT_MISMATCH).
    view : Projection of a film, "PA" or "AP".
    side : "left" or "right", as the file itself states it.
    uid_hash : Hash of one single series, as `kneeimg inspect` shows it.
    """

    kind: Kind | None = None
    description: Annotated[str, AfterValidator(_compilable)] | None = None
    modality: str | None = None
    orientation: Orientation | None = None
    echo_number: Annotated[int, Field(ge=1)] | None = None
    echo_time_ms: tuple[float, float] | None = None
    repetition_time_ms: tuple[float, float] | None = None
    image_type: tuple[str, ...] | None = None
    matrix: tuple[int, int] | None = None
    slices: tuple[int, int] | None = None
    slice_spacing_mm: tuple[float, float] | None = None
    protocol_slices: Annotated[int, Field(ge=1)] | None = None
    view: Literal["PA", "AP"] | None = None
    side: Literal["left", "right"] | None = None
    uid_hash: str | None = None
