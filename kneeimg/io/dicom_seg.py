"""Segmentations from DICOM SEG, BINARY, FRACTIONAL or LABELMAP, by a label scheme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import LabelScheme, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.io.dicom.records import SeriesRecord
from kneeimg.io.dicom.segmentation import SegFile, Segment, read_segmentation
from kneeimg.io.label_schemes import plain_name, segment_values
from kneeimg.io.label_sides import side_shown
from kneeimg.io.mask_content import no_voxel, soft_label_map
from kneeimg.io.mask_grid import onto_grid

#: Array axes of a segmentation as read here: column, row, slice.
_SLICE_AXIS = 2
Stored = NDArray[np.uint8]

#: The tissue fractions of a voxel may exceed it by this: a few tissues, each rounded to 1/255.
_ROUNDING = 0.02


def looks_like_seg(path: Path) -> bool:
    """Whether a mask file is DICOM: by its ending, or by its first bytes."""
    from kneeimg.io.dicom.headers import looks_like_dicom

    if path.suffix.lower() == ".dcm":
        return True
    with path.open("rb") as file:
        return looks_like_dicom(file.read(1024))


def require_mask_of(path: Path, *series: SeriesRecord) -> None:
    """Refuse a DICOM mask that was drawn on none of these series (the echoes of one scan).

    Raises
    ------
    MaskError
        MASK_SERIES_MISMATCH, or what is wrong with the file.
    """
    from kneeimg.io.dicom.inventory import find_series

    for record in find_series(path).records:
        drawn_on = record.refers_to
        if drawn_on is None:
            continue
        if not any(one.series_hash in drawn_on for one in series):
            wanted = " or ".join(dict.fromkeys(one.series_hash for one in series))
            raise _mismatch(path, f"series {wanted}", ", ".join(drawn_on))
        if not any(one.frame_uid == record.frame_uid for one in series):
            raise _mismatch(path, "the series' frame of reference", "another one")


def _mismatch(path: Path, expected: str, found: str) -> MaskError:
    return MaskError(
        "the segmentation was drawn on another series",
        code=ReasonCode.MASK_SERIES_MISMATCH,
        where=path.name,
        expected=expected,
        found=found or "no series named",
    )


def read_seg_label_map(path: Path, scheme: LabelScheme, image_grid: Grid | None) -> LabelMap:
    """Read a DICOM segmentation.

    Parameters
    ----------
    path : The file.
    scheme : Says which label value a segment's name or code has.
    image_grid : As for :func:`kneeimg.io.label_maps.read_label_map`. Slices of the image that
        have no frame are background.

    Raises
    ------
    InputError
        UNKNOWN_LABEL (with the segments), OVERLAPPING_SEGMENTS, EMPTY_MASK, MASK_GRID_MISMATCH,
        BAD_MASK_FILE, LATERALITY_CONFLICT, or a code of series assembly (NO_GEOMETRY, ...).

    Notes
    -----
    A FRACTIONAL segmentation is a soft map, PROBABILITY and OCCUPANCY alike, unless it holds
    nothing but 0 and its maximum: then it is a hard mask in another form, and measured as one.
    """
    seg = read_segmentation(path)
    parts = _parts(seg)
    if not parts:
        raise no_voxel(path.name, ", ".join(map(str, seg.segments.values())))
    values = _label_values(seg, parts, scheme)
    if all(_is_hard(part, seg.greatest) for part in parts.values()):
        return _hard(seg, parts, values, scheme, image_grid)
    return _soft(seg, parts, values, scheme, image_grid)


def _parts(seg: SegFile) -> dict[int, Stored]:
    """Segment number to its (slices, rows, columns) stored values; only segments with any."""
    parts: dict[int, Stored] = {}
    seen: set[tuple[int, int]] = set()
    for number, place, stored in seg.frames():
        for own, values in _split(seg, number, stored):
            if own not in parts:
                parts[own] = np.zeros(seg.shape, dtype=np.uint8)
            drawn = parts[own][place]
            if (own, place) in seen and not np.array_equal(drawn, values):
                raise MaskError(
                    "a segment is drawn twice on one slice",
                    code=ReasonCode.CONFLICTING_DUPLICATE,
                    where=seg.path.name,
                    found=f"{seg.segments[own]}, slice {place + 1}",
                )
            seen.add((own, place))
            drawn[:] = values
    return {number: part for number, part in sorted(parts.items()) if part.any()}


def _split(seg: SegFile, number: int, stored: Stored) -> Iterator[tuple[int, Stored]]:
    """The segments of one frame: its own, or all those of a label map."""
    if seg.kind != "LABELMAP":
        greatest = seg.greatest if seg.kind == "FRACTIONAL" else 1
        if stored.max(initial=0) > greatest:
            raise _wrong_value(seg, f"at most {greatest}", str(stored.max()))
        yield number, stored
        return
    for found in np.unique(stored).tolist():
        if found in seg.segments and found != seg.background:
            yield found, (stored == found).astype(np.uint8)
        elif found not in (0, seg.background):
            known = ", ".join(map(str, seg.segments))
            raise _wrong_value(seg, f"a segment of the file: {known}", str(found))


def _wrong_value(seg: SegFile, expected: str, found: str) -> MaskError:
    return MaskError(
        "a stored value of the segmentation has no meaning",
        where=seg.path.name,
        expected=expected,
        found=found,
    )


def _label_values(seg: SegFile, parts: Mapping[int, Stored], scheme: LabelScheme) -> dict[int, int]:
    """Segment number to label value of the scheme, or a refusal that lists what there is."""
    values = {number: _meanings(seg.segments[number], scheme) for number in parts}
    strange = [number for number, found in values.items() if len(found) != 1]
    if not strange:
        return {number: found.pop() for number, found in values.items()}
    counts = (
        f"{seg.segments[n]}, {np.count_nonzero(parts[n])} voxels"
        + (", whose name and code differ" if values[n] else "")
        for n in strange
    )
    raise MaskError(
        f"the mask has segments that the scheme {scheme.name} does not name",
        code=ReasonCode.UNKNOWN_LABEL,
        where=seg.path.name,
        expected=", ".join(segment_values(scheme)),
        found="; ".join(counts),
        action="name segments so, or list them under [segments] in a scheme file (--scheme)",
    )


def _meanings(segment: Segment, scheme: LabelScheme) -> set[int]:
    """Label values that name and codes of a segment stand for: one, unless something is wrong."""
    known = segment_values(scheme)
    names = [plain_name(segment.label), segment.code]
    names += [f"{segment.code}+{qualifier}" for qualifier in segment.qualifiers]
    return {known[name] for name in names if name in known}


def _is_hard(part: Stored, greatest: int) -> bool:
    """Whether a segment is all or nothing."""
    return bool(((part == 0) | (part == max(greatest, 1))).all())


def _hard(
    seg: SegFile,
    parts: Mapping[int, Stored],
    values: Mapping[int, int],
    scheme: LabelScheme,
    image_grid: Grid | None,
) -> LabelMap:
    table = scheme.lookup()
    drawn = np.zeros(seg.shape, dtype=np.uint16)
    for number, part in parts.items():
        inside = part > 0
        clash = inside & (drawn > 0) & (table[drawn] != table[values[number]])
        if clash.any():
            raise _overlap(seg, number, parts, int(np.count_nonzero(clash)))
        drawn[inside & (drawn == 0)] = values[number]
    whole = np.ascontiguousarray(drawn.transpose(2, 1, 0))
    grid = _grid(seg)
    tissues = table[whole]
    side = side_shown(whole, tissues, scheme, grid, seg.path.name)
    tissues, grid = _placed(tissues, grid, seg, image_grid)
    return LabelMap(tissues, grid, side_from_labels=side)


def _overlap(seg: SegFile, number: int, parts: Mapping[int, Stored], count: int) -> MaskError:
    others = [n for n in parts if n != number and ((parts[n] > 0) & (parts[number] > 0)).any()]
    return MaskError(
        "segments of different tissues share voxels",
        code=ReasonCode.OVERLAPPING_SEGMENTS,
        where=seg.path.name,
        expected="each voxel in one tissue",
        found=f"{count} voxels of {seg.segments[number]} in "
        + ", ".join(str(seg.segments[n]) for n in others),
        action="separate the segments where they were drawn",
    )


def _soft(
    seg: SegFile,
    parts: Mapping[int, Stored],
    values: Mapping[int, int],
    scheme: LabelScheme,
    image_grid: Grid | None,
) -> LabelMap:
    fractions: dict[Tissue, NDArray[np.float32]] = {}
    total = np.zeros(seg.shape, dtype=np.float32)
    for number, part in parts.items():
        tissue = scheme.tissues[values[number]]
        share = part * np.float32(1.0 / seg.greatest)
        total += share
        fractions[tissue] = (
            np.minimum(fractions[tissue] + share, 1) if (tissue in fractions) else share
        )
    # parts of one tissue may lie in one another, those of two may not
    if len(fractions) < len(parts):
        total = sum(fractions.values(), start=np.zeros(seg.shape, dtype=np.float32))
    if float(total.max()) > 1 + _ROUNDING:
        number = list(parts)[-1]
        raise _overlap(seg, number, parts, int(np.count_nonzero(total > 1 + _ROUNDING)))
    placed = {}
    for tissue, fraction in fractions.items():
        turned = np.ascontiguousarray(fraction.transpose(2, 1, 0))
        placed[tissue], grid = _placed(turned, _grid(seg), seg, image_grid)
    return soft_label_map(placed, grid, seg.path.name)


def _grid(seg: SegFile) -> Grid:
    """Of the frames that the file holds: column, row, slice."""
    slices, rows, columns = seg.shape
    return Grid((columns, rows, slices), seg.stack.affine, seg.frame_uid or None)


def _placed(
    data: NDArray[Any], grid: Grid, seg: SegFile, image_grid: Grid | None
) -> tuple[NDArray[Any], Grid]:
    """The array on the grid of the image; slices without a frame are empty."""
    if image_grid is not None:
        whole = onto_grid(data, grid, image_grid, seg.path.name, sparse_axis=_SLICE_AXIS)
        return whole, image_grid
    before, behind = seg.margin
    if before + behind == 0:
        return data, grid
    columns, rows, slices = data.shape
    shape = (columns, rows, slices + before + behind)
    whole = np.zeros(shape, dtype=data.dtype)
    whole[:, :, before : before + slices] = data
    return whole, grid.crop((0, 0, -before), shape)
