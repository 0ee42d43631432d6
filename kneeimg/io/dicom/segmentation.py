"""A DICOM Segmentation file: its segments, and the frames that draw them.

pydicom reads and decodes; geometry is judged by the rules for image series. highdicom, with which
the tests write, takes the smallest gap for the distance between slices where frames are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from kneeimg.errors import Behaviour, InputError, MaskError, ReasonCode, behaviour
from kneeimg.io.dicom import tags
from kneeimg.io.dicom.faults import PARSE_ERRORS
from kneeimg.io.dicom.frames import frames_of
from kneeimg.io.dicom.headers import PixelLayout, read_header
from kneeimg.io.dicom.pixels import decoded_frame, native_frame, read_dataset
from kneeimg.io.dicom.sparse import SparseStack, sparse_stack
from kneeimg.io.dicom.stack import SliceRef
from kneeimg.io.dicom.transfer import refuse_transfer_syntax
from kneeimg.io.dicom.values import Tag, integer, items, printable, text
from kneeimg.settings.reading import ReadingSettings

#: Segmentation Storage, and Label Map Segmentation Storage.
SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")

SegmentationType = Literal["BINARY", "FRACTIONAL", "LABELMAP"]

_TYPE: Tag = (0x0062, 0x0001)
_SEGMENTS: Tag = (0x0062, 0x0002)
_NUMBER: Tag = (0x0062, 0x0004)
_LABEL: Tag = (0x0062, 0x0005)
_IDENTIFICATION: Tag = (0x0062, 0x000A)
_OF_SEGMENT: Tag = (0x0062, 0x000B)
_GREATEST: Tag = (0x0062, 0x000E)
_PROPERTY: Tag = (0x0062, 0x000F)
_MODIFIER: Tag = (0x0062, 0x0011)
_REGION: Tag = (0x0008, 0x2218)
_CODE_VALUE: Tag = (0x0008, 0x0100)
_CODE_SCHEME: Tag = (0x0008, 0x0102)
_CODE_MEANING: Tag = (0x0008, 0x0104)
_INSTANCES: Tag = (0x0008, 0x114A)
_INSTANCE: Tag = (0x0008, 0x1155)
_DERIVATION: Tag = (0x0008, 0x9124)
_SOURCE: Tag = (0x0008, 0x2112)
_PADDING: Tag = (0x0028, 0x0120)


@dataclass(frozen=True, slots=True)
class Segment:
    """What one segment of the file is said to be.

    Attributes
    ----------
    number : Segment Number.
    label : Free text of its maker.
    code : Property type as "SCT:71341001"; "" if absent. Codes of SNOMED RT are given as their
        SNOMED CT equivalents.
    meaning : Its text.
    qualifiers : Codes of the anatomic region and of the modifiers of the property type.
    """

    number: int
    label: str
    code: str = ""
    meaning: str = ""
    qualifiers: tuple[str, ...] = ()

    def __str__(self) -> str:
        coded = f" ({self.code} {self.meaning})" if self.code else ""
        return f'segment {self.number} "{self.label}"{coded}'


@dataclass(frozen=True, slots=True, eq=False)
class SegFile:
    """A segmentation file, parsed; its pixels are read by :meth:`frames`.

    Attributes
    ----------
    path : The file.
    kind : How segments are stored.
    segments : As described, by number.
    stack : Slices of the frames.
    greatest : Stored value that means 1 (FRACTIONAL).
    background : Pixel value outside every segment (LABELMAP).
    frame_uid : Frame of reference; "" if absent.
    margin : Slices of the image before the first and behind the last that hold nothing, as the
        list of source images tells; (0, 0) when it does not.
    """

    path: Path
    kind: SegmentationType
    segments: dict[int, Segment]
    stack: SparseStack
    greatest: int
    background: int
    frame_uid: str
    margin: tuple[int, int]
    images: tuple[SliceRef, ...]
    numbers: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns) from the first slice that holds anything to the last."""
        pixels = self.images[0].pixels
        return self.stack.slices, pixels.rows, pixels.columns

    def frames(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Segment number (0 for LABELMAP), slice and (rows, columns) stored values of each frame.

        Raises
        ------
        DicomError
            A frame that cannot be decoded.
        """
        pixels = self.images[0].pixels
        in_file = pixels.native and pixels.offset is not None
        whole = Dataset() if in_file else read_dataset(self.path, self.path.name)
        packed = self._packed(whole) if pixels.bits_allocated == 1 else None
        for image, number, place in zip(self.images, self.numbers, self.stack.index, strict=True):
            if packed is not None:
                values: NDArray[Any] = _unpacked(packed, pixels, image.frame)
            elif in_file:
                values = native_frame(self.path, pixels, image.frame, image.label)
            else:
                values = decoded_frame(whole, image.frame, image.label)
            yield number, int(place), values

    def _packed(self, whole: Dataset) -> NDArray[np.uint8]:
        """All bits of all frames, eight to a byte."""
        pixels = self.images[0].pixels
        if pixels.offset is None:
            return np.frombuffer(whole.PixelData, np.uint8)
        return np.fromfile(self.path, np.uint8, pixels.total_bytes, offset=pixels.offset)


def _unpacked(packed: NDArray[np.uint8], pixels: PixelLayout, frame: int) -> NDArray[np.uint8]:
    """(rows, columns) bits of one frame; frames follow one another without filling up bytes."""
    count = pixels.rows * pixels.columns
    first = frame * count
    part = packed[first // 8 : (first + count + 7) // 8]
    bits = np.unpackbits(part, bitorder="little")[first % 8 : first % 8 + count]
    return bits.reshape(pixels.rows, pixels.columns)


def is_segmentation(dataset: Dataset) -> bool:
    """Whether a header is that of a segmentation."""
    return text(dataset, tags.SOP_CLASS) in SEG_CLASSES


def referenced_series(dataset: Dataset) -> tuple[str, ...]:
    """UIDs of the series that a header refers to."""
    found = (text(item, tags.SERIES_UID) for item in items(dataset, tags.REFERENCED_SERIES))
    return tuple(dict.fromkeys(uid for uid in found if uid))


def read_segmentation(path: Path, settings: ReadingSettings | None = None) -> SegFile:
    """Parse a segmentation file.

    Raises
    ------
    MaskError
        BAD_MASK_FILE for a file of another kind or with a mistake, NO_GEOMETRY and the other codes
        of a stack, or what :func:`kneeimg.io.dicom.headers.read_header` refuses.
    """
    settings, where = settings or ReadingSettings(), path.name
    try:
        header = read_header(path, settings, where)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are judged here
            dataset = dcmread(path, stop_before_pixels=True, force=True)
            images = tuple(frame.image for frame in frames_of(header, where))
            return _parsed(path, dataset, images, settings)
    except MaskError:
        raise
    except InputError as error:
        if behaviour(error.code) is Behaviour.SKIP:  # not DICOM, or no image: no mask either
            raise _mistake(where, error.finding.message) from error
        raise MaskError.from_finding(error.finding) from error
    except PARSE_ERRORS as error:
        raise _mistake(where, f"{type(error).__name__}: {error}") from error


def _parsed(
    path: Path, dataset: Dataset, images: tuple[SliceRef, ...], settings: ReadingSettings
) -> SegFile:
    where = path.name
    kind, pixels = _kind(dataset, where), images[0].pixels
    refusal = refuse_transfer_syntax(pixels.transfer_syntax, pixels.bits_stored, where)
    if refusal is not None:
        raise MaskError.from_finding(refusal)
    if pixels.bits_allocated == 1 and (pixels.big_endian or not pixels.native):
        raise _mistake(where, "single bits that are compressed, or in big-endian order")
    segments = {segment.number: segment for segment in _segments(dataset)}
    numbers = (0,) * len(images) if kind == "LABELMAP" else _numbers(dataset, len(images), where)
    strange = sorted(set(numbers) - segments.keys() - {0})
    if not segments or strange:
        raise _mistake(where, f"frames of segments {strange} of which it says nothing")
    stack = sparse_stack(images, settings, where)
    return SegFile(
        path=path,
        kind=kind,
        segments=segments,
        stack=stack,
        greatest=integer(dataset, _GREATEST) or 1,
        background=integer(dataset, _PADDING) or 0,
        frame_uid=text(dataset, tags.FRAME_UID),
        margin=_margin(dataset, stack),
        images=images,
        numbers=numbers,
    )


def _mistake(where: str, found: str) -> MaskError:
    return MaskError(
        "the DICOM file cannot be read as a segmentation",
        code=ReasonCode.BAD_MASK_FILE,
        where=where,
        expected="a DICOM Segmentation (SEG) of type BINARY, FRACTIONAL or LABELMAP",
        found=found,
        action="export the mask again as DICOM SEG or as NIfTI",
    )


def _kind(dataset: Dataset, where: str) -> SegmentationType:
    kind = text(dataset, _TYPE).upper()
    if not is_segmentation(dataset):
        raise _mistake(where, text(dataset, tags.MODALITY) or "no modality")
    known: tuple[SegmentationType, ...] = ("BINARY", "FRACTIONAL", "LABELMAP")
    for one in known:
        if kind == one:
            return one
    raise _mistake(where, f"type {kind or 'missing'}")


def _segments(dataset: Dataset) -> Iterator[Segment]:
    for item in items(dataset, _SEGMENTS):
        codes = [_code(one) for one in items(item, _PROPERTY)] or [("", "")]
        regions = (one for tag in (_REGION, _MODIFIER) for one in items(item, tag))
        property_item = (items(item, _PROPERTY) or (Dataset(),))[0]
        modifiers = items(property_item, _MODIFIER)
        qualifiers = (_code(one)[0] for one in (*regions, *modifiers))
        yield Segment(
            number=integer(item, _NUMBER) or 0,
            label=printable(text(item, _LABEL), 64),
            code=codes[0][0],
            meaning=codes[0][1],
            qualifiers=tuple(dict.fromkeys(filter(None, qualifiers))),
        )


def _code(item: Dataset) -> tuple[str, str]:
    """A coded concept as "scheme:value", SNOMED RT translated, and its meaning."""
    from pydicom.sr._snomed_dict import mapping

    scheme, value = text(item, _CODE_SCHEME), text(item, _CODE_VALUE)
    if scheme in ("SRT", "SNM3", "99SDM") and value in mapping["SRT"]:
        scheme, value = "SCT", mapping["SRT"][value]
    return (f"{scheme}:{value}" if value else ""), printable(text(item, _CODE_MEANING), 64)


def _numbers(dataset: Dataset, count: int, where: str) -> tuple[int, ...]:
    """Segment that each frame draws."""
    shared = (items(dataset, tags.SHARED_GROUPS) or (Dataset(),))[0]
    groups = items(dataset, tags.FRAME_GROUPS)
    common = items(shared, _IDENTIFICATION)
    numbers = []
    for frame in range(count):
        own = items(groups[frame], _IDENTIFICATION) if frame < len(groups) else ()
        named = (own or common or (Dataset(),))[0]
        number = integer(named, _OF_SEGMENT)
        if number is None:
            raise _mistake(where, f"frame {frame + 1} does not say which segment it draws")
        numbers.append(number)
    return tuple(numbers)


def _margin(dataset: Dataset, stack: SparseStack) -> tuple[int, int]:
    """Slices of the image outside the mask, from the order of the source images.

    Known only when the list of source images runs through the slices in order.
    """
    series = items(dataset, tags.REFERENCED_SERIES)
    listed = items(series[0], _INSTANCES) if len(series) == 1 else ()
    place = {text(item, _INSTANCE): n for n, item in enumerate(listed)}
    pairs = set()
    for group, index in zip(items(dataset, tags.FRAME_GROUPS), stack.index, strict=False):
        for derivation in items(group, _DERIVATION)[:1]:
            for source in items(derivation, _SOURCE)[:1]:
                pairs.add((int(index), place.get(text(source, _INSTANCE), -1)))
    if len(pairs) < 2 or any(n < 0 for _, n in pairs):
        return 0, 0
    ordered = sorted(pairs)
    (first, start), (last, end) = ordered[0], ordered[-1]
    sign = 1 if end > start else -1
    if (first, last) != (0, stack.slices - 1) or any(
        n != start + sign * index for index, n in ordered
    ):
        return 0, 0
    before, behind = start, len(listed) - 1 - end
    return (before, behind) if sign > 0 else (len(listed) - 1 - start, end)
