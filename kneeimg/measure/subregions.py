"""Parts of the plates: five of each tibial plate, thirds of the central condyles, patellar facets.

After Wirth & Eckstein 2008 (doi:10.1109/TMI.2007.907323). All borders follow from the total
subchondral bone area (tAB) of a plate and from the shape of the bone, never from where cartilage
is left, so they stay where they are when cartilage is lost inside the plate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import CELLS, SUBREGIONS_OF, Bone, Plate
from kneeimg.core.surface import Surface
from kneeimg.geometry.area_shares import AreaShares, faces_around
from kneeimg.measure.frames import BoneFrame
from kneeimg.measure.plates import PlateLines

FloatArray = NDArray[np.float64]
Codes = NDArray[np.uint8]

#: Share of a tibial plate that is its central subregion.
CENTRAL_SHARE = 0.20
#: Height of the strips across the patella in which its ridge is looked for, mm.
_STRIP_MM = 2.0
#: The ridge lies within this part of the width of the joint surface around its middle.
_RIDGE_WITHIN = 0.5
#: A strip's crest is the mean of all that lies within this depth of its highest point, mm, weighted
#: with area and height: vertices alone lie as the voxels do (SD of the ridge over 30 poses 0.09 mm,
#: weighted 0.02 mm).
_CREST_DEPTH_MM = 0.5


def divided(
    surface: Surface, bone: Bone, frame: BoneFrame, lines: PlateLines
) -> dict[str, NDArray[Any]]:
    """Vertex fields that tell which regions of its tAB each vertex belongs to.

    Parameters
    ----------
    surface : Bone surface with the fields `plate` and `area_mm2`.
    bone, frame, lines : Which bone it is, its anatomical frame and what parts its plates.

    Returns
    -------
    subregion : (V,) `Subregion` in which the vertex itself lies.
    shares : (V, C) float32, share of the vertex's area in every cell of `CELLS`: borders cut
        through triangles. Rows inside tAB add up to 1, the others are 0.

    Notes
    -----
    With labels alone a border moves by whole rows of vertices, 0.7 mm apart where they lie along
    the slices: over 30 poses of a patella the tAB of its facets ranged over 2.6 %.
    """
    plate = surface.fields["plate"]
    codes = np.zeros(len(plate), dtype=np.uint8)
    shares = np.zeros((len(plate), len(CELLS[bone])), dtype=np.float32)
    inside = plate != int(Plate.NONE)
    if inside.any():
        patch = _patch(surface, inside, frame)
        own = inside[patch.number]
        number = patch.number[own]
        code, share = _divide(patch, plate[patch.number], bone, lines)
        codes[number], shares[number] = code[own], share[own]
    return {"subregion": codes, "shares": shares}


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """tAB, or a plate of it, and the triangles around it.

    Attributes
    ----------
    number : (n,) numbers of its vertices in the surface, or in the patch it is a part of.
    local_mm : (n, 3) vertices in the anatomical frame.
    area_mm2 : (n,) their areas inside, 0 outside.
    areas : How borders divide it.
    """

    number: NDArray[np.int64]
    local_mm: FloatArray
    area_mm2: FloatArray
    areas: AreaShares


def _patch(surface: Surface, inside: NDArray[np.bool_], frame: BoneFrame) -> _Patch:
    number, faces, _ = faces_around(surface.faces, inside)
    local_mm = frame.coordinates(surface.vertices[number])
    area_mm2 = np.where(inside, surface.fields["area_mm2"], 0.0)[number]
    return _Patch(number, local_mm, area_mm2, AreaShares.of(local_mm, faces))


def _around(patch: _Patch, chosen: NDArray[np.bool_], weight: FloatArray) -> _Patch:
    """The patch around some of its vertices, with its numbers in the patch."""
    number, areas = patch.areas.around(chosen)
    return _Patch(number, patch.local_mm[number], weight[number], areas)


def _divide(
    patch: _Patch, plate: Codes, bone: Bone, lines: PlateLines
) -> tuple[Codes, NDArray[np.float32]]:
    """Code and shares of all vertices of a patch.

    A code is the part that holds most of a vertex's area.
    """
    cells = CELLS[bone]
    codes = np.zeros(len(plate), dtype=np.uint8)
    shares = np.zeros((len(plate), len(cells)), dtype=np.float32)
    for part, of_plate in lines.shares(patch.local_mm, patch.areas).items():
        weight = patch.area_mm2 * of_plate
        parts = SUBREGIONS_OF.get(part, ())
        if not parts or weight.sum() <= 0:
            shares[:, cells.index(parts[0].name if parts else part.name)] = of_plate
            continue
        here = plate == int(part)
        own = _around(patch, here | (weight > 0), weight)  # also a vertex without area
        share = np.stack(_CUTS[bone](part, own), axis=1)
        label = np.array(parts, dtype=np.uint8)[share.argmax(axis=1)]
        codes[own.number] = np.where(here[own.number], label, codes[own.number])
        first = cells.index(parts[0].name)
        share *= of_plate[own.number, None]
        shares[own.number, first : first + len(parts)] = share
    return codes, shares


def _cut_tibia(plate: Plate, patch: _Patch) -> tuple[FloatArray, ...]:
    """Shares of the central ellipse and of the ring's parts a, p, e, i."""
    outward, behind = _ellipse_coordinates(plate, patch.local_mm, patch.area_mm2)
    radius = np.hypot(outward, behind)
    (limit,) = patch.areas.levels_with_shares(radius, patch.area_mm2, (CENTRAL_SHARE,))
    central = patch.areas.below(radius - limit)
    ring = 1.0 - central
    out = patch.areas.below(behind - outward)  # beyond the one diagonal, and beyond the other
    front = patch.areas.below(behind + outward)
    return (
        central,
        ring * out * front,
        ring * (1.0 - out) * (1.0 - front),
        ring * out * (1.0 - front),
        ring * (1.0 - out) * front,
    )


