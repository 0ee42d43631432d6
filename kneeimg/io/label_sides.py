"""Left or right, as the labels of a segmentation themselves show it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import LabelScheme, Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.laterality import SideSource, combine_sides

#: Centroids nearer than this, in mm from left to right, do not tell the side.
_SIDE_MARGIN_MM = 5.0


def side_shown(
    values: NDArray[Any],
    tissues: NDArray[np.uint8],
    scheme: LabelScheme,
    grid: Grid,
    where: str,
    present: Container[Tissue] = frozenset(Tissue),
) -> Side | None:
    """The side that medial and lateral labels, and the fibula, show by where they lie.

    `present` names the tissues that need to be looked for.
    """
    if not scheme.compartments:
        return None
    sources = list(_side_sources(values, tissues, scheme, grid, present))
    combined = combine_sides(sources, where=where)
    return None if combined is None else combined[0]


def _side_sources(
    values: NDArray[Any],
    tissues: NDArray[np.uint8],
    scheme: LabelScheme,
    grid: Grid,
    present: Container[Tissue],
) -> Iterator[SideSource]:
    pairs = (
        ("tibial cartilage", Tissue.TIBIAL_CARTILAGE),
        ("femoral cartilage", Tissue.FEMORAL_CARTILAGE),
    )
    for name, tissue in pairs:
        parts = {
            place: [
                value
                for value, compartment in scheme.compartments.items()
                if compartment == place and scheme.tissues[value] is tissue
            ]
            for place in ("medial", "lateral")
        }
        if parts["medial"] and parts["lateral"]:
            medial = _centre_x(_any_of(values, parts["medial"]), grid)
            yield name, _side_of(medial, _centre_x(_any_of(values, parts["lateral"]), grid))
    for name, medial_of, lateral_of in (
        ("menisci", Tissue.MEDIAL_MENISCUS, Tissue.LATERAL_MENISCUS),
        ("fibula", Tissue.TIBIA, Tissue.FIBULA),
    ):
        if lateral_of not in present:  # most maps label neither
            continue
        lateral = _centre_x(tissues == lateral_of, grid)
        if lateral is not None:
            yield name, _side_of(_centre_x(tissues == medial_of, grid), lateral)


def _any_of(values: NDArray[Any], wanted: list[int]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = values == wanted[0]
    for value in wanted[1:]:
        inside |= values == value
    return inside


def _centre_x(inside: NDArray[np.bool_], grid: Grid) -> float | None:
    """Centroid from right to left in mm (LPS x); None if there is no voxel."""
    count = np.count_nonzero(inside)
    if count == 0:
        return None
    means = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        profile = np.count_nonzero(inside, axis=others)
        means.append(float(profile @ np.arange(len(profile))) / count)
    return float(grid.to_mm(means)[0])


def _side_of(medial_x: float | None, lateral_x: float | None) -> Side | None:
    """In a right knee the medial part lies further towards the patient's left."""
    if medial_x is None or lateral_x is None or abs(medial_x - lateral_x) < _SIDE_MARGIN_MM:
        return None
    return Side.RIGHT if medial_x > lateral_x else Side.LEFT
