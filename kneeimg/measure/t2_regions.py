"""T2 per region: plates, deep and superficial cartilage, whole tissues."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from kneeimg.core.anatomy import PLATE_BONES, PLATE_UNIONS, Bone, Tissue, VertexState
from kneeimg.core.label_map import LabelMap
from kneeimg.core.measurement import Measurement
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.measure.relaxometry import T2Map
from kneeimg.settings.relaxometry import RelaxometrySettings

FloatArray = NDArray[np.float64]
Planned = tuple[str, str, str]

#: Whole tissues that are reported beside the plates.
T2_TISSUES: Mapping[str, Tissue] = {
    "femoral_cartilage": Tissue.FEMORAL_CARTILAGE,
    "tibial_cartilage": Tissue.TIBIAL_CARTILAGE,
    "patellar_cartilage": Tissue.PATELLAR_CARTILAGE,
    "MM": Tissue.MEDIAL_MENISCUS,
    "LM": Tissue.LATERAL_MENISCUS,
}

#: Quantity to unit: of a whole tissue, and of a plate besides.
TISSUE_UNITS: Mapping[str, str] = {"T2_mean": "ms", "T2_sd": "ms", "T2_valid": "%"}
LAYER_UNITS: Mapping[str, str] = {"T2_deep": "ms", "T2_superficial": "ms"}


@dataclass(frozen=True, slots=True, eq=False)
class _Voxels:
    """Cartilage voxels of one bone: value in ms, plate, depth as a share of the thickness."""

    t2_ms: FloatArray
    plate: NDArray[np.uint8]
    depth: FloatArray


def planned_t2() -> tuple[Planned, ...]:
    """(region, quantity, unit) of every T2 row of a knee.

    Examples
    --------
    >>> planned_t2()[0]
    ('MT', 'T2_mean', 'ms')
    """
    plates = [
        (r, q, unit) for r in PLATE_UNIONS for q, unit in {**TISSUE_UNITS, **LAYER_UNITS}.items()
    ]
    tissues = [(r, q, unit) for r in T2_TISSUES for q, unit in TISSUE_UNITS.items()]
    return tuple(plates + tissues)


def measure_t2(
    t2: T2Map,
    label_map: LabelMap,
    surfaces: Mapping[Bone, Surface],
    settings: RelaxometrySettings | None = None,
    absent: Mapping[str, ReasonCode] | None = None,
) -> tuple[Measurement, ...]:
    """T2 of every plate and tissue.

    Parameters
    ----------
    t2 : Map on the grid of the label map.
    label_map : Which voxels are cartilage or meniscus (hard label).
    surfaces : Measured bone surfaces, patient LPS+ mm, with the fields of
        `KneeMorphometry.surfaces`; a bone that was not measured has no plates.
    settings : `deep_share`, `min_voxels`, `undetermined_flag_pct`.
    absent : Why a plate has no surface.

    Returns
    -------
    One Measurement per entry of :func:`planned_t2`, in that order.

    Raises
    ------
    GeometryError
        If map and labels lie on different grids.

    Notes
    -----
    Mean and SD run over valid voxels, each counted once. A voxel belongs to the plate of the
    nearest covered point of its bone; its depth is its distance to the bone along the normal there
    over the thickness of the cartilage there: below `deep_share` it is deep, else superficial.
    Layers thinner than a voxel mix: on 0.6 mm pixels and 2 mm of cartilage each layer is less than
    two voxels thick. `T2_valid` is the share of the region's voxels with a valid T2.
    """
    settings = settings or RelaxometrySettings()
    t2.t2.grid.require_same(label_map.grid)
    rows: list[Measurement] = []
    voxels = {b: _voxels_of(t2, label_map, s, b) for b, s in surfaces.items()}
    for region, plates in PLATE_UNIONS.items():
        reason = (absent or {}).get(region, ReasonCode.TISSUE_MISSING)
        found = voxels.get(PLATE_BONES[region])
        values: dict[str, float] = {}
        if found is not None:
            here = np.isin(found.plate, [int(plate) for plate in plates])
            reason = (absent or {}).get(region, ReasonCode.REGION_EMPTY)
            values = _values(found.t2_ms[here], settings)
            values |= _layers(found.t2_ms[here], found.depth[here], settings)
        units = {**TISSUE_UNITS, **LAYER_UNITS}
        rows += _rows(region, units, values, reason, t2.method, settings)
    for region, tissue in T2_TISSUES.items():
        chosen = label_map.labels == int(tissue)
        present = bool(chosen.any())
        values = _values(t2.t2.data[chosen].astype(np.float64), settings) if present else {}
        reason = ReasonCode.REGION_EMPTY if present else ReasonCode.TISSUE_MISSING
        rows += _rows(region, TISSUE_UNITS, values, reason, t2.method, settings)
    return tuple(rows)


def _voxels_of(t2: T2Map, label_map: LabelMap, surface: Surface, bone: Bone) -> _Voxels | None:
    """Cartilage voxels of a bone; None when it carries none."""
    fields = surface.fields
    covered = np.flatnonzero(fields["state"] == int(VertexState.MEASURED))
    place = np.nonzero(label_map.labels == int(bone.cartilage))
    if not len(covered) or not len(place[0]):
        return None
    points = label_map.grid.to_mm(np.stack(place, axis=1))
    nearest = covered[KDTree(surface.vertices[covered]).query(points)[1]]
    away = points - surface.vertices[nearest]
    depth_mm = np.einsum("ij,ij->i", away, fields["normals"][nearest])
    depth = np.clip(depth_mm / fields["ray_mm"][nearest], 0.0, 1.0)
    return _Voxels(t2.t2.data[place].astype(np.float64), fields["plate"][nearest], depth)


def _values(t2_ms: FloatArray, settings: RelaxometrySettings) -> dict[str, float]:
    """Mean, SD and valid share; what has too few voxels is left out."""
    if not len(t2_ms):
        return {}
    valid = t2_ms[np.isfinite(t2_ms)]
    values = {"T2_valid": 100.0 * len(valid) / len(t2_ms)}
    if len(valid) >= settings.min_voxels:
        values |= {"T2_mean": float(valid.mean()), "T2_sd": float(valid.std())}
    return values


def _layers(
    t2_ms: FloatArray, depth: FloatArray, settings: RelaxometrySettings
) -> dict[str, float]:
    values = {}
    deep = depth < settings.deep_share
    for name, layer in (("T2_deep", deep), ("T2_superficial", ~deep)):
        valid = t2_ms[layer & np.isfinite(t2_ms)]
        if len(valid) >= settings.min_voxels:
            values[name] = float(valid.mean())
    return values


def _rows(
    region: str,
    units: Mapping[str, str],
    values: Mapping[str, float],
    reason: ReasonCode,
    method: str,
    settings: RelaxometrySettings,
) -> list[Measurement]:
    lost = 100.0 - values.get("T2_valid", 100.0)
    flags = (ReasonCode.UNDETERMINED_SHARE,) if lost > settings.undetermined_flag_pct else ()
    rows = []
    for quantity, unit in units.items():
        value = values.get(quantity, math.nan)
        if math.isnan(value):
            rows.append(Measurement.missing(region, quantity, unit, reason, method=method))
        else:
            rows.append(Measurement(region, quantity, value, unit, method=method, flags=flags))
    return rows
