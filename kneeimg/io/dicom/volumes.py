"""From a checked series to a Volume."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.errors import DicomError, Finding, ReasonCode
from kneeimg.io.dicom.pixels import read_frames
from kneeimg.io.dicom.records import SeriesRecord


def read_volume(record: SeriesRecord) -> tuple[Volume, tuple[Finding, ...]]:
    """Read the pixels of one MRI series.

    Parameters
    ----------
    record : A series of kind "mri" from :func:`find_series`.

    Returns
    -------
    volume : Image values in arbitrary units on an LPS+ mm grid. Array index (i, j, k) is column,
        row, slice: i runs along a row of the image, j down a column, k along the slice normal
        (their cross product), so the affine is always right-handed. Integers as stored, or
        float32 where the file rescales. Real-world value maps and private scaling are not applied.
    findings : Notes and flags of the record, to be kept with every result.

    Raises
    ------
    DicomError
        The record's refusal, or a file that cannot be decoded.
    """
    if record.refusal is not None:
        raise DicomError.from_finding(record.refusal)
    if record.kind != "mri" or record.affine is None:
        raise DicomError(
            "not a volume",
            code=ReasonCode.UNSUPPORTED_IMAGE,
            where=record.folder,
            expected="an MRI series",
            found=record.kind,
        )
    data = read_frames(record.slices).transpose(2, 1, 0)
    shape = (data.shape[0], data.shape[1], data.shape[2])
    frame_uid = record.frame_uid or content_uid(data, record.affine)
    return Volume(data, Grid(shape, record.affine, frame_uid), "a.u."), record.findings


def content_uid(data: NDArray[np.generic], affine: NDArray[np.float64]) -> str:
    """A frame of reference for an image without one: a UUID-style UID from its content.

    The same content in the same place gives the same UID, whatever the memory layout.
    """
    digest = hashlib.sha256()
    digest.update(str((data.shape, data.dtype.str)).encode())
    digest.update(np.round(np.asarray(affine, dtype="<f8"), 6).tobytes())
    digest.update(np.ascontiguousarray(data.T).data)  # free for an image as it was read
    return f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"
