"""What every DICOM writer here shares: identity, equipment, encoding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from kneeimg.core.anatomy import Side
from kneeimg.errors import OutputError, ReasonCode
from kneeimg.io.dicom.transfer import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, is_native

_IMPLEMENTATION = generate_uid(entropy_srcs=["kneeimg implementation"])

#: Short names for the transfer syntaxes that can be written.
ENCODINGS: dict[str, str] = {
    "explicit": EXPLICIT_LITTLE,
    "implicit": IMPLICIT_LITTLE,
    "big-endian": EXPLICIT_BIG,
    "deflated": "1.2.840.10008.1.2.1.99",
    "jpeg2000": "1.2.840.10008.1.2.4.90",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "rle": "1.2.840.10008.1.2.5",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose image it is, and what made it.

    Attributes
    ----------
    patient_id : As the hospital numbers people; never shown in any result. None leaves it out.
    study_date : YYYY-MM-DD.
    description : Series description.
    manufacturer, model, software, station : Equipment.
    seed : Every UID follows from it and from the content written.
    series_number : Number of the series in its study.
    """

    patient_id: str | None = "PHANTOM"
    study_date: str = "2025-01-01"
    description: str = "PHANTOM"
    manufacturer: str = "kneeimg"
    model: str = "phantom"
    software: str = "1"
    seed: str = "kneeimg"
    series_number: int = 1


def uid(origin: Origin, *parts: object) -> UID:
    """A UID that depends on the seed, the person, the date and `parts`, and on nothing else."""
    study = [origin.seed, origin.patient_id or "", origin.study_date]
    return generate_uid(entropy_srcs=[*study, *map(str, parts)])


def base_dataset(origin: Origin, sop_class: str, modality: str, *instance: object) -> Dataset:
    """Patient, study, series and equipment modules; `instance` makes the SOP Instance UID."""
    series = (origin.description, origin.series_number, modality)
    date = origin.study_date.replace("-", "")
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid(origin, *series, *instance)
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = dataset.AcquisitionDate = date
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "120000"
    dataset.AcquisitionTime = "120000"
    dataset.AccessionNumber = ""
    dataset.Modality = modality
    dataset.Manufacturer = origin.manufacturer
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "KNEE"
    dataset.SeriesDescription = origin.description
    dataset.ManufacturerModelName = origin.model
    dataset.PatientName = ""
    if origin.patient_id is not None:
        dataset.PatientID = origin.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.BodyPartExamined = "KNEE"
    dataset.SoftwareVersions = origin.software
    dataset.StudyInstanceUID = uid(origin, "study")
    dataset.SeriesInstanceUID = uid(origin, "series", *series)
    dataset.StudyID = "1"
    dataset.SeriesNumber = origin.series_number
    return dataset


def laterality_code(side: Side | None) -> str:
    """L, R or "" as DICOM writes a side."""
    return "" if side is None else side.value[0].upper()


def set_pixels(dataset: Dataset, stored: NDArray[np.uint16], bits_stored: int = 16) -> None:
    """Describe and attach grey pixels: (rows, columns) or (frames, rows, columns) uint16."""
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated = 16
    dataset.BitsStored = bits_stored
    dataset.HighBit = bits_stored - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.ascontiguousarray(stored, dtype="<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def save(
    dataset: Dataset, path: Path, *, encoding: str = "explicit", preamble: bool = True
) -> None:
    """Write one file.

    Parameters
    ----------
    dataset : Complete data set, pixels little-endian.
    path : File to write; its folder must exist.
    encoding : A key of :data:`ENCODINGS`.
    preamble : False leaves out the preamble and the file meta information, as old exports do.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    syntax = UID(ENCODINGS[encoding])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax if is_native(syntax) else ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "KNEEIMG"
    file = Dataset(dataset)
    file.file_meta = meta
    file.preamble = bytes(128)
    if encoding == "big-endian":
        file.PixelData = np.frombuffer(file.PixelData, "<u2").astype(">u2").tobytes()
        file["PixelData"].VR = "OW"
    elif not is_native(syntax):
        file.compress(syntax, generate_instance_uid=False)
    try:
        if preamble:
            file.save_as(path, enforce_file_format=True)
        else:
            _save_bare(file, path)
    except OSError as error:
        raise OutputError(
            "the DICOM file cannot be written",
            code=ReasonCode.OUTPUT_NOT_WRITABLE,
            where=str(path),
            found=error.strerror or type(error).__name__,
        ) from error


def _save_bare(file: Dataset, path: Path) -> None:
    syntax = file.file_meta.TransferSyntaxUID
    bare = Dataset(file)
    bare.save_as(
        path,
        implicit_vr=bool(syntax.is_implicit_VR),
        little_endian=bool(syntax.is_little_endian),
    )


def decimal(value: float) -> str:
    """A decimal string of at most 16 characters with all the precision that fits.

    >>> decimal(0.36458333333333331)
    '0.36458333333333'
    """
    for digits in range(17, 0, -1):
        written = f"{value:.{digits}g}"
        if len(written) <= 16:
            return written
    raise ValueError(f"{value} does not fit a decimal string")


def decimals(values: Any) -> list[str]:
    """Decimal strings of several values."""
    return [decimal(float(value)) for value in values]
