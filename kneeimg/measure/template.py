"""Maps of many knees on one template grid, so that they can be averaged point by point.

A template point is a place between landmarks, not a length: on the tibia between the borders of its
plate; on the femur between the ends of the joint surface, the notch line and the notch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone, Plate, Side
from kneeimg.core.surface import Surface
from kneeimg.measure.flat import Layout, lay_out

FloatArray = NDArray[np.float64]

#: Rows (front to back) and columns (lateral to medial) of each part of the template.
TEMPLATE_SHAPES: Mapping[str, tuple[int, int]] = {
    "femur_medial": (120, 50),
    "femur_lateral": (120, 50),
    "MT": (80, 50),
    "LT": (80, 50),
}

_MEDIAL = (Plate.cMF, Plate.pMF)
_LATERAL = (Plate.cLF, Plate.pLF)
#: Share of the rows of a femoral part that lie in front of the notch line.
_TROCHLEA_SHARE = 0.4
#: Ends are taken at these percentiles of tAB, so that a single spur moves nothing.
_ENDS_PCT = (1.0, 99.0)


@dataclass(frozen=True, slots=True, eq=False)
class TemplateAverage:
    """Point-wise statistics over knees.

    Attributes
    ----------
    mean_mm, sd_mm : (R, C) mm; NaN where no knee (for the SD: fewer than two) has a value.
    count : (R, C) knees with a value.
    """

    mean_mm: FloatArray
    sd_mm: FloatArray
    count: NDArray[np.int64]


def on_template(surfaces: Mapping[Bone, Surface], side: Side) -> dict[str, FloatArray]:
    """Thickness of a knee at the points of the template.

    Parameters
    ----------
    surfaces : Bone surfaces in patient LPS+ mm with the fields of `KneeMorphometry.surfaces`.
    side : Which knee; a left one is laid out as its mirror image.

    Returns
    -------
    Part of `TEMPLATE_SHAPES` to (R, C) mm: 0 denuded, NaN undetermined or outside tAB. A part
    without landmarks on this knee is all NaN, so every knee has every part.

    Notes
    -----
    Rows run from front to back, columns from lateral to medial. On a femoral half, rows run from
    the front end of the trochlea over the notch line (at 40 % of the rows) to the posterior end of
    that condyle, columns between the middle of the notch and the outer border. On a tibial plate
    both run between its borders. The correspondence is one of landmarks, for pictures and group
    maps; numbers of regions come from `measure_knee`.
    """
    parts = {name: np.full(shape, np.nan) for name, shape in TEMPLATE_SHAPES.items()}
    femur = lay_out(surfaces[Bone.FEMUR], Bone.FEMUR, side) if Bone.FEMUR in surfaces else None
    tibia = lay_out(surfaces[Bone.TIBIA], Bone.TIBIA, side) if Bone.TIBIA in surfaces else None
    for name, shape in TEMPLATE_SHAPES.items():
        if name.startswith("femur"):
            points = None if femur is None else _femoral_points(femur, name, shape)
            layout = femur
        else:
            points = None if tibia is None else _tibial_points(tibia, Plate[name], shape)
            layout = tibia
        if layout is not None and points is not None:
            thickness, _, plate = layout.at(points)
            if not name.startswith("femur"):
                thickness[plate != int(Plate[name])] = np.nan
            parts[name] = thickness.reshape(shape)
    return parts


def average_maps(maps: Iterable[Mapping[str, FloatArray]]) -> dict[str, TemplateAverage]:
    """Mean, SD (n − 1) and count over knees at every template point.

    Examples
    --------
    >>> flat = {"MT": np.array([[1.0, np.nan]])}
    >>> found = average_maps([flat, {"MT": np.array([[3.0, np.nan]])}])["MT"]
    >>> found.mean_mm, found.count
    (array([[ 2., nan]]), array([[2, 0]]))
    """
    knees = list(maps)
    result = {}
    for name in knees[0] if knees else ():
        stack = np.stack([knee[name] for knee in knees])
        known = np.isfinite(stack)
        count = known.sum(axis=0)
        total = np.where(known, stack, 0.0).sum(axis=0)
        mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        gap = np.where(known, stack - mean, 0.0)
        squares = (gap**2).sum(axis=0)
        spread = np.divide(squares, count - 1, out=np.full(total.shape, np.nan), where=count > 1)
        result[name] = TemplateAverage(mean, np.sqrt(spread), count)
    return result


def _ends(values: FloatArray) -> tuple[float, float]:
    low, high = np.percentile(values, _ENDS_PCT)
    return float(low), float(high)


def _between(ends: tuple[float, float], count: int) -> FloatArray:
    points: FloatArray = np.linspace(ends[0], ends[1], count)
    return points


def _grid(rows: FloatArray, columns: FloatArray) -> FloatArray:
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    result: FloatArray = grid.reshape(-1, 2)
    return result


def _tibial_points(layout: Layout, plate: Plate, shape: tuple[int, int]) -> FloatArray | None:
    """(R · C, 2) flat points between the borders of a plate; None when it is empty."""
    here = layout.points_mm[layout.plate == int(plate)]
    if len(here) < 3:
        return None
    rows, columns = (_between(_ends(here[:, n]), shape[n]) for n in (0, 1))
    return _grid(rows, columns)


def _femoral_points(layout: Layout, name: str, shape: tuple[int, int]) -> FloatArray | None:
    """(R · C, 2) flat points of one half of the femur; None without trochlea and both condyles."""
    own, other = (_MEDIAL, _LATERAL) if name == "femur_medial" else (_LATERAL, _MEDIAL)
    parts = [
        layout.points_mm[np.isin(layout.plate, [int(plate) for plate in plates])]
        for plates in (own, other, (Plate.TrF,))
    ]
    if min(len(part) for part in parts) < 3:
        return None
    condyle, opposite, trochlea = parts
    front, back = _ends(trochlea[:, 0])[0], _ends(condyle[:, 0])[1]
    notch_line = 0.5 * (_ends(trochlea[:, 0])[1] + _ends(condyle[:, 0])[0])
    rows = np.interp(
        np.linspace(0.0, 1.0, shape[0]), [0.0, _TROCHLEA_SHARE, 1.0], [front, notch_line, back]
    )
    sign = 1.0 if name == "femur_medial" else -1.0
    notch = 0.5 * sign * (_ends(sign * condyle[:, 1])[0] - _ends(-sign * opposite[:, 1])[0])
    outer = sign * _ends(sign * condyle[:, 1])[1]
    return _grid(rows, _between((min(notch, outer), max(notch, outer)), shape[1]))
