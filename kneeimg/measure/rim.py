"""The rim of a cartilage plate, where bone turns away and cartilage may end in a wall.

Two things go wrong there when a rim is treated like the middle of a plate. The bone beside a plate
turns away within a millimetre or two, so a normal averaged over both sides leans by up to 30° and
its ray leaves through the side of the cartilage: at 4 mm of cartilage that took 0.1 mm from the
mean of a tibial plate. And the upper edge of a wall is rounded by voxels and smoothing, so the rays
beside it end below the articular surface.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from kneeimg.geometry.affines import spacing_of
from kneeimg.measure.surfaces import LevelSets, Mesh, sample

FloatArray = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Lattice on which normals are averaged: this many steps to a sigma.
_STEPS_PER_SIGMA = 1.5
#: The kernel ends here, in sigmas: further from the rim the two kinds of normal are the same.
_REACH_SIGMAS = 3.0
#: A ray that meets the surface at a flatter angle than this (50° from its normal) leaves sideways.
_SIDE_COSINE = 0.64
#: Cartilage ends in a wall when, at the inner end of the rounded zone, it is thicker than that zone
#: is wide and no more than this much thinner than two widths further inside.
_WALL_RISE = 1.25
#: Rings in which cartilage is looked at, distances from its border in widths of the rounded zone.
_INNER_RING, _FAR_RING = (1.0, 2.0), (2.5, 3.5)
#: Vertices of a ring whose mean stands for it.
_MEAN_OF = 6


def with_rim_normals(
    mesh: Mesh, levels: LevelSets, ray_mm: FloatArray, covered: Flags, sigma_mm: float
) -> tuple[Mesh, NDArray[np.int64]]:
    """The mesh with new normals where a ray near the border of cartilage leaves through its side.

    Parameters
    ----------
    mesh : Bone surface.
    levels : Fields that the rays ran through.
    ray_mm : (V,) rays along the normals of the mesh.
    covered : (V,) vertices under cartilage.
    sigma_mm : Gaussian over which normals are averaged, as for the rest of the surface.

    Returns
    -------
    The mesh with new normals and areas, and the numbers of the vertices that have them.

    Notes
    -----
    The gradient of a smoothed solid is the Gaussian mean of the area vectors of its surface; here
    the same mean runs over the covered part of the surface. It lags behind where bone is strongly
    curved below its cartilage (the edge of a patella), so a ray that ends well keeps its normal.
    """
    chosen = _near_border(mesh, covered & np.isfinite(ray_mm), _REACH_SIGMAS * sigma_mm)
    if len(chosen):
        chosen = chosen[_meets_side(mesh, levels, ray_mm, chosen)]
    if not len(chosen):
        return mesh, chosen
    normals = _mean_normals(mesh, covered, chosen, sigma_mm)
    found = np.isfinite(normals).all(axis=1)
    chosen, normals = chosen[found], normals[found]
    new_normals, new_area = mesh.normals.copy(), mesh.area_mm2.copy()
    new_normals[chosen] = normals
    along = np.einsum("ij,ij->i", mesh.area_vectors[chosen], normals)
    new_area[chosen] = np.maximum(along, 0.0)
    return replace(mesh, normals=new_normals, area_mm2=new_area), chosen


def _meets_side(
    mesh: Mesh, levels: LevelSets, ray_mm: FloatArray, chosen: NDArray[np.int64]
) -> Flags:
    """Whether the ray of each chosen vertex runs along the surface where it ends."""
    inverse = np.linalg.inv(levels.affine[:3, :3])
    along = mesh.normals[chosen] @ inverse.T
    tip = mesh.index[chosen] + ray_mm[chosen][:, None] * along
    half = 0.5 * np.eye(3)
    slope = np.stack(
        [sample(levels.union, tip + step) - sample(levels.union, tip - step) for step in half],
        axis=1,
    )
    outward = -slope @ inverse  # the gradient is a covector
    length = np.linalg.norm(outward, axis=1)
    cosine = np.einsum("ij,ij->i", outward, mesh.normals[chosen])
    meets: Flags = cosine < _SIDE_COSINE * length  # False where the field ends
    return meets


def border_vertices(faces: NDArray[np.int64], covered: Flags) -> NDArray[np.int64]:
    """Bare vertices that share a triangle with a covered one."""
    inside = covered[faces]
    mixed = inside.any(axis=1) & ~inside.all(axis=1)
    corners = np.unique(faces[mixed])
    return corners[~covered[corners]]


def _near_border(mesh: Mesh, covered: Flags, reach_mm: float) -> NDArray[np.int64]:
    """Covered vertices within reach of bare bone."""
    border = border_vertices(mesh.faces, covered)
    inside = np.flatnonzero(covered)
    if not len(border) or not len(inside):
        return np.empty(0, dtype=np.int64)
    tree = KDTree(mesh.vertices[border])
    gap = tree.query(mesh.vertices[inside], distance_upper_bound=reach_mm)[0]
    return inside[gap <= reach_mm]


def _mean_normals(
    mesh: Mesh, covered: Flags, chosen: NDArray[np.int64], sigma_mm: float
) -> FloatArray:
    """(C, 3) unit means of the covered area vectors around the chosen vertices; NaN without any."""
    step = sigma_mm / _STEPS_PER_SIGMA
    corner = mesh.vertices[chosen].min(axis=0) - 1.5 * step
    shape = np.ceil((mesh.vertices[chosen].max(axis=0) - corner) / step).astype(int) + 2
    index = (mesh.vertices - corner) / step
    used = covered & np.all((index >= 0) & (index < shape - 1), axis=1)
    lattice = _splat(index[used], mesh.area_vectors[used], shape)
    sigma = (_STEPS_PER_SIGMA, _STEPS_PER_SIGMA, _STEPS_PER_SIGMA, 0.0)
    smooth = gaussian_filter(lattice, sigma, mode="constant", truncate=_REACH_SIGMAS)
    normals = sample(smooth, index[chosen])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: FloatArray = np.where(length > 1e-9, normals / length, np.nan)
    return unit


def _splat(index: FloatArray, vectors: FloatArray, shape: NDArray[np.int64]) -> NDArray[np.float32]:
    """(i, j, k, 3) sums of vectors, each shared out over the 8 lattice points around it."""
    base = np.floor(index).astype(np.int64)
    part = index - base
    size = int(np.prod(shape))
    lattice = np.zeros((size, 3))
    for di in (0, 1):
        for dj in (0, 1):
            for dk in (0, 1):
                place = np.ravel_multi_index(tuple((base + (di, dj, dk)).T), tuple(shape))
                weight = np.prod(np.where((di, dj, dk), part, 1.0 - part), axis=1)
                for axis in range(3):
                    share = weight * vectors[:, axis]
                    lattice[:, axis] += np.bincount(place, weights=share, minlength=size)
    return lattice.reshape(*shape, 3).astype(np.float32)


def rounding_mm(levels: LevelSets, sigma_mm: float) -> float:
    """How far from a wall its upper edge is rounded: half a voxel's diagonal and the smoothing."""
    return 0.5 * float(np.linalg.norm(spacing_of(levels.affine))) + sigma_mm


