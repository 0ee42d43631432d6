"""Bone area lost at the rim of a plate, recovered from the model of a healthy plate.

The signed distance D to the border of the plate (positive inside) is a Gaussian process over the
bone: a mean and modes learned from label maps, and local variation. Where the border of what is
covered is intact, D = 0. Conditioned on that, the process tells where the border would run along
the stretches where it was lost; bare bone with D > 0 there is denuded. Gaussian process
conditioning after Rasmussen & Williams 2006 (ISBN 026218253X), leaving out a block of neighbours by
its closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from kneeimg.core.anatomy import Plate
from kneeimg.core.plate_model import BonePlates
from kneeimg.core.surface import Surface
from kneeimg.geometry.meshes import connected_parts
from kneeimg.measure.plate_fit import Laid, lay_on, one_per_cube
from kneeimg.settings.plate_model import PlateModelSettings

FloatArray = NDArray[np.float64]
Bools = NDArray[np.bool_]
Plates = NDArray[np.uint8]

#: Fewer border points are no outline.
_LEAST_POINTS = 20
#: The robust fit of the modes: SD of a border point, and the depth at which it loses trust, mm.
_ROBUST_SD_MM, _ROBUST_MM, _ROBUST_ROUNDS = 1.5, 1.5, 10
#: Points this deep inside the mean outline start without trust, mm.
_START_DEEP_MM = 4.0
#: Reach of a lost stretch along the border, mm, and of the model around its points, mm.
_BESIDE_MM, _REACH_MM = 3.0, 4.0
#: An outline that passes this close to a border point, mm, takes it back.
_TAKEN_BACK_MM = 0.6
#: Bare bone inside the outline and this far from any intact border is a plate of its own, mm.
_FAR_MM = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Recovered:
    """What the plate model says about one bone.

    Attributes
    ----------
    plate : (V,) plates with what was recovered.
    added : (V,) vertices that were recovered.
    misfit_mm : Median distance between this bone and the model's.
    border_misfit_mm : RMS distance of the intact border from the outline fitted by the modes.
    lost_share : Share of the border that seems lost.
    refused : Why the model was not used; "" when it was.
    """

    plate: Plates
    added: Bools
    misfit_mm: float = float("nan")
    border_misfit_mm: float = float("nan")
    lost_share: float = 0.0
    refused: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Prior:
    """The process before anything is known about this knee's border.

    Attributes
    ----------
    model, laid : The plates and where the model's points lie on the bone.
    tree : Of the laid points.
    """

    model: BonePlates
    laid: Laid
    tree: KDTree
    settings: PlateModelSettings

    def at(self, points_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n,) mean of D and (n, K) its modes at bone points, mm on the model's size."""
        found, number = self.tree.query(points_mm, k=4)
        weight = 1.0 / (np.asarray(found, dtype=np.float64) + 0.3) ** 2
        weight /= weight.sum(axis=1, keepdims=True)
        mean = np.einsum("nk,nk->n", weight, self.model.inside_mm[number])
        return mean, np.einsum("nk,nkm->nm", weight, self.model.modes_mm[number])

    def local(self, some_mm: FloatArray, others_mm: FloatArray) -> FloatArray:
        """(n, m) covariance of the local variation between bone points."""
        length = self.settings.local_length_mm * self.laid.scale
        squared = cdist(some_mm, others_mm, "sqeuclidean") / length**2
        result: FloatArray = self.settings.local_sd_mm**2 * np.exp(-0.5 * squared)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class _Border:
    """Border points of what is covered, and the process there.

    Attributes
    ----------
    points_mm : (M, 3).
    mean_mm, modes_mm : (M,), (M, K) prior of D.
    covariance : (M, M) with the noise of a border point.
    """

    points_mm: FloatArray
    mean_mm: FloatArray
    modes_mm: FloatArray
    covariance: FloatArray


