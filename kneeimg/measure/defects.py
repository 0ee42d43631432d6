"""Full-thickness cartilage defects: how many, how large, on which plate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import PLATE_BONES, PLATE_UNIONS, Bone, Plate, VertexState
from kneeimg.core.measurement import Measurement
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.geometry.meshes import connected_parts
from kneeimg.geometry.sharing import each
from kneeimg.measure.regions import region_share
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]
Planned = tuple[str, str, str]

#: Quantity to unit, in the order of the rows of a plate.
DEFECT_UNITS: Mapping[str, str] = {
    "defect_count": "count",
    "defect_area": "mm^2",
    "defect_largest": "mm^2",
}


def planned_defects() -> tuple[Planned, ...]:
    """(region, quantity, unit) of every defect row of a knee.

    Examples
    --------
    >>> planned_defects()[0]
    ('MT', 'defect_count', 'count')
    """
    return tuple((r, q, unit) for r in PLATE_UNIONS for q, unit in DEFECT_UNITS.items())


def find_defects(
    surface: Surface, min_area_mm2: float
) -> tuple[NDArray[np.int64], tuple[Plate, ...]]:
    """Connected denuded parts of tAB that are large enough to count.

    Parameters
    ----------
    surface : Bone surface with the vertex fields `state`, `plate` and `area_mm2`.
    min_area_mm2 : A smaller denuded part is no defect.

    Returns
    -------
    number : (V,) defect of each vertex, from 0; -1 outside every defect.
    plates : For each defect the plate that holds most of its area.

    Notes
    -----
    Parts are connected over triangle edges between denuded vertices. A part that crosses the
    border of two plates is one defect.

    Examples
    --------
    >>> corners = np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]])
    >>> bare = Surface(corners, np.array([[0, 1, 2]])).with_fields(
    ...     state=np.full(3, 2), plate=np.full(3, 1), area_mm2=np.full(3, 8 / 3))
    >>> find_defects(bare, 5.0)
    (array([0, 0, 0]), (<Plate.MT: 1>,))
    """
    count = len(surface.vertices)
    bare = surface.fields["state"] == int(VertexState.DENUDED)
    if not bare.any():
        return np.full(count, -1, dtype=np.int64), ()
    area = np.where(bare, surface.fields["area_mm2"], 0.0)
    part = connected_parts(surface.faces, count, bare).astype(np.int64)
    total = np.bincount(part, weights=area, minlength=count)
    bare &= (total >= min_area_mm2)[part] & (total > 0.0)[part]
    kept, numbered = np.unique(part[bare], return_inverse=True)
    number = np.full(count, -1, dtype=np.int64)
    number[bare] = numbered
    plate = surface.fields["plate"].astype(np.int64)
    share = np.zeros((len(kept), max(Plate) + 1))
    np.add.at(share, (number[bare], plate[bare]), area[bare])
    return number, tuple(Plate(int(best)) for best in share.argmax(axis=1))


def measure_defects(
    surfaces: Mapping[Bone, Surface],
    cartilage: Iterable[Measurement],
    settings: MorphometrySettings,
) -> tuple[Measurement, ...]:
    """Count and area of the full-thickness defects of every plate.

    Parameters
    ----------
    surfaces : Bone surfaces with the vertex fields of `KneeMorphometry.surfaces`.
    cartilage : The cartilage rows of the same surfaces: a plate whose `dAB` could not be
        measured has no defect rows either, for the same reason; flags and `tab_source` follow.
    settings : `min_defect_mm2`.

    Returns
    -------
    One Measurement per entry of :func:`planned_defects`, in that order.

    Notes
    -----
    `defect_area` is the part of `dAB` that belongs to defects of at least `min_defect_mm2`;
    smaller bare spots are left out, so it never exceeds `dAB`. A defect across the border of two
    plates is counted once, on the plate that holds most of it, while its area goes to both: counts
    and areas add up over plates. `defect_largest` is the greatest area of one defect inside the
    region. Denuded bone inside tAB is cartilage lost down to the bone, the full-thickness loss of
    MRI scores (MOAKS, doi:10.1016/j.joca.2011.05.004); the area limit is a setting, not theirs.
    """
    parts = each(lambda s: find_defects(s, settings.min_defect_mm2), tuple(surfaces.values()))
    found = dict(zip(surfaces, parts, strict=True))
    like = {row.region: row for row in cartilage if row.quantity == "dAB"}
    rows: list[Measurement] = []
    for region in PLATE_UNIONS:
        bone, source = PLATE_BONES[region], like.get(region)
        context = {
            "method": "" if source is None else source.method,
            "tab_source": "" if source is None else source.tab_source,
        }
        if source is None or source.reason is not None or bone not in surfaces:
            reason = (source and source.reason) or ReasonCode.REGION_EMPTY
            rows += [
                Measurement.missing(region, q, unit, reason, **context)
                for q, unit in DEFECT_UNITS.items()
            ]
            continue
        values = _values(surfaces[bone], *found[bone], region)
        rows += [
            Measurement(region, q, values[q], unit, **context, flags=source.flags)  # type: ignore[arg-type]
            for q, unit in DEFECT_UNITS.items()
        ]
    return tuple(rows)


def _values(
    surface: Surface, number: NDArray[np.int64], plates: tuple[Plate, ...], region: str
) -> dict[str, float]:
    """The three quantities of one region."""
    members = PLATE_UNIONS[region]
    here = np.flatnonzero(number >= 0)
    own_mm2 = surface.fields["area_mm2"][here] * region_share(surface, region, here)
    area = np.bincount(number[here], weights=own_mm2, minlength=len(plates))
    return {
        "defect_count": float(sum(plate in members for plate in plates)),
        "defect_area": float(area.sum()),
        "defect_largest": float(area.max(initial=0.0)),
    }
