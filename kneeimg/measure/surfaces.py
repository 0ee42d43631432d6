"""Bone and articular surfaces as level sets, at sub-voxel precision.

Two level sets, not one: with B the fraction of bone in a voxel and U = B + its own cartilage, the
bone–cartilage interface is {B = 0.5} and the articular surface is {U = 0.5}. Each is a single
edge, also under half a millimetre of cartilage, so neither the partial volume effect nor light
smoothing thins the cartilage between them. (The cartilage fraction itself never reaches 0.5 in a
film thinner than half a voxel: measuring its own edges is what makes thin cartilage vanish.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from kneeimg.core.anatomy import Bone
from kneeimg.geometry.affines import apply_affine, from_linear, linear_map, spacing_of
from kneeimg.measure.canonical import Box, CanonicalKnee
from kneeimg.measure.cavities import Amount, close_cavities
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]
Field = NDArray[np.float32]

#: Points that are sampled at once: their arrays stay in the cache.
_SAMPLED = 1 << 13
#: Room in mm around bone and cartilage for smoothing.
MARGIN_MM = 4.0
#: Where Gaussians end, in sigmas.
_TRUNCATE = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class LevelSets:
    """Smoothed fields of one bone in one box.

    Attributes
    ----------
    bone : (i, j, k) fraction B of the bone.
    union : (i, j, k) fraction U of the bone and its cartilage; `bone` itself without cartilage.
    affine : (4, 4) index to local mm.
    cartilage : Fraction of cartilage, not smoothed, in a box of its own.
    start : (3,) index of the first voxel of that box in the canonical label map.
    bone_mm3 : Volume of the bone, cavities closed.
    part : The box of the cartilage inside that of the fields; beyond it both fields are one.
    """

    bone: Field
    union: Field
    affine: FloatArray
    cartilage: Amount
    start: tuple[int, int, int]
    bone_mm3: float
    part: Box


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles of one level set.

    Attributes
    ----------
    index : (V, 3) vertex positions in fractional indices of the box.
    vertices : (V, 3) the same in local mm.
    faces : (F, 3) vertex numbers, counter-clockwise from outside.
    normals : (V, 3) unit outward normals of the smoothed field.
    area_vectors : (V, 3) mm²: a third of the area vector of every triangle around each vertex.
    area_mm2 : (V,) share of the surface area that belongs to each vertex.
    next_part : Size of the largest part that was left out, as a share of this one.
    """

    index: FloatArray
    vertices: FloatArray
    faces: NDArray[np.int64]
    normals: FloatArray
    area_vectors: FloatArray
    area_mm2: FloatArray
    next_part: float = 0.0


def level_sets(knee: CanonicalKnee, bone: Bone, settings: MorphometrySettings) -> LevelSets:
    """Fields of a bone and its cartilage, bone cavities closed, both smoothed alike."""
    box = knee.box_of(bone.tissue, bone.cartilage, margin_mm=MARGIN_MM)
    inner = _nothing(box)
    if bone.cartilage in knee.boxes:
        inner = knee.box_of(bone.cartilage, margin_mm=MARGIN_MM)
    part = _within(inner, box)
    cartilage = knee.amount(bone.cartilage, inner)
    given = knee.amount(bone.tissue, box)
    solid = close_cavities(given, cartilage, part)
    soft = knee.label_map.is_soft
    sigma_mm = settings.sigma_soft_mm if soft else settings.sigma_hard_mm
    affine = knee.local_affine(box)
    reach = box  # of the smoothed bone; fractions may go on, faintly, beyond the box of a tissue
    if solid is given and not soft:
        reach = knee.box_of(bone.tissue, margin_mm=_TRUNCATE * sigma_mm)
    smoothed = np.zeros(solid.shape, dtype=np.float32)
    smoothed[_within(reach, box)] = smooth(solid[_within(reach, box)], affine, sigma_mm)
    union = smoothed.copy()
    if cartilage.size:
        # smoothing is linear: U = B + C may be smoothed in parts, C only where it is
        added = np.minimum(cartilage, 1 - solid[part])
        union[part] += smooth(added, affine, sigma_mm)
    start = (inner[0].start, inner[1].start, inner[2].start)
    bone_mm3 = float(solid.sum(dtype=np.float64)) * knee.label_map.grid.voxel_volume_mm3
    return LevelSets(smoothed, union, affine, cartilage, start, bone_mm3, part)


