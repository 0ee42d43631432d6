"""The direction of the femoral shaft, from as much of its wall as a scan shows.

Above the condyles the femur flares, in front less than behind, so that a short or oblique piece of
its wall points another way than a longer one. How much each part of the wall leans against the
shaft is known from label maps (`FEMUR_WALLS`, made by `scripts/fit_shaft_table.py`); told that,
every piece gives about the same direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Cells of the wall: rows by height above the distal end, in widths of the condyles, and sectors
#: by the direction of the normal, counted from lateral over anterior, medial and posterior.
_LOWEST, _ROW_HEIGHT, SECTORS = 0.46, 0.05, 12
#: From here on the wall counts as shaft, in widths: the bone below flares most.
_SHAFT_FROM = 0.60
#: Steeper normals belong to no wall.
_WALL_COSINE = 0.6
#: The cut end of the bone is rounded over this length; no wall is read there, mm.
_CUT_END_MM = 6.0
#: A cell with less area than this is not seen, in parts of the squared width of the condyles.
_LEAST_AREA = 5e-5
#: Cells that face more to the side than this (posterior component of the normal) are left out: they
#: tell little of the pitch, and an oblique cut can leave them alone in the uppermost row.
_FACING = 0.4
#: Fewer cells tell no direction.
_LEAST_CELLS = SECTORS
#: How one person's flare differs from the mean is common to a row of cells, and grows downwards: a
#: row this much lower, in widths, has 1/e of the weight. Femora cut at 0.9, 0.8, 0.7 and 0.6 widths
#: erred by 0.6, 1.1, 1.7 and 3.8 degrees with equal weights (RMS of 15, tables of the others).
_WEIGHT_HEIGHT = 0.07
#: Between people the shaft leans this much sideways against the flexion axis (SD).
_SIDEWAYS_SD = np.tan(np.deg2rad(4.0))

_NONE = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class WallTable:
    """How the wall of a femur leans against its shaft.

    Attributes
    ----------
    lean : (rows, sectors) component of the normal along the shaft, positive where the bone widens
        downwards; NaN where nothing is known.
    sd : (rows, sectors) its SD between people.
    """

    lean: FloatArray
    sd: FloatArray


def _table(
    lean_deg: tuple[tuple[float, ...], ...], sd_deg: tuple[tuple[float, ...], ...]
) -> WallTable:
    return WallTable(np.sin(np.deg2rad(lean_deg)), np.sin(np.deg2rad(sd_deg)))


#: Mean and SD over 24 femora, degrees. Rows begin 0.46, 0.51 ... 0.96 widths above the distal end;
#: the shaft against which they lean is the wall from 0.86 to 1.06 widths.
FEMUR_WALLS = _table(
    (
        (26.2, 24.5, 16.2, 13.3, 20.1, 23.3, 26.8, 30.7, 29.3, 27.1, 28.4, 33.8),
        (26.0, 24.6, 14.4, 11.5, 23.0, 29.3, 28.7, 28.9, 24.1, 20.1, 29.5, 34.5),
        (22.0, 21.4, 12.2, 8.5, 22.0, 30.5, _NONE, 27.0, 18.8, 16.4, 26.1, 29.7),
        (17.1, 16.3, 9.1, 5.7, 18.0, 27.6, 31.6, 25.9, 15.4, 16.9, 24.6, 25.2),
        (13.0, 12.1, 6.8, 3.7, 13.7, 22.5, 29.1, 27.1, 12.7, 16.2, 21.6, 19.1),
        (10.2, 9.5, 5.2, 2.5, 10.4, 18.1, 24.9, 26.5, 10.8, 13.6, 16.8, 14.1),
        (8.0, 7.8, 3.9, 1.7, 8.2, 14.1, 20.9, 24.7, 8.3, 10.8, 13.6, 11.1),
        (7.0, 6.5, 3.5, 1.6, 6.5, 12.2, 18.6, 20.5, 5.7, 7.6, 10.9, 10.1),
        (6.6, 6.2, 3.6, 2.0, 5.8, 10.1, 15.0, 15.7, 3.8, 5.2, 8.6, 9.4),
        (6.7, 6.0, 3.4, 1.7, 4.9, 8.3, 11.5, 12.6, 2.7, 3.7, 7.7, 8.6),
        (6.1, 5.9, 3.1, 1.7, 4.6, 8.1, 10.2, 10.5, 1.9, 2.4, 5.9, 8.5),
    ),
    (
        (2.4, 3.7, 5.8, 4.2, 4.1, 6.4, 5.0, 2.2, 2.1, 2.7, 6.2, 3.0),
        (2.8, 3.5, 5.8, 3.1, 3.2, 3.4, 2.7, 3.2, 2.5, 4.1, 6.9, 2.7),
        (4.1, 5.2, 5.7, 2.8, 2.9, 2.0, _NONE, 5.5, 2.4, 4.4, 6.7, 4.6),
        (4.2, 5.4, 4.5, 2.3, 2.5, 2.7, 1.9, 6.3, 3.1, 4.4, 5.1, 4.5),
        (4.0, 4.5, 3.3, 1.6, 2.3, 3.0, 3.5, 6.5, 2.5, 3.0, 3.9, 4.9),
        (3.6, 3.1, 2.6, 1.7, 2.3, 3.3, 3.5, 4.4, 2.3, 2.7, 4.0, 4.4),
        (2.9, 2.6, 2.4, 1.6, 2.5, 2.8, 3.4, 4.2, 1.9, 3.0, 3.3, 3.7),
        (3.0, 2.6, 2.3, 1.6, 2.6, 3.0, 2.9, 3.7, 1.3, 2.1, 2.6, 3.2),
        (2.6, 2.4, 1.9, 1.2, 2.2, 3.4, 3.4, 2.4, 1.2, 1.5, 2.2, 2.5),
        (2.2, 2.3, 1.6, 1.4, 2.2, 3.4, 3.8, 1.9, 0.7, 1.2, 2.0, 2.6),
        (2.7, 1.9, 1.4, 1.8, 2.4, 3.3, 4.2, 1.9, 0.8, 0.9, 2.1, 2.8),
    ),
)


@dataclass(frozen=True, slots=True)
class ShaftTilt:
    """Where the shaft runs against the axes with which it was looked for.

    Attributes
    ----------
    backwards, sideways : Tangents of the angles by which its upper end leans towards posterior and
        towards medial.
    length_mm : Length of shaft in view, from 0.60 widths of the condyles up.
    """

    backwards: float
    sideways: float
    length_mm: float


def shaft_tilt(
    points_mm: FloatArray,
    normals: FloatArray,
    area_mm2: FloatArray,
    width_mm: float,
    walls: WallTable = FEMUR_WALLS,
) -> ShaftTilt | None:
    """Direction of the shaft against the axes of its coordinates.

    Parameters
    ----------
    points_mm, normals : (V, 3) vertices of the femur and unit normals along medial, posterior,
        proximal; the shaft runs roughly along the third axis.
    area_mm2 : (V,) area of the vertices.
    width_mm : Width of the condyles.
    walls : How each cell of the wall leans against the shaft.

    Returns
    -------
    ShaftTilt, or None when hardly any wall above the condyles is in view.

    Notes
    -----
    On a wall that leans by g against the shaft d, n · d = sin g. With d = (a, b, 1) each cell in
    view gives an equation a nx + b ny = sin g − nz, weighted by how little g varies between people.
    A cell out of view, at an oblique or ragged cut, gives none and draws nothing to its side.
    """
    seen, normal, top_mm = wall_cells(points_mm, normals, area_mm2, width_mm, len(walls.lean))
    seen &= np.isfinite(walls.lean) & (np.abs(normal[:, :, 1]) > _FACING)
    if np.count_nonzero(seen) < _LEAST_CELLS:
        return None
    row = np.nonzero(seen)[0]
    weight = np.exp((row - row.max()) * _ROW_HEIGHT / _WEIGHT_HEIGHT) / walls.sd[seen] ** 2
    across = normal[seen][:, :2]
    equations = (across * weight[:, None]).T @ across
    equations[0, 0] += 1.0 / _SIDEWAYS_SD**2  # the anterior wall alone tells nothing about it
    right = (across * weight[:, None]).T @ (walls.lean[seen] - normal[seen][:, 2])
    sideways, backwards = np.linalg.solve(equations, right)
    length_mm = max(top_mm - _SHAFT_FROM * width_mm, 0.0)
    return ShaftTilt(float(backwards), float(sideways), float(length_mm))


def wall_cells(
    points_mm: FloatArray,
    normals: FloatArray,
    area_mm2: FloatArray,
    width_mm: float,
    rows: int,
) -> tuple[NDArray[np.bool_], FloatArray, float]:
    """What is seen of the wall, cell by cell.

    Parameters as for :func:`shaft_tilt`; `rows` is the number of rows.

    Returns
    -------
    (rows, SECTORS) whether a cell is seen, (rows, SECTORS, 3) its mean normal, and the height above
    the distal end up to which wall is seen, mm.
    """
    height_mm = points_mm[:, 2] - points_mm[:, 2].min()
    wall = np.flatnonzero(
        (height_mm >= _LOWEST * width_mm) & (np.abs(normals[:, 2]) < _WALL_COSINE)
    )
    height_mm, normals, area_mm2 = height_mm[wall], normals[wall], area_mm2[wall]
    turn = (np.arctan2(normals[:, 1], normals[:, 0]) + np.pi) / (2.0 * np.pi)
    sector = np.minimum((turn * SECTORS).astype(np.int64), SECTORS - 1)
    end_mm = np.zeros(SECTORS)
    np.maximum.at(end_mm, sector, height_mm)
    whole = height_mm < end_mm[sector] - _CUT_END_MM
    top_mm = float(height_mm.max(initial=0.0))
    row = ((height_mm / width_mm - _LOWEST) / _ROW_HEIGHT).astype(np.int64)
    used = whole & (row < rows)
    cell, weight, cells = row[used] * SECTORS + sector[used], area_mm2[used], rows * SECTORS
    area = np.bincount(cell, weight, cells)
    sums = [np.bincount(cell, weight * normals[used, axis], cells) for axis in range(3)]
    mean = np.stack(sums, axis=1) / np.maximum(area, 1e-12)[:, None]
    seen = area > _LEAST_AREA * width_mm**2
    return seen.reshape(rows, SECTORS), mean.reshape(rows, SECTORS, 3), top_mm
