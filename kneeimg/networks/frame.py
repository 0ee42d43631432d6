"""The frame in which networks see a knee: i to patient left, j to posterior, k to superior.

Every knee is shown as a right knee: the i axis of a left one runs to the right instead, so a
network never has to tell sides apart and no augmentation may swap them. A frame is a `Grid`; the
result of a network lies on it and is carried back by the same affines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

TripleMm = tuple[float, float, float]


def frame_of(grid: Grid, side: Side, spacing_mm: TripleMm) -> Grid:
    """The network frame that covers a whole grid at a voxel size.

    Its axes are those of the grid (made orthogonal), ordered and turned to lie nearest to left,
    posterior and superior; for a left knee i runs to the right.

    Examples
    --------
    >>> grid = Grid((4, 8, 8), np.diag([1.0, 0.5, 0.5, 1.0]), None)
    >>> frame_of(grid, Side.RIGHT, (2.0, 1.0, 1.0)).shape
    (2, 4, 4)
    """
    axes, flips = grid.closest_lps()
    turned = grid.reorient(axes, flips)
    directions = _orthogonal(turned.affine[:3, :3] / turned.spacing_mm)
    if side is Side.LEFT:
        directions = directions * np.array([-1.0, 1.0, 1.0])
    corners = _outer_corners(grid) @ directions
    low, high = corners.min(axis=0), corners.max(axis=0)
    spacing = np.asarray(spacing_mm)
    shape = np.maximum(1, np.ceil((high - low) / spacing - 1e-6))
    # the voxels stand in the middle of the extent that they cover
    first = (low + high - (shape - 1) * spacing) / 2.0
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = directions @ first
    i, j, k = (int(n) for n in shape)
    return Grid((i, j, k), affine, grid.frame_uid)


def _orthogonal(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    u, _, vt = np.linalg.svd(axes)
    orthogonal: NDArray[np.float64] = u @ vt
    return orthogonal


def _outer_corners(grid: Grid) -> NDArray[np.float64]:
    """(8, 3) patient positions of the outer corners of the voxels."""
    edges = [(-0.5, n - 0.5) for n in grid.shape]
    return grid.to_mm(np.array(np.meshgrid(*edges, indexing="ij")).reshape(3, -1).T)


def resample(data: Tensor, source: Grid, target: Grid) -> Tensor:
    """(c, i, j, k) values on one grid, read at the voxels of another by linear interpolation.

    Where the target's voxels are larger, the source's are averaged first. Beyond the source's
    outermost centres its nearest voxel counts. Grids with the same axes, in any order and
    direction, are read one axis after the other: the same values, several times sooner.
    """
    data, source = _averaged(data, source, target)
    along = _axis_by_axis(source, target)
    if along is None:
        return sample(data, source_index(source, target, data), data)
    axes, places = along
    read = data.float().contiguous()
    for own, axis in enumerate(axes):
        read = _read_along(read, 1 + axis, places[own])
    return read.permute(0, *(1 + axis for axis in axes))


def _axis_by_axis(
    source: Grid, target: Grid
) -> tuple[tuple[int, ...], list[NDArray[np.float64]]] | None:
    """The source's axis for each of the target's and the places along it; None for turned grids.

    A thousandth of a voxel over the whole target is taken for the same direction.
    """
    step = np.linalg.inv(source.affine) @ target.affine
    axes = tuple(int(axis) for axis in np.abs(step[:3, :3]).argmax(axis=0))
    if sorted(axes) != [0, 1, 2]:
        return None
    rest = step[:3, :3].copy()
    rest[list(axes), [0, 1, 2]] = 0.0
    if (np.abs(rest) @ np.asarray(target.shape) > 1e-3).any():
        return None
    lines = [
        step[axis, own] * np.arange(count) + step[axis, 3]
        for own, (axis, count) in enumerate(zip(axes, target.shape, strict=True))
    ]
    return axes, lines


def _read_along(data: Tensor, dim: int, places: NDArray[np.float64]) -> Tensor:
    """Values at fractional places along one axis; beyond the ends the last value counts."""
    import torch

    last = data.shape[dim] - 1
    inside = np.clip(places, 0.0, last)
    low = np.minimum(np.floor(inside).astype(np.int64), max(last - 1, 0))
    share = torch.as_tensor(inside - low, dtype=data.dtype, device=data.device)
    weight = share.reshape([-1 if n == dim else 1 for n in range(data.dim())])
    # in place: the array at the target's size is the largest one of a segmentation
    return _taken(data, dim, low).lerp_(_taken(data, dim, np.minimum(low + 1, last)), weight)


def _taken(data: Tensor, dim: int, places: NDArray[np.int64]) -> Tensor:
    """Slices of a contiguous array; on a processor numpy takes them several times sooner."""
    import torch

    if data.device.type == "cpu":
        return torch.from_numpy(np.take(data.detach().numpy(), places, axis=dim))
    return data.index_select(dim, torch.as_tensor(places, device=data.device))


def source_index(source: Grid, target: Grid, like: Tensor) -> Tensor:
    """(i, j, k, 3) fractional index in `source` of each voxel of `target`, like's device."""
    import torch

    step = torch.as_tensor(np.linalg.inv(source.affine) @ target.affine, dtype=torch.float32)
    step = step.to(like.device)
    lines = [torch.arange(n, dtype=torch.float32, device=like.device) for n in target.shape]
    i, j, k = (
        line.reshape([-1 if n == axis else 1 for n in range(3)]) for axis, line in enumerate(lines)
    )
    rows = [step[n, 0] * i + step[n, 1] * j + step[n, 2] * k + step[n, 3] for n in range(3)]
    return torch.stack(rows, dim=-1)


def sample(data: Tensor, index: Tensor, like: Tensor, mode: str = "bilinear") -> Tensor:
    """(c, i, j, k) values of `data` at fractional indices (i, j, k, 3); edges are continued."""
    import torch
    from torch.nn.functional import grid_sample

    size = torch.tensor(data.shape[1:], dtype=torch.float32, device=like.device)
    unit = index * (2.0 / (size - 1).clamp(min=1)) - 1.0
    return grid_sample(
        data[None].to(torch.float32),
        unit.flip(-1)[None],  # torch counts the axes from the last one
        mode=mode,
        padding_mode="border",
        align_corners=True,
    )[0]


def _averaged(data: Tensor, source: Grid, target: Grid) -> tuple[Tensor, Grid]:
    """Averages over as many whole voxels as fit into one of the target's."""
    from torch.nn.functional import avg_pool3d

    axes, _ = source.closest_lps()
    target_axes, _ = target.closest_lps()
    wide = np.ones(3)
    # both in the order L, P, S: the target may be an image, whose axes run as its scanner made them
    wide[list(axes)] = target.spacing_mm[list(target_axes)]
    # 0.15: a voxel of 1.87 mm averages two of 1 mm rather than one
    counts = np.maximum(1, np.floor(wide / source.spacing_mm + 0.15)).astype(int)
    counts = np.minimum(counts, source.shape)
    if (counts == 1).all():
        return data, source
    kernel = (int(counts[0]), int(counts[1]), int(counts[2]))
    pooled = avg_pool3d(data[None].float(), kernel)[0]
    affine = source.affine.copy()
    affine[:3, :3] = source.affine[:3, :3] * counts
    affine[:3, 3] = source.to_mm((counts - 1) / 2.0)
    i, j, k = (int(n) for n in pooled.shape[1:])
    return pooled, Grid((i, j, k), affine, source.frame_uid)