def _nothing(box: Box) -> Box:
    i, j, k = (slice(side.start, side.start) for side in box)
    return i, j, k


def _within(inner: Box, outer: Box) -> Box:
    """A box in the indices of the box around it."""
    i, j, k = (
        slice(own.start - whole.start, own.stop - whole.start)
        for own, whole in zip(inner, outer, strict=True)
    )
    return i, j, k


def smooth(field: Amount, affine: FloatArray, sigma_mm: float) -> Field:
    """Gaussian of `sigma_mm` along every axis; the image edge is continued outward."""
    if sigma_mm == 0:
        return field.astype(np.float32, copy=False)
    sigma = sigma_mm / spacing_of(affine)
    result: Field = gaussian_filter(
        field, sigma, mode="nearest", truncate=_TRUNCATE, output=np.float32
    )
    return result


def sample(field: Field, index: FloatArray) -> FloatArray:
    """Trilinear values at (N, 3) fractional indices; NaN outside the box.

    A field of shape (i, j, k) gives (N,), one of shape (i, j, k, c) gives (N, c).

    Examples
    --------
    >>> sample(np.arange(8, dtype=np.float32).reshape(2, 2, 2), np.array([[0.5, 0.5, 0.5]]))
    array([3.5])
    """
    value = np.empty((len(index), *field.shape[3:]))
    flat = field.reshape(-1, *field.shape[3:])
    for first in range(0, len(index), _SAMPLED):
        part = slice(first, first + _SAMPLED)
        value[part] = _trilinear(flat, np.array(field.shape[:3]), index[part])
    return value


def _trilinear(flat: Field, shape: NDArray[np.int64], index: FloatArray) -> FloatArray:
    """Trilinear values of a field whose three index axes, of this shape, are raveled."""
    columns = np.ascontiguousarray(index.T)
    high = (shape - 1).astype(np.float64)[:, None]
    beyond = (columns < 0) | (columns > high)
    outside = beyond[0] | beyond[1] | beyond[2]
    base = np.clip(columns, 0.0, np.maximum(high - 1.0, 0.0)).astype(np.int64)  # cut off: not < 0
    part = columns - base
    step_j = int(shape[2])
    step_i = int(shape[1]) * step_j
    corner = base[0] * step_i + base[1] * step_j + base[2]
    own = (len(index), *(1,) * (flat.ndim - 1))
    wi, wj, wk = ((1.0 - column.reshape(own), column.reshape(own)) for column in part)
    value = np.zeros((len(index), *flat.shape[1:]))
    for di in (0, 1):
        for dj in (0, 1):
            here = corner + (di * step_i + dj * step_j)
            low, high_ = flat.take(here, axis=0), flat.take(here + 1, axis=0)
            value += wi[di] * wj[dj] * (low + wk[1] * (high_ - low))
    value[outside] = np.nan
    return value


