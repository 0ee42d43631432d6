"""Smooth random fields and small operations on arrays that the anatomy modules share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatField = NDArray[np.float32]
Mask = NDArray[np.bool_]


def smooth_field(
    rng: np.random.Generator,
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    correlation_mm: float | Sequence[float],
) -> FloatField:
    """Random field with mean about 0, standard deviation about 1 and a chosen roughness.

    Parameters
    ----------
    rng : Source of randomness.
    shape : Array shape of the result.
    spacing_mm : Voxel size along each axis.
    correlation_mm : Distance between independent knots; one value, or one per axis.

    Returns
    -------
    float32 array: cubic in the knots, evaluated separably.
    """
    lengths = np.broadcast_to(np.asarray(correlation_mm, dtype=float), (len(shape),))
    extent = np.asarray(shape) * np.asarray(spacing_mm)
    knots = np.maximum(np.ceil(extent / lengths).astype(int) + 3, 4)
    field: FloatField = rng.standard_normal(knots).astype(np.float32)
    for axis, count in enumerate(shape):
        places = np.arange(count) * spacing_mm[axis] / lengths[axis] + 1
        field = np.moveaxis(np.tensordot(_cubic(places, knots[axis]), field, (1, axis)), 0, axis)
    spread = float(field.std())
    return np.asarray(field / max(spread, 1e-6), dtype=np.float32)


def _cubic(places: NDArray[np.float64], knots: int) -> FloatField:
    """(places, knots) weights of the uniform cubic B-spline."""
    distance = np.abs(places[:, None] - np.arange(knots)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def distance_mm(mask: Mask, spacing_mm: Sequence[float]) -> FloatField:
    """Distance in mm of every voxel to the nearest voxel of `mask` (0 inside; large if empty)."""
    import edt

    field: FloatField = edt.edt(~mask, anisotropy=tuple(spacing_mm), black_border=False, parallel=1)
    return np.minimum(field, np.float32(1e4))


def box_of(mask: Mask, margin: Sequence[int]) -> tuple[slice, ...]:
    """Slices around the true voxels, grown by `margin` voxels and kept inside the array."""
    flat: Mask = np.any(mask, axis=2)
    lines: list[Mask] = [np.any(flat, axis=1), np.any(flat, axis=0), np.any(mask, axis=(0, 1))]
    if not lines[0].any():
        return tuple(slice(0, 0) for _ in mask.shape)
    parts = []
    for line, extra in zip(lines, margin, strict=True):
        found = np.flatnonzero(line)
        parts.append(
            slice(max(int(found[0]) - extra, 0), min(int(found[-1]) + 1 + extra, len(line)))
        )
    return tuple(parts)


def largest_part(mask: Mask) -> Mask:
    """The largest 26-connected component."""
    import cc3d

    parts = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(parts.ravel())
    if len(sizes) < 3:
        return mask
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def double(coarse: NDArray[np.generic]) -> NDArray[np.generic]:
    """Repeat axes 1 and 2 twice: the coarse grid on the fine one."""
    return np.repeat(np.repeat(coarse, 2, axis=1), 2, axis=2)
