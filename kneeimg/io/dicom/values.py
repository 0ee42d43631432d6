"""Single values out of a DICOM data set that may be wrong in every way.

The raw bytes are parsed here: pydicom's own conversion validates, warns and raises on the odd
values of real scanners, and costs most of the time of reading a header.
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue

from kneeimg.io.dicom.faults import PARSE_ERRORS

Tag = tuple[int, int]

_STRUCTS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_TEXT_NUMBERS = {"DS", "IS"}
#: VR of the numeric tags read here, for implicit VR files and files that say UN.
_NUMERIC_VR: dict[Tag, str] = {
    (0x0018, 0x1114): "DS",
    (0x0018, 0x9082): "FD",
    (0x0018, 0x0087): "DS",
    (0x0020, 0x9057): "UL",
    (0x0028, 0x0002): "US",
    (0x0028, 0x0010): "US",
    (0x0028, 0x0011): "US",
    (0x0028, 0x0100): "US",
    (0x0028, 0x0101): "US",
    (0x0028, 0x0102): "US",
    (0x0028, 0x0103): "US",
    (0x0028, 0x0120): "US",
    (0x0043, 0x102F): "SS",
    (0x0062, 0x0004): "US",
    (0x0062, 0x000B): "US",
    (0x0062, 0x000E): "US",
}


def _item(dataset: Dataset, tag: Tag) -> Any:
    if tag not in dataset:
        return None
    try:
        return dataset.get_item(tag)
    except PARSE_ERRORS:  # a value representation that does not exist, and the like
        return None


def _plain(value: Any) -> Iterator[Any]:
    """Values of an element that pydicom has already converted."""
    if isinstance(value, MultiValue | list | tuple):
        yield from value
    elif value is not None and value != "":
        yield value


def texts(dataset: Dataset, tag: Tag) -> tuple[str, ...]:
    """All values of a text element, stripped; empty if absent."""
    item = _item(dataset, tag)
    if item is None or item.value is None:
        return ()
    if isinstance(item.value, bytes):
        parts = _decode(dataset, item.value).split("\\")
    else:
        parts = [str(value) for value in _plain(item.value)]
    cleaned = tuple(part.strip(" \0") for part in parts)
    return cleaned if any(cleaned) else ()


def text(dataset: Dataset, tag: Tag) -> str:
    """First value of a text element, stripped; "" if absent."""
    values = texts(dataset, tag)
    return values[0] if values else ""


def _decode(dataset: Dataset, raw: bytes) -> str:
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    item = _item(dataset, (0x0008, 0x0005))
    named = item.value if item is not None else None
    names = named.decode("ascii", "replace").split("\\") if isinstance(named, bytes) else named
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decoded(raw, names)
    except (LookupError, ValueError, TypeError):
        return raw.decode("utf-8", "replace")


def _decoded(raw: bytes, names: Any) -> str:
    from pydicom.charset import convert_encodings, decode_bytes

    encodings = convert_encodings([name.strip(" \0") for name in _plain(names)] or None)
    return str(decode_bytes(raw, encodings, set()))


def printable(value: str, limit: int = 200) -> str:
    """Text without control characters, runs of blanks joined, at most `limit` characters.

    >>> printable("SAG\\n DESS\\x1b[31m")
    'SAG DESS [31m'
    """
    visible = "".join(char if char.isprintable() else " " for char in value)
    return " ".join(visible.split())[:limit]


def floats(dataset: Dataset, tag: Tag) -> tuple[float, ...]:
    """All finite values of a numeric element of any VR; empty if absent or not numbers."""
    item = _item(dataset, tag)
    if item is None:
        return ()
    try:
        numbers = tuple(_numbers(item, tag))
    except (ValueError, TypeError, OverflowError, struct.error):
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _numbers(item: Any, tag: Tag) -> Iterator[float]:
    if not isinstance(item, RawDataElement) or not isinstance(item.value, bytes):
        yield from (float(value) for value in _plain(item.value))
        return
    vr = item.VR if item.VR in _STRUCTS or item.VR in _TEXT_NUMBERS else _NUMERIC_VR.get(tag, "DS")
    if vr in _TEXT_NUMBERS:
        parts = item.value.decode("ascii").split("\\")
        yield from (float(part) for part in parts if part.strip(" \0"))
        return
    code = _STRUCTS[vr]
    order = "<" if item.is_little_endian else ">"
    count = len(item.value) // struct.calcsize(code)
    yield from map(float, struct.unpack(f"{order}{count}{code}", item.value))


def number(dataset: Dataset, tag: Tag) -> float | None:
    """First value of a numeric element; None if absent or not a number."""
    values = floats(dataset, tag)
    return values[0] if values else None


def integer(dataset: Dataset, tag: Tag) -> int | None:
    """First value of a numeric element as an integer; None if absent or not whole."""
    value = number(dataset, tag)
    return int(value) if value is not None and value == int(value) else None


def items(dataset: Dataset, tag: Tag) -> tuple[Dataset, ...]:
    """Items of a sequence; empty if absent or not a sequence."""
    if tag not in dataset:
        return ()
    try:
        value = dataset[tag].value
    except PARSE_ERRORS:
        return ()
    if isinstance(value, str | bytes) or value is None:
        return ()
    return tuple(item for item in value if isinstance(item, Dataset))
