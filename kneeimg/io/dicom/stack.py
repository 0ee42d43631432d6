"""Do these slices make a volume? Positions decide, and nothing is interpolated or guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kneeimg.errors import Finding, ReasonCode
from kneeimg.io.dicom.headers import PixelLayout
from kneeimg.settings.reading import Orientation, ReadingSettings

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SliceRef:
    """One image of a stack: where its pixels are and where it lies in the patient.

    Attributes
    ----------
    path, name : File, and its name relative to the folder that was searched.
    frame : Frame number in the file, from 0.
    pixels : How the pixels of the file are stored.
    position : (x, y, z) mm of the first pixel; None if the file does not say.
    orientation : Six direction cosines (along a row, down a column); None as above.
    pixel_spacing : mm between rows and between columns; None as above.
    slope, intercept : Stored value to image value.
    frame_uid : Frame of reference; "" if absent.
    spacing_tag : SpacingBetweenSlices in mm; None if absent.
    """

    path: Path
    name: str
    frame: int
    pixels: PixelLayout
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, float] | None
    slope: float = 1.0
    intercept: float = 0.0
    frame_uid: str = ""
    spacing_tag: float | None = None

    @property
    def label(self) -> str:
        """File name, with the frame number in multi-frame files."""
        return self.name if self.pixels.frames == 1 else f"{self.name}#{self.frame + 1}"


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices in order along their normal, and what was noticed.

    Attributes
    ----------
    slices : Sorted; one per position unless a duplicate is still to be compared.
    duplicates : Groups of slices that share a position, all but the one kept in `slices`.
    affine : (4, 4) index (column, row, slice) to LPS mm; None if refused.
    refusal : Why this is not a volume.
    notes : What was noticed and does not stop the reading.
    """

    slices: tuple[SliceRef, ...]
    duplicates: tuple[tuple[SliceRef, ...], ...] = ()
    affine: FloatArray | None = None
    refusal: Finding | None = None
    notes: tuple[Finding, ...] = ()


def directions(orientation: Sequence[float]) -> FloatArray:
    """(3, 3) rows: unit vectors along a row, down a column, and the normal (their cross product).

    >>> directions([1, 0, 0, 0, 1, 0])[2]
    array([0., 0., 1.])
    """
    along_row = np.asarray(orientation[:3], dtype=np.float64)
    down_column = np.asarray(orientation[3:6], dtype=np.float64)
    along_row = along_row / np.linalg.norm(along_row)
    down_column = down_column - along_row * (down_column @ along_row)
    down_column = down_column / np.linalg.norm(down_column)
    return np.stack([along_row, down_column, np.cross(along_row, down_column)])


def orientation_is_sound(orientation: Sequence[float]) -> bool:
    """Two perpendicular unit vectors, to the precision with which scanners write them."""
    cosines = np.asarray(orientation, dtype=np.float64)
    if cosines.shape != (6,):
        return False
    lengths = np.linalg.norm(cosines.reshape(2, 3), axis=1)
    return bool(np.abs(lengths - 1).max() < 0.01 and abs(cosines[:3] @ cosines[3:]) < 0.01)


def orientation_name(orientation: Sequence[float]) -> Orientation:
    """Plane of the slices: oblique when the normal is more than 35 degrees off every axis.

    >>> orientation_name([0, 1, 0, 0, 0, -1])
    'sagittal'
    """
    normal = np.abs(directions(orientation)[2])
    axis = int(normal.argmax())
    if normal[axis] < np.cos(np.deg2rad(35.0)):
        return "oblique"
    names: tuple[Orientation, ...] = ("sagittal", "coronal", "axial")
    return names[axis]


def assemble(slices: Sequence[SliceRef], settings: ReadingSettings, where: str) -> Stack:
    """Sort slices along their normal and refuse whatever is not one uniform, straight stack."""
    given = tuple(slices)
    refusal = refuse_unplaced(given, where) or refuse_mixed(given, settings, where)
    if refusal:
        return Stack(given, refusal=refusal)
    axes = directions(given[0].orientation or ())
    ordered = sorted(given, key=lambda s: (float(axes[2] @ np.asarray(s.position)), s.name))
    kept, duplicates = _split_duplicates(ordered, settings)
    positions = np.array([s.position for s in kept], dtype=np.float64)
    stack = Stack(tuple(kept), tuple(tuple(group) for group in duplicates))
    refusal = _refuse_gaps(kept, positions @ axes[2], settings, where) or refuse_shear(
        positions, axes, settings, where
    )
    if refusal:
        return replace(stack, refusal=refusal)
    spacing_mm = float((positions[-1] - positions[0]) @ axes[2]) / (len(kept) - 1)
    notes = _note_spacing_tag(kept, spacing_mm, settings, where)
    return replace(stack, affine=_affine(kept, positions, axes), notes=notes)


