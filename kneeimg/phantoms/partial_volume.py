"""Fraction of each voxel that a solid fills, from level functions.

A voxel is split into sub-boxes; in each, a level is replaced by the plane that fits its values at
four points. The four points lie at 1/sqrt(12) of the box edges, which gives the plane the box mean
of the level to second order; the plane's share of the box is known in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Levels = Callable[[FloatArray], FloatArray]

_TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(12.0)
_SUB_BOX_MM = 0.5
_EDGE_BOX_MM = 0.25
_CHUNK = 1 << 15
_SLACK = 1.5  # a level may be this much steeper than a distance


def box_fraction(centre: FloatArray, slopes: FloatArray) -> FloatArray:
    """Share of a unit box in which a linear level is negative.

    Parameters
    ----------
    centre : (N,) level at the box centre.
    slopes : (D, N) change of the level across the box along each of its D = 2 or 3 edges.

    Returns
    -------
    (N,) share in 0..1.

    Examples
    --------
    >>> slopes = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    >>> box_fraction(np.array([0.0, -0.25]), slopes).round(6)
    array([0.5 , 0.75])
    """
    steep = np.abs(slopes)
    reach = steep.sum(axis=0) / 2.0
    share = (centre < 0.0).astype(np.float64)
    cut = np.flatnonzero(np.abs(centre) < reach)
    if not len(cut):
        return share
    # slopes of zero would divide by zero; a thousandth of the steepest tilts the plane harmlessly
    part = steep[:, cut]
    part = np.maximum(part, 1e-3 * part.max(axis=0))
    start = part.sum(axis=0) / 2.0 - centre[cut]
    total = np.zeros(len(cut))
    dims = len(part)
    for corner in range(1 << dims):
        picked = [d for d in range(dims) if corner >> d & 1]
        height = np.maximum(start - sum(part[d] for d in picked), 0.0)
        total += (-1.0) ** len(picked) * height**dims
    scale = np.prod(part, axis=0) * (2.0 if dims == 2 else 6.0)
    share[cut] = np.clip(total / scale, 0.0, 1.0)
    return share


@dataclass(frozen=True)
class Fractions:
    """Bone and cartilage shares in a box of voxels that starts at index `start`."""

    start: tuple[int, int, int]
    bone: NDArray[np.float32]
    cartilage: NDArray[np.float32]

    @property
    def window(self) -> tuple[slice, slice, slice]:
        """Where the box lies in the whole array."""
        i, j, k = (slice(a, a + n) for a, n in zip(self.start, self.bone.shape, strict=True))
        return i, j, k


@dataclass(frozen=True)
class Raster:
    """A voxel lattice as seen by the object.

    Attributes
    ----------
    affine : (4, 4) voxel index to object mm.
    shape : Number of voxels.
    """

    affine: FloatArray
    shape: tuple[int, int, int]

    def points(self, index: NDArray[np.int64] | FloatArray) -> FloatArray:
        """(N, 3) indices to object mm."""
        result: FloatArray = index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return result

    def window(self, bounds_mm: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and one-past-last index of the voxels that may touch a box in object mm."""
        pick = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        corners = bounds_mm[pick, np.arange(3)]
        inverse = np.linalg.inv(self.affine)
        index = corners @ inverse[:3, :3].T + inverse[:3, 3]
        low = np.clip(np.floor(index.min(axis=0) - 1), 0, self.shape).astype(np.int64)
        high = np.clip(np.ceil(index.max(axis=0) + 2), low, self.shape).astype(np.int64)
        return low, high

    def half_diagonal_mm(self, size: FloatArray | float = 1.0) -> float:
        """Greatest distance from the centre of a block of `size` voxels to its corners."""
        edges = self.affine[:3, :3] * size
        signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])
        return float(np.linalg.norm(signs @ edges.T, axis=1).max() / 2.0)


def bone_and_cartilage(
    raster: Raster, bounds_mm: FloatArray, levels: Levels, greatest_mm: float, hard: bool
) -> Fractions | None:
    """Shares of bone and cartilage in every voxel of a bounding box; None if it is out of view.

    Parameters
    ----------
    raster : Voxels in object coordinates.
    bounds_mm : (2, 3) box around the object.
    levels : Points (N, 3) to (4, N): bone, bone below the sheet, articular surface, cover border.
    greatest_mm : Bound on the thickness of the sheet.
    hard : Whether a voxel takes what lies at its centre, whole.
    """
    low, high = raster.window(bounds_mm)
    shape = high - low
    if (shape <= 0).any():
        return None
    bone = np.zeros(shape, dtype=np.float32)
    cartilage = np.zeros(shape, dtype=np.float32)
    for start, size in _near_blocks(raster, low, high, levels, greatest_mm, bone):
        index = _block_indices(start, size, high)
        for part in _chunks(index):
            shares = _voxel_shares(raster, part, levels, hard)
            place = tuple((part - low).T)
            bone[place], cartilage[place] = shares
    return Fractions((int(low[0]), int(low[1]), int(low[2])), bone, cartilage)


