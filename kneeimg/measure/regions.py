"""From vertex values to one row per region and quantity.

`summarise` needs surfaces only: the same function serves a single visit and a follow-up that
carries the baseline's tAB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import (
    AGGREGATE_SUMS,
    PLATE_UNIONS,
    REGION_BONES,
    REGION_CELLS,
    Bone,
    Plate,
    Subregion,
    VertexState,
)
from kneeimg.core.measurement import Measurement
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.geometry.sharing import each
from kneeimg.measure.tab import COVERED, HOLES_FILLED
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]

#: Quantity to unit, in the order of the rows of a plate.
QUANTITY_UNITS: Mapping[str, str] = {
    "VC": "mm^3",
    "tAB": "mm^2",
    "cAB": "mm^2",
    "dAB": "mm^2",
    "dABp": "%",
    "AC": "mm^2",
    "ThCtAB_aMe": "mm",
    "ThCtAB_aSD": "mm",
    "ThCtAB_aCV": "%",
    "ThCcAB_aMe": "mm",
    "ThCcAB_aSD": "mm",
    "VCtAB": "mm",
}

#: Further quantities of the central subregions: mean of the lowest and highest 1 % of the area.
EXTREME_UNITS: Mapping[str, str] = {"ThCtAB_aMiv": "mm", "ThCtAB_aMav": "mm"}
EXTREME_REGIONS = ("cMT", "cLT", "ccMF", "ccLF")
EXTREME_SHARE = 0.01

#: Vertex fields from which the rows are made.
_NEEDED = ("plate", "subregion", "shares", "state", "area_mm2", "ray_mm") + (
    "volume_mm3",
    "articular_mm2",
    "articular_mm3",
)

#: Quantities whose sum over regions is reported for the aggregates MFTC, cMFTC, FTJ, ...
SUMMED = ("VC", "tAB", "cAB", "dAB", "AC", "ThCtAB_aMe", "ThCcAB_aMe")


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Vertex values of one region; `area_mm2` is what belongs to it."""

    state: NDArray[np.uint8]
    area_mm2: FloatArray
    ray_mm: FloatArray
    volume_mm3: float
    articular_mm2: float
    articular_mm3: float


def planned_measurements() -> tuple[tuple[str, str, str], ...]:
    """(region, quantity, unit) of every row that a knee yields, measured or not.

    Examples
    --------
    >>> planned_measurements()[0]
    ('MT', 'VC', 'mm^3')
    """
    parts = [(r, q, unit) for r in REGION_BONES for q, unit in quantity_units(r).items()]
    sums = [(region, q, QUANTITY_UNITS[q]) for region in AGGREGATE_SUMS for q in SUMMED]
    return tuple(parts + sums)


def quantity_units(region: str) -> Mapping[str, str]:
    """Quantity to unit of every row of one region (not of a sum)."""
    return {**QUANTITY_UNITS, **EXTREME_UNITS} if region in EXTREME_REGIONS else QUANTITY_UNITS


def region_mask(surface: Surface, region: str) -> NDArray[np.bool_]:
    """(V,) vertices of a plate, a union of plates or a subregion, inside tAB.

    For drawing and for what is asked of single vertices; areas, volumes and means follow
    :func:`region_share`. A surface without the field `subregion` has no subregions.

    Raises
    ------
    KeyError
        For a region that is neither.
    """
    plate = surface.fields["plate"]
    if region in PLATE_UNIONS:
        return np.isin(plate, [int(code) for code in PLATE_UNIONS[region]])
    code = int(Subregion[region])
    parts = surface.fields.get("subregion", np.zeros_like(plate))
    inside: NDArray[np.bool_] = (parts == code) & (plate != int(Plate.NONE))
    return inside


def region_share(
    surface: Surface, region: str, vertices: NDArray[np.int64] | slice = slice(None)
) -> FloatArray:
    """Share of each vertex's area that belongs to a region, 0 outside tAB.

    Parameters
    ----------
    surface : Bone surface with the field `plate`, and `shares` or `subregion`.
    region : A plate, a union of plates or a subregion.
    vertices : Numbers of the vertices that are asked for; all by default.

    Raises
    ------
    KeyError
        For any other region.

    Notes
    -----
    Borders cut through triangles, so a vertex beside a border has a part of the regions on either
    side; the shares of the subregions of a plate add up to that of the plate. On a surface without
    the field `shares` every vertex belongs to one region as a whole (:func:`region_mask`).
    """
    if "shares" not in surface.fields:
        return region_mask(surface, region)[vertices].astype(np.float64)
    share = np.zeros(len(surface.fields["plate"][vertices]))
    for column in REGION_CELLS[region]:
        share += surface.fields["shares"][vertices, column]
    share[surface.fields["plate"][vertices] == int(Plate.NONE)] = 0.0
    return share