def _affine(slices: Sequence[SliceRef], positions: FloatArray, axes: FloatArray) -> FloatArray:
    row_mm, column_mm = slices[0].pixel_spacing or (0.0, 0.0)
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * column_mm
    affine[:3, 1] = axes[1] * row_mm
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(slices) - 1)
    affine[:3, 3] = positions[0]
    return affine


def refuse_unplaced(slices: Sequence[SliceRef], where: str) -> Finding | None:
    """NO_GEOMETRY unless every slice says where it lies."""
    for image in slices:
        missing = [
            name
            for name, value in (
                ("ImagePositionPatient", image.position),
                ("ImageOrientationPatient", image.orientation),
                ("PixelSpacing", image.pixel_spacing),
            )
            if value is None
        ]
        if missing:
            return Finding(
                ReasonCode.NO_GEOMETRY,
                "the slices cannot be placed in the patient",
                where=f"{where}, {image.label}" if image.label not in where else where,
                expected="position, orientation and pixel spacing of every slice",
                found=f"missing or invalid: {', '.join(missing)}",
                action="export the original images, not screenshots or reformatted copies",
            )
        if (
            not orientation_is_sound(image.orientation or ())
            or min(image.pixel_spacing or (0,)) <= 0
        ):
            return Finding(
                ReasonCode.NO_GEOMETRY,
                "the slice geometry is impossible",
                where=f"{where}, {image.label}",
                expected="two perpendicular unit vectors and a pixel spacing above 0",
                found=f"orientation {image.orientation}, pixel spacing {image.pixel_spacing} mm",
            )
    return None


def refuse_mixed(
    slices: Sequence[SliceRef], settings: ReadingSettings, where: str
) -> Finding | None:
    """A finding unless all slices share one orientation, pixel spacing and frame of reference."""
    normals = np.array([directions(s.orientation or ())[:2].ravel() for s in slices])
    chord = np.abs(normals - normals[0]).max(axis=1)
    if chord.max() > np.deg2rad(settings.orientation_tolerance_deg):
        other = slices[int(chord.argmax())]
        return Finding(
            ReasonCode.MIXED_ORIENTATION,
            "the slices of this series do not lie parallel",
            where=where,
            expected=f"one orientation within {settings.orientation_tolerance_deg} degrees",
            found=f"{slices[0].label}: {slices[0].orientation}; {other.label}: {other.orientation}",
            action="separate the images that do not belong to the stack",
        )
    spacings = np.array([s.pixel_spacing for s in slices], dtype=np.float64)
    if np.abs(spacings / spacings[0] - 1).max() > settings.spacing_tolerance / 10:
        return Finding(
            ReasonCode.NONUNIFORM_SPACING,
            "the pixel spacing differs between slices",
            where=where,
            expected=f"{tuple(spacings[0])} mm in every slice",
            found=f"{tuple(spacings.min(axis=0))} to {tuple(spacings.max(axis=0))} mm",
        )
    frames = {s.frame_uid for s in slices}
    if len(frames) > 1:
        return Finding(
            ReasonCode.MIXED_FRAMES,
            "the slices of this series have different frames of reference",
            where=where,
            expected="one Frame of Reference UID",
            found=f"{len(frames)} of them",
            action="the patient was repositioned in between: use one acquisition only",
        )
    return None


def _split_duplicates(
    ordered: Sequence[SliceRef], settings: ReadingSettings
) -> tuple[list[SliceRef], list[list[SliceRef]]]:
    """One slice per position, and the others at positions that occur more than once."""
    kept: list[SliceRef] = []
    groups: list[list[SliceRef]] = []
    for image in ordered:
        place = np.asarray(image.position)
        if kept and np.linalg.norm(place - kept[-1].position) <= settings.duplicate_tolerance_mm:
            groups[-1].append(image)
        else:
            kept.append(image)
            groups.append([image])
    return kept, [group for group in groups if len(group) > 1]


