"""Texts of a DICOM file that must never stand in any output: read only in order to hide them."""

from __future__ import annotations

import warnings
from pathlib import Path

_PRIVATE_TAGS = (
    0x00100010,  # PatientName
    0x00100020,  # PatientID
    0x00101000,  # OtherPatientIDs
    0x00101001,  # OtherPatientNames
    0x00100030,  # PatientBirthDate
    0x00101040,  # PatientAddress
    0x00102154,  # PatientTelephoneNumbers
)


def private_texts(path: Path) -> tuple[str, ...]:
    """Name, numbers and birth date of the person in one file, as they stand there.

    A folder or file name often carries them; messages and tables name files, so they are redacted
    with these texts. Empty when the file has none or is not DICOM.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are hidden like any other
            dataset = dcmread(
                path, stop_before_pixels=True, force=True, specific_tags=list(_PRIVATE_TAGS)
            )
            values = [str(dataset[tag].value or "") for tag in _PRIVATE_TAGS if tag in dataset]
    except (OSError, InvalidDicomError, ValueError, TypeError, LookupError, AttributeError):
        return ()
    return tuple(dict.fromkeys(value.strip() for value in values if value.strip()))