def carried_to_wall(
    mesh: Mesh, ray_mm: FloatArray, covered: Flags, rounding_mm: float
) -> FloatArray:
    """Rays; beside a wall no shorter than those further inside.

    Parameters
    ----------
    mesh : Bone surface.
    ray_mm : (V,) rays.
    covered : (V,) vertices under cartilage whose ray ended.
    rounding_mm : Width of the zone in which the upper edge of a wall is rounded.

    Notes
    -----
    Only where cartilage ends in a wall: where it is thicker than the zone is wide, and hardly
    thicker further inside. Cartilage that thins out gradually keeps its own rays.
    """
    border = border_vertices(mesh.faces, covered)
    inside = np.flatnonzero(covered)
    if not len(border) or not len(inside):
        return ray_mm
    gap = KDTree(mesh.vertices[border]).query(
        mesh.vertices[inside], distance_upper_bound=_FAR_RING[1] * rounding_mm
    )[0]
    gap /= rounding_mm
    rim = inside[gap < 1.0]
    rings = [inside[(gap >= low) & (gap < high)] for low, high in (_INNER_RING, _FAR_RING)]
    if not len(rim) or min(len(ring) for ring in rings) < _MEAN_OF:
        return ray_mm
    inner_mm, far_mm = (
        ray_mm[ring][KDTree(mesh.vertices[ring]).query(mesh.vertices[rim], k=_MEAN_OF)[1]].mean(
            axis=1
        )
        for ring in rings
    )
    wall = (inner_mm > rounding_mm) & (far_mm < _WALL_RISE * inner_mm) & (inner_mm > ray_mm[rim])
    result = ray_mm.copy()
    result[rim[wall]] = inner_mm[wall]
    return result
