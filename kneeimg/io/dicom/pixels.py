"""Stored pixels to arrays: plain numbers straight from the file, compressed ones by pydicom."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from kneeimg.errors import DicomError, ReasonCode
from kneeimg.io.dicom.faults import PARSE_ERRORS
from kneeimg.io.dicom.headers import PixelLayout
from kneeimg.io.dicom.stack import SliceRef
from kneeimg.io.dicom.transfer import GDCM, SUPPORTED


def read_frames(images: Sequence[SliceRef]) -> NDArray[Any]:
    """(n, rows, columns) image values of slices of equal size, in the order given.

    Integers as stored when no slice is rescaled, else float32 after slope and intercept.

    Raises
    ------
    DicomError
        TRUNCATED_PIXEL_DATA or BAD_DICOM if pixels cannot be read.
    """
    rescaled = any(image.slope != 1.0 or image.intercept != 0.0 for image in images)
    dtypes = {_dtype(image.pixels) for image in images}
    common = np.result_type(*dtypes) if len(dtypes) > 1 else dtypes.pop()
    dtype = np.dtype(np.float32) if rescaled or common.kind == "f" else common
    first = images[0].pixels
    out = np.empty((len(images), first.rows, first.columns), dtype=dtype)
    source = _FrameSource()
    for n, image in enumerate(images):
        stored = source.frame(image)
        if rescaled:
            np.multiply(stored, np.float32(image.slope), out=out[n], casting="unsafe")
            if image.intercept:
                out[n] += np.float32(image.intercept)
        else:
            out[n] = stored
    return out


class _FrameSource:
    """Reads frames; keeps the last compressed file parsed, since its frames come in a row."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._dataset: Dataset = Dataset()

    def frame(self, image: SliceRef) -> NDArray[Any]:
        if image.pixels.native and image.pixels.offset is not None:
            return native_frame(image.path, image.pixels, image.frame, image.label)
        if self._path != image.path:
            self._dataset = read_dataset(image.path, image.name)
            self._path = image.path
        return decoded_frame(self._dataset, image.frame, image.label)


def _dtype(pixels: PixelLayout) -> np.dtype[Any]:
    if pixels.floating:
        return np.dtype(f"f{pixels.bits_allocated // 8}")
    kind = "i" if pixels.signed else "u"
    return np.dtype(f"{kind}{max(pixels.bits_allocated // 8, 1)}")


def native_frame(path: Path, pixels: PixelLayout, frame: int, where: str) -> NDArray[Any]:
    """(rows, columns) stored values of one frame of an uncompressed grey image."""
    dtype = _dtype(pixels).newbyteorder(">" if pixels.big_endian else "<")
    start = (pixels.offset or 0) + frame * pixels.frame_bytes
    if pixels.bits_allocated == 1 or pixels.samples != 1:
        raise DicomError("not a grey image", code=ReasonCode.UNSUPPORTED_IMAGE, where=where)
    try:
        values = np.fromfile(path, dtype, count=pixels.rows * pixels.columns, offset=start)
    except OSError as error:
        raise DicomError("the file cannot be read", where=where, found=str(error.errno)) from error
    if len(values) != pixels.rows * pixels.columns:
        raise DicomError(
            "the file has become shorter since its header was read",
            code=ReasonCode.TRUNCATED_PIXEL_DATA,
            where=where,
        )
    return _stored_bits(values, pixels).reshape(pixels.rows, pixels.columns)


def _stored_bits(values: NDArray[Any], pixels: PixelLayout) -> NDArray[Any]:
    """Only the bits that belong to the pixel; the others may hold overlays."""
    allocated, stored, high = pixels.bits_allocated, pixels.bits_stored, pixels.high_bit
    if pixels.floating or stored == allocated:
        return values
    values = values.astype(values.dtype.newbyteorder("="))
    if pixels.signed:
        values <<= allocated - 1 - high
        values >>= allocated - stored
    else:
        values >>= high + 1 - stored
        values &= values.dtype.type((1 << stored) - 1)
    return values


def read_dataset(path: Path, where: str) -> Dataset:
    """The whole file as pydicom sees it; DicomError if it cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dcmread(path, force=True)
    except PARSE_ERRORS as error:
        raise DicomError(
            "the file cannot be parsed", where=where, found=type(error).__name__
        ) from error


def decoded_frame(dataset: Dataset, frame: int, where: str) -> NDArray[Any]:
    """(rows, columns) stored values of one frame, decompressed by pydicom's plug-ins."""
    from pydicom.pixels import pixel_array  # type: ignore[attr-defined]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            many = int(dataset.get("NumberOfFrames") or 1) > 1
            plugin = SUPPORTED[dataset.file_meta.TransferSyntaxUID].plugin
            if plugin == GDCM:
                _require_jpeg_size(dataset, frame)
            array = pixel_array(
                dataset, raw=True, index=frame if many else None, decoding_plugin=plugin
            )
    except PARSE_ERRORS as error:
        raise DicomError(
            "the pixels cannot be decoded",
            code=ReasonCode.BAD_DICOM,
            where=where,
            found=type(error).__name__,
            action="copy or export the file again, uncompressed if possible",
        ) from error
    if array.shape != (dataset.get("Rows"), dataset.get("Columns")):
        raise DicomError(
            "not a grey image",
            code=ReasonCode.UNSUPPORTED_IMAGE,
            where=where,
            expected="rows x columns",
            found=str(array.shape),
        )
    return array


def _require_jpeg_size(dataset: Dataset, frame: int) -> None:
    """ValueError unless the JPEG stream is as large as the header says: gdcm aborts otherwise."""
    from pydicom.encaps import get_frame

    frames = int(dataset.get("NumberOfFrames") or 1)
    size = jpeg_size(get_frame(dataset.PixelData, frame, number_of_frames=frames))
    if size != (dataset.Rows, dataset.Columns, 1):
        raise ValueError(f"JPEG of {size}, header of {dataset.Rows} x {dataset.Columns}")


def jpeg_size(stream: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components of a JPEG stream; None if it has no frame header.

    >>> jpeg_size(bytes.fromhex("ffd8 ffc3 000b 10 0040 0030 01 001100"))
    (64, 48, 1)
    """
    place = 2
    while place + 10 <= len(stream) and stream[place] == 0xFF:
        marker, length = stream[place + 1], int.from_bytes(stream[place + 2 : place + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            rows = int.from_bytes(stream[place + 5 : place + 7])
            columns = int.from_bytes(stream[place + 7 : place + 9])
            return rows, columns, stream[place + 9]
        place += 2 + length
    return None
