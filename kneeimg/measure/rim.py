"""The rim of a cartilage plate, where bone turns away and cartilage may end in a wall.

Two things go wrong there when a rim is treated like the middle of a plate. The bone beside a plate
turns away within a millimetre or two, so a normal averaged over both sides leans by up to 30° and
its ray leaves through the side of the cartilage, or runs askew: at 4 mm of cartilage that took
0.1 mm from the mean of a tibial plate, and beside the eminence, where bone turns up, it added
0.01 mm to a subregion of 2 mm. And the upper edge of a wall is rounded by voxels and smoothing, so
the rays beside it end below the articular surface.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from kneeimg.geometry.affines import spacing_of
from kneeimg.geometry.closest import nearest_points
from kneeimg.geometry.meshes import mixed_faces
from kneeimg.measure.surfaces import LevelSets, Mesh

FloatArray = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Cells in which vertices are summed up before normals are fitted: this many to a sigma.
_STEPS_PER_SIGMA = 1.5
#: The kernel ends here, in sigmas: further from the rim the two kinds of normal are the same.
_REACH_SIGMAS = 3.0
#: Cartilage ends in a wall when, at the inner end of the rounded zone, it is no more than this much
#: thinner than two widths further inside.
_WALL_RISE = 1.25
#: Cartilage thinner than this share of the rounded zone's width shows no wall.
_WALL_LEAST = 0.5
#: Voxels over which interpolation rounds the upper edge of a wall: with partial volume it falls
#: from full to none over one to two of them.
_ROUNDED_VOXELS = 1.2
#: Rings in which cartilage is looked at, distances from its border in widths of the rounded zone.
_INNER_RING, _FAR_RING = (1.0, 2.0), (2.5, 3.5)
#: A fit to one-sided neighbours takes this many times the sigma of a mean to both sides, else it
#: follows the noise of labels that were drawn slice by slice.
_WIDER = 2.0
#: Keeps the fit of normals sound where neighbours lie on one line, as a share of sigma².
_RIDGE = 0.02
#: Vertices of a ring whose mean stands for it.
_MEAN_OF = 6


def with_rim_normals(
    mesh: Mesh, ray_mm: FloatArray, covered: Flags, sigma_mm: float
) -> tuple[Mesh, NDArray[np.int64]]:
    """The mesh with normals near the border of cartilage that follow from the covered bone alone.

    Parameters
    ----------
    mesh : Bone surface.
    ray_mm : (V,) rays along the normals of the mesh.
    covered : (V,) vertices under cartilage.
    sigma_mm : Gaussian over which normals are averaged, as for the rest of the surface.

    Returns
    -------
    The mesh with new normals and areas, and the numbers of the vertices that have them.

    Notes
    -----
    The gradient of a smoothed solid is the Gaussian mean of the area vectors of its surface; here
    the same kernel runs over the covered part of the surface, and a linear fit takes the place of
    the mean, which would lag behind where bone is curved below its cartilage.
    """
    known = covered & np.isfinite(ray_mm)
    inner = _near_border(mesh, known, _REACH_SIGMAS * sigma_mm)
    # the bare corners of border triangles too: the articular area is carried over to them
    chosen = np.concatenate([inner, border_vertices(mesh.faces, known)])
    if not len(chosen):
        return mesh, chosen
    normals = _fitted_normals(mesh, covered, chosen, _WIDER * sigma_mm)
    found = np.isfinite(normals).all(axis=1)
    chosen, normals = chosen[found], normals[found]
    new_normals, new_area = mesh.normals.copy(), mesh.area_mm2.copy()
    new_normals[chosen] = normals
    along = np.einsum("ij,ij->i", mesh.area_vectors[chosen], normals)
    new_area[chosen] = np.maximum(along, 0.0)
    return replace(mesh, normals=new_normals, area_mm2=new_area), chosen


def border_vertices(faces: NDArray[np.int64], covered: Flags) -> NDArray[np.int64]:
    """Bare vertices that share a triangle with a covered one."""
    touched = np.zeros(len(covered), dtype=bool)
    touched[faces[mixed_faces(faces, covered)]] = True
    return np.flatnonzero(touched & ~covered)


def _near_border(mesh: Mesh, covered: Flags, reach_mm: float) -> NDArray[np.int64]:
    """Covered vertices within reach of bare bone."""
    border = border_vertices(mesh.faces, covered)
    inside = np.flatnonzero(covered)
    if not len(border) or not len(inside):
        return np.empty(0, dtype=np.int64)
    tree = KDTree(mesh.vertices[border])
    gap = nearest_points(tree, mesh.vertices[inside], within=reach_mm)[0]
    return inside[gap <= reach_mm]


def _fitted_normals(
    mesh: Mesh, covered: Flags, chosen: NDArray[np.int64], sigma_mm: float
) -> FloatArray:
    """(C, 3) unit normals at the chosen vertices, fitted to the covered bone around them.

    Under a Gaussian the normal is fitted as a linear function of the place along the surface, so
    that one-sided neighbours of a vertex at the border do not drag it inward; NaN where the
    neighbours do not fix the fit. Vertices are first summed up in cells, and one fit serves all
    vertices of a cell.
    """
    step = sigma_mm / _STEPS_PER_SIGMA
    cell = _cells(mesh.vertices, step)
    about, own = np.unique(cell[chosen], return_inverse=True)
    centre = _means(mesh.vertices[chosen], own, len(about))
    normal = _means(mesh.normals[chosen], own, len(about))
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    under = np.flatnonzero(covered)
    source, number = np.unique(cell.take(under), return_inverse=True)
    points, vectors = (those.take(under, axis=0) for those in (mesh.vertices, mesh.area_vectors))
    origin = centre.mean(axis=0)
    moments = _moments(points - origin, vectors, mesh.area_mm2.take(under))
    summed = _sums(moments, number, len(source))
    place = _means(points, number, len(source))
    near = KDTree(centre).sparse_distance_matrix(
        KDTree(place), _REACH_SIGMAS * sigma_mm, output_type="coo_matrix"
    )
    near.data = np.exp(-0.5 * (near.data / sigma_mm) ** 2)
    gathered: FloatArray = np.asarray(near.tocsr() @ summed)
    fit = _linear_fits(gathered, centre - origin, normal, sigma_mm)
    away = mesh.vertices[chosen] - centre[own]
    along = np.einsum("ijk,ik->ij", _tangents(normal)[own], away)
    normals = fit[own, 0] + np.einsum("ij,ijk->ik", along, fit[own, 1:])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: FloatArray = np.where(length > 1e-9, normals / length, np.nan)
    return unit


def _cells(points: FloatArray, step_mm: float) -> NDArray[np.int64]:
    """(N,) number of the cube in which each point lies."""
    cell = np.zeros(len(points), dtype=np.int64)
    for column in points.T:
        index = np.floor((column - column.min()) / step_mm).astype(np.int64)
        cell = cell * (index.max() + 1) + index
    return cell


def _sums(values: FloatArray, group: NDArray[np.int64], count: int) -> FloatArray:
    """(count, c) sums of values (N, c) by group."""
    columns = [np.bincount(group, column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1)


def _means(values: FloatArray, group: NDArray[np.int64], count: int) -> FloatArray:
    """(count, c) means of values (N, c) by group; every group has a member."""
    size = np.bincount(group, minlength=count)
    means: FloatArray = _sums(values, group, count) / size[:, None]
    return means


def _moments(place: FloatArray, vectors: FloatArray, area: FloatArray) -> FloatArray:
    """(V, 25) sums that a linear fit needs: area, area x, area x x, vectors, vectors x.

    Each of them in one piece of memory.
    """
    places, parts = np.ascontiguousarray(place.T), np.ascontiguousarray(vectors.T)
    weighted = area * places
    squares = (weighted[:, None] * places).reshape(9, -1)
    products = (places[:, None] * parts).reshape(9, -1)
    return np.concatenate([area[None], weighted, squares, parts, products]).T


def _linear_fits(
    moments: FloatArray, place: FloatArray, normals: FloatArray, sigma_mm: float
) -> FloatArray:
    """(C, 3, 3) value at each place and its two slopes along the surface, from their moments."""
    weight = moments[:, 0]
    first = moments[:, 1:4]
    second = moments[:, 4:13].reshape(-1, 3, 3)
    value = moments[:, 13:16]
    product = moments[:, 16:25].reshape(-1, 3, 3)
    cross = first[:, :, None] * place[:, None, :]
    about = place[:, :, None] * place[:, None, :]
    second = second - cross - cross.transpose(0, 2, 1) + weight[:, None, None] * about
    product = product - place[:, :, None] * value[:, None, :]
    first = first - weight[:, None] * place
    tangents = _tangents(normals)
    matrix = np.empty((len(place), 3, 3))
    matrix[:, 0, 0] = weight
    matrix[:, 0, 1:] = matrix[:, 1:, 0] = np.einsum("ijk,ik->ij", tangents, first)
    matrix[:, 1:, 1:] = np.einsum("ijk,ikl,iml->ijm", tangents, second, tangents)
    ridge = _RIDGE * sigma_mm**2 * weight
    matrix[:, 1, 1] += ridge
    matrix[:, 2, 2] += ridge
    right = np.concatenate([value[:, None, :], np.einsum("ijk,ikl->ijl", tangents, product)], 1)
    result = np.full_like(matrix, np.nan)
    sound = weight > 0
    result[sound] = np.linalg.solve(matrix[sound], right[sound])
    return result


def _tangents(normals: FloatArray) -> FloatArray:
    """(C, 2, 3) two unit vectors along the surface at each vertex."""
    helper = np.eye(3)[np.abs(normals).argmin(axis=1)]
    first = np.cross(normals, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(normals, first)], axis=1)


def rounding_mm(levels: LevelSets, sigma_mm: float) -> FloatArray:
    """(3,) mm: how far from a wall its upper edge is rounded, along each array axis.

    Rather more than a voxel, and the smoothing.
    """
    widths: FloatArray = _ROUNDED_VOXELS * spacing_of(levels.affine) + sigma_mm
    return widths


def carried_to_wall(
    mesh: Mesh, ray_mm: FloatArray, covered: Flags, rounding_mm: FloatArray, spacing_mm: FloatArray
) -> FloatArray:
    """Rays; beside a wall as the cartilage further inside goes on, and no shorter than they were.

    Parameters
    ----------
    mesh : Bone surface.
    ray_mm : (V,) rays.
    covered : (V,) vertices under cartilage whose ray ended.
    rounding_mm : (3,) width of the zone in which the upper edge of a wall is rounded.
    spacing_mm : (3,) size of a voxel.

    Notes
    -----
    Only where cartilage ends in a wall: where it is hardly thicker further inside. Cartilage that
    thins out over more than two widths keeps its own rays.
    """
    border = border_vertices(mesh.faces, covered)
    inside = np.flatnonzero(covered)
    if not len(border) or not len(inside):
        return ray_mm
    place = mesh.index * (spacing_mm / rounding_mm)  # lengths in widths of the zone
    tree = KDTree(place[border])
    gap, nearest = nearest_points(tree, place[inside], within=_FAR_RING[1])
    at_rim = gap < 1.0
    rim, gap_rim = inside[at_rim], gap[at_rim]
    rings = [inside[(gap >= low) & (gap < high)] for low, high in (_INNER_RING, _FAR_RING)]
    if not len(rim) or min(len(ring) for ring in rings) < _MEAN_OF:
        return ray_mm
    apart = mesh.vertices[rim] - mesh.vertices[border[nearest[at_rim]]]
    width_mm = np.linalg.norm(apart, axis=1) / np.maximum(gap_rim, 1e-9)
    inner_mm, far_mm = (
        ray_mm[ring][KDTree(place[ring]).query(place[rim], k=_MEAN_OF)[1]].mean(axis=1)
        for ring in rings
    )
    wall = (inner_mm > _WALL_LEAST * width_mm) & (far_mm < _WALL_RISE * inner_mm)
    fall = (far_mm - inner_mm) / (np.mean(_FAR_RING) - np.mean(_INNER_RING))
    goes_on = inner_mm - np.clip(fall, 0.0, None) * (np.mean(_INNER_RING) - gap_rim)
    wall &= goes_on > ray_mm[rim]
    result = ray_mm.copy()
    result[rim[wall]] = goes_on[wall]
    return result
