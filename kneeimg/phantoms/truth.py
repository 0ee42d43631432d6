"""True volume, areas and thickness of a phantom sheet, by quadrature on its exact surface.

Nothing here knows a voxel or the measuring code. A patch of the surface is cut into small cells;
the share of a cell that belongs to a region comes from the linear fit of the region's borders, so
areas converge with the square of the cell size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.phantoms.bones import Patch
from kneeimg.phantoms.cartilage import Sheet
from kneeimg.phantoms.partial_volume import box_fraction

FloatArray = NDArray[np.float64]
#: Levels on the surface, negative inside a region, for points (N, 3).
Borders = Callable[[FloatArray], Sequence[FloatArray]]

STEP_MM = 0.12


@dataclass(frozen=True, slots=True)
class Totals:
    """Integrals over one region; sums of disjoint regions add up.

    Attributes
    ----------
    tab_mm2, cab_mm2 : Total and covered area of subchondral bone.
    ac_mm2 : Area of the articular cartilage surface.
    vc_mm3 : Cartilage volume.
    over_bone, over_articular : Thickness integrated over covered bone and over the articular
        surface, mm³.
    """

    tab_mm2: float = 0.0
    cab_mm2: float = 0.0
    ac_mm2: float = 0.0
    vc_mm3: float = 0.0
    over_bone: float = 0.0
    over_articular: float = 0.0

    def __add__(self, other: Totals) -> Totals:
        names = self.__slots__
        return Totals(*(getattr(self, name) + getattr(other, name) for name in names))

    def quantities(self) -> dict[str, float]:
        """Named quantities: mm, mm², mm³, %.

        ThCcAB_aMe is the mean of the two directed means, over covered bone and over the articular
        surface; ThCtAB_aMe is the same times cAB / tAB, which counts bare bone as 0. ThCcAB is NaN
        where nothing is covered.
        """
        bare_mm2 = self.tab_mm2 - self.cab_mm2
        covered_mm = 0.5 * (
            _ratio(self.over_bone, self.cab_mm2) + _ratio(self.over_articular, self.ac_mm2)
        )
        covered_share = _ratio(self.cab_mm2, self.tab_mm2)
        return {
            "VC": self.vc_mm3,
            "tAB": self.tab_mm2,
            "cAB": self.cab_mm2,
            "dAB": bare_mm2,
            "dABp": _ratio(100.0 * bare_mm2, self.tab_mm2),
            "AC": self.ac_mm2,
            "VCtAB": _ratio(self.vc_mm3, self.tab_mm2),
            # bare bone has no articular surface of its own: it weighs in by its share of the bone
            "ThCtAB_aMe": covered_mm * covered_share if self.cab_mm2 > 0.0 else 0.0,
            "ThCcAB_aMe": covered_mm,
        }


def _ratio(value: float, total: float) -> float:
    return value / total if total > 0.0 else float("nan")


def cells_of(sheet: Sheet, patches: Iterable[Patch]) -> tuple[PatchCells, ...]:
    """The cells of all patches that reach into the sheet."""
    cropped = (_cropped(patch, sheet) for patch in patches)
    return tuple(PatchCells(sheet, patch) for patch in cropped if patch is not None)


def sum_over(cells: Iterable[PatchCells], regions: Sequence[Borders]) -> tuple[Totals, ...]:
    """Integrals over every region of one sheet.

    Parameters
    ----------
    cells : The cells of the sheet.
    regions : Per region its borders on the surface, beside the edge of the sheet itself.
    """
    totals = [Totals() for _ in regions]
    for patch in cells:
        for number, borders in enumerate(regions):
            totals[number] += patch.totals(borders)
    return tuple(totals)


def _cropped(patch: Patch, sheet: Sheet) -> Patch | None:
    """The rows and columns of a patch that reach into the sheet; None if none does."""
    shape = patch.points.shape[:2]
    inside = (sheet.bone.edge(patch.points.reshape(-1, 3)) < 0.0).reshape(shape)
    if not inside.any():
        return None
    window = (_span(np.any(inside, axis=1)), _span(np.any(inside, axis=0)))
    return Patch(patch.points[window], patch.normals[window])


def _span(used: NDArray[np.bool_]) -> slice:
    """First to last use, with one cell to spare."""
    where = np.flatnonzero(used)
    return slice(max(int(where[0]) - 1, 0), int(where[-1]) + 2)


class PatchCells:
    """The cells of one patch: areas, thickness, cover; regions are weighed against them.

    Attributes
    ----------
    corners : (n + 1, m + 1, 3) mm.
    """

    def __init__(self, sheet: Sheet, patch: Patch) -> None:
        self.corners = patch.points
        flat = patch.points.reshape(-1, 3)
        shape = patch.points.shape[:2]
        corner_mm = sheet.thickness(flat).reshape(shape)
        self._t_mm = _cell_mean(corner_mm)
        edge = sheet.bone.edge(flat).reshape(shape)
        inside = _cell_share(edge)
        self._bone_mm2 = inside * _cell_area(patch.points)
        cover = np.ones_like(inside)
        if sheet.bare:
            cover -= _cell_share(-sheet.bare_level(flat).reshape(shape))
        self._cover = cover
        articular = patch.points + corner_mm[..., None] * patch.normals
        self._articular_mm2 = inside * _cell_area(articular)
        self._volume_mm3 = inside * _cell_volume(patch, self._t_mm)

    def totals(self, borders: Borders) -> Totals:
        """Integrals over the cells inside all borders."""
        share = self._share(borders)
        covered = share * self._cover
        return Totals(
            tab_mm2=float((share * self._bone_mm2).sum()),
            cab_mm2=float((covered * self._bone_mm2).sum()),
            ac_mm2=float((covered * self._articular_mm2).sum()),
            vc_mm3=float((covered * self._volume_mm3).sum()),
            over_bone=float((covered * self._bone_mm2 * self._t_mm).sum()),
            over_articular=float((covered * self._articular_mm2 * self._t_mm).sum()),
        )

    def area_mm2(self, borders: Borders) -> FloatArray:
        """(n, m) area of every cell that lies inside the sheet and all borders."""
        result: FloatArray = self._share(borders) * self._bone_mm2
        return result

    def _share(self, borders: Borders) -> FloatArray:
        """(n, m) share of every cell inside all borders."""
        share = np.ones_like(self._t_mm)
        for level in borders(self.corners.reshape(-1, 3)):
            share = share * _cell_share(level.reshape(self.corners.shape[:2]))
        return share


def _cell_mean(corner: FloatArray) -> FloatArray:
    """Mean of the four corners of every cell."""
    result: FloatArray = (corner[:-1, :-1] + corner[1:, :-1] + corner[:-1, 1:] + corner[1:, 1:]) / 4
    return result


def _cell_share(level: FloatArray) -> FloatArray:
    """Share of every cell in which a level, known at the corners, is negative."""
    along = (level[1:, :-1] + level[1:, 1:] - level[:-1, :-1] - level[:-1, 1:]) / 2.0
    across = (level[:-1, 1:] + level[1:, 1:] - level[:-1, :-1] - level[1:, :-1]) / 2.0
    mean = _cell_mean(level)
    share = box_fraction(mean.ravel(), np.stack([along.ravel(), across.ravel()]))
    return share.reshape(mean.shape)


def _cell_cross(corners: FloatArray) -> FloatArray:
    """Vector area of every cell, from its diagonals."""
    first = corners[1:, 1:] - corners[:-1, :-1]
    second = corners[:-1, 1:] - corners[1:, :-1]
    result: FloatArray = np.cross(first, second) / 2.0
    return result


def _cell_area(corners: FloatArray) -> FloatArray:
    result: FloatArray = np.linalg.norm(_cell_cross(corners), axis=-1)
    return result


def _cell_volume(patch: Patch, t_mm: FloatArray) -> FloatArray:
    """Volume over every cell: areas at three heights, exact for the quadratic Jacobian."""
    a, b = patch.points, patch.normals
    area0 = _cell_area(a)
    # area at height s is area0 + linear s + quadratic s² for a cell of parallel surfaces
    one, two = _cell_area(a + b), _cell_area(a + 2.0 * b)
    quadratic = (two - 2.0 * one + area0) / 2.0
    linear = one - area0 - quadratic
    result: FloatArray = t_mm * (area0 + t_mm * (linear / 2.0 + t_mm * quadratic / 3.0))
    return result
