"""From a checked series to a Volume."""

from __future__ import annotations

from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.errors import DicomError, Finding, ReasonCode
from kneeimg.io.content import content_uid
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