def summarise(
    surfaces: Mapping[Bone, Surface],
    *,
    method: str,
    settings: MorphometrySettings,
    tab_source: str | Mapping[str, str] | None = None,
    absent: Mapping[str, ReasonCode] | None = None,
    flags: Mapping[str, tuple[ReasonCode, ...]] | None = None,
) -> tuple[Measurement, ...]:
    """All planned measurements of a knee from its measured bone surfaces.

    Parameters
    ----------
    surfaces : Bone to surface with the vertex fields of `KneeMorphometry.surfaces`.
    method : Written in every row, "ray/soft" or "ray/hard".
    settings : Limits for the flags.
    tab_source : How tAB was obtained, for all regions or per region; None for "covered" or
        "holes filled", as each region shows.
    absent : Regions that cannot be measured, with the reason.
    flags : Region to codes that its rows carry.

    Returns
    -------
    One Measurement per entry of :func:`planned_measurements`, in that order.
    """
    rows: dict[tuple[str, str], Measurement] = {}
    on_tab = {bone: _tab_only(surface) for bone, surface in surfaces.items()}
    missing = absent or {}
    known = tuple(region for region in REGION_BONES if region not in missing)
    parts = dict(
        zip(known, each(lambda r: _part(on_tab.get(REGION_BONES[r]), r), known), strict=True)
    )
    found = dict(zip(known, each(lambda r: _values(parts[r], r), known), strict=True))
    for region in REGION_BONES:
        reason, part = missing.get(region), parts.get(region)
        values = found.get(region, {})
        context = {"method": method, "tab_source": _source(part, region, tab_source)}
        codes = _codes(values, part, settings) + tuple((flags or {}).get(region, ()))
        for quantity, unit in quantity_units(region).items():
            value = values.get(quantity, math.nan)
            if math.isnan(value):
                why = reason or _why_missing(part)
                row = Measurement.missing(region, quantity, unit, why, **context)
            else:
                row = Measurement(region, quantity, value, unit, **context, flags=codes)  # type: ignore[arg-type]
            rows[region, quantity] = row
    for region, members in AGGREGATE_SUMS.items():
        for quantity in SUMMED:
            rows[region, quantity] = _sum(region, [rows[m, quantity] for m in members])
    return tuple(rows[region, quantity] for region, quantity, _ in planned_measurements())


def _tab_only(surface: Surface) -> Surface:
    """The vertices inside tAB and their values, without triangles."""
    inside = surface.fields["plate"] != int(Plate.NONE)
    fields = {name: surface.fields[name][inside] for name in _NEEDED if name in surface.fields}
    if "shares" in fields and not fields["shares"].any(axis=1).all():
        del fields["shares"]  # tAB was changed since it was divided: no area may be lost
    return Surface(surface.vertices[inside], np.empty((0, 3), dtype=np.int64), fields)


def _part(surface: Surface | None, region: str) -> _Part | None:
    """Values of the vertices of a region; None when it has none."""
    if surface is None:
        return None
    fields = surface.fields
    if not region_mask(surface, region).any():  # slivers of the plate beside it are no region
        return None
    share = region_share(surface, region)
    inside = np.flatnonzero(share)
    share = share[inside]
    area_mm2 = share * fields["area_mm2"][inside]
    if area_mm2.sum() <= 0:
        return None
    amounts = ("volume_mm3", "articular_mm2", "articular_mm3")
    return _Part(
        fields["state"][inside],
        area_mm2,
        fields["ray_mm"][inside],
        *(float(share @ fields[name][inside]) for name in amounts),
    )