def _chunks(index: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(index), _CHUNK):
        yield index[first : first + _CHUNK]


def _near_blocks(
    raster: Raster,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    levels: Levels,
    greatest_mm: float,
    bone: NDArray[np.float32],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Blocks of about 4 mm that a surface may cross, all at once; others are filled here."""
    spacing = np.linalg.norm(raster.affine[:3, :3], axis=0)
    size = np.maximum(np.round(4.0 / spacing), 1).astype(np.int64)
    counts = -(-(high - low) // size)
    blocks = low + size * np.stack(np.unravel_index(np.arange(counts.prod()), counts), axis=1)
    near = _SLACK * raster.half_diagonal_mm(size.astype(np.float64))
    keep = np.zeros(len(blocks), dtype=bool)
    for first in range(0, len(blocks), _CHUNK):
        part = slice(first, first + _CHUNK)
        value = levels(raster.points(blocks[part] + (size - 1) / 2.0))
        sheet = (value[1] > -near) & (value[1] < near + greatest_mm) & (value[3] < near)
        keep[part] = (np.abs(value[0]) < near) | sheet
        for corner in blocks[part][~keep[part] & (value[0] < 0.0)] - low:
            i, j, k = (slice(a, a + n) for a, n in zip(corner, size, strict=True))
            bone[i, j, k] = 1.0
    yield blocks[keep], size


def _block_indices(
    blocks: NDArray[np.int64], size: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Every voxel index of the blocks, inside the window."""
    inner = np.stack(np.unravel_index(np.arange(size.prod()), size), axis=1)
    index = (blocks[:, None, :] + inner[None, :, :]).reshape(-1, 3)
    inside: NDArray[np.int64] = index[(index < high).all(axis=1)]
    return inside


def _voxel_shares(
    raster: Raster, index: NDArray[np.int64], levels: Levels, hard: bool
) -> tuple[FloatArray, FloatArray]:
    """Bone and cartilage share of voxels: whole where no surface is near, else by sub-boxes."""
    value = levels(raster.points(index))
    bone = (value[0] < 0.0).astype(np.float64)
    covered = (value[1] >= 0.0) & (value[2] < 0.0) & (value[3] < 0.0) & (value[0] >= 0.0)
    cartilage = covered.astype(np.float64)
    if hard:
        return bone, cartilage
    near = _SLACK * raster.half_diagonal_mm()
    band = (value[1] > -near) & (value[2] < near) & (value[3] < near)
    faces = band & ((value[1] < near) | (value[2] > -near))
    edges = band & (value[3] > -near)
    bone_cut = np.abs(value[0]) < near
    for where, box_mm in ((edges, _EDGE_BOX_MM), ((faces | bone_cut) & ~edges, _SUB_BOX_MM)):
        picked = np.flatnonzero(where)
        if len(picked):
            bone[picked], cartilage[picked] = _sub_box_shares(
                raster, index[picked].astype(np.float64), levels, box_mm
            )
    return bone, cartilage


def _sub_box_shares(
    raster: Raster, index: FloatArray, levels: Levels, box_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Mean over sub-boxes no longer than `box_mm`."""
    spacing = np.linalg.norm(raster.affine[:3, :3], axis=0)
    counts = np.maximum(np.ceil(spacing / box_mm), 1).astype(np.int64)
    bone, cartilage = np.zeros(len(index)), np.zeros(len(index))
    for place in np.ndindex(*counts):
        centre = index + (np.array(place) + 0.5) / counts - 0.5
        points = (centre[:, None, :] + _TETRAHEDRON / counts).reshape(-1, 3)
        value = levels(raster.points(points)).reshape(4, -1, 4)
        mean = value.mean(axis=2)
        # corners of a tetrahedron: slope along edge k is sum(sign_k * value) / 4 * sqrt(12)
        slopes = np.einsum("lnc,ck->lkn", value, _TETRAHEDRON) * 3.0
        bone += box_fraction(mean[0], slopes[0])
        sheet = box_fraction(mean[2], slopes[2]) - box_fraction(mean[1], slopes[1])
        cartilage += np.maximum(sheet, 0.0) * box_fraction(mean[3], slopes[3])
    total = counts.prod()
    return bone / total, cartilage / total
