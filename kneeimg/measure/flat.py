"""Thickness maps laid flat, for the eye: the femur unrolled, the tibia from above.

Nothing is measured on a flat map: unrolling stretches what does not lie on the cylinder. Every knee
is laid out as a right knee, columns from lateral to medial, so that maps can be held side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from kneeimg.core.anatomy import Bone, Plate, Side, VertexState
from kneeimg.core.surface import Surface
from kneeimg.measure.frames import femur_frame, tibia_frame

FloatArray = NDArray[np.float64]

_MIRROR = np.array([-1.0, 1.0, 1.0])
#: Neighbours whose thickness is blended into a pixel.
_BLENDED = 4
#: A pixel further than this from every vertex of tAB shows nothing, mm.
_REACH_MM = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class FlatMap:
    """A thickness map on a flat grid.

    Attributes
    ----------
    bone : Which bone it shows.
    across_mm : (C,) column positions, lateral to medial, mm.
    along_mm : (R,) row positions, anterior to posterior, mm; for the femur the length of the arc on
        the fitted cylinder, 0 straight below its axis.
    thickness_mm : (R, C) mm, 0 denuded, NaN undetermined or outside tAB.
    state : (R, C) `VertexState`.
    plate : (R, C) `Plate`.
    radius_mm : Radius of the cylinder; NaN for a map from above.
    """

    bone: Bone
    across_mm: FloatArray
    along_mm: FloatArray
    thickness_mm: FloatArray
    state: NDArray[np.uint8]
    plate: NDArray[np.uint8]
    radius_mm: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Vertices of tAB in flat coordinates.

    Attributes
    ----------
    points_mm : (N, 2) along and across.
    thickness_mm, state, plate : (N,) vertex values.
    radius_mm : Radius of the cylinder; NaN for a map from above.
    """

    points_mm: FloatArray
    thickness_mm: FloatArray
    state: NDArray[np.uint8]
    plate: NDArray[np.uint8]
    radius_mm: float = float("nan")

    def at(self, points_mm: FloatArray) -> tuple[FloatArray, NDArray[np.uint8], NDArray[np.uint8]]:
        """(M,) thickness, state and plate at flat points (M, 2): along, across."""
        tree = KDTree(self.points_mm)
        count = min(_BLENDED, len(self.points_mm))
        found = tree.query(points_mm, k=[*range(1, count + 1)])
        gap, near = np.asarray(found[0]), np.asarray(found[1])
        inside = gap[:, 0] <= _REACH_MM
        state = np.where(inside, self.state[near[:, 0]], int(VertexState.OUTSIDE)).astype(np.uint8)
        plate = np.where(inside, self.plate[near[:, 0]], int(Plate.NONE)).astype(np.uint8)
        measured = self.state[near] == int(VertexState.MEASURED)
        weight = np.where(measured, 1.0 / np.maximum(gap, 1e-6), 0.0)
        blend = (weight * np.nan_to_num(self.thickness_mm[near])).sum(axis=1)
        thickness = np.full(len(points_mm), np.nan)
        covered = state == int(VertexState.MEASURED)
        thickness[covered] = blend[covered] / weight[covered].sum(axis=1)
        thickness[state == int(VertexState.DENUDED)] = 0.0
        return thickness, state, plate


def flatten(
    surfaces: Mapping[Bone, Surface], side: Side, *, step_mm: float = 0.4
) -> dict[Bone, FlatMap]:
    """Flat thickness maps of femur and tibia.

    Parameters
    ----------
    surfaces : Bone surfaces in patient LPS+ mm with the fields of `KneeMorphometry.surfaces`.
    side : Which knee; a left one is laid out as its mirror image.
    step_mm : Pixel size.

    Returns
    -------
    Bone to its map; a bone without tAB is left out.

    Notes
    -----
    The femur is unrolled about the medial–lateral axis of its frame, on the circle that fits its
    tAB best; lengths along the rows are true on that circle. The tibia is seen along the mean
    normal of its plateaus; lengths are true in that plane.
    """
    maps = {}
    for bone in (Bone.FEMUR, Bone.TIBIA):
        layout = None if bone not in surfaces else lay_out(surfaces[bone], bone, side)
        if layout is None:
            continue
        low, high = layout.points_mm.min(axis=0) - step_mm, layout.points_mm.max(axis=0) + step_mm
        along, across = (np.arange(low[n], high[n] + step_mm, step_mm) for n in (0, 1))
        grid = np.stack(np.meshgrid(along, across, indexing="ij"), axis=-1)
        thickness, state, plate = layout.at(grid.reshape(-1, 2))
        shape = grid.shape[:2]
        maps[bone] = FlatMap(
            bone,
            across,
            along,
            thickness.reshape(shape),
            state.reshape(shape),
            plate.reshape(shape),
            layout.radius_mm,
        )
    return maps


def lay_out(surface: Surface, bone: Bone, side: Side) -> Layout | None:
    """Flat coordinates of the vertices of tAB of a femur or tibia; None without tAB.

    Raises
    ------
    ValueError
        For the patella, which has no layout.
    """
    if bone is Bone.PATELLA:
        raise ValueError("only femur and tibia are laid flat")
    fields = surface.fields
    turn = _MIRROR if side is Side.LEFT else np.ones(3)
    vertices, normals = surface.vertices * turn, fields["normals"] * turn
    inside = fields["plate"] != int(Plate.NONE)
    make = femur_frame if bone is Bone.FEMUR else tibia_frame
    frame = make(vertices, normals, fields["area_mm2"], inside)
    if frame is None:
        return None
    medial, posterior, proximal = frame.coordinates(vertices[inside]).T
    radius = float("nan")
    along = posterior
    if bone is Bone.FEMUR:
        centre_y, centre_z, radius = fit_circle(posterior, proximal, fields["area_mm2"][inside])
        along = radius * np.arctan2(posterior - centre_y, centre_z - proximal)
    return Layout(
        np.stack([along, medial], axis=1),
        fields["thickness_mm"][inside],
        fields["state"][inside],
        fields["plate"][inside],
        radius,
    )


def fit_circle(y: FloatArray, z: FloatArray, weight: FloatArray) -> tuple[float, float, float]:
    """Centre and radius of the algebraic least-squares circle.

    >>> angle = np.linspace(0.0, 3.0, 50)
    >>> y, z = 2.0 + 5.0 * np.cos(angle), -1.0 + 5.0 * np.sin(angle)
    >>> [round(v, 6) for v in fit_circle(y, z, np.ones(50))]
    [2.0, -1.0, 5.0]
    """
    root = np.sqrt(weight)
    design = np.stack([2.0 * y, 2.0 * z, np.ones(len(y))], axis=1) * root[:, None]
    found = np.linalg.lstsq(design, (y**2 + z**2) * root, rcond=None)[0]
    centre_y, centre_z, rest = (float(value) for value in found)
    return centre_y, centre_z, float(np.sqrt(rest + centre_y**2 + centre_z**2))
