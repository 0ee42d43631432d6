"""From the headers of files to slices: plain files give one each, multi-frame files many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset

from kneeimg.io.dicom import tags
from kneeimg.io.dicom.headers import Header
from kneeimg.io.dicom.stack import SliceRef
from kneeimg.io.dicom.values import Tag, floats, items, number, text, texts

#: Dimensions that number the slices themselves and so never separate two stacks.
_POSITION_POINTERS = {
    tags.STACK_ID,
    tags.IN_STACK_POSITION,
    tags.POSITION,
    (0x0020, 0x1041),  # Slice Location
}
_MAGNITUDE_WORDS = {"M": "M", "MAGNITUDE": "M", "P": "P", "PHASE": "P", "R": "R", "I": "I"}


@dataclass(frozen=True, slots=True)
class Frame:
    """A slice and what it is an image of.

    Attributes
    ----------
    image : Place and pixels.
    header : File it comes from.
    echo_time_ms : None if not stated.
    echo_label : Echo number as the scanner wrote it; "" if absent.
    image_type : Values of ImageType or FrameType.
    component : Magnitude, phase, real or imaginary, where a separate tag says so.
    dimensions : Values of further dimensions (multi-frame files only).
    """

    image: SliceRef
    header: Header
    echo_time_ms: float | None
    echo_label: str
    image_type: tuple[str, ...]
    component: str
    dimensions: tuple[int, ...] = ()


def frames_of(header: Header, name: str) -> Iterator[Frame]:
    """Every frame of a file; `name` is the file relative to the searched folder."""
    dataset = header.dataset
    if header.pixels.frames == 1 and tags.FRAME_GROUPS not in dataset:
        yield _plain_frame(header, name)
        return
    shared = (items(dataset, tags.SHARED_GROUPS) or (Dataset(),))[0]
    per_frame = items(dataset, tags.FRAME_GROUPS)
    pointers = _separating_dimensions(dataset)
    for number_ in range(header.pixels.frames):
        own = per_frame[number_] if number_ < len(per_frame) else Dataset()
        yield _grouped_frame(header, name, number_, own, shared, pointers)


def _plain_frame(header: Header, name: str) -> Frame:
    dataset = header.dataset
    image = SliceRef(
        path=header.path,
        name=name,
        frame=0,
        pixels=header.pixels,
        position=_triple(floats(dataset, tags.POSITION)),
        orientation=_exactly(floats(dataset, tags.ORIENTATION), 6),
        pixel_spacing=_pair(floats(dataset, tags.PIXEL_SPACING)),
        slope=_or(number(dataset, tags.SLOPE), 1.0),
        intercept=_or(number(dataset, tags.INTERCEPT), 0.0),
        frame_uid=text(dataset, tags.FRAME_UID),
        spacing_tag=number(dataset, tags.SLICE_SPACING),
    )
    return Frame(
        image,
        header,
        echo_time_ms=number(dataset, tags.ECHO_TIME),
        echo_label=text_number(dataset, tags.ECHO_NUMBERS),
        image_type=tuple(word.upper() for word in texts(dataset, tags.IMAGE_TYPE)),
        component=_component(dataset),
    )


def _grouped_frame(
    header: Header, name: str, index: int, own: Dataset, shared: Dataset, pointers: tuple[int, ...]
) -> Frame:
    def group(sequence: Tag) -> Dataset:
        return (items(own, sequence) or items(shared, sequence) or (Dataset(),))[0]

    measures = group(tags.PIXEL_MEASURES_SEQUENCE)
    transform = group(tags.PIXEL_TRANSFORM_SEQUENCE)
    frame_type = group(tags.MR_FRAME_TYPE_SEQUENCE)
    index_values = floats(group(tags.FRAME_CONTENT_SEQUENCE), tags.DIMENSION_INDEX_VALUES)
    image = SliceRef(
        path=header.path,
        name=name,
        frame=index,
        pixels=header.pixels,
        position=_triple(floats(group(tags.PLANE_POSITION_SEQUENCE), tags.POSITION)),
        orientation=_exactly(floats(group(tags.PLANE_ORIENTATION_SEQUENCE), tags.ORIENTATION), 6),
        pixel_spacing=_pair(floats(measures, tags.PIXEL_SPACING)),
        slope=_or(number(transform, tags.SLOPE), 1.0),
        intercept=_or(number(transform, tags.INTERCEPT), 0.0),
        frame_uid=text(header.dataset, tags.FRAME_UID),
        spacing_tag=number(measures, tags.SLICE_SPACING),
    )
    words = texts(frame_type, tags.FRAME_TYPE) or texts(header.dataset, tags.IMAGE_TYPE)
    return Frame(
        image,
        header,
        echo_time_ms=number(group(tags.ECHO_SEQUENCE), tags.EFFECTIVE_ECHO_TIME),
        echo_label="",
        image_type=tuple(word.upper() for word in words),
        component=_component(frame_type) or _component(header.dataset),
        dimensions=tuple(int(index_values[n]) for n in pointers if n < len(index_values)),
    )


def _separating_dimensions(dataset: Dataset) -> tuple[int, ...]:
    """Which of the dimension index values do not merely number the slices."""
    places = []
    for n, item in enumerate(items(dataset, tags.DIMENSION_INDEX_SEQUENCE)):
        pointer = item.get(tags.DIMENSION_INDEX_POINTER)
        tag = int(pointer.value) if pointer is not None and pointer.value is not None else 0
        if (tag >> 16, tag & 0xFFFF) not in _POSITION_POINTERS:
            places.append(n)
    return tuple(places)


def text_number(dataset: Dataset, tag: Tag) -> str:
    """Numbers of an element in one text, "1" or "1/2"; "" if absent."""
    return "/".join(f"{value:g}" for value in floats(dataset, tag))


def _component(dataset: Dataset) -> str:
    named = text(dataset, tags.COMPLEX_COMPONENT).upper()
    if named:
        return _MAGNITUDE_WORDS.get(named, named)
    part = number(dataset, tags.GE_COMPLEX_PART)
    return {0: "M", 1: "P", 2: "R", 3: "I"}.get(int(part), "") if part is not None else ""


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _exactly(values: tuple[float, ...], count: int) -> tuple[float, ...] | None:
    return values if len(values) == count else None


def _triple(values: tuple[float, ...]) -> tuple[float, float, float] | None:
    return (values[0], values[1], values[2]) if len(values) == 3 else None


def _pair(values: tuple[float, ...]) -> tuple[float, float] | None:
    return (values[0], values[1]) if len(values) == 2 else None
