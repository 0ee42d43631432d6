"""One file: is it DICOM, is it an image, and what does its header say about its pixels?"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydicom import Dataset, dcmread

from kneeimg.errors import DicomError, ReasonCode
from kneeimg.io.dicom import tags
from kneeimg.io.dicom.encapsulated import fragments_are_complete
from kneeimg.io.dicom.faults import PARSE_ERRORS
from kneeimg.io.dicom.transfer import (
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    is_native,
)
from kneeimg.io.dicom.values import integer, text
from kneeimg.settings.reading import ReadingSettings

#: Pixel elements and the bytes of a float pixel; 0 for integers.
_PIXEL_ELEMENTS = {(0x7FE0, 0x0008): 4, (0x7FE0, 0x0009): 8, (0x7FE0, 0x0010): 0}
_UNDEFINED_LENGTH = 0xFFFFFFFF
_MAX_SIDE = 65535


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """Where the pixels of a file lie and how they are written.

    Attributes
    ----------
    rows, columns, frames : Size; frames is 1 for a plain image.
    samples : 1 for grey.
    bits_allocated, bits_stored, high_bit : As DICOM defines them.
    signed : Pixel Representation is 1.
    floating : Pixels are IEEE floats.
    big_endian : Byte order of native pixels.
    transfer_syntax : UID.
    offset : First byte of the pixel value in the file; None if the file is deflated.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    floating: bool
    big_endian: bool
    transfer_syntax: str
    offset: int | None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame."""
        return (self.frame_pixels * self.bits_allocated + 7) // 8

    @property
    def total_bytes(self) -> int:
        """Bytes of all native frames; of a bit mask no frame fills up its last byte."""
        return (self.frame_pixels * self.bits_allocated * self.frames + 7) // 8

    @property
    def frame_pixels(self) -> int:
        """Stored values of one frame."""
        return self.rows * self.columns * self.samples

    @property
    def native(self) -> bool:
        """Pixels are plain numbers in the file."""
        return is_native(self.transfer_syntax)


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed image header.

    Attributes
    ----------
    path : The file.
    dataset : Those tags of :mod:`kneeimg.io.dicom.tags` that the file has.
    pixels : How its pixels are stored.
    """

    path: Path
    dataset: Dataset
    pixels: PixelLayout


def is_grey(header: Header) -> bool:
    """Whether a pixel is one grey value: not colour, not a palette, not a bit mask."""
    photometric = text(header.dataset, tags.PHOTOMETRIC).upper()
    pixels = header.pixels
    named = photometric in ("MONOCHROME1", "MONOCHROME2", "")
    return named and pixels.samples == 1 and pixels.bits_allocated > 1


