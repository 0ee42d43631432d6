"""What the tags of a film say: pixel size, projection, which way the patient faces."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset

from kneeimg.core.radiograph import SpacingSource, View
from kneeimg.errors import Finding, ReasonCode
from kneeimg.io.dicom import tags
from kneeimg.io.dicom.values import floats, number, text, texts

#: Relative difference below which two pixel spacings are equal.
_EQUAL = 1e-4


@dataclass(frozen=True, slots=True)
class FilmSpacing:
    """Pixel size of a film.

    Attributes
    ----------
    spacing_mm : (row, column) in mm; None for no millimetres.
    source : Where it came from.
    finding : NO_PIXEL_SPACING or ZERO_PIXEL_SPACING when there is none.
    """

    spacing_mm: tuple[float, float] | None
    source: SpacingSource
    finding: Finding | None = None


def film_spacing(
    dataset: Dataset, given_mm: float | tuple[float, float] | None, where: str
) -> FilmSpacing:
    """Decide the pixel size.

    Parameters
    ----------
    dataset : Header of the film.
    given_mm : Pixel size given by the user, which wins; None to use the tags.
    where : File, for messages.

    Notes
    -----
    ======================================= =========================================
    tags                                    source
    ======================================= =========================================
    PixelSpacing only                       unknown calibration
    ImagerPixelSpacing only                 detector plane
    the same with magnification factor      ermf (divided by the factor)
    both, equal                             detector plane
    both, different, calibration type said  calibrated (PixelSpacing)
    both, different, no calibration type    unknown calibration (PixelSpacing)
    none, or zero                           none: ratios only
    ======================================= =========================================

    The magnification factor is EstimatedRadiographicMagnificationFactor (0018,1114). A tag
    whose value is zero counts as absent.
    """
    if given_mm is not None:
        return FilmSpacing(_given(given_mm), SpacingSource.USER)
    pixel, imager = (
        _spacing(dataset, tags.PIXEL_SPACING),
        _spacing(dataset, tags.IMAGER_PIXEL_SPACING),
    )
    if pixel is None and imager is None:
        return _no_spacing(dataset, where)
    if pixel is None and imager is not None:
        factor = number(dataset, tags.MAGNIFICATION)
        if factor is None or factor <= 0:
            return FilmSpacing(imager, SpacingSource.DETECTOR_PLANE)
        return FilmSpacing((imager[0] / factor, imager[1] / factor), SpacingSource.ERMF)
    if pixel is not None and imager is not None:
        if all(abs(a / b - 1) < _EQUAL for a, b in zip(pixel, imager, strict=True)):
            return FilmSpacing(pixel, SpacingSource.DETECTOR_PLANE)
        if text(dataset, tags.CALIBRATION_TYPE):
            return FilmSpacing(pixel, SpacingSource.CALIBRATED)
    return FilmSpacing(pixel, SpacingSource.UNKNOWN_CALIBRATION)


def _given(given_mm: float | tuple[float, float]) -> tuple[float, float]:
    row, column = given_mm if isinstance(given_mm, tuple) else (given_mm, given_mm)
    if not (row > 0 and column > 0):
        raise ValueError(f"a pixel size must be above 0 mm, got {given_mm}")
    return float(row), float(column)


def _spacing(dataset: Dataset, tag: tags.Tag) -> tuple[float, float] | None:
    values = floats(dataset, tag)
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else None


def _no_spacing(dataset: Dataset, where: str) -> FilmSpacing:
    present = [t for t in (tags.PIXEL_SPACING, tags.IMAGER_PIXEL_SPACING) if floats(dataset, t)]
    finding = Finding(
        ReasonCode.ZERO_PIXEL_SPACING if present else ReasonCode.NO_PIXEL_SPACING,
        "the film has no usable pixel size: ratios only, no millimetres",
        where=where,
        expected="PixelSpacing or ImagerPixelSpacing above 0",
        found=", ".join(str(floats(dataset, tag)) for tag in present) or "neither tag",
        action="give the pixel size if it is known (--pixel-spacing MM)",
    )
    return FilmSpacing(None, SpacingSource.NONE, finding)


def film_view(dataset: Dataset) -> View | None:
    """Projection of a film, None unless it is PA or AP."""
    view = text(dataset, tags.VIEW_POSITION).upper()
    if view == "PA":
        return "PA"
    return "AP" if view == "AP" else None


def patient_left_on_image_right(dataset: Dataset) -> bool | None:
    """From PatientOrientation (0020,0020); None if it does not tell left from right."""
    along_row = (texts(dataset, tags.PATIENT_ORIENTATION) or ("",))[0].upper()
    return {"L": True, "R": False}.get(along_row[:1])


def head_is_down(dataset: Dataset) -> bool:
    """Whether PatientOrientation says that the rows run towards the head."""
    directions = texts(dataset, tags.PATIENT_ORIENTATION)
    return len(directions) == 2 and directions[1].upper().startswith("H")
