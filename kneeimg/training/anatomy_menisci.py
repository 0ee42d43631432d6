"""Menisci drawn into the gap between femur and tibia, where a label map does not show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kneeimg.training.anatomy_bones import FEMUR, TIBIA, is_any
from kneeimg.training.anatomy_fields import FloatField, Mask, box_of, largest_part
from kneeimg.training.anatomy_source import SPACING_MM
from kneeimg.training.tissues import Substance

_LEAST_MM3 = 60.0
_PLANE_MM = SPACING_MM[:2]


@dataclass(frozen=True, slots=True)
class MeniscusShape:
    """How one meniscus looks.

    Attributes
    ----------
    width_mm : Width of its body from the outer rim to the free edge.
    height_mm : Greatest height at the rim.
    rim_mm : How far the rim stands out over the cartilage of the plateau, without extrusion.
    extrusion_mm : How far the body has moved outwards on top of that.
    opening_deg : Half the angle that is open towards the notch.
    absent_deg : First and last direction of a missing part (0 anterior, 90 away from the notch,
        180 posterior); equal values: nothing is missing.
    """

    width_mm: float
    height_mm: float
    rim_mm: float
    extrusion_mm: float
    opening_deg: float
    absent_deg: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, medial: bool, diseased: bool) -> MeniscusShape:
        """A healthy or a worn meniscus."""
        width = rng.uniform(8.0, 12.0) if medial else rng.uniform(9.0, 12.5)
        absent = (0.0, 0.0)
        extrusion = rng.uniform(0.0, 1.0)
        if diseased:
            width *= rng.uniform(0.4, 1.0)
            extrusion = rng.uniform(0.0, 5.0)
            if rng.random() < 0.35:
                start = rng.uniform(20.0, 170.0)
                absent = (start, start + rng.uniform(4.0, 80.0))
        return cls(
            width,
            rng.uniform(5.0, 8.0),
            rng.uniform(0.5, 2.0),
            extrusion,
            rng.uniform(38.0, 55.0) if medial else rng.uniform(22.0, 40.0),
            absent,
        )


def add_menisci(codes: NDArray[np.uint8], medial: MeniscusShape, lateral: MeniscusShape) -> None:
    """Draw both menisci into unlabelled voxels of a canonical map, in place.

    A meniscus fills columns between the plateau and the condyle around the rim of the plateau's
    cartilage, open towards the notch, no higher than a wedge that ends at its free edge.
    """
    plateau = codes == int(Substance.TIBIAL_CARTILAGE)
    box = box_of(plateau, (18, 30, 40))
    part = codes[box]
    plateau = plateau[box]
    floor, ceiling = _gap(part, plateau)
    split = _split(plateau)
    across = np.arange(part.shape[0])[:, None]
    for shape, code, side, towards_notch in (
        (medial, Substance.MEDIAL_MENISCUS, across >= split, -1.0),
        (lateral, Substance.LATERAL_MENISCUS, across < split, 1.0),
    ):
        footprint = plateau.any(axis=2) & side
        if not footprint.any():
            continue
        low, high = _levels(footprint, floor, ceiling, shape, towards_notch)
        k = np.arange(part.shape[2])
        wedge = (k > low[:, :, None]) & (k < high[:, :, None]) & side[:, :, None]
        mask = _tidy(wedge & (part == 0), part == 0)
        part[mask] = int(code)


def _split(plateau: Mask) -> int:
    """Index across at which the two plateaus part: the least cartilage in the middle third."""
    amount = ndimage.gaussian_filter1d(plateau.sum(axis=(1, 2)).astype(float), 2.0)
    filled = np.flatnonzero(amount > 0)
    first, last = int(filled[0]), int(filled[-1])
    third = (last - first) // 3
    return first + third + int(amount[first + third : last - third + 1].argmin())


def _gap(part: NDArray[np.uint8], plateau: Mask) -> tuple[FloatField, FloatField]:
    """(i, j) highest tibial and lowest femoral voxel of each column; NaN where there is none."""
    tibia = is_any(part, (*TIBIA, int(Substance.TIBIAL_CARTILAGE)))
    femur = is_any(part, (*FEMUR, int(Substance.FEMORAL_CARTILAGE)))
    depth = part.shape[2]
    top = (depth - 1 - tibia[:, :, ::-1].argmax(axis=2)).astype(np.float32)
    top[~tibia.any(axis=2)] = np.nan
    bottom = femur.argmax(axis=2).astype(np.float32)
    bottom[~femur.any(axis=2)] = np.nan
    return top, bottom


def _levels(
    footprint: Mask,
    floor: FloatField,
    ceiling: FloatField,
    shape: MeniscusShape,
    towards_notch: float,
) -> tuple[FloatField, FloatField]:
    """(i, j) voxel levels between which the meniscus lies; empty where low >= high."""
    footprint = ndimage.binary_fill_holes(
        ndimage.binary_closing(np.pad(footprint, 8), iterations=6)[8:-8, 8:-8]
    )
    beyond = ndimage.distance_transform_edt(~footprint, sampling=_PLANE_MM)
    within = ndimage.distance_transform_edt(footprint, sampling=_PLANE_MM)
    signed = beyond - within
    turn_deg = _direction_deg(footprint, towards_notch)
    body = np.exp(-(((turn_deg - 95.0) / 50.0) ** 2))
    rim = shape.rim_mm + shape.extrusion_mm * body
    from_rim = rim - signed  # 0 at the rim, grows inwards
    open_ = (turn_deg > 360.0 - 90.0 - shape.opening_deg) & (turn_deg < 270.0 + shape.opening_deg)
    absent = (turn_deg > shape.absent_deg[0]) & (turn_deg < shape.absent_deg[1])
    ring = (from_rim > 0) & (from_rim < shape.width_mm) & ~open_ & ~absent
    # Outside the plateau the floor goes on level with its edge, and so does the condyle.
    floor = _continued(floor, footprint)
    wedge_mm = shape.height_mm * (1.0 - from_rim / shape.width_mm)
    wedge_mm = np.minimum(wedge_mm, 1.5 + 3.0 * np.clip(from_rim, 0, None))  # rounded rim
    gap_mm = (ceiling - floor) * SPACING_MM[2]
    gap_mm = np.where(np.isnan(gap_mm) | (gap_mm < 0), np.inf, gap_mm)
    height = np.minimum(wedge_mm, gap_mm) / SPACING_MM[2]
    middle = floor + np.where(np.isfinite(gap_mm), np.minimum(gap_mm, 9.0), wedge_mm) / (
        2 * SPACING_MM[2]
    )
    low = np.where(ring, middle - height / 2, np.inf)
    high = np.where(ring, middle + height / 2, -np.inf)
    return low.astype(np.float32), high.astype(np.float32)


def _direction_deg(footprint: Mask, towards_notch: float) -> FloatField:
    """(i, j) 0 anterior, 90 away from the notch, 180 posterior, 270 towards the notch."""
    middle = np.argwhere(footprint).mean(axis=0)
    x = (np.arange(footprint.shape[0])[:, None] - middle[0]) * _PLANE_MM[0]
    y = (np.arange(footprint.shape[1])[None, :] - middle[1]) * _PLANE_MM[1]
    # an ellipse's directions, so that the horns reach the notch of a long plateau as of a round one
    spread = np.argwhere(footprint).std(axis=0) * np.array(_PLANE_MM)
    turn = np.degrees(np.arctan2(-towards_notch * x / spread[0], -y / spread[1]))
    return np.asarray(turn % 360.0, dtype=np.float32)


def _continued(level: FloatField, footprint: Mask) -> FloatField:
    """The level at the nearest column of the footprint, smoothed; equal to it inside."""
    known = footprint & ~np.isnan(level)
    index = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    filled = level[tuple(index)]
    smooth = ndimage.gaussian_filter(filled, (2.0, 3.0))
    return np.asarray(np.where(known, filled, smooth), dtype=np.float32)


def _tidy(mask: Mask, free: Mask) -> Mask:
    """Smooth the drawn columns a little, keep one piece; none if too small to be one."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), (0.8, 1.2, 1.0))
    # what lies against cartilage is smoothed away there too: compare with the free room
    room = ndimage.gaussian_filter(free.astype(np.float32), (0.8, 1.2, 1.0))
    mask = free & (soft > 0.5 * room) & (soft > 0.08)
    if not mask.any():
        return mask
    mask = largest_part(mask)
    enough = np.count_nonzero(mask) * float(np.prod(SPACING_MM)) >= _LEAST_MM3
    return mask if enough else np.zeros_like(mask)