def recover_lost(
    surface: Surface,
    plate: Plates,
    would_be: Plates,
    at_edge: Bools,
    model: BonePlates,
    settings: PlateModelSettings,
) -> Recovered:
    """Add the bone that lost its cartilage at the rim of a plate.

    Parameters
    ----------
    surface : Canonical bone surface with the fields `normals` and `area_mm2`.
    plate : (V,) plates so far: covered, holes filled. Nothing of it is taken away.
    would_be : (V,) plate on which each vertex would lie if covered.
    at_edge : (V,) vertices where the field of view cuts the bone.
    model : Plates of this bone.
    settings : Thresholds.

    Notes
    -----
    A bone or border that the model does not fit keeps its own border (`refused` says why).
    """
    nothing = np.zeros(len(plate), dtype=bool)
    inside = plate != int(Plate.NONE)
    points = _border_points(surface, inside, at_edge, settings.border_step_mm)
    if len(points) < _LEAST_POINTS:
        return Recovered(plate, nothing, refused="no border to fit an outline to")
    laid = lay_on(model, surface.vertices, surface.fields["normals"], inside)
    if laid.misfit_mm > settings.max_misfit_mm:
        return Recovered(plate, nothing, laid.misfit_mm, refused="unlike the bones of the model")
    prior = _Prior(model, laid, KDTree(laid.points_mm), settings)
    border = _border(prior, points)
    lost, border_misfit_mm = _lost_points(border, laid.scale, settings)
    fit = (laid.misfit_mm, border_misfit_mm, float(lost.mean()))
    if border_misfit_mm > settings.max_border_misfit_mm or fit[2] > settings.max_lost_share:
        return Recovered(plate, nothing, *fit, refused="border unlike the model's")
    added = _denuded(surface, ~inside & ~at_edge, prior, border, lost)
    return Recovered(np.where(added, would_be, plate).astype(np.uint8), added, *fit)


def _border_points(surface: Surface, inside: Bools, at_edge: Bools, step_mm: float) -> FloatArray:
    """(M, 3) points on the border of tAB, about `step_mm` apart, away from the cut of the view."""
    faces = surface.faces[inside[surface.faces].any(axis=1) & ~inside[surface.faces].all(axis=1)]
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = pairs[inside[pairs[:, 0]] & ~inside[pairs[:, 1]] & ~at_edge[pairs].any(axis=1)]
    middle = surface.vertices[pairs].mean(axis=1)
    points: FloatArray = middle[one_per_cube(middle, step_mm)] if len(middle) else middle
    return points


def _border(prior: _Prior, points_mm: FloatArray) -> _Border:
    mean, modes = prior.at(points_mm)
    noise = prior.settings.border_noise_mm**2 * np.eye(len(points_mm))
    covariance = modes @ modes.T + prior.local(points_mm, points_mm) + noise
    return _Border(points_mm, mean, modes, covariance)


def _lost_points(
    border: _Border, scale: float, settings: PlateModelSettings
) -> tuple[Bools, float]:
    """(M,) border points inside the expected outline, and the RMS misfit of the others, mm."""
    depth = _depth_in_modes(border)
    lost = depth > settings.lost_mm
    if lost.any():
        gap = KDTree(border.points_mm[lost]).query(border.points_mm)[0]
        lost |= (gap < _BESIDE_MM * scale) & (depth > settings.doubtful_mm)
    for _ in range(2):
        kept = np.flatnonzero(~lost)
        if len(kept) < _LEAST_POINTS:
            return np.ones(len(lost), dtype=bool), float("inf")
        expected, sd = _without_block(border, kept, settings.block_mm * scale)
        lost[kept[(expected > settings.bite_mm) & (expected > settings.bite_sd * sd)]] = True
    kept, doubt = np.flatnonzero(~lost), np.flatnonzero(lost)
    if len(doubt) and len(kept):
        weights = np.linalg.solve(border.covariance[np.ix_(kept, kept)], -border.mean_mm[kept])
        expected = border.mean_mm[doubt] + border.covariance[np.ix_(doubt, kept)] @ weights
        lost[doubt[expected < _TAKEN_BACK_MM]] = False
    return lost, float(np.sqrt(np.mean(depth[~lost] ** 2))) if (~lost).any() else float("inf")


