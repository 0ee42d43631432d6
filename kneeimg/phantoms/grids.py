"""Voxel grids as scanners make them, and random poses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.core.grid import Grid
from kneeimg.core.surface import RigidTransform
from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.rigid import rotation

Plane = Literal["sagittal", "coronal", "axial"]

#: Frame of reference of phantom images, under the UUID-free 2.25 root of DICOM.
FRAME_UID = "2.25.76014503389014750286132498801573911001"
#: Middle of the joint in canonical coordinates, mm: a good centre for a field of view.
JOINT_CENTRE_MM = (0.0, 0.0, -30.0)

# Array axes 0 (slices), 1 (rows, downwards), 2 (columns, rightwards) as directions in LPS+, the way
# pictures are shown: sagittal anterior left, coronal and axial patient right on the left.
_DIRECTIONS: dict[Plane, tuple[tuple[int, int, int], ...]] = {
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
}


def slice_grid(
    plane: Plane,
    spacing_mm: Sequence[float],
    shape: tuple[int, int, int],
    *,
    centre_mm: ArrayLike = JOINT_CENTRE_MM,
    turn: ArrayLike | None = None,
    frame_uid: str = FRAME_UID,
) -> Grid:
    """Grid of a slice stack centred on a point.

    Parameters
    ----------
    plane : Slice orientation; array axis 0 counts slices, 1 rows, 2 columns.
    spacing_mm : Slice distance, row distance, column distance.
    shape : Slices, rows, columns.
    centre_mm : (3,) LPS+ mm of the middle of the field of view.
    turn : (3, 3) rotation of the stack about its centre, for an oblique prescription.

    Examples
    --------
    >>> slice_grid("sagittal", (0.7, 0.4, 0.4), (3, 5, 5)).spacing_mm
    array([0.7, 0.4, 0.4])
    """
    axes = np.array(_DIRECTIONS[plane], dtype=np.float64).T
    if turn is not None:
        axes = np.asarray(turn, dtype=np.float64) @ axes
    linear = axes * np.asarray(spacing_mm, dtype=np.float64)
    middle = linear @ ((np.asarray(shape) - 1) / 2.0)
    origin = np.asarray(centre_mm, dtype=np.float64) - middle
    return Grid(shape, from_linear(linear, origin), frame_uid)


def sagittal_grid(
    spacing_mm: Sequence[float],
    shape: tuple[int, int, int],
    *,
    centre_mm: ArrayLike = JOINT_CENTRE_MM,
) -> Grid:
    """Sagittal stack centred on the joint."""
    return slice_grid("sagittal", spacing_mm, shape, centre_mm=centre_mm)


def dess_grid(*, centre_mm: ArrayLike = JOINT_CENTRE_MM, turn: ArrayLike | None = None) -> Grid:
    """The OAI DESS acquisition: 160 sagittal slices of 0.7 mm, 384 x 384 pixels of 0.365 mm."""
    return slice_grid(
        "sagittal", (0.7, 0.365, 0.365), (160, 384, 384), centre_mm=centre_mm, turn=turn
    )


def demo_grid(*, centre_mm: ArrayLike = (0.0, 0.0, -25.0)) -> Grid:
    """A small knee scan: 120 sagittal slices of 0.8 mm, 224 x 224 pixels of 0.5 mm.

    It lies 5 mm higher than the other grids, so that its short view shows 18 mm of shaft.
    """
    return slice_grid("sagittal", (0.8, 0.5, 0.5), (120, 224, 224), centre_mm=centre_mm)


def thick_sagittal_grid(*, centre_mm: ArrayLike = JOINT_CENTRE_MM) -> Grid:
    """Sagittal 0.31 x 0.31 mm pixels in slices of 1.5 mm."""
    return slice_grid("sagittal", (1.5, 0.31, 0.31), (72, 416, 416), centre_mm=centre_mm)


def isotropic_grid(spacing_mm: float = 0.5, *, centre_mm: ArrayLike = JOINT_CENTRE_MM) -> Grid:
    """Cubic voxels over the whole joint."""
    count = round(110.0 / spacing_mm)
    return slice_grid("sagittal", [spacing_mm] * 3, (count, count, count), centre_mm=centre_mm)


def coronal_grid(*, centre_mm: ArrayLike = JOINT_CENTRE_MM) -> Grid:
    """Coronal 0.3 x 0.3 mm pixels in slices of 3 mm."""
    return slice_grid("coronal", (3.0, 0.3, 0.3), (36, 400, 400), centre_mm=centre_mm)


def orientation_variants(grid: Grid) -> dict[str, Grid]:
    """The same voxels stored in other array orders and directions.

    Every variant covers exactly the voxels of `grid`; "as given" is the grid itself.
    """
    return {
        "as given": grid,
        "slices last": grid.reorient((1, 2, 0), (1, 1, 1)),
        "slices reversed": grid.reorient((0, 1, 2), (-1, 1, 1)),
        "rows upwards": grid.reorient((0, 1, 2), (1, -1, 1)),
        "columns reversed": grid.reorient((0, 1, 2), (1, 1, -1)),
        "all reversed, rows first": grid.reorient((1, 0, 2), (-1, -1, -1)),
        "columns first": grid.reorient((2, 0, 1), (1, -1, 1)),
    }


def random_pose(
    rng: np.random.Generator,
    *,
    max_angle_deg: float = 15.0,
    max_shift_mm: float = 5.0,
    centre_mm: ArrayLike = JOINT_CENTRE_MM,
    frame_uid: str | None = None,
) -> RigidTransform:
    """A turn about a random axis through the joint and a random shift.

    Parameters
    ----------
    rng : Source of randomness; the same state gives the same pose.
    max_angle_deg : The angle is uniform in ± this value.
    max_shift_mm : Each coordinate of the shift is uniform in ± this value.
    centre_mm : (3,) point about which the knee turns.
    frame_uid : Frame of the pose's result.
    """
    axis = rng.normal(size=3)
    turn = rotation(axis, float(rng.uniform(-max_angle_deg, max_angle_deg)))
    centre = np.asarray(centre_mm, dtype=np.float64)
    shift: NDArray[np.float64] = rng.uniform(-max_shift_mm, max_shift_mm, size=3)
    return RigidTransform(turn, centre - turn @ centre + shift, None, frame_uid)