def looks_like_dicom(start: bytes) -> bool:
    """Whether the first bytes of a file are a DICOM preamble or a plausible first element.

    >>> looks_like_dicom(bytes(128) + b"DICM")
    True
    >>> looks_like_dicom(b"participant,arm")
    False
    """
    if start[128:132] == b"DICM":
        return True
    if len(start) < 132 or start[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08", b"\x00\x02"):
        return False
    vr = start[4:6]
    if vr.isalpha() and vr.isupper():
        return True
    order = "<" if start[1] == 0 else ">"
    element, length = struct.unpack(f"{order}HI", start[2:8])
    return bool(length <= 1024 and element <= 0x2200)


def read_header(path: Path, settings: ReadingSettings, where: str = "") -> Header:
    """Parse everything before the pixels of one image file.

    Parameters
    ----------
    path : The file.
    settings : Size limits.
    where : Name of the file in messages; its file name if empty.

    Raises
    ------
    DicomError
        NOT_DICOM, BAD_DICOM, NOT_AN_IMAGE, TRUNCATED_PIXEL_DATA or TOO_LARGE.
    """
    where = where or path.name
    try:
        with path.open("rb") as file:
            start = file.read(1024)
            if not looks_like_dicom(start):
                raise DicomError("not a DICOM file", code=ReasonCode.NOT_DICOM, where=where)
            return _parse(path, file, start, settings, where)
    except OSError as error:
        raise DicomError(
            "the file cannot be read", where=where, found=error.strerror or type(error).__name__
        ) from error


def _parse(
    path: Path, file: IO[bytes], start: bytes, settings: ReadingSettings, where: str
) -> Header:
    deflated = start[128:132] == b"DICM" and DEFLATED.encode() in start[: _meta_end(start)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are judged here, one by one
            if deflated:
                _limit_inflation(file, start, settings, where)
            file.seek(0)
            wanted = [*tags.HEADER_TAGS, tags.PIXEL_DATA] if deflated else tags.HEADER_TAGS
            dataset = dcmread(
                file, stop_before_pixels=not deflated, force=True, specific_tags=list(wanted)
            )
            end = file.tell()
            _require_image(dataset, where, preamble=start[128:132] == b"DICM")
            return Header(path, dataset, _layout(file, end, dataset, settings, where))
    except PARSE_ERRORS as error:
        raise DicomError(
            "the file begins like DICOM but cannot be parsed",
            code=ReasonCode.BAD_DICOM,
            where=where,
            found=type(error).__name__,
            action="copy or export the file again",
        ) from error


def _meta_end(start: bytes) -> int:
    """Where the file meta information ends, as its group length says."""
    return 144 + int(struct.unpack("<I", start[140:144].ljust(4, b"\0"))[0])


def _limit_inflation(file: IO[bytes], start: bytes, settings: ReadingSettings, where: str) -> None:
    """Refuse a deflated file that would inflate beyond the limit, before pydicom inflates it."""
    file.seek(_meta_end(start))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    room = settings.max_image_bytes
    while room > 0 and (block := file.read(1 << 20)):
        while block and room > 0:
            room -= len(inflater.decompress(block, min(room, 1 << 24)))
            block = inflater.unconsumed_tail
    if room <= 0:
        raise _too_large(f"more than {settings.max_image_bytes} bytes", settings, where)


def _sop_class(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return text(dataset, tags.SOP_CLASS) or (text(meta, (0x0002, 0x0002)) if meta else "")


def _require_image(dataset: Dataset, where: str, *, preamble: bool) -> None:
    sop_class = _sop_class(dataset)
    if integer(dataset, tags.ROWS) is not None and integer(dataset, tags.COLUMNS) is not None:
        return
    if not preamble and not sop_class.startswith("1.2.840.10008."):
        raise DicomError("not a DICOM file", code=ReasonCode.NOT_DICOM, where=where)
    kind = _uid_name(sop_class)
    if "Image Storage" in kind:
        raise DicomError(
            "the file ends, or is damaged, before its pixels",
            code=ReasonCode.TRUNCATED_PIXEL_DATA,
            where=where,
            expected=f"the rows and columns of a {kind.removesuffix(' Storage')}",
            found="neither",
            action="copy or export the file again",
        )
    raise DicomError(
        "a DICOM object without an image",
        code=ReasonCode.NOT_AN_IMAGE,
        where=where,
        found=kind or "no SOP class",
    )


def _uid_name(uid: str) -> str:
    from pydicom.uid import UID

    return str(UID(uid).name) if uid else ""


def _layout(
    file: IO[bytes], end: int, dataset: Dataset, settings: ReadingSettings, where: str
) -> PixelLayout:
    syntax = _transfer_syntax(dataset)
    big_endian = syntax == EXPLICIT_BIG
    implicit = syntax == IMPLICIT_LITTLE
    if syntax == DEFLATED:
        offset, length, float_bytes = None, _drop_pixels(dataset), 0
    else:
        offset, length, float_bytes = _pixel_element(
            file, end, big_endian=big_endian, implicit=implicit
        )
    layout = _sizes(dataset, syntax, offset, float_bytes, where)
    announced = layout.total_bytes
    if announced > settings.max_image_bytes:
        raise _too_large(
            f"{layout.rows} x {layout.columns} x {layout.frames} frames", settings, where
        )
    available = length
    if offset is not None:
        available = min(length, file.seek(0, 2) - offset)
    _require_pixels(file, layout, length, available, where)
    return layout


def _transfer_syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    named = text(meta, (0x0002, 0x0010)) if meta else ""
    if named:
        return named
    implicit, little = dataset.original_encoding
    if implicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE if little else EXPLICIT_BIG


def _drop_pixels(dataset: Dataset) -> int:
    """Bytes of the pixels of an inflated file, which are then let go."""
    if tags.PIXEL_DATA not in dataset:
        return 0
    length = len(dataset.get_item(tags.PIXEL_DATA).value or b"")
    del dataset[tags.PIXEL_DATA]
    return length


def _pixel_element(
    file: IO[bytes], end: int, *, big_endian: bool, implicit: bool
) -> tuple[int, int, int]:
    """Offset and length of the pixel value, and the bytes of a float pixel (0: integers)."""
    order = ">" if big_endian else "<"
    file.seek(end)
    element = file.read(12)
    if len(element) < 12:
        return end, 0, 0
    tag = struct.unpack(f"{order}HH", element[:4])
    if tag not in _PIXEL_ELEMENTS:
        return end, 0, 0
    if implicit:
        return end + 8, struct.unpack(f"{order}I", element[4:8])[0], _PIXEL_ELEMENTS[tag]
    return end + 12, struct.unpack(f"{order}I", element[8:12])[0], _PIXEL_ELEMENTS[tag]


def _sizes(
    dataset: Dataset, syntax: str, offset: int | None, float_bytes: int, where: str
) -> PixelLayout:
    allocated = integer(dataset, tags.BITS_ALLOCATED) or 8 * float_bytes
    stored = integer(dataset, tags.BITS_STORED) or allocated
    high = integer(dataset, tags.HIGH_BIT)
    frames = integer(dataset, tags.FRAMES)
    layout = PixelLayout(
        rows=integer(dataset, tags.ROWS) or 0,
        columns=integer(dataset, tags.COLUMNS) or 0,
        frames=1 if frames is None else frames,
        samples=integer(dataset, tags.SAMPLES) or 1,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high is None else high,
        signed=integer(dataset, tags.SIGNED) == 1,
        floating=float_bytes > 0,
        big_endian=syntax == EXPLICIT_BIG,
        transfer_syntax=syntax,
        offset=offset,
    )
    sound = (
        0 < layout.rows <= _MAX_SIDE
        and 0 < layout.columns <= _MAX_SIDE
        and layout.frames > 0
        and layout.samples in (1, 3, 4)
        and allocated in ((1, 8, 16, 32, 64) if not float_bytes else (8 * float_bytes,))
        and 0 < stored <= allocated
        and stored - 1 <= layout.high_bit < allocated
    )
    if not sound:
        raise DicomError(
            "the header describes an impossible image",
            code=ReasonCode.BAD_DICOM,
            where=where,
            expected="rows, columns and frames above 0; stored bits within 1, 8, 16, 32 or 64",
            found=f"{layout.rows} x {layout.columns} x {layout.frames}, "
            f"{stored} of {allocated} bits, high bit {layout.high_bit}",
        )
    return layout


def _too_large(found: str, settings: ReadingSettings, where: str) -> DicomError:
    return DicomError(
        "the header announces more pixels than the limit",
        code=ReasonCode.TOO_LARGE,
        where=where,
        expected=f"at most {settings.max_image_bytes} bytes decoded",
        found=found,
        action="raise max_image_bytes in the reading settings if the file is sound",
    )


def _require_pixels(
    file: IO[bytes], layout: PixelLayout, length: int, available: int, where: str
) -> None:
    expected = layout.total_bytes
    if layout.samples != 1 and available > 0:
        return  # colour is not measured, and may be subsampled
    if length == _UNDEFINED_LENGTH and layout.offset is not None:
        if fragments_are_complete(file, layout.offset, layout.frames):
            return
        found = "the compressed data end early"
    elif available >= expected or (available > 0 and not layout.native):
        return
    else:
        found = f"{available} bytes"
    raise DicomError(
        "the file holds fewer pixels than its header says",
        code=ReasonCode.TRUNCATED_PIXEL_DATA,
        where=where,
        expected=f"{expected} bytes for {layout.rows} x {layout.columns} x {layout.frames} frames",
        found=found,
        action="copy or export the file again",
    )