def _depth_in_modes(border: _Border) -> FloatArray:
    """(M,) depth of border points inside the outline that the modes alone fit, mm.

    One-sided: a border inside the outline may be lost and loses trust; one outside is a fact.
    """
    trust = np.where(border.mean_mm > _START_DEEP_MM, 0.02, 1.0)
    depth = border.mean_mm
    for _ in range(_ROBUST_ROUNDS):
        weighted = border.modes_mm * (trust / _ROBUST_SD_MM**2)[:, None]
        normal_equations = weighted.T @ border.modes_mm + np.eye(border.modes_mm.shape[1])
        coefficients = np.linalg.solve(normal_equations, -weighted.T @ border.mean_mm)
        depth = border.mean_mm + border.modes_mm @ coefficients
        trust = np.where(depth > 0, (1.0 + (depth / _ROBUST_MM) ** 2) ** -2.0, 1.0)
    return depth


def _without_block(
    border: _Border, kept: NDArray[np.int64], radius_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Expected D and its SD at kept border points, from all kept points outside `radius_mm`."""
    points = border.points_mm[kept]
    inverse = np.linalg.inv(border.covariance[np.ix_(kept, kept)])
    weights = inverse @ -border.mean_mm[kept]
    expected, sd = np.zeros(len(kept)), np.zeros(len(kept))
    tree = KDTree(points)
    for number, point in enumerate(points):
        block = np.array(tree.query_ball_point(point, radius_mm), dtype=np.int64)
        covariance = np.linalg.inv(inverse[np.ix_(block, block)])
        own = int(np.flatnonzero(block == number)[0])
        expected[number] = -(covariance @ weights[block])[own]
        sd[number] = np.sqrt(covariance[own, own])
    return expected, sd


def _denuded(surface: Surface, bare: Bools, prior: _Prior, border: _Border, lost: Bools) -> Bools:
    """(V,) bare vertices inside the outline along lost stretches of the border."""
    chosen = np.zeros(len(bare), dtype=bool)
    kept = np.flatnonzero(~lost)
    scale = prior.laid.scale
    low = prior.laid.points_mm.min(axis=0) - _REACH_MM * scale
    high = prior.laid.points_mm.max(axis=0) + _REACH_MM * scale
    boxed = np.all((surface.vertices > low) & (surface.vertices < high), axis=1)
    number = np.flatnonzero(bare & boxed)
    number = number[prior.tree.query(surface.vertices[number])[0] < _REACH_MM * scale]
    number = number[_beside_lost(surface.vertices[number], border, lost, scale)]
    if not len(number):
        return chosen
    points = surface.vertices[number]
    mean, modes = prior.at(points)
    known = border.points_mm[kept]
    weights = np.linalg.solve(border.covariance[np.ix_(kept, kept)], -border.mean_mm[kept])
    expected = mean + (modes @ border.modes_mm[kept].T + prior.local(points, known)) @ weights
    chosen[number[expected > 0]] = True
    part = connected_parts(surface.faces, len(chosen), chosen)
    area = np.bincount(part, weights=np.where(chosen, surface.fields["area_mm2"], 0.0))
    deepest = np.zeros(len(area))
    np.maximum.at(deepest, part[number], expected)
    large = area[part] >= prior.settings.min_area_mm2
    deep: Bools = deepest[part] >= prior.settings.min_depth_mm
    return np.logical_and(chosen, large & deep)


def _beside_lost(points: FloatArray, border: _Border, lost: Bools, scale: float) -> Bools:
    """(n,) points whose border was lost, or that have no border near them at all."""
    to_kept = KDTree(border.points_mm[~lost]).query(points)[0]
    beside: Bools = np.asarray(to_kept > _FAR_MM * scale, dtype=np.bool_)
    if lost.any():
        to_lost = KDTree(border.points_mm[lost]).query(points)[0]
        beside = np.logical_or(beside, np.asarray(to_lost <= to_kept + 1.5 * scale))
    return beside
