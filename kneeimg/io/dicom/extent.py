"""Does a follow-up scan show as much of the knee as the baseline or the protocol?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kneeimg.errors import Finding, ReasonCode
from kneeimg.io.dicom.records import SeriesRecord
from kneeimg.io.dicom.selection import matching_rule
from kneeimg.settings.reading import SeriesRule


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a stack reaches.

    Attributes
    ----------
    slices : Number of slices.
    spacing_mm : Distance between slices.
    in_plane_mm : Field of view along columns and rows; None if it does not matter.
    """

    slices: int
    spacing_mm: float
    in_plane_mm: tuple[float, float] | None = None

    @property
    def depth_mm(self) -> float:
        """Thickness of the stack, slice centres plus half a slice on both sides."""
        return self.slices * self.spacing_mm


def extent_of(record: SeriesRecord) -> Extent | None:
    """Extent of a series; None for a film or a series without geometry."""
    if record.spacing_mm is None or len(record.shape) != 3:
        return None
    columns_mm, rows_mm, slices_mm = record.spacing_mm
    in_plane_mm = (record.shape[0] * columns_mm, record.shape[1] * rows_mm)
    return Extent(record.shape[2], slices_mm, in_plane_mm)


def compare_extent(record: SeriesRecord, reference: SeriesRecord | Extent) -> Finding | None:
    """EXTENT_MISMATCH if end slices are missing or added against the reference.

    Half a slice, or 1 % of the field of view, is the tolerance. None also when either has no
    geometry: that is refused elsewhere.
    """
    own = extent_of(record)
    wanted = reference if isinstance(reference, Extent) else extent_of(reference)
    if own is None or wanted is None:
        return None
    differs = abs(own.depth_mm - wanted.depth_mm) > 0.5 * max(own.spacing_mm, wanted.spacing_mm)
    if wanted.in_plane_mm is not None and own.in_plane_mm is not None:
        pairs = zip(own.in_plane_mm, wanted.in_plane_mm, strict=True)
        differs = differs or any(abs(a - b) > 0.01 * b for a, b in pairs)
    if not differs:
        return None
    return Finding(
        ReasonCode.EXTENT_MISMATCH,
        "the scan covers more or less of the knee than its reference",
        where=record.folder,
        expected=_say(wanted),
        found=_say(own),
        action="check for lost end slices; compare visits only where both show the joint",
    )


def against_protocol(record: SeriesRecord, rules: Sequence[SeriesRule]) -> Finding | None:
    """EXTENT_MISMATCH if the rule that takes a series asks for another number of slices."""
    number, own = matching_rule(record, rules), extent_of(record)
    wanted = None if number is None else rules[number].protocol_slices
    if own is None or wanted is None:
        return None
    return compare_extent(record, Extent(wanted, own.spacing_mm))


def _say(extent: Extent) -> str:
    plane = ""
    if extent.in_plane_mm is not None:
        plane = f", {extent.in_plane_mm[0]:.1f} x {extent.in_plane_mm[1]:.1f} mm in plane"
    return f"{extent.slices} slices of {extent.spacing_mm:.3f} mm, {extent.depth_mm:.1f} mm{plane}"
