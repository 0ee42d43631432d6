"""Menisci: volume, extrusion beyond the tibial plateau, and how much of the plateau they cover.

Definitions follow the three-dimensional method of Bloecker 2011 (doi:10.1186/1471-2474-12-248):
meniscus position is told relative to the total subchondral bone area of the tibia, not to
osteophytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Plate, Tissue
from kneeimg.core.measurement import Measurement
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.geometry.affines import spacing_of
from kneeimg.measure.canonical import Box, CanonicalKnee
from kneeimg.measure.frames import BoneFrame, tibia_frame
from kneeimg.measure.surfaces import evened, mesh_level_set, sample, smooth
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]
Planned = tuple[str, str, str]

#: Region to its tissue, the plate below, and +1 where outward is medial (+x of a right knee).
MENISCI: Mapping[str, tuple[Tissue, Plate, float]] = {
    "MM": (Tissue.MEDIAL_MENISCUS, Plate.MT, 1.0),
    "LM": (Tissue.LATERAL_MENISCUS, Plate.LT, -1.0),
}

#: Quantity to unit, in the order of the rows of a meniscus.
MENISCUS_UNITS: Mapping[str, str] = {
    "volume": "mm^3",
    "extrusion_mean": "mm",
    "extrusion_max": "mm",
    "coverage": "%",
}

_PRESENT = 0.1
_MARGIN_MM = 2.0
_BIN_MM = 1.0


def planned_menisci() -> tuple[Planned, ...]:
    """(region, quantity, unit) of every meniscus row of a knee.

    Examples
    --------
    >>> planned_menisci()[0]
    ('MM', 'volume', 'mm^3')
    """
    return tuple((r, q, unit) for r in MENISCI for q, unit in MENISCUS_UNITS.items())


def measure_menisci(
    knee: CanonicalKnee,
    tibia: Surface | None,
    cartilage: Iterable[Measurement],
    settings: MorphometrySettings,
    flags: tuple[ReasonCode, ...] = (),
) -> tuple[Measurement, ...]:
    """Volume, extrusion and tibial coverage of both menisci.

    Parameters
    ----------
    knee : The label map in canonical form; menisci are its tissues 10 and 11.
    tibia : Surface of the tibia in local mm with the fields `plate`, `normals`, `area_mm2`; None
        when it was not measured.
    cartilage : The cartilage rows of the same knee: why a plate is missing, and its `tab_source`.
    settings : `meniscus_min_mm`, `meniscus_reach_mm`, `meniscus_body_share`.
    flags : Codes that every row of the knee carries; extrusion and coverage also carry those of
        their plate's tAB.

    Returns
    -------
    One Measurement per entry of :func:`planned_menisci`, in that order; `TISSUE_MISSING` where the
    map has no such label.

    Notes
    -----
    Volume is the sum of voxel fractions. Extrusion is measured in the tibia's anatomical frame:
    at every front-to-back position within the central `meniscus_body_share` of the plate (the
    meniscal body), the outermost point of the meniscus minus the outer border of the plate's tAB,
    along the medial–lateral axis, positive outward; `extrusion_mean` is its mean and
    `extrusion_max` its maximum over those positions. Coverage is the share of the plate's tAB over
    which the meniscus is at least `meniscus_min_mm` thick along the bone normal.
    """
    sources = {row.region: row for row in cartilage if row.quantity == "tAB"}
    boxes = {tissue: _box(knee, tissue) for tissue, _, _ in MENISCI.values()}
    frame = None if tibia is None or not any(boxes.values()) else _frame(tibia)
    rows: list[Measurement] = []
    for region, (tissue, plate, outward) in MENISCI.items():
        source = sources.get(plate.name)
        box = boxes[tissue]
        values: dict[str, float] = {}
        reason = ReasonCode.TISSUE_MISSING
        if source is not None and source.reason is ReasonCode.SEVERAL_BONES:
            reason = source.reason  # menisci of both knees
        elif box is not None:
            values["volume"] = _volume_mm3(knee, tissue, box)
            reason = (source and source.reason) or ReasonCode.REGION_EMPTY
            if tibia is not None and frame is not None and source and source.reason is None:
                values |= _position(knee, tissue, box, (tibia, plate, frame, outward), settings)
        kind = "soft" if knee.label_map.is_soft else "hard"
        rows += [
            _row(region, q, values.get(q), reason, f"meniscus/{kind}", source, flags)
            for q in MENISCUS_UNITS
        ]
    return tuple(rows)


def _row(
    region: str,
    quantity: str,
    value: float | None,
    reason: ReasonCode,
    method: str,
    plate: Measurement | None,
    flags: tuple[ReasonCode, ...],
) -> Measurement:
    unit, tab_source = MENISCUS_UNITS[quantity], ""
    if plate is not None and quantity != "volume":  # the volume needs no plate
        tab_source, flags = plate.tab_source, tuple(dict.fromkeys((*plate.flags, *flags)))
    about = {"method": method, "tab_source": tab_source}
    if value is None:
        return Measurement.missing(region, quantity, unit, reason, **about)
    return Measurement(region, quantity, value, unit, **about, flags=flags)  # type: ignore[arg-type]


def _frame(tibia: Surface) -> BoneFrame | None:
    fields = tibia.fields
    inside = fields["plate"] != int(Plate.NONE)
    return tibia_frame(tibia.vertices, fields["normals"], fields["area_mm2"], inside)


def _box(knee: CanonicalKnee, tissue: Tissue) -> Box | None:
    """Box around a tissue, widened by a margin; None when the map does not hold it."""
    soft = knee.label_map.probabilities
    first = (0, 0, 0)
    if soft is None:
        present = knee.label_map.labels[knee.labelled] == int(tissue)
        first = (knee.labelled[0].start, knee.labelled[1].start, knee.labelled[2].start)
    elif tissue in soft:
        present = soft[tissue] >= _PRESENT
    else:
        return None
    widen = np.ceil(_MARGIN_MM / knee.label_map.grid.spacing_mm).astype(int)
    sides = []
    for axis, count in enumerate(knee.label_map.labels.shape):
        others = tuple(a for a in range(3) if a != axis)
        hits = np.flatnonzero(present.any(axis=others))
        if not len(hits):
            return None
        hits += first[axis]
        low, high = int(hits[0] - widen[axis]), int(hits[-1] + 1 + widen[axis])
        sides.append(slice(max(low, 0), min(high, count)))
    return sides[0], sides[1], sides[2]


def _volume_mm3(knee: CanonicalKnee, tissue: Tissue, box: Box) -> float:
    voxels = float(knee.fraction(tissue, box).sum(dtype=np.float64))
    return voxels * knee.label_map.grid.voxel_volume_mm3


def _position(
    knee: CanonicalKnee,
    tissue: Tissue,
    box: Box,
    plateau: tuple[Surface, Plate, BoneFrame, float],
    settings: MorphometrySettings,
) -> dict[str, float]:
    """Extrusion and coverage; a quantity that this meniscus does not have is left out."""
    tibia, plate, frame, outward = plateau
    field, affine = knee.fraction(tissue, box), knee.local_affine(box)
    soft = knee.label_map.is_soft
    smoothed = smooth(field, affine, settings.sigma_soft_mm if soft else settings.sigma_hard_mm)
    edges = evened(smoothed) if soft else smoothed
    mesh = mesh_level_set(edges, affine, settings.sigma_normal_mm)
    values = {"coverage": _coverage_pct(field, affine, tibia, plate, settings)}
    if mesh is None:
        return values
    beyond = extrusion_profile(
        frame.coordinates(mesh.vertices),
        frame.coordinates(_border(tibia, plate)),
        outward,
        settings.meniscus_body_share,
    )
    if len(beyond):
        values |= {"extrusion_mean": float(beyond.mean()), "extrusion_max": float(beyond.max())}
    return values


def _border(tibia: Surface, plate: Plate) -> FloatArray:
    """(N, 3) middles of the edges between a vertex of the plate and one that is not in it."""
    inside = tibia.fields["plate"] == int(plate)
    pairs = np.concatenate([tibia.faces[:, [0, 1]], tibia.faces[:, [1, 2]], tibia.faces[:, [2, 0]]])
    crossing = pairs[inside[pairs[:, 0]] != inside[pairs[:, 1]]]
    middles: FloatArray = tibia.vertices[crossing].mean(axis=1)
    return middles


def extrusion_profile(
    meniscus_mm: FloatArray, border_mm: FloatArray, outward: float, body_share: float
) -> FloatArray:
    """Distance of a meniscus beyond the border of its plateau, per mm from front to back.

    Parameters
    ----------
    meniscus_mm, border_mm : (N, 3), (M, 3) surface of the meniscus and border of tAB in the
        tibia's frame (medial, posterior, proximal).
    outward : +1 where outward is medial, -1 where it is lateral.
    body_share : Central part of the border's front-to-back extent that is used.

    Returns
    -------
    (K,) mm, positive outward; positions without meniscus or border are left out.

    Examples
    --------
    >>> y = np.arange(-15.0, 15.0, 0.25)
    >>> edge = np.stack([np.full_like(y, 10.0), y, 0 * y], axis=1)
    >>> inner = edge * [-1, 1, 1]
    >>> found = extrusion_profile(edge + [2.0, 0, 0], np.concatenate([edge, inner]), 1.0, 1 / 3)
    >>> bool(np.allclose(found, 2.0))
    True
    """
    if not len(meniscus_mm) or not len(border_mm):
        return np.empty(0)
    x, y = outward * border_mm[:, 0], border_mm[:, 1]
    middle, half = 0.5 * (y.max() + y.min()), 0.5 * (y.max() - y.min())
    outer = x > 0.5 * (x.max() + x.min())
    count = max(int(np.ceil(2.0 * half * body_share / _BIN_MM)), 1)
    edges = middle + half * body_share * np.linspace(-1.0, 1.0, count + 1)
    rim = np.full(count, np.nan)
    for n in range(count):  # stairs of the border average out in the mean
        here = outer & (y >= edges[n]) & (y < edges[n + 1])
        rim[n] = x[here].mean() if here.any() else np.nan
    reach = np.full(count, -np.inf)
    place = np.searchsorted(edges, meniscus_mm[:, 1], side="right") - 1
    inside = (place >= 0) & (place < count)
    np.maximum.at(reach, place[inside], outward * meniscus_mm[inside, 0])
    beyond = reach - rim
    result: FloatArray = beyond[np.isfinite(beyond)]
    return result


def _coverage_pct(
    field: NDArray[np.float32],
    affine: FloatArray,
    tibia: Surface,
    plate: Plate,
    settings: MorphometrySettings,
) -> float:
    """Share of a plate's tAB over which the meniscus has the least thickness that counts."""
    inside = tibia.fields["plate"] == int(plate)
    area = tibia.fields["area_mm2"][inside]
    inverse = np.linalg.inv(affine)
    start = tibia.vertices[inside] @ inverse[:3, :3].T + inverse[:3, 3]
    step = tibia.fields["normals"][inside] @ inverse[:3, :3].T
    step_mm = 0.5 * float(spacing_of(affine).min())
    amount = np.zeros(len(start))
    for height in np.arange(0.5 * step_mm, settings.meniscus_reach_mm, step_mm):
        amount += np.nan_to_num(sample(field, start + height * step)) * step_mm
    covered = amount >= settings.meniscus_min_mm
    return float(100.0 * area[covered].sum() / area.sum())
