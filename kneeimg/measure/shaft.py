"""How the femoral shaft leans in its sagittal plane, from as much of its wall as a scan shows.

Above the condyles the femur flares, behind more than in front, so a piece of its wall points
another way the lower it lies. What is read is therefore always the same piece, a tenth of the width
of the condyles long, whose upper end is `TOP` widths above the distal end. A shorter view shows a
lower piece, told how such a piece leans against the upper one in the mean of real femora
(`LEANS_DEG`, made by `scripts/fit_shaft_table.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Upper end of the piece of wall that is read, in widths of the condyles, and its length by its
#: upper end: low down femora differ more, and a longer piece tells more. An OAI view (140 mm) shows
#: nearly all of the upper piece of a femur of 75 mm in any pose.
TOP, _PIECE_TOPS, _PIECES = 0.96, (0.64, 0.80), (0.16, 0.10)
#: The lowest upper end that still tells a direction, and the lowest wall that is read.
LOWEST_TOP, _LOWEST = 0.48, 0.38
#: From here on the wall counts as shaft, in widths; with any wall in view there is a bit of it, mm.
_SHAFT_FROM, _SHAFT_LEAST_MM = 0.60, 1.0
#: Only what faces forwards or backwards is read (least posterior part of the normal): the sides
#: tell nothing of the sagittal lean, and an oblique cut leaves unlike parts of them in view.
FACING = 0.70
#: Steeper normals belong to the cut end of the bone, or to the condyles.
_WALL_COSINE = 0.60
#: No wall is read this near to its end, where smoothing has seen its last slices twice, mm.
END_MM = 2.5
#: A femur flares less the higher up. Where the flare grows by this much over its least, in rows of
#: this height, the label tapers or is closed towards its end: no wall. It does so over this length
#: at most, degrees and mm (seen: 11 mm).
_TAPER_DEG, _ROW_MM, _TAPER_MM = 1.5, 2.0, 14.0
#: Each wall is whole up to the height that all sectors of its middle reach; its edges, where it
#: turns to the sides, are missing at some height in some knees.
_SECTORS, _MIDDLE_DEG = 4, 32.0
#: Fewer vertices are no wall.
_LEAST = 30

#: Upper ends in widths, and how much further forward the piece below leans than that below `TOP`,
#: degrees (mean of the label maps of 24 people, two visits each, that show the whole piece).
LEAN_TOPS = (0.50, 0.54, 0.58, 0.62, 0.66, 0.70, 0.74, 0.78, 0.82, 0.86, 0.90, 0.93, 0.96)
LEANS_DEG = (6.2, 5.0, 3.5, 2.8, 3.1, 3.8, 4.1, 3.7, 3.0, 2.0, 1.0, 0.4, 0.0)


@dataclass(frozen=True, slots=True)
class ShaftLean:
    """How the shaft runs in the sagittal plane of the axes with which it was looked for.

    Attributes
    ----------
    backwards_deg : Angle by which its upper end leans towards posterior.
    top : Upper end of the piece that was read, widths of the condyles above the distal end.
    length_mm : Length of shaft in view, from 0.60 widths up; 1 where the view ends lower.
    """

    backwards_deg: float
    top: float
    length_mm: float


def shaft_lean(
    points_mm: FloatArray, normals: FloatArray, area_mm2: FloatArray, width_mm: float
) -> ShaftLean | None:
    """Lean of the femoral shaft against the third axis of its coordinates.

    Parameters
    ----------
    points_mm, normals : (V, 3) vertices of the femur and unit normals along medial, posterior,
        proximal; the shaft runs roughly along the third axis.
    area_mm2 : (V,) area of the vertices.
    width_mm : Width of the condyles.

    Returns
    -------
    ShaftLean, or None when hardly any wall above the condyles is in view.

    Notes
    -----
    The mean of how far the anterior wall leans backwards and the posterior wall forwards, each
    weighted with area and with height above the lower end of the piece. Both walls end at one
    height, that up to which all of both is in view: an obliquely or raggedly cut end adds nothing
    to one side alone.
    """
    height_mm = points_mm[:, 2] - points_mm[:, 2].min()
    wall = np.flatnonzero((height_mm > _LOWEST * width_mm) & (np.abs(normals[:, 2]) < _WALL_COSINE))
    out = np.stack([column.take(wall) for column in normals.T], axis=1)
    height_mm, area_mm2 = height_mm.take(wall), area_mm2.take(wall)
    level = np.hypot(out[:, 0], out[:, 1])
    sides = [s * out[:, 1] > FACING * level for s in (-1.0, 1.0)]
    if min(np.count_nonzero(side) for side in sides) < _LEAST:
        return None
    end_mm = min(_whole_up_to_mm(out[side], height_mm[side]) for side in sides)
    end_mm = _without_taper_mm(out, height_mm, area_mm2, sides, end_mm, _SHAFT_FROM * width_mm)
    top = min((end_mm - END_MM) / width_mm, TOP)
    if top < LOWEST_TOP:
        return None
    low = max(top - float(np.interp(top, _PIECE_TOPS, _PIECES)), _LOWEST)
    weight = np.where(height_mm < top * width_mm, area_mm2, 0.0)
    weight *= np.maximum(height_mm - low * width_mm, 0.0)
    lean_deg = [
        np.rad2deg(np.arctan2(weight[side] @ out[side, 2], weight[side] @ np.abs(out[side, 1])))
        for side in sides
    ]
    backwards_deg = 0.5 * (lean_deg[0] - lean_deg[1]) + np.interp(top, LEAN_TOPS, LEANS_DEG)
    length_mm = max(end_mm - _SHAFT_FROM * width_mm, _SHAFT_LEAST_MM)
    return ShaftLean(float(backwards_deg), float(top), float(length_mm))


def _whole_up_to_mm(out: FloatArray, height_mm: FloatArray) -> float:
    """Height up to which every sector of one wall is in view."""
    turn_deg = np.rad2deg(np.arctan2(out[:, 0], np.abs(out[:, 1])))
    sector = np.floor((turn_deg / _MIDDLE_DEG + 1.0) * 0.5 * _SECTORS).astype(np.int64)
    middle = (sector >= 0) & (sector < _SECTORS)
    ends = np.zeros(_SECTORS)
    np.maximum.at(ends, sector[middle], height_mm[middle])
    return float(ends.min())


def _without_taper_mm(
    out: FloatArray,
    height_mm: FloatArray,
    area_mm2: FloatArray,
    sides: list[NDArray[np.bool_]],
    end_mm: float,
    from_mm: float,
) -> float:
    """The end of the walls, or the height from which the label tapers towards it."""
    count = int(min(end_mm - from_mm, _TAPER_MM) // _ROW_MM)
    if count < 2:
        return end_mm
    row = np.floor((end_mm - height_mm) / _ROW_MM).astype(np.int64)  # 0 ends at the end
    flare_deg = np.zeros(count)
    for side in sides:
        some = np.flatnonzero(side & (row >= 0) & (row < count))
        up, level = (
            np.bincount(row[some], area_mm2[some] * part[some], count)
            for part in (out[:, 2], np.abs(out[:, 1]))
        )
        flare_deg += 0.5 * np.rad2deg(np.arctan2(up, level))
    least = int(flare_deg.argmin())
    tapering = np.flatnonzero(flare_deg[: least + 1] <= flare_deg[least] + _TAPER_DEG)[0]
    return end_mm - float(tapering) * _ROW_MM