def _values(part: _Part | None, region: str) -> dict[str, float]:
    """Quantities of one region; a quantity that this region has not is left out or NaN."""
    if part is None:
        return {}
    measured = part.state == int(VertexState.MEASURED)
    undetermined = part.state == int(VertexState.UNDETERMINED)
    known = ~undetermined
    total = float(part.area_mm2.sum())
    covered = float(part.area_mm2[measured | undetermined].sum())
    values = {
        "VC": part.volume_mm3,
        "tAB": total,
        "cAB": covered,
        "dAB": total - covered,
        "dABp": 100.0 * (total - covered) / total,
        "AC": part.articular_mm2,
        "VCtAB": part.volume_mm3 / total,
    }
    if covered == 0:
        return values | {"ThCtAB_aMe": 0.0, "ThCtAB_aSD": 0.0} | dict.fromkeys(EXTREME_UNITS, 0.0)
    if not measured.any():
        return values
    mean_mm, sd_mm = _mean_sd(part.ray_mm[measured], part.area_mm2[measured])
    if part.articular_mm2 > 0:  # the mean of both directed distances
        mean_mm = 0.5 * (mean_mm + part.articular_mm3 / part.articular_mm2)
    over_tab = np.where(measured, part.ray_mm, 0.0)[known]
    sd_tab_mm = _mean_sd(over_tab, part.area_mm2[known])[1]
    extremes: dict[str, float] = {}
    if region in EXTREME_REGIONS:
        ends_mm = _extremes(over_tab, part.area_mm2[known], EXTREME_SHARE)
        extremes = dict(zip(EXTREME_UNITS, ends_mm, strict=True))
    mean_tab_mm = mean_mm * covered / total
    return values | {
        "ThCtAB_aMe": mean_tab_mm,
        "ThCtAB_aSD": sd_tab_mm,
        "ThCtAB_aCV": 100.0 * sd_tab_mm / mean_tab_mm,
        "ThCcAB_aMe": mean_mm,
        "ThCcAB_aSD": sd_mm,
        **extremes,
    }


def _mean_sd(values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Weighted mean and SD.

    >>> _mean_sd(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    (2.0, 1.0)
    """
    share = weights / weights.sum()
    mean = float((share * values).sum())
    return mean, math.sqrt(float((share * (values - mean) ** 2).sum()))


def _extremes(values: FloatArray, weights: FloatArray, share: float) -> tuple[float, float]:
    """Weighted means of the lowest and of the highest `share` of the weight.

    >>> _extremes(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 1.0]), 0.5)
    (1.5, 3.0)
    """
    order = np.argsort(values, kind="stable")
    ordered, weight = values[order], weights[order]
    part = share * weight.sum()

    def lowest(some: FloatArray, own: FloatArray) -> float:
        before = np.cumsum(own) - own
        used = np.clip(part - before, 0.0, own)  # the last vertex counts in part
        return float(used @ some / used.sum())

    return lowest(ordered, weight), lowest(ordered[::-1], weight[::-1])


def _source(part: _Part | None, region: str, given: str | Mapping[str, str] | None) -> str:
    if isinstance(given, str):
        return given
    if given is not None and region in given:
        return given[region]
    if part is None:
        return ""
    return HOLES_FILLED if (part.state == int(VertexState.DENUDED)).any() else COVERED


def _codes(
    values: Mapping[str, float], part: _Part | None, settings: MorphometrySettings
) -> tuple[ReasonCode, ...]:
    """Flags that follow from the values themselves."""
    codes = []
    if part is not None:
        lost = part.area_mm2[part.state == int(VertexState.UNDETERMINED)].sum()
        if 100.0 * lost / part.area_mm2.sum() > settings.undetermined_flag_pct:
            codes.append(ReasonCode.UNDETERMINED_SHARE)
    low, high = settings.plausible_mean_mm
    if "ThCcAB_aMe" in values and not low <= values["ThCcAB_aMe"] <= high:
        codes.append(ReasonCode.IMPLAUSIBLE_THICKNESS)
    return tuple(codes)


def _why_missing(part: _Part | None) -> ReasonCode:
    """Empty region, or covered bone on which every ray failed."""
    if part is None or not (part.state == int(VertexState.UNDETERMINED)).any():
        return ReasonCode.REGION_EMPTY
    return ReasonCode.RAY_MISSED


def _sum(region: str, rows: list[Measurement]) -> Measurement:
    """Sum over regions; missing as soon as one is, with the reason of the first."""
    first = rows[0]
    sources = tuple(dict.fromkeys(row.tab_source for row in rows if row.tab_source))
    context = {"method": first.method, "tab_source": " + ".join(sources), "aggregate": "sum"}
    reason = next((row.reason for row in rows if row.reason is not None), None)
    if reason is not None:
        return Measurement.missing(region, first.quantity, first.unit, reason, **context)
    flags = tuple(dict.fromkeys(code for row in rows for code in row.flags))
    total = sum(row.value for row in rows)
    return Measurement(region, first.quantity, total, first.unit, **context, flags=flags)  # type: ignore[arg-type]
