"""Anatomical frames from the shapes of the bones, so that regions do not turn with the knee.

All points are local mm of a canonical (right) knee: +x medial, +y posterior, +z proximal, up to the
pose of the knee in the scanner. Each bone gets its own frame; the scanner axes only decide the
signs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.geometry.affines import linear_map
from kneeimg.measure.shaft import shaft_lean

FloatArray = NDArray[np.float64]

#: The width of the condyles is taken up to this height above the distal end, mm.
_CONDYLES_MM = 40.0
#: Length of shaft that is looked for, mm.
SHAFT_WANTED_MM = 15.0
#: The shaft is searched from the scanner's +z and settles in a few rounds, to this angle.
_ROUNDS, _SETTLED_DEG = 8, 0.02
#: A wall that leads further away from the scanner's +z than 45 degrees is none.
_SCANNER_UP, _LARGEST_TURN = np.array([0.0, 0.0, 1.0]), np.cos(np.deg2rad(45.0))
#: So do the spheres, in which vertices further than this from a first fit (walls, notch,
#: osteophytes) do not count, mm.
_TRIMS, _SPHERE_BAND_MM = 3, 3.0
#: Where the spheres are fitted: normals from distal (0) towards posterior, degrees; their largest
#: medial-lateral part; height above the distal end and distance from the middle, in widths.
_SPHERE_FROM_DEG, _SPHERE_TO_DEG, _SPHERE_SIDEWAYS = 10.0, 110.0, 0.7
_SPHERE_HEIGHT, _SPHERE_INNER = 0.45, 0.13
#: Fewer vertices than this are no condyle.
_SPHERE_LEAST = 50


@dataclass(frozen=True, slots=True, eq=False)
class BoneFrame:
    """Right-handed anatomical axes of one bone.

    Attributes
    ----------
    axes : (3, 3) rows are the unit vectors medial, posterior, proximal in local mm.
    origin_mm : (3,) centre of the cartilage-bearing bone, local mm.
    shaft_mm : Length of shaft in view (from 0.60 widths of the condyles up); 0 when the scanner's
        +z stood in, NaN on a bone whose frame needs no shaft.
    """

    axes: FloatArray
    origin_mm: FloatArray
    shaft_mm: float = float("nan")

    @property
    def has_short_shaft(self) -> bool:
        """Whether less shaft was in view than the proximal axis needs (see `femur_frame`)."""
        return self.shaft_mm < SHAFT_WANTED_MM - 1e-6

    def coordinates(self, points_mm: FloatArray) -> FloatArray:
        """(N, 3) mm along medial, posterior and proximal."""
        return linear_map(self.axes, points_mm - self.origin_mm)


def _unit(vector: FloatArray) -> FloatArray:
    result: FloatArray = vector / np.linalg.norm(vector)
    return result


def _angle_deg(first: FloatArray, second: FloatArray) -> float:
    """Angle between two unit vectors."""
    return float(np.rad2deg(np.arctan2(np.linalg.norm(np.cross(first, second)), first @ second)))


def _frame(medial: FloatArray, proximal: FloatArray) -> FloatArray:
    """Rows medial, posterior, proximal; `medial` kept, `proximal` made perpendicular to it."""
    medial = _unit(medial)
    proximal = _unit(proximal - (proximal @ medial) * medial)
    return np.stack([medial, np.cross(proximal, medial), proximal])


def _towards(vector: FloatArray, axis: int) -> FloatArray:
    """The vector or its opposite, whichever runs along +axis."""
    return vector if vector[axis] >= 0 else -vector


def femur_frame(
    vertices_mm: FloatArray,
    normals: FloatArray,
    area_mm2: FloatArray,
    covered: NDArray[np.bool_],
) -> BoneFrame | None:
    """Frame of the femur.

    Parameters
    ----------
    vertices_mm, normals, area_mm2 : (V, 3), (V, 3), (V,) bone surface.
    covered : (V,) vertices that carry cartilage.

    Returns
    -------
    BoneFrame, or None when no bone carries cartilage.

    Notes
    -----
    The medial axis joins the centres of two spheres fitted to the posterior condyles (the flexion
    axis), on bone alone, so that it does not turn where cartilage is lost. The search begins with
    the direction in which the normals of the covered bone have their smallest second moment (the
    joint surface is close to a surface of revolution); without two condyles it stays there.

    The proximal axis follows the anterior and posterior wall of the shaft in the sagittal plane
    (:func:`kneeimg.measure.shaft.shaft_lean`), always at one height where the view reaches it. A
    line through section centroids would do worse: a section that the view cuts obliquely pulls it
    over (seen on a real knee: 38°). Between two visits of 24 femora, registered, the axes differed
    by 0.9° about the flexion axis (RMS; median 0.5°), 0.9° about the shaft and 0.7° about the
    sagittal axis. With less than 15 mm of shaft in view the rows are flagged; where no wall is
    seen the scanner's +z takes its place and `shaft_mm` is 0.
    """
    weight = area_mm2[covered]
    if weight.sum() <= 0:
        return None
    origin = weight @ vertices_mm[covered] / weight.sum()
    axes = _frame(_towards(_least_moment(normals[covered], weight), 0), _SCANNER_UP)
    # columns one after the other: products with a few axes are then three times faster
    vertices_mm, normals = np.asfortranarray(vertices_mm), np.asfortranarray(normals)
    shaft_mm = 0.0
    for number in range(_ROUNDS):
        found = _flexion_axis(vertices_mm, normals, area_mm2, axes)
        moved_deg = 0.0 if found is None else _angle_deg(found, axes[0])
        axes = _frame(axes[0] if found is None else found, axes[2])
        places, out = (axes @ those.T for those in (vertices_mm, normals))
        width_mm = float(np.ptp(_condyles(places[0], places[2])))
        lean = shaft_lean(places.T, out.T, area_mm2, width_mm)
        if lean is None:  # a view that ends lower in these axes than in the last: those stand
            break
        shaft_mm = lean.length_mm
        step_deg = lean.backwards_deg * (1.0 if number < _ROUNDS // 2 else 0.5)  # no going round
        axes = _frame(axes[0], axes[2] + np.tan(np.deg2rad(step_deg)) * axes[1])
        if max(abs(step_deg), moved_deg) < _SETTLED_DEG:
            break
    if axes[2] @ _SCANNER_UP < _LARGEST_TURN:
        return BoneFrame(_frame(axes[0], _SCANNER_UP), origin, 0.0)
    return BoneFrame(axes, origin, shaft_mm)


def condyle_width_mm(vertices_mm: FloatArray, axes: FloatArray) -> float:
    """Width of the condyles of a femur across its sagittal plane."""
    return float(np.ptp(_condyles(vertices_mm @ axes[0], vertices_mm @ axes[2])))


def _condyles(across: FloatArray, height: FloatArray) -> FloatArray:
    """Where the vertices of the condyles lie across the femur."""
    low: FloatArray = across[height < height.min() + _CONDYLES_MM]
    return low


def _flexion_axis(
    vertices_mm: FloatArray, normals: FloatArray, area_mm2: FloatArray, axes: FloatArray
) -> FloatArray | None:
    """Unit vector from the centre of the lateral to that of the medial posterior condyle."""
    height = vertices_mm @ axes[2]
    distal = height.min()
    x = vertices_mm @ axes[0]
    ends = _condyles(x, height)
    middle, width = 0.5 * (ends.min() + ends.max()), float(np.ptp(ends))
    low = height < distal + _SPHERE_HEIGHT * width
    chosen = np.flatnonzero(low & (np.abs(x - middle) > _SPHERE_INNER * width))
    out = axes @ _columns(normals, chosen)
    angle_deg = np.rad2deg(np.arctan2(out[1], -out[2]))
    backward = (angle_deg > _SPHERE_FROM_DEG) & (angle_deg < _SPHERE_TO_DEG)
    chosen = chosen[backward & (np.abs(out[0]) < _SPHERE_SIDEWAYS)]
    centres = []
    medial = x.take(chosen) > middle
    for side in (chosen[medial], chosen[~medial]):
        centre = _trimmed_sphere(_columns(vertices_mm, side), area_mm2.take(side))
        if centre is None:
            return None
        centres.append(centre)
    return _unit(centres[0] - centres[1])


def _columns(points: FloatArray, chosen: NDArray[np.int64]) -> FloatArray:
    """(3, n) coordinates of the chosen ones of (V, 3) points."""
    return np.stack([column.take(chosen) for column in points.T])


def _trimmed_sphere(points: FloatArray, area_mm2: FloatArray) -> FloatArray | None:
    """(3,) centre of the sphere through most of the points (3, n); None for too few."""
    keep = np.arange(len(area_mm2))
    centre = np.zeros(3)
    for _ in range(_TRIMS):
        if len(keep) < _SPHERE_LEAST:
            return None
        centre, radius_mm = _sphere(_columns(points.T, keep), area_mm2.take(keep))
        apart = points - centre[:, None]
        gap_mm = np.sqrt(np.einsum("xn,xn->n", apart, apart)) - radius_mm
        keep = np.flatnonzero(np.abs(gap_mm) < _SPHERE_BAND_MM)
    return centre


def _sphere(points: FloatArray, weight: FloatArray) -> tuple[FloatArray, float]:
    """Centre (3,) and radius of the algebraic least-squares sphere through points (3, n)."""
    mean = points @ weight / weight.sum()  # keeps the normal equations well conditioned
    local = points - mean[:, None]
    terms = np.vstack([2.0 * local, np.ones(len(weight))])
    weighted = terms * weight
    square = np.einsum("xn,xn->n", local, local)
    solved = np.linalg.solve(weighted @ terms.T, weighted @ square)
    return mean + solved[:3], float(np.sqrt(max(solved[3] + solved[:3] @ solved[:3], 0.0)))


def _least_moment(normals: FloatArray, weight: FloatArray) -> FloatArray:
    """Unit direction in which the weighted normals have the smallest second moment."""
    moment = (normals * weight[:, None]).T @ normals
    direction: FloatArray = np.linalg.eigh(moment)[1][:, 0]
    return direction


def tibia_frame(
    vertices_mm: FloatArray,
    normals: FloatArray,
    area_mm2: FloatArray,
    covered: NDArray[np.bool_],
) -> BoneFrame | None:
    """Frame of the tibia: proximal is the mean normal of the plateaus, medial joins their centres.

    Parameters as for :func:`femur_frame`. The medial axis starts from the scanner's +x and is
    then the line between the centroids of the two halves; a single plate keeps the bone's widest
    direction across the plateau.
    """
    weight = area_mm2[covered]
    if weight.sum() <= 0:
        return None
    points = vertices_mm[covered]
    origin = weight @ points / weight.sum()
    proximal = _unit(weight @ normals[covered])
    near_top = vertices_mm[(vertices_mm - origin) @ proximal > -12.0]
    flat = near_top - near_top.mean(axis=0)
    flat = flat - np.outer(flat @ proximal, proximal)
    widest = _towards(np.linalg.svd(flat.T @ flat)[0][:, 0], 0)
    axes = _frame(proximal, widest)  # proximal kept, widest made perpendicular
    medial = axes[2]
    axes = np.stack([medial, np.cross(proximal, medial), proximal])
    middle = 0.5 * ((near_top @ medial).min() + (near_top @ medial).max())
    return BoneFrame(axes, origin + (middle - origin @ medial) * medial)


def patella_frame(
    vertices_mm: FloatArray,
    normals: FloatArray,
    area_mm2: FloatArray,
    covered: NDArray[np.bool_],
) -> BoneFrame | None:
    """Frame of the patella: posterior is the bone's shortest axis, medial crosses the ridge.

    Parameters as for :func:`femur_frame`. The posterior axis is the direction in which the whole
    bone's surface has its smallest second moment, and points to the joint surface. Perpendicular
    to it, the normals of the two facets differ most across the ridge: that is the medial axis.
    """
    weight = area_mm2[covered]
    if weight.sum() <= 0:
        return None
    origin = weight @ vertices_mm[covered] / weight.sum()
    posterior = _least_moment(vertices_mm - _centre(vertices_mm, area_mm2), area_mm2)
    if posterior @ (weight @ normals[covered]) < 0:
        posterior = -posterior
    across = normals[covered] - np.outer(normals[covered] @ posterior, posterior)
    spread = across - weight @ across / weight.sum()
    moment = (spread * weight[:, None]).T @ spread
    medial = _towards(np.linalg.eigh(moment)[1][:, 2], 0)
    return BoneFrame(np.stack([medial, posterior, np.cross(medial, posterior)]), origin)


def _centre(points: FloatArray, weight: FloatArray) -> FloatArray:
    result: FloatArray = weight @ points / weight.sum()
    return result
