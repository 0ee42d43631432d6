"""The lattice of a mask's frames: several at one place, and none where nothing was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.errors import Finding, MaskError, ReasonCode
from kneeimg.io.dicom.stack import (
    SliceRef,
    directions,
    refuse_mixed,
    refuse_shear,
    refuse_unplaced,
)
from kneeimg.settings.reading import ReadingSettings

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SparseStack:
    """Where the frames of a mask lie.

    Attributes
    ----------
    index : (n,) slice of each frame along the normal, from 0.
    affine : (4, 4) index (column, row, slice) to LPS mm.
    """

    index: NDArray[np.int64]
    affine: FloatArray

    @property
    def slices(self) -> int:
        """From the first slice that holds anything to the last."""
        return int(self.index.max()) + 1


def sparse_stack(frames: Sequence[SliceRef], settings: ReadingSettings, where: str) -> SparseStack:
    """Slices of frames that may share a place or leave places out.

    The distance between slices is the mean over the whole stack, not that of two neighbours: of
    positions that are rounded to 0.001 mm the smallest gap is 0.1 mm short over 160 slices.

    Raises
    ------
    MaskError
        NO_GEOMETRY, MIXED_ORIENTATION, NONUNIFORM_SPACING, MIXED_FRAMES, SHEARED_STACK or
        TOO_FEW_SLICES.
    """
    _raise(refuse_unplaced(frames, where) or refuse_mixed(frames, settings, where))
    axes = directions(frames[0].orientation or ())
    positions = np.array([frame.position for frame in frames], dtype=np.float64)
    order = np.argsort(positions @ axes[2], kind="stable")
    _raise(refuse_shear(positions[order], axes, settings, where))
    depth_mm = positions @ axes[2]
    index = _slice_numbers(depth_mm, _step_mm(depth_mm, frames, settings, where), settings, where)
    first, last = index == 0, index == index.max()
    row_mm, column_mm = frames[0].pixel_spacing or (0.0, 0.0)
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * column_mm
    affine[:3, 1] = axes[1] * row_mm
    start = positions[first].mean(axis=0)
    affine[:3, 2] = (positions[last].mean(axis=0) - start) / index.max()
    affine[:3, 3] = start
    return SparseStack(index, affine)


def _raise(finding: Finding | None) -> None:
    if finding is not None:
        raise MaskError.from_finding(finding)


def _step_mm(
    depth_mm: FloatArray, frames: Sequence[SliceRef], settings: ReadingSettings, where: str
) -> float:
    """About the distance between slices: what the file says if it divides all gaps, or the
    smallest gap."""
    places = np.unique(np.round(depth_mm / settings.duplicate_tolerance_mm))
    gaps = np.diff(np.sort(depth_mm))
    gaps = gaps[gaps > settings.duplicate_tolerance_mm]
    if len(places) < settings.min_slices or not len(gaps):
        raise MaskError(
            "too few slices to make a volume",
            code=ReasonCode.TOO_FEW_SLICES,
            where=where,
            expected=f"at least {settings.min_slices} slice positions",
            found=str(len(places)),
        )
    said = frames[0].spacing_tag
    if said is not None and abs(said) > settings.duplicate_tolerance_mm:
        share = gaps / abs(said)
        if (np.abs(share - np.rint(share)) < settings.spacing_tolerance).all():
            return abs(said)
    near = gaps[gaps <= gaps.min() * (1 + 5 * settings.spacing_tolerance)]
    return float(near.mean())


def _slice_numbers(
    depth_mm: FloatArray, step_mm: float, settings: ReadingSettings, where: str
) -> NDArray[np.int64]:
    """(n,) number of the slice of each frame; neighbours one `step_mm` apart."""
    ordered = np.sort(depth_mm)
    steps = np.rint(np.diff(ordered) / step_mm)
    refined = float(np.ptp(depth_mm)) / float(steps.sum())
    number = (depth_mm - depth_mm.min()) / refined
    index: NDArray[np.int64] = np.rint(number).astype(np.int64)
    off = np.abs(number - index)
    if off.max() > settings.spacing_tolerance * 5 or abs(refined / step_mm - 1) > 0.05:
        raise MaskError(
            "the frames of the mask do not lie on evenly spaced slices",
            code=ReasonCode.NONUNIFORM_SPACING,
            where=where,
            expected=f"multiples of {refined:.4f} mm",
            found=f"a frame {off.max() * refined:.4f} mm beside its slice",
            action="export the mask on the slices of the image",
        )
    return index
