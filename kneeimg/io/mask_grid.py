"""Bring a mask onto the grid of its image, or refuse: masks are never resampled here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.grid import Grid, reorient_array
from kneeimg.errors import MaskError, ReasonCode

#: Corners of mask and image may differ by what float32 affines cost, and no more.
GRID_TOLERANCE_MM = 0.01


def onto_grid(
    data: NDArray[Any], grid: Grid, image_grid: Grid, where: str, sparse_axis: int | None = None
) -> NDArray[Any]:
    """The mask array in the axis order of the image; MASK_GRID_MISMATCH if the lattices differ.

    `sparse_axis` is an axis of the mask along which it may end before the image does; the rest is
    background.
    """
    steps = np.linalg.solve(image_grid.affine[:3, :3], grid.affine[:3, :3])
    axes = tuple(int(np.abs(steps[row]).argmax()) for row in range(3))
    if sorted(axes) != [0, 1, 2]:
        raise _mismatch(grid, image_grid, "axes at an angle", where)
    order = (axes[0], axes[1], axes[2])
    signs = [1 if steps[row, axes[row]] > 0 else -1 for row in range(3)]
    flips = (signs[0], signs[1], signs[2])
    turned = grid.reorient(order, flips)
    data = reorient_array(data, order, flips)
    if sparse_axis is not None:
        data, turned = _filled_up(data, turned, image_grid, order.index(sparse_axis))
    if turned.shape != image_grid.shape:
        raise _mismatch(grid, image_grid, f"{turned.shape} voxels along the image's axes", where)
    gap_mm = turned.corner_gap_mm(image_grid)
    if gap_mm > GRID_TOLERANCE_MM:
        raise _mismatch(grid, image_grid, f"corners {gap_mm:.3f} mm apart", where)
    return np.ascontiguousarray(data)


def _filled_up(
    data: NDArray[Any], grid: Grid, image_grid: Grid, axis: int
) -> tuple[NDArray[Any], Grid]:
    """A mask filled up with background to the length of the image along one axis, if it fits."""
    start = round(float(image_grid.to_index(grid.to_mm((0, 0, 0)))[axis]))
    missing = image_grid.shape[axis] - start - data.shape[axis]
    if missing < 0 or start < 0:
        return data, grid
    shape = list(data.shape)
    shape[axis] = image_grid.shape[axis]
    whole = np.zeros(shape, dtype=data.dtype)
    np.moveaxis(whole, axis, 0)[start : start + data.shape[axis]] = np.moveaxis(data, axis, 0)
    corner = [0, 0, 0]
    corner[axis] = -start
    return whole, grid.crop((corner[0], corner[1], corner[2]), (shape[0], shape[1], shape[2]))


def _mismatch(grid: Grid, image_grid: Grid, found: str, where: str) -> MaskError:
    def say(one: Grid) -> str:
        spacing = " x ".join(f"{mm:.4f}" for mm in one.spacing_mm)
        return f"{' x '.join(map(str, one.shape))} voxels of {spacing} mm"

    return MaskError(
        "the mask lies on another grid than its image",
        code=ReasonCode.MASK_GRID_MISMATCH,
        where=where,
        expected=f"{say(image_grid)}, corners within {GRID_TOLERANCE_MM} mm",
        found=f"{say(grid)}; {found}",
        action="export the mask on the grid of the image that is measured",
    )
