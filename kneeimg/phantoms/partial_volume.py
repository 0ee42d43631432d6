"""Fraction of each voxel that a solid fills, from level functions.

A voxel is split into sub-boxes; in each, a level is replaced by the plane that fits its values at
four points. The four points lie at 1/sqrt(12) of the box edges, which gives the plane the box mean
of the level to second order; the plane's share of the box is known in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Levels = Callable[[FloatArray], FloatArray]
_Share = Callable[[FloatArray, FloatArray], FloatArray]

_TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(12.0)
_FACE_BOX_MM = 1.0
_EDGE_BOX_MM = 0.5
_BLOCK_MM = 1.5
_CHUNK = 1 << 14  # points at a time: arrays stay in the cache
_BLOCK_SLACK = 1.5  # a level may be this much steeper than a distance
_VOXEL_SLACK = 1.15


class Filled(Protocol):
    """Bone with or without a sheet of cartilage, known by its levels."""

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box around everything."""

    @property
    def greatest_mm(self) -> float:
        """Bound on the thickness of the sheet; 0 when there is none."""

    def bone_level(self, points: FloatArray) -> FloatArray:
        """(N,) negative inside bone."""

    def sheet_levels(self, points: FloatArray) -> FloatArray:
        """(3, N) bone below the sheet, articular surface, border of the cover.

        Cartilage is where the first is positive and both others are negative.
        """


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


def bone_and_cartilage(raster: Raster, solid: Filled, *, hard: bool) -> Fractions | None:
    """Shares of bone and cartilage in every voxel around a solid; None if it is out of view.

    Parameters
    ----------
    raster : Voxels in the coordinates of the solid.
    solid : Bone and sheet.
    hard : Whether a voxel takes what lies at its centre, whole.
    """
    low, high = raster.window(solid.bounds_mm)
    if (high <= low).any():
        return None
    bone = np.zeros(high - low, dtype=np.float32)
    cartilage = np.zeros(high - low, dtype=np.float32)
    voxels = _Voxels(raster, solid, hard)
    for index in _near_voxels(raster, low, high, solid.bone_level, bone):
        bone[tuple((index - low).T)] = voxels.bone(index)
    if solid.greatest_mm > 0.0:
        for index in _near_voxels(raster, low, high, _sheet_level(solid), cartilage):
            place = tuple((index - low).T)
            cartilage[place] = voxels.cartilage(index)
    return Fractions((int(low[0]), int(low[1]), int(low[2])), bone, cartilage)


def _sheet_level(solid: Filled) -> Levels:
    """One level, negative inside the sheet."""

    def level(points: FloatArray) -> FloatArray:
        below, articular, border = solid.sheet_levels(points)
        result: FloatArray = np.maximum.reduce([-below, articular, border])
        return result

    return level


def _near_voxels(
    raster: Raster,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    level: Levels,
    filled: NDArray[np.float32],
) -> Iterator[NDArray[np.int64]]:
    """Indices, by chunks, of voxels in blocks that a surface may cross; whole blocks are filled."""
    spacing = np.linalg.norm(raster.affine[:3, :3], axis=0)
    size = np.maximum(np.round(_BLOCK_MM / spacing), 1).astype(np.int64)
    counts = -(-(high - low) // size)
    blocks = low + size * np.stack(np.unravel_index(np.arange(counts.prod()), counts), axis=1)
    near = _BLOCK_SLACK * raster.half_diagonal_mm(size.astype(np.float64))
    value = np.concatenate(
        [level(raster.points(part + (size - 1) / 2.0)) for part in _chunks(blocks)]
    )
    for corner in blocks[value <= -near] - low:
        i, j, k = (slice(a, a + n) for a, n in zip(corner, size, strict=True))
        filled[i, j, k] = 1.0
    inner = np.stack(np.unravel_index(np.arange(size.prod()), size), axis=1)
    several = max(_CHUNK // len(inner), 1)
    close = blocks[np.abs(value) < near]
    for first in range(0, len(close), several):
        index = (close[first : first + several, None, :] + inner).reshape(-1, 3)
        yield index[(index < high).all(axis=1)]


def _chunks(index: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(index), _CHUNK):
        yield index[first : first + _CHUNK]


@dataclass(frozen=True)
class _Voxels:
    """Shares of voxels near a surface."""

    raster: Raster
    solid: Filled
    hard: bool

    def bone(self, index: NDArray[np.int64]) -> FloatArray:
        """(N,) share of bone."""
        value = self.solid.bone_level(self.raster.points(index))
        share = (value < 0.0).astype(np.float64)
        if not self.hard:
            cut = np.abs(value) < _VOXEL_SLACK * self.raster.half_diagonal_mm()
            share[cut] = self._refined(index[cut], _FACE_BOX_MM, self._bone_levels, _below)
        return share

    def _bone_levels(self, points: FloatArray) -> FloatArray:
        return self.solid.bone_level(points)[None]

    def cartilage(self, index: NDArray[np.int64]) -> FloatArray:
        """(N,) share of cartilage; finer where a face and the border of the sheet may meet."""
        levels = self.solid.sheet_levels
        below, articular, border = levels(self.raster.points(index))
        share: FloatArray = ((below >= 0.0) & (articular < 0.0) & (border < 0.0)).astype(np.float64)
        if self.hard:
            return share
        near = _VOXEL_SLACK * self.raster.half_diagonal_mm()
        band = (below > -near) & (articular < near) & (border < near)
        edges = band & (border > -near)
        faces = band & ~edges & ((below < near) | (articular > -near))
        share[faces] = self._refined(index[faces], _FACE_BOX_MM, levels, _between)
        share[edges] = self._refined(index[edges], _EDGE_BOX_MM, levels, _between_inside)
        return share

    def _refined(
        self, index: NDArray[np.int64], box_mm: float, levels: Levels, share: _Share
    ) -> FloatArray:
        """Mean share of the sub-boxes, none longer than `box_mm`, of every voxel."""
        spacing = np.linalg.norm(self.raster.affine[:3, :3], axis=0)
        counts = np.maximum(np.ceil(spacing / box_mm), 1).astype(np.int64)
        total = np.zeros(len(index))
        if not len(index):
            return total
        for place in np.ndindex(*counts):
            centre = index + (np.array(place) + 0.5) / counts - 0.5
            points = (centre[:, None, :] + _TETRAHEDRON / counts).reshape(-1, 3)
            values = levels(self.raster.points(points)).reshape(-1, len(index), 4)
            # the slope along edge k is sum(offset_k * value) / sum(offset_k²), which is 4 / 12
            total += share(values.mean(axis=2), np.moveaxis(values @ (3.0 * _TETRAHEDRON), 2, 1))
        result: FloatArray = total / counts.prod()
        return result


def _below(mean: FloatArray, slopes: FloatArray) -> FloatArray:
    return box_fraction(mean[0], slopes[0])


def _between(mean: FloatArray, slopes: FloatArray) -> FloatArray:
    """Below the articular surface but not below the bone surface."""
    inside = box_fraction(mean[1], slopes[1]) - box_fraction(mean[0], slopes[0])
    return np.maximum(inside, 0.0)


def _between_inside(mean: FloatArray, slopes: FloatArray) -> FloatArray:
    """The same inside the border, which crosses both faces at right angles."""
    return _between(mean, slopes) * box_fraction(mean[2], slopes[2])
