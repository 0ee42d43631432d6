"""True subregions of the phantom's plates, from its exact surfaces.

The definitions are those of the measurement, computed anew by quadrature: tibial plates are cut by
the ellipse of 20 % of tAB (centre and principal axes of tAB) and by the diagonals of its frame,
central condyles into thirds of tAB across, the patella at its ridge (x = 0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Plate, Subregion
from kneeimg.phantoms.truth import Borders, PatchCells

FloatArray = NDArray[np.float64]
Level = Callable[[FloatArray], FloatArray]

CENTRAL_SHARE = 0.20


def subregion_borders(
    cells: Iterable[PatchCells], plate: Plate, borders: Borders
) -> dict[Subregion, Borders]:
    """Borders of the subregions of one plate, beside the edge of its sheet.

    Parameters
    ----------
    cells : The surface of its bone that carries cartilage.
    plate : The plate that is cut.
    borders : Its own borders on the surface.

    Returns
    -------
    Subregion to levels that are negative inside it; empty for a plate that is not cut.
    """
    if plate is Plate.P:
        sides = {Subregion.mP: -1.0, Subregion.lP: 1.0}
        return {part: _with(borders, _along(0, sign)) for part, sign in sides.items()}
    if plate in (Plate.MT, Plate.LT):
        return _tibial(_Area.of(cells, borders), plate, borders)
    if plate in (Plate.cMF, Plate.cLF):
        return _femoral(_Area.of(cells, borders), plate, borders)
    return {}


def _with(borders: Borders, *more: Level) -> Borders:
    """Those borders and some more."""
    return lambda points: (*borders(points), *(level(points) for level in more))


def _along(axis: int, sign: float, limit: float = 0.0) -> Level:
    """Negative where sign × coordinate is below the limit."""

    def level(points: FloatArray) -> FloatArray:
        result: FloatArray = sign * points[:, axis] - limit
        return result

    return level


@dataclass(frozen=True, slots=True)
class _Area:
    """The cells of one plate: corners (N, 4, 3), centres (N, 3) and areas (N,)."""

    corners: FloatArray
    centres: FloatArray
    mm2: FloatArray

    @classmethod
    def of(cls, cells: Iterable[PatchCells], borders: Borders) -> _Area:
        """All cells that have a share in the plate."""
        corners, areas = [], []
        for patch in cells:
            area, p = patch.area_mm2(borders), patch.corners
            used = area > 0.0
            quads = (p[:-1, :-1], p[1:, :-1], p[:-1, 1:], p[1:, 1:])
            corners.append(np.stack([quad[used] for quad in quads], axis=1))
            areas.append(area[used])
        every = np.concatenate(corners)
        return cls(every, every.mean(axis=1), np.concatenate(areas))

    def limit(self, level: Level, share: float) -> float:
        """The value of a level below which a share of the area lies.

        Inside a cell the area is spread evenly between its least and its greatest corner.
        """
        values = level(self.corners.reshape(-1, 3)).reshape(-1, 4)
        low, high = values.min(axis=1), values.max(axis=1)
        density = self.mm2 / np.maximum(high - low, 1e-12)
        place = np.concatenate([low, np.maximum(high, low + 1e-12)])
        change = np.concatenate([density, -density])  # of the area per unit of the level
        order = np.argsort(place, kind="stable")
        place, slope = place[order], np.cumsum(change[order])
        below = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(place))])
        return float(np.interp(share * self.mm2.sum(), below, place))


def _tibial(area: _Area, plate: Plate, borders: Borders) -> dict[Subregion, Borders]:
    """Ellipse in the middle and the ring in four parts."""
    outward, behind = _ellipse_axes(area, plate)

    def radius(points: FloatArray) -> FloatArray:
        return np.hypot(outward(points), behind(points))

    limit = area.limit(radius, CENTRAL_SHARE)
    name = plate.name
    parts = {Subregion[f"c{name}"]: _with(borders, lambda points: radius(points) - limit)}
    for prefix, main, other in (
        ("a", _times(behind, -1.0), outward),
        ("p", behind, outward),
        ("e", outward, behind),
        ("i", _times(outward, -1.0), behind),
    ):
        # the sector around `main` > 0, between the two diagonals main = ± other
        parts[Subregion[prefix + name]] = _with(
            borders,
            lambda points: limit - radius(points),
            _difference(other, main),
            _difference(_times(other, -1.0), main),
        )
    return parts


def _times(level: Level, factor: float) -> Level:
    return lambda points: factor * level(points)


def _difference(first: Level, second: Level) -> Level:
    return lambda points: first(points) - second(points)


def _ellipse_axes(area: _Area, plate: Plate) -> tuple[Level, Level]:
    """External and posterior coordinate on a plate in units of the SD of its area along them."""
    centre = np.average(area.centres, axis=0, weights=area.mm2)
    covariance = np.cov(area.centres.T, aweights=area.mm2, ddof=0)
    spread2, vectors = np.linalg.eigh(covariance)
    external = np.array([1.0 if plate is Plate.MT else -1.0, 0.0, 0.0])
    found = {}
    for towards in (external, np.array([0.0, 1.0, 0.0])):
        which = 1 + int(np.argmax(np.abs(vectors[:, 1:].T @ towards)))
        axis = vectors[:, which] * np.sign(vectors[:, which] @ towards)
        found[tuple(towards)] = axis / np.sqrt(spread2[which])
    first, second = found.values()
    return (lambda points: (points - centre) @ first, lambda points: (points - centre) @ second)


def _femoral(area: _Area, plate: Plate, borders: Borders) -> dict[Subregion, Borders]:
    """Thirds of the area across the condyle."""
    sign = 1.0 if plate is Plate.cMF else -1.0
    outward = _along(0, sign)
    low, high = (area.limit(outward, share) for share in (1.0 / 3.0, 2.0 / 3.0))
    spans: Sequence[tuple[str, tuple[Level, ...]]] = (
        ("e", (_along(0, -sign, -high),)),
        ("c", (_along(0, sign, high), _along(0, -sign, -low))),
        ("i", (_along(0, sign, low),)),
    )
    return {Subregion[p + plate.name]: _with(borders, *levels) for p, levels in spans}
