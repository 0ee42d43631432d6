"""Carry the probabilities of a cascade back to the grid of the image.

Inside the joint the fine network counts, outside it the bones of the coarse one. Over the last
millimetres of the joint region one passes into the other, so that a bone surface has no step there.
Where the region ends because the image ends, the fine network counts to the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.networks.spec import CLASS_TISSUES
from kneeimg.segment.devices import to_numpy

if TYPE_CHECKING:
    from torch import Tensor

    from kneeimg.networks.cascade import CascadeResult

Fractions = Mapping[Tissue, NDArray[np.float32]]
Box = tuple[slice, slice, slice]

_BONES = (Tissue.FEMUR, Tissue.TIBIA, Tissue.PATELLA)
_MENISCI = (Tissue.MEDIAL_MENISCUS, Tissue.LATERAL_MENISCUS)

#: Width over which the coarse bones pass into the fine ones at the border of the joint region, mm.
_RAMP_MM = 3.0
#: Voxels that are carried at once: a slab of both networks' classes then takes some 300 MB.
_SLAB_VOXELS = 3_000_000
#: Less than this is no tissue but the floor of the softmax.
_FLOOR = 1e-3


def label_map_of(result: CascadeResult, grid: Grid, side: Side | None) -> LabelMap:
    """The soft label map of a cascade's result on the grid of the image.

    Parameters
    ----------
    result : Probabilities in the network frame.
    grid : Grid of the image.
    side : Which knee was shown; None drops the menisci, whose names depend on it.
    """
    wanted = [t for t in CLASS_TISSUES[1:] if side is not None or t not in _MENISCI]
    fractions = {tissue: np.zeros(grid.shape, dtype=np.float32) for tissue in wanted}
    labels = np.zeros(grid.shape, dtype=np.uint8)
    inside = None if result.fine_grid is None else _box_of(result.fine_grid, grid)
    for slab in _slabs(grid.shape):
        _carry_coarse(result, grid, slab, fractions)
        part = _common(slab, inside)
        if part is not None:
            _carry_fine(result, grid, part, fractions)
        labels[slab] = _winners({t: values[slab] for t, values in fractions.items()})
    return LabelMap(labels, grid, fractions)


def soft_label_map(
    probabilities: Tensor, frame: Grid, grid: Grid, tissues: Sequence[Tissue]
) -> LabelMap:
    """The soft label map of probabilities on another grid.

    Parameters
    ----------
    probabilities : (tissues, i, j, k) on `frame`.
    frame : Where they lie.
    grid : Grid of the label map.
    tissues : Tissue of each channel.
    """
    from kneeimg.networks.frame import resample

    fractions = {tissue: np.zeros(grid.shape, dtype=np.float32) for tissue in tissues}
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for slab in _slabs(grid.shape):
        values = to_numpy(resample(probabilities, frame, _cut(grid, slab)))
        values[values < _FLOOR] = 0.0
        for fraction, part in zip(fractions.values(), values, strict=True):
            fraction[slab] = part
        labels[slab] = _winners({t: values[slab] for t, values in fractions.items()})
    return LabelMap(labels, grid, fractions)


def _carry_coarse(
    result: CascadeResult, grid: Grid, slab: Box, fractions: dict[Tissue, NDArray[np.float32]]
) -> None:
    """Bones of the coarse network; it is trusted with cartilage only to find the joint."""
    from kneeimg.networks.frame import resample

    channels = [CLASS_TISSUES.index(tissue) for tissue in _BONES]
    values = to_numpy(resample(result.coarse[channels], result.coarse_grid, _cut(grid, slab)))
    values[values < _FLOOR] = 0.0
    for tissue, fraction in zip(_BONES, values, strict=True):
        fractions[tissue][slab] = fraction


def _carry_fine(
    result: CascadeResult, grid: Grid, part: Box, fractions: dict[Tissue, NDArray[np.float32]]
) -> None:
    from kneeimg.networks.frame import resample

    assert result.fine is not None
    assert result.fine_grid is not None
    weight = _weight(result.fine_grid, result.coarse_grid, _cut(grid, part))
    channels = [CLASS_TISSUES.index(tissue) for tissue in fractions]
    values = to_numpy(resample(result.fine[channels], result.fine_grid, _cut(grid, part)))
    values[values < _FLOOR] = 0.0
    for tissue, fraction in zip(fractions, values, strict=True):
        before = fractions[tissue][part]
        before += weight * (fraction - before)  # a view: the slab itself changes


def _weight(fine: Grid, coarse: Grid, target: Grid) -> NDArray[np.float32]:
    """(i, j, k) share of the fine network at each voxel of the target, 0 outside its region."""
    lines = [np.arange(n, dtype=np.float32) for n in target.shape]
    to_fine = (np.linalg.inv(fine.affine) @ target.affine).astype(np.float32)
    weight: NDArray[np.float32] | None = None
    for axis, (low_open, high_open) in enumerate(_open_ends(fine, coarse)):
        i, j, k = lines[0][:, None, None], lines[1][None, :, None], lines[2][None, None, :]
        place = to_fine[axis, 0] * i + to_fine[axis, 1] * j + to_fine[axis, 2] * k
        place = place + to_fine[axis, 3]
        spacing_mm = float(fine.spacing_mm[axis])
        # distance in mm from the outer faces of the region, positive inside
        low = (place + np.float32(0.5)) * np.float32(spacing_mm)
        high = (np.float32(fine.shape[axis] - 0.5) - place) * np.float32(spacing_mm)
        for depth, is_open in ((low, low_open), (high, high_open)):
            if is_open:
                share = np.clip(depth / np.float32(_RAMP_MM), 0.0, 1.0)
            else:  # up to one coarse voxel beyond: the frame may end inside the image's last voxel
                share = (depth > -float(coarse.spacing_mm[axis])).astype(np.float32)
            weight = share if weight is None else np.minimum(weight, share)
    assert weight is not None
    return np.ascontiguousarray(np.broadcast_to(weight, target.shape), dtype=np.float32)


def _open_ends(fine: Grid, coarse: Grid) -> list[tuple[bool, bool]]:
    """Per axis whether the region ends before the view does, at its low and at its high end."""
    first = coarse.to_index(fine.to_mm((0, 0, 0)))
    last = coarse.to_index(fine.to_mm(np.array(fine.shape) - 1))
    # a fine voxel within one coarse voxel of the end of the view is at its end
    return [
        (bool(first[axis] > 1.0), bool(last[axis] < coarse.shape[axis] - 2.0)) for axis in range(3)
    ]


def _box_of(part: Grid, whole: Grid) -> Box | None:
    """Voxels of a grid that another grid covers, with two voxels around; None if it covers none."""
    ends = [(-0.5, n - 0.5) for n in part.shape]
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T
    index = whole.to_index(part.to_mm(corners))
    sides = []
    for axis, count in enumerate(whole.shape):
        start = max(int(np.floor(index[:, axis].min())) - 2, 0)
        stop = min(int(np.ceil(index[:, axis].max())) + 3, count)
        if start >= stop:
            return None
        sides.append(slice(start, stop))
    return sides[0], sides[1], sides[2]


def _slabs(shape: tuple[int, int, int]) -> Iterator[Box]:
    thick = max(1, _SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], thick):
        yield slice(start, min(start + thick, shape[0])), slice(0, shape[1]), slice(0, shape[2])


def _common(slab: Box, box: Box | None) -> Box | None:
    if box is None:
        return None
    sides = [
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(slab, box, strict=True)
    ]
    if any(side.start >= side.stop for side in sides):
        return None
    return sides[0], sides[1], sides[2]


def _cut(grid: Grid, box: Box) -> Grid:
    i, j, k = (side.start for side in box)
    a, b, c = (side.stop - side.start for side in box)
    return grid.crop((i, j, k), (a, b, c))


def _winners(fractions: Fractions) -> NDArray[np.uint8]:
    """Most probable tissue of each voxel; background where it has the most."""
    first = next(iter(fractions.values()))
    rest = np.ones(first.shape, dtype=np.float32)
    for values in fractions.values():
        rest -= values
    labels = np.zeros(first.shape, dtype=np.uint8)
    highest = rest
    for tissue, values in fractions.items():
        wins = values > highest
        labels[wins] = int(tissue)
        np.maximum(highest, values, out=highest)
    return labels


def as_tensor(data: NDArray[np.generic], device: str) -> Tensor:
    """(i, j, k) float32 tensor of an image; its own copy, so that views and any dtype will do."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32)).to(device)