def _ellipse_coordinates(
    plate: Plate, points_mm: FloatArray, area_mm2: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(n,) external and posterior coordinate of the points in units of the plate's own ellipse.

    The ellipse has the centre and the principal axes of tAB; its half axes are in the ratio of the
    standard deviations along them. In these units it is a circle, and the diagonals of its frame
    are the diagonals of the unit square: they cut an elliptical plate into rings of equal area.
    """
    share = area_mm2 / area_mm2.sum()
    offset = points_mm - share @ points_mm
    moment = (offset * share[:, None]).T @ offset
    spread2, axes = np.linalg.eigh(moment)
    plane = axes[:, 1:].T  # the two long axes; the shortest is the normal of the plate
    scaled = (offset @ plane.T) / np.sqrt(np.maximum(spread2[1:], 1e-12))
    external = 1.0 if plate is Plate.MT else -1.0
    towards = plane[:, :2] * np.array([external, 1.0])  # (axis, external/posterior)
    first = int(abs(towards[0, 0] * towards[1, 1]) < abs(towards[1, 0] * towards[0, 1]))
    second = 1 - first  # of the two ways to name the axes the one that turns them least
    return (
        scaled[:, first] * np.sign(towards[first, 0]),
        scaled[:, second] * np.sign(towards[second, 1]),
    )


def _cut_femur(plate: Plate, patch: _Patch) -> tuple[FloatArray, ...]:
    """Shares of the thirds of tAB across the condyle: e, c, i."""
    outward = patch.local_mm[:, 0] if plate is Plate.cMF else -patch.local_mm[:, 0]
    limits = patch.areas.levels_with_shares(outward, patch.area_mm2, (1.0 / 3.0, 2.0 / 3.0))
    one, two = (patch.areas.below(outward - limit) for limit in limits)
    return 1.0 - two, two - one, one


def _cut_patella(plate: Plate, patch: _Patch) -> tuple[FloatArray, ...]:
    """Shares of the medial and the lateral facet, on either side of the ridge."""
    x, _, z = patch.local_mm.T
    own = patch.area_mm2 > 0
    start, slope = ridge_line(patch.local_mm[own], patch.area_mm2[own])
    medial = patch.areas.below(start + slope * z - x)
    return medial, 1.0 - medial


def ridge_line(local_mm: FloatArray, area_mm2: FloatArray) -> tuple[float, float]:
    """The ridge of the patella as medial = start + slope * proximal, mm in its frame.

    In every 2 mm strip across the joint surface the ridge is what reaches furthest back in the
    middle half; the line is the median of the lines through pairs of strips (Theil and Sen), so
    single strips with an osteophyte do not turn it.
    """
    x, y, z = local_mm.T
    low, high = np.percentile(x, [1.0, 99.0])
    margin = 0.5 * (1.0 - _RIDGE_WITHIN) * (high - low)
    middle = (x > low + margin) & (x < high - margin)
    strip = np.floor(z / _STRIP_MM).astype(np.int64)
    crest = []
    for number in np.unique(strip[middle]):
        here = middle & (strip == number)
        above = np.maximum(y - y[here].max() + _CREST_DEPTH_MM, 0.0)
        weight = np.where(here, area_mm2 * above, 0.0)
        if weight.sum() > 0:
            crest.append((weight @ z / weight.sum(), weight @ x / weight.sum()))
    if not crest:
        return float(np.median(x)), 0.0
    height, place = np.array(crest).T
    first, second = np.triu_indices(len(height), k=1)
    far = height[second] - height[first] > 3.0 * _STRIP_MM
    rise = (place[second] - place[first])[far] / (height[second] - height[first])[far]
    slope = float(np.median(rise)) if len(rise) else 0.0
    return float(np.median(place - slope * height)), slope


_CUTS = {Bone.TIBIA: _cut_tibia, Bone.FEMUR: _cut_femur, Bone.PATELLA: _cut_patella}
