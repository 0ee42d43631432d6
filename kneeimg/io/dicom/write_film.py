"""Write a film as the CR or DX file that a detector would have made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from kneeimg.core.anatomy import Side
from kneeimg.core.radiograph import View
from kneeimg.io.dicom.writing import (
    Origin,
    base_dataset,
    decimal,
    decimals,
    laterality_code,
    save,
    set_pixels,
)

_CR = "1.2.840.10008.5.1.4.1.1.1"
_DX = "1.2.840.10008.5.1.4.1.1.1.1"
_BITS = 12


@dataclass(frozen=True, slots=True)
class FilmTags:
    """What stands in the header of a film.

    Attributes
    ----------
    modality : "CR" or "DX".
    photometric : "MONOCHROME2" or "MONOCHROME1" (dense tissue stored dark).
    pixel_spacing_mm, imager_pixel_spacing_mm : Row and column; None leaves the tag out.
    magnification : EstimatedRadiographicMagnificationFactor; None leaves it out.
    calibration_type : PixelSpacingCalibrationType, "GEOMETRY" or "FIDUCIAL"; "" leaves it out.
    laterality : "L", "R", "B", or "" for an empty tag.
    view : Projection.
    patient_orientation : Direction of rows and columns; a PA or AP film as it is hung.
    """

    modality: Literal["CR", "DX"] = "DX"
    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2"
    pixel_spacing_mm: tuple[float, float] | None = None
    imager_pixel_spacing_mm: tuple[float, float] | None = (0.15, 0.15)
    magnification: float | None = None
    calibration_type: str = ""
    laterality: Literal["L", "R", "B", ""] = "R"
    view: View = "PA"
    patient_orientation: tuple[str, str] = ("L", "F")


def write_radiograph(
    image: NDArray[Any],
    path: Path,
    *,
    film: FilmTags | None = None,
    origin: Origin | None = None,
    encoding: str = "explicit",
    instance: int = 1,
) -> Path:
    """Write one film; the same arguments always give the same bytes.

    Parameters
    ----------
    image : (rows, columns) grey values 0..1, dense tissue bright; stored in 12 bits.
    path : File to write; its folder is made if absent.
    film, origin : Header values.
    encoding : As in :data:`kneeimg.io.dicom.writing.ENCODINGS`.
    instance : Number of the image in its series.

    Raises
    ------
    ValueError
        If a grey value lies outside 0..1.
    OutputError
        If the file cannot be written.
    """
    film, origin = film or FilmTags(), origin or Origin(description="KNEE PA")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError("grey values of a film lie within 0 and 1")
    top = 2**_BITS - 1
    stored = np.rint(np.asarray(image, dtype=np.float64) * top).astype(np.uint16)
    if film.photometric == "MONOCHROME1":
        stored = (top - stored).astype(np.uint16)
    dataset = base_dataset(origin, _DX if film.modality == "DX" else _CR, film.modality, instance)
    _film_module(dataset, film, instance)
    set_pixels(dataset, stored, _BITS)
    dataset.PhotometricInterpretation = film.photometric
    dataset.WindowCenter, dataset.WindowWidth = decimal((top + 1) / 2), decimal(top + 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(dataset, path, encoding=encoding)
    return path


def laterality_of(side: Side | None, *, bilateral: bool = False) -> Literal["L", "R", "B", ""]:
    """Code of the laterality tag for a side.

    >>> laterality_of(Side.LEFT)
    'L'
    """
    if bilateral:
        return "B"
    code = laterality_code(side)
    return "L" if code == "L" else "R" if code == "R" else ""


def _film_module(dataset: Dataset, film: FilmTags, instance: int) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.InstanceNumber = instance
    dataset.ViewPosition = film.view
    dataset.PatientOrientation = list(film.patient_orientation)
    dataset.BurnedInAnnotation = "NO"
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.LossyImageCompression = "00"
    if film.pixel_spacing_mm is not None:
        dataset.PixelSpacing = decimals(film.pixel_spacing_mm)
    if film.imager_pixel_spacing_mm is not None:
        dataset.ImagerPixelSpacing = decimals(film.imager_pixel_spacing_mm)
    if film.magnification is not None:
        dataset.EstimatedRadiographicMagnificationFactor = decimal(film.magnification)
    if film.calibration_type:
        dataset.PixelSpacingCalibrationType = film.calibration_type
        dataset.PixelSpacingCalibrationDescription = "phantom"
    if film.modality == "CR":
        dataset.Laterality = film.laterality if film.laterality != "B" else ""
        if film.laterality == "B":
            dataset.ImageLaterality = "B"
        return
    dataset.ImageLaterality = film.laterality
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1 if film.photometric == "MONOCHROME1" else 1
    inverse = film.photometric == "MONOCHROME1"
    dataset.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    dataset.DetectorType = "DIRECT"
    dataset.AnatomicRegionSequence = DicomSequence([_code("72696002", "SCT", "Knee region")])


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
