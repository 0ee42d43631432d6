"""Where voxels lie: shape, affine and frame of reference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.errors import GeometryError
from kneeimg.geometry.affines import apply_affine, closest_axes, reoriented_affine, spacing_of


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Voxel centres: array index (i, j, k) to patient LPS+ millimetres.

    Attributes
    ----------
    shape : Number of voxels along array axes 0, 1, 2.
    affine : (4, 4) float64, read-only. Column n is the step in mm along array
        axis n; the last column is the centre of voxel (0, 0, 0).
    frame_uid : DICOM Frame of Reference UID (0020,0052); None if unknown.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    frame_uid: str | None

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)  # our own copy
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"affine must be (4, 4) and finite, got shape {affine.shape}")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-6:
            raise GeometryError(f"affine has no voxel volume:\n{affine}")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"a grid needs three positive axes, got {self.shape}")
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """(3,) distance in mm between voxel centres along each array axis."""
        return spacing_of(self.affine)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm³, exact also for non-orthogonal axes."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def to_mm(self, index: ArrayLike) -> NDArray[np.float64]:
        """(..., 3) array indices to (..., 3) LPS+ mm."""
        return apply_affine(self.affine, index)

    def to_index(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """(..., 3) LPS+ mm to (..., 3) fractional array indices."""
        return apply_affine(np.linalg.inv(self.affine), points_mm)

    def require_same(self, other: Grid, *, atol_mm: float = 1e-3) -> None:
        """Raise GeometryError unless both grids put every voxel in the same place."""
        if self is other:
            return
        if self.frame_uid is None or self.frame_uid != other.frame_uid:
            raise GeometryError(f"frames of reference {self.frame_uid} and {other.frame_uid}")
        if self.shape != other.shape:
            raise GeometryError(f"shapes {self.shape} and {other.shape}")
        gap_mm = self.corner_gap_mm(other)
        if gap_mm > atol_mm:  # a distance at the far corner, not a matrix tolerance
            raise GeometryError(f"grid corners differ by {gap_mm:.4f} mm (limit {atol_mm} mm)")

    def corner_gap_mm(self, other: Grid) -> float:
        """Largest distance in mm between the corners of two grids of equal shape."""
        corners = list(product(*[(0, n - 1) for n in self.shape]))
        return float(np.linalg.norm(self.to_mm(corners) - other.to_mm(corners), axis=1).max())

    def crop(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Grid:
        """Grid of the sub-array that begins at index `start`."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_mm(start)
        return replace(self, shape=shape, affine=affine)

    def reorient(self, axes: tuple[int, int, int], flips: tuple[int, int, int]) -> Grid:
        """Grid after `array.transpose(axes)` and flipping the new axes whose flip is -1."""
        shape = (self.shape[axes[0]], self.shape[axes[1]], self.shape[axes[2]])
        return replace(
            self, shape=shape, affine=reoriented_affine(self.affine, self.shape, axes, flips)
        )

    def closest_lps(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """`axes, flips` for :meth:`reorient` that bring array axes closest to +L, +P, +S."""
        return closest_axes(self.affine)


def reorient_array(
    data: NDArray[np.generic], axes: tuple[int, int, int], flips: tuple[int, int, int]
) -> NDArray[np.generic]:
    """View of an array that belongs to `Grid.reorient(axes, flips)`; no copy is made."""
    steps = tuple(slice(None, None, flip) for flip in flips)
    return data.transpose(axes)[steps]