def mesh_level_set(field: Field, affine: FloatArray, sigma_normal_mm: float) -> Mesh | None:
    """Largest connected surface {field = 0.5}; None when there is none.

    Parameters
    ----------
    field : (i, j, k) fraction, high inside.
    affine : (4, 4) index to local mm.
    sigma_normal_mm : Further smoothing of the field before its normals are taken, mm.

    Notes
    -----
    A vertex owns a third of the area *vector* of each triangle around it, and its area is the
    part of that vector along the smooth normal. The stairs of a binary mask, whose true length is
    longer than the surface they stand for, thereby add nothing to the area.
    """
    index, faces = _flying_edges(field)
    if not len(faces):
        return None
    index, faces, next_part = _largest_part(index, faces)
    vertices = apply_affine(affine, index)
    normals = gradient_normals(field, index, affine, sigma_normal_mm)
    shares = vertex_area_vectors(vertices, faces)
    flat = np.isnan(normals[:, 0])  # no gradient: the mesh's own normal
    lengths = np.linalg.norm(shares, axis=1)
    normals[flat] = shares[flat] / np.maximum(lengths[flat], 1e-12)[:, None]
    area = np.maximum(np.einsum("ij,ij->i", shares, normals), 0.0)
    return Mesh(index, vertices, faces, normals, shares, area, next_part)


def vertex_area_vectors(vertices: FloatArray, faces: NDArray[np.int64]) -> FloatArray:
    """(V, 3) mm²: a third of the area vector of every triangle around each vertex."""
    x, y, z = (np.ascontiguousarray(column) for column in vertices.T)
    a, b, c = (np.ascontiguousarray(column) for column in faces.T)
    (ux, uy, uz), (vx, vy, vz) = (
        tuple(axis[corner] - axis[a] for axis in (x, y, z)) for corner in (b, c)
    )
    result = np.empty((len(vertices), 3))
    vectors = (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
    for axis, vector in enumerate(vectors):
        share = vector / 6.0
        result[:, axis] = sum(np.bincount(corner, share, len(vertices)) for corner in (a, b, c))
    return result


def smooth_over_mesh(
    values: FloatArray, faces: NDArray[np.int64], sigma_mm: float, vertices: FloatArray
) -> FloatArray:
    """(V, 3) values averaged over the mesh, about a Gaussian of `sigma_mm`.

    Each round mixes every vertex with its neighbours; rounds follow from the mean edge length.
    """
    from scipy.sparse import coo_array, diags_array

    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edge2 = float(np.mean(np.sum((vertices[pairs[:, 0]] - vertices[pairs[:, 1]]) ** 2, axis=1)))
    rounds = max(1, round(2.0 * sigma_mm**2 / edge2))  # a round spreads by edge²/2 per axis
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    shape = (len(vertices), len(vertices))
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=shape).tocsr()
    graph = graph + diags_array(graph.sum(axis=1) / 6.0)  # keep a share of one's own value
    mean = diags_array(1.0 / np.maximum(graph.sum(axis=1), 1e-12)) @ graph
    result = values
    for _ in range(rounds):
        result = mean @ result
    return result


