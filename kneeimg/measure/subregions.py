"""Parts of the plates: five of each tibial plate, thirds of the central condyles, patellar facets.

After Wirth & Eckstein 2008 (doi:10.1109/TMI.2007.907323). All borders follow from the total
subchondral bone area (tAB) of a plate and from the shape of the bone, never from where cartilage
is left, so they stay where they are when cartilage is lost inside the plate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone, Plate, Subregion
from kneeimg.measure.frames import BoneFrame

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


def subregion_codes(
    bone: Bone, frame: BoneFrame, vertices_mm: FloatArray, area_mm2: FloatArray, plate: Codes
) -> Codes:
    """(V,) `Subregion` of every vertex.

    Parameters
    ----------
    bone : Which bone it is.
    frame : Its anatomical frame.
    vertices_mm, area_mm2 : (V, 3) and (V,) bone surface, local mm of a right knee.
    plate : (V,) `Plate` codes; what is not NONE is tAB.
    """
    codes = np.zeros(len(plate), dtype=np.uint8)
    for part in _PLATES[bone]:
        inside = plate == int(part)
        if area_mm2[inside].sum() > 0:
            codes[inside] = _CUTS[bone](part, frame, vertices_mm[inside], area_mm2[inside])
    return codes


_PLATES = {
    Bone.TIBIA: (Plate.MT, Plate.LT),
    Bone.FEMUR: (Plate.cMF, Plate.cLF),
    Bone.PATELLA: (Plate.P,),
}


def _code(prefix: str, plate: Plate) -> int:
    return int(Subregion[f"{prefix}{plate.name}"])


def _cut_tibia(
    plate: Plate, frame: BoneFrame, points_mm: FloatArray, area_mm2: FloatArray
) -> Codes:
    """Central ellipse and the four parts of the ring around it."""
    outward, behind = _ellipse_coordinates(plate, frame, points_mm, area_mm2)
    radius = np.hypot(outward, behind)
    sideways = np.abs(outward) > np.abs(behind)
    ring = np.where(
        sideways,
        np.where(outward > 0, _code("e", plate), _code("i", plate)),
        np.where(behind > 0, _code("p", plate), _code("a", plate)),
    )
    limit = weighted_quantiles(radius, area_mm2, (CENTRAL_SHARE,))[0]
    return np.where(radius <= limit, _code("c", plate), ring).astype(np.uint8)


def _ellipse_coordinates(
    plate: Plate, frame: BoneFrame, points_mm: FloatArray, area_mm2: FloatArray
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
    external = frame.axes[0] if plate is Plate.MT else -frame.axes[0]
    towards = plane @ np.stack([external, frame.axes[1]], axis=1)  # (axis, external/posterior)
    first = int(abs(towards[0, 0] * towards[1, 1]) < abs(towards[1, 0] * towards[0, 1]))
    second = 1 - first  # of the two ways to name the axes the one that turns them least
    return (
        scaled[:, first] * np.sign(towards[first, 0]),
        scaled[:, second] * np.sign(towards[second, 1]),
    )


def _cut_femur(
    plate: Plate, frame: BoneFrame, points_mm: FloatArray, area_mm2: FloatArray
) -> Codes:
    """Thirds of tAB across the condyle, from the notch outwards."""
    x = frame.coordinates(points_mm)[:, 0]
    outward = x if plate is Plate.cMF else -x
    low, high = weighted_quantiles(outward, area_mm2, (1.0 / 3.0, 2.0 / 3.0))
    inner = np.where(outward <= low, _code("i", plate), _code("c", plate))
    return np.where(outward <= high, inner, _code("e", plate)).astype(np.uint8)


def _cut_patella(
    plate: Plate, frame: BoneFrame, points_mm: FloatArray, area_mm2: FloatArray
) -> Codes:
    """Medial and lateral facet, on either side of the ridge."""
    local = frame.coordinates(points_mm)
    start, slope = ridge_line(local, area_mm2)
    medial = local[:, 0] > start + slope * local[:, 2]
    return np.where(medial, _code("m", plate), _code("l", plate)).astype(np.uint8)


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


def weighted_quantiles(
    values: FloatArray, weights: FloatArray, shares: tuple[float, ...]
) -> tuple[float, ...]:
    """Values below which the given shares of the weight lie, to within one vertex.

    >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0]), (0.5,))
    (1.0,)
    """
    order = np.argsort(values, kind="stable")
    running = np.cumsum(weights[order])
    places = np.searchsorted(running, np.array(shares) * running[-1] * (1.0 - 1e-12))
    return tuple(float(values[order[place]]) for place in places)


_CUTS = {Bone.TIBIA: _cut_tibia, Bone.FEMUR: _cut_femur, Bone.PATELLA: _cut_patella}
