"""Left or right, as the tags of a file state it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom import Dataset

from kneeimg.core.anatomy import Side
from kneeimg.core.laterality import combine_sides
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.io.dicom import tags
from kneeimg.io.dicom.values import items, text

_SIDES = {"L": Side.LEFT, "R": Side.RIGHT}


@dataclass(frozen=True, slots=True)
class TagSide:
    """Side stated by the tags of one series or film.

    Attributes
    ----------
    side : None when no tag says, when they say both, or when they disagree.
    source : The tag that said so.
    bilateral : A tag says "B".
    finding : NO_LATERALITY or LATERALITY_CONFLICT; None when all is well.
    """

    side: Side | None = None
    source: str = ""
    bilateral: bool = False
    finding: Finding | None = None


def _stated(dataset: Dataset) -> Iterator[tuple[str, str]]:
    yield "Laterality (0020,0060)", text(dataset, tags.LATERALITY)
    yield "Image Laterality (0020,0062)", text(dataset, tags.IMAGE_LATERALITY)
    for group in (tags.SHARED_GROUPS, tags.FRAME_GROUPS):
        for frame in items(dataset, group):
            for anatomy in items(frame, tags.FRAME_ANATOMY_SEQUENCE):
                yield "Frame Laterality (0020,9072)", text(anatomy, tags.FRAME_LATERALITY)


def side_from_tags(datasets: Iterable[Dataset], where: str) -> TagSide:
    """One side from every laterality tag of every file of a series.

    "B" (both) beside "L" or "R" is a contradiction like any other; "U" (unpaired) says nothing.
    """
    stated = {
        (source, value.upper())
        for dataset in datasets
        for source, value in _stated(dataset)
        if value.upper() in ("L", "R", "B")
    }
    both = sorted(source for source, value in stated if value == "B")
    single = [(source, _SIDES[value]) for source, value in sorted(stated) if value in _SIDES]
    if both and single:
        found = ", ".join(f"{source}: {value}" for source, value in sorted(stated))
        return TagSide(finding=_conflict(where, found))
    if both:
        return TagSide(source=both[0], bilateral=True)
    try:
        combined = combine_sides(_by_rank(single), where=where)
    except InputError as error:
        return TagSide(finding=error.finding)
    if combined is None:
        return TagSide(finding=_no_laterality(where))
    return TagSide(side=combined[0], source=combined[1])


def _by_rank(single: list[tuple[str, Side]]) -> list[tuple[str, Side]]:
    rank = {"Laterality": 0, "Image": 1, "Frame": 2}
    return sorted(single, key=lambda source: rank[source[0].split()[0]])


def _conflict(where: str, found: str) -> Finding:
    return Finding(
        ReasonCode.LATERALITY_CONFLICT,
        "the laterality tags disagree",
        where=where,
        expected="one side",
        found=found,
        action="find out which knee this is and correct the file",
    )


def _no_laterality(where: str) -> Finding:
    return Finding(
        ReasonCode.NO_LATERALITY,
        "no tag says whether this is the left or the right knee",
        where=where,
        expected="Laterality or Image Laterality L or R",
        found="neither",
        action="give the side (--side, or the study file)",
    )