def _refuse_gaps(
    slices: Sequence[SliceRef], depth_mm: FloatArray, settings: ReadingSettings, where: str
) -> Finding | None:
    if len(slices) < settings.min_slices:
        return Finding(
            ReasonCode.TOO_FEW_SLICES,
            "too few slices to make a volume",
            where=where,
            expected=f"at least {settings.min_slices} slice positions",
            found=str(len(slices)),
        )
    gaps = np.diff(depth_mm)
    tolerance = settings.spacing_tolerance
    step = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    smallest = np.count_nonzero(gaps <= gaps.min() * (1 + tolerance))
    if gaps.min() < step * (1 - tolerance) and smallest >= len(gaps) / 5:
        step = float(gaps.min())  # most slices may be missing; one misplaced slice is no proof
    near = gaps[np.abs(gaps / max(step, 1e-9) - 1) <= 5 * tolerance]
    step = float(near.mean())
    if step <= 0:
        return _nonuniform(gaps, slices, where)
    multiples = np.rint(gaps / step)
    if (np.abs(gaps - multiples * step) > tolerance * step + 1e-4).any() or multiples.min() < 1:
        return _nonuniform(gaps, slices, where)
    wide = np.flatnonzero(multiples > 1)
    if len(wide) == 0:
        return None
    places = [
        f"{int(multiples[n]) - 1} missing between {slices[n].label} and {slices[n + 1].label} "
        f"({depth_mm[n]:.2f} and {depth_mm[n + 1]:.2f} mm)"
        for n in wide[:5]
    ]
    if len(wide) > 5:
        places.append(f"and {len(wide) - 5} more gaps")
    return Finding(
        ReasonCode.MISSING_SLICES,
        "slices inside the stack are missing",
        where=where,
        expected=f"a slice every {step:.4f} mm, {int(multiples.sum()) + 1} in all",
        found=f"{len(slices)} slices; " + "; ".join(places),
        action="fetch the series again from the archive; nothing is interpolated",
    )


def _nonuniform(gaps: FloatArray, slices: Sequence[SliceRef], where: str) -> Finding:
    odd = int(np.abs(gaps - np.median(gaps)).argmax())
    return Finding(
        ReasonCode.NONUNIFORM_SPACING,
        "the distance between slices varies",
        where=where,
        expected=f"{float(np.median(gaps)):.4f} mm between neighbours",
        found=f"{gaps.min():.4f} to {gaps.max():.4f} mm; "
        f"{gaps[odd]:.4f} mm between {slices[odd].label} and {slices[odd + 1].label}",
        action="check that the series is one acquisition",
    )


def refuse_shear(
    positions: FloatArray, axes: FloatArray, settings: ReadingSettings, where: str
) -> Finding | None:
    """SHEARED_STACK unless the positions (n, 3) lie on one line along the normal `axes[2]`."""
    offset = positions - positions[0]
    sideways_mm = np.linalg.norm(offset - np.outer(offset @ axes[2], axes[2]), axis=1)
    worst = float(sideways_mm.max())
    if worst <= settings.shear_tolerance_mm:
        return None
    step = positions[-1] - positions[0]
    tilt_deg = np.rad2deg(np.arctan2(sideways_mm[-1], abs(step @ axes[2])))
    return Finding(
        ReasonCode.SHEARED_STACK,
        "the slice origins do not lie on one line along the normal",
        where=where,
        expected=f"origins within {settings.shear_tolerance_mm} mm of the line",
        found=f"{worst:.3f} mm off, tilt {tilt_deg:.2f} degrees",
        action="export the untilted original series",
    )


def _note_spacing_tag(
    slices: Sequence[SliceRef], spacing_mm: float, settings: ReadingSettings, where: str
) -> tuple[Finding, ...]:
    said = {s.spacing_tag for s in slices if s.spacing_tag is not None}
    limit = settings.spacing_tolerance * spacing_mm + 1e-4
    wrong = sorted(tag for tag in said if abs(abs(tag) - spacing_mm) > limit)
    if not wrong:
        return ()
    return (
        Finding(
            ReasonCode.SPACING_TAG_DISAGREES,
            "SpacingBetweenSlices differs from the slice positions; the positions are used",
            where=where,
            expected=f"{spacing_mm:.4f} mm, from the positions",
            found=f"{wrong[0]:.4f} mm in the tag",
        ),
    )