def _flying_edges(field: Field) -> tuple[FloatArray, NDArray[np.int64]]:
    """Vertices (V, 3) in indices and faces (F, 3) of {field = 0.5}, wound outward."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    values = np.ascontiguousarray(field)
    image = vtkImageData()
    image.SetDimensions(*values.shape[::-1])  # VTK's x runs fastest: our last axis
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel()))
    edges: Any = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 0.5)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    output = edges.GetOutput()
    if output.GetNumberOfCells() == 0:
        return np.empty((0, 3)), np.empty((0, 3), dtype=np.int64)
    # float32 indices: 3e-5 of a voxel at index 400, a hundredth of a micrometre
    points = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64)[:, ::-1]
    corners = vtk_to_numpy(output.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return np.ascontiguousarray(points), _in_columns(corners[:, ::-1].T)


def _in_columns(corners: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """(F, 3) faces of which each column is contiguous: what is asked of all three is then fast."""
    faces: NDArray[np.int64] = np.stack([np.asarray(c, dtype=np.int64) for c in corners]).T
    return faces


def _largest_part(
    index: FloatArray, faces: NDArray[np.int64]
) -> tuple[FloatArray, NDArray[np.int64], float]:
    """The connected part with the most triangles, and the next one's share of their number.

    Islands of label noise are left out.
    """
    part = connected_parts(faces, len(index))
    sizes = np.bincount(part[faces[:, 0]])
    biggest = sizes.argmax()
    following = np.delete(sizes, biggest).max(initial=0) / sizes[biggest]
    if not following:
        return index, faces, 0.0
    keep = part == biggest
    renumber = np.cumsum(keep) - 1
    kept = keep[faces[:, 0]]
    return index[keep], _in_columns(renumber[c[kept]] for c in faces.T), float(following)


def connected_parts(
    faces: NDArray[np.int64], count: int, keep: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    """(count,) number of the connected part of each vertex, over edges between kept vertices.

    Vertices that are not kept share the last number.
    """
    if keep is None:
        a, b, c = (column.astype(np.int32) for column in faces.T)
        return _parts_of(np.concatenate([a, b]), np.concatenate([b, c]), count)
    nodes = np.flatnonzero(keep)
    number = np.full(count, -1, dtype=np.int32)
    number[nodes] = np.arange(len(nodes), dtype=np.int32)
    a, b, c = (number[column] for column in faces.T)
    kept_a, kept_b, kept_c = a >= 0, b >= 0, c >= 0
    ab, bc, ca = kept_a & kept_b, kept_b & kept_c & ~kept_a, kept_c & kept_a
    inner = _parts_of(  # a triangle of three needs two of its edges
        np.concatenate([a[ab], b[bc], c[ca]]), np.concatenate([b[ab], c[bc], a[ca]]), len(nodes)
    )
    labels = np.full(count, inner.max(initial=-1) + 1, dtype=np.int32)
    labels[nodes] = inner
    return labels


def _parts_of(some: NDArray[np.int32], others: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """(count,) number of the connected part of each node, from pairs of nodes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(some)), (some, others)), shape=(count, count)).tocsr()
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def gradient_normals(
    field: Field, index: FloatArray, affine: FloatArray, sigma_mm: float
) -> FloatArray:
    """(V, 3) unit vectors, mm frame, down the gradient of a smoothed field; NaN where it is flat.

    The field is averaged over blocks of at most half of `sigma_mm` first: four times less to
    smooth on a 0.365 mm grid, and nothing that the smoothing would have kept is lost.
    """
    block = np.maximum((0.5 * sigma_mm / spacing_of(affine)).astype(int), 1)
    block = np.minimum(block, np.array(field.shape))
    coarse = _block_mean(field, block)
    linear = affine[:3, :3] * block
    blurred = smooth(coarse, from_linear(linear), sigma_mm)
    slopes = _slopes(blurred)
    place = np.clip((index - (block - 1) / 2.0) / block, 0.0, np.array(coarse.shape) - 1.0)
    outward = linear_map(-np.linalg.inv(linear).T, sample(slopes, place))  # a covector
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        normals: FloatArray = np.where(length > 1e-6, outward / length, np.nan)
    return normals


def _slopes(field: Field) -> Field:
    """(i, j, k, 3) central differences, the edge continued outward."""
    slopes = np.empty((*field.shape, 3), dtype=field.dtype)
    for axis in range(3):
        at, out = np.moveaxis(field, axis, 0), np.moveaxis(slopes[..., axis], axis, 0)
        np.subtract(at[2:], at[:-2], out=out[1:-1])
        out[0], out[-1] = at[min(1, len(at) - 1)] - at[0], at[-1] - at[max(len(at) - 2, 0)]
    return slopes


def _block_mean(field: Field, block: NDArray[np.int64]) -> Field:
    """Mean over blocks of voxels; the last block is filled up with the edge."""
    whole = field
    for axis, step in enumerate(block):
        if step > 1:
            ahead = np.moveaxis(whole, axis, 0)
            total = ahead[::step].copy()
            for n in range(1, step):
                part = ahead[n::step]
                total[: len(part)] += part
                total[len(part) :] += ahead[-1]
            total /= np.float32(step)
            whole = np.moveaxis(total, 0, axis)
    return np.ascontiguousarray(whole)
