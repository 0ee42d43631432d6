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
from scipy.special import ndtri

from kneeimg.core.anatomy import Bone
from kneeimg.geometry.affines import apply_affine, from_linear, linear_map, spacing_of
from kneeimg.geometry.gaussian import gaussian, steepest
from kneeimg.geometry.meshes import connected_parts, vertex_area_vectors
from kneeimg.geometry.sharing import each, in_pieces
from kneeimg.measure.canonical import Box, CanonicalKnee
from kneeimg.measure.cavities import Amount, close_cavities
from kneeimg.measure.terraces import softened
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]
Field = NDArray[np.float32]

#: Points that are handled at once: their arrays stay in the cache.
SAMPLED = 1 << 14
#: Room in mm around bone and cartilage for smoothing.
MARGIN_MM = 4.0
#: Where Gaussians end, in sigmas.
_TRUNCATE = 3.0
#: Fractions nearer than this to 0 or 1 say no more than on which side of an edge they lie. Chosen
#: for planes cut through voxels of 0.7 x 0.365 x 0.365 mm; sigmoid edges mind it less.
_FAINT = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class LevelSets:
    """Smoothed fields of one bone in one box.

    Attributes
    ----------
    bone : (i, j, k) fraction B of the bone; of a soft label map `evened`.
    union : (i, j, k) fraction U of the bone and its cartilage in `part`; elsewhere it is `bone`.
    affine : (4, 4) index to local mm.
    cartilage : Fraction of cartilage, not smoothed, in a box of its own.
    start : (3,) index of the first voxel of that box in the canonical label map.
    bone_mm3 : Volume of the bone, cavities closed.
    part : The box of the cartilage inside that of the fields; beyond it both fields are one.
    steepest : (3,) the most by which a field changes between neighbours along each array axis.
    """

    bone: Field
    union: Field
    affine: FloatArray
    cartilage: Amount
    start: tuple[int, int, int]
    bone_mm3: float
    part: Box
    steepest: FloatArray

    def union_at(self, index: FloatArray) -> FloatArray:
        """U at (N, 3) fractional indices of the box, as :func:`sample` gives it."""
        value = sample(self.union, index - np.array([side.start for side in self.part]))
        beyond = np.flatnonzero(np.isnan(value))
        if len(beyond):
            value[beyond] = sample(self.bone, index[beyond])
        return value


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
    """Fields of a bone and its cartilage, bone cavities closed, both treated alike."""
    soft = knee.label_map.is_soft
    sigma_mm = settings.sigma_soft_mm if soft else settings.sigma_hard_mm
    # to where nothing is left; fractions may go on, faintly, beyond the box of a tissue
    spacing_mm = knee.label_map.grid.spacing_mm
    reach_mm = MARGIN_MM if soft else _TRUNCATE * sigma_mm + float(spacing_mm.max())
    box = knee.box_of(bone.tissue, bone.cartilage, margin_mm=MARGIN_MM)
    inner = _nothing(box)
    if bone.cartilage in knee.boxes:
        inner = knee.box_of(bone.cartilage, margin_mm=min(reach_mm, MARGIN_MM))
    part = _within(inner, box)
    cartilage = knee.amount(bone.cartilage, inner)
    given = knee.amount(bone.tissue, box)
    solid = close_cavities(given, cartilage, part)
    affine = knee.local_affine(box)
    reach = box  # of the smoothed bone
    if solid is given and not soft:
        reach = knee.box_of(bone.tissue, margin_mm=reach_mm)
    over = np.minimum(cartilage, 1 - solid[part])
    filled = solid
    if cartilage.size and not soft:
        filled, over = _without_terraces(solid, over, part, spacing_of(affine))
    smoothed = np.zeros(solid.shape, dtype=np.float32)
    smooth(filled[_within(reach, box)], affine, sigma_mm, out=smoothed[_within(reach, box)])
    union = smoothed[part]
    if cartilage.size:
        # smoothing is linear: U = B + C may be smoothed in parts, C only where it is
        union = smooth(over, affine, sigma_mm)
        union += smoothed[part]
    start = (inner[0].start, inner[1].start, inner[2].start)
    voxels = solid.sum(dtype=np.float64) if soft else np.count_nonzero(solid)
    bone_mm3 = float(voxels) * knee.label_map.grid.voxel_volume_mm3
    slope = steepest(sigma_mm / spacing_mm, _TRUNCATE)
    if soft:
        smoothed, union, slope = evened(smoothed), evened(union), np.ones(3)
    return LevelSets(smoothed, union, affine, cartilage, start, bone_mm3, part, slope)


def _without_terraces(
    solid: Amount, over: Amount, part: Box, spacing_mm: FloatArray
) -> tuple[Field, Field]:
    """Fractions of a bone and, in a part of it, of its cartilage in place of hard masks."""
    masks = solid[part], solid[part] + over
    bone, union = each(lambda mask: softened(mask, over, spacing_mm), masks)
    filled = solid.astype(np.float32)
    filled[part] = bone
    return filled, np.where(_with_neighbours(over > 0), union - bone, np.float32(0.0))


def _with_neighbours(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and the voxels beside it along the axes."""
    wider = mask.copy()
    for axis in range(3):
        given, out = np.moveaxis(mask, axis, 0), np.moveaxis(wider, axis, 0)
        out[1:] |= given[:-1]
        out[:-1] |= given[1:]
    return wider


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


def smooth(field: Amount, affine: FloatArray, sigma_mm: float, out: Field | None = None) -> Field:
    """Gaussian of `sigma_mm` along every axis; the image edge is continued outward."""
    return gaussian(field, sigma_mm / spacing_of(affine), _TRUNCATE, out)


def evened(field: Field) -> Field:
    """Fractions that change evenly with the distance from an edge; 0, 0.5 and 1 stay.

    A fraction changes fast at an edge and slowly beside it. Read linearly between voxels, an edge
    along a layer of voxels then lies up to 0.09 of a voxel from where it is, everywhere to the same
    side. As a z-score of the normal distribution the fraction changes evenly.

    Examples
    --------
    An edge 0.1 of a voxel beyond the middle of one: it holds 0.6 and the next one nothing.

    >>> def edge(inside: float, outside: float) -> float:
    ...     return round((inside - 0.5) / (inside - outside), 2)
    >>> edge(0.6, 0.0)
    0.17
    >>> edge(*evened(np.array([0.6, 0.0])).tolist())
    0.11
    """
    even = (field >= 0.5).astype(field.dtype)
    edge = np.abs(field - 0.5) < 0.5 - _FAINT
    even[edge] = 0.5 - ndtri(field[edge]) / (2.0 * ndtri(_FAINT))
    return even


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

    def interpolate(part: slice) -> None:
        value[part] = _trilinear(flat, np.array(field.shape[:3]), index[part])

    in_pieces(interpolate, len(index), SAMPLED)
    return value


def _trilinear(flat: Field, shape: NDArray[np.int64], index: FloatArray) -> Field:
    """Trilinear values of a field whose three index axes, of this shape, are raveled."""
    columns = np.ascontiguousarray(index.T)
    high = (shape - 1).astype(np.float64)[:, None]
    beyond = (columns < 0) | (columns > high)
    base = np.clip(columns, 0.0, np.maximum(high - 1.0, 0.0)).astype(np.int64)  # cut off: not < 0
    part = (columns - base).astype(flat.dtype)
    step_j = int(shape[2])
    step_i = int(shape[1]) * step_j
    corner = base[0] * step_i + base[1] * step_j + base[2]
    if flat.ndim > 1:  # each weight once for every channel: rows of a few numbers are slow
        part = np.repeat(part, flat.shape[1], axis=1).reshape(3, len(index), -1)
    at = [
        _between(flat.take(corner + step, axis=0), flat.take(corner + step + 1, axis=0), part[2])
        for step in (0, step_j, step_i, step_i + step_j)
    ]
    value = _between(_between(at[0], at[1], part[1]), _between(at[2], at[3], part[1]), part[0])
    value[beyond[0] | beyond[1] | beyond[2]] = np.nan
    return value


def _between(low: Field, high: Field, share: Field) -> Field:
    """Values at a share of the way from low to high, in the memory of `low`."""
    high -= low
    high *= share
    low += high
    return low


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
    own = shares[flat]
    normals[flat] = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    area = np.maximum(np.einsum("ij,ij->i", shares, normals), 0.0)
    return Mesh(index, vertices, faces, normals, shares, area, next_part)


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
    covector = -np.linalg.inv(linear).T
    outward = np.empty((len(index), 3))

    def fill(part: slice) -> None:
        place = np.clip((index[part] - (block - 1) / 2.0) / block, 0.0, np.array(coarse.shape) - 1)
        down = linear_map(covector, _slopes_at(blurred, place))
        length = np.sqrt(np.einsum("ij,ij->i", down, down))
        length[~(length > 1e-6)] = np.nan
        np.divide(down, length[:, None], out=outward[part])

    in_pieces(fill, len(index), SAMPLED)
    return outward


def _slopes_at(field: Field, index: FloatArray) -> FloatArray:
    """(N, 3) trilinear slopes at fractional indices inside the field.

    Only of the planes between the lowest and the highest one: vertices come plane by plane.
    """
    first = max(int(index[:, 0].min()) - 1, 0)
    planes = field[first : int(index[:, 0].max()) + 3]
    return sample(_slopes(planes), index - (first, 0, 0))


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
    shape = -(-np.array(field.shape) // block)
    means = np.empty(shape, dtype=np.float32)

    def average(planes: slice) -> None:
        whole = field[planes.start * block[0] : planes.stop * block[0]]
        for axis, step in enumerate(block):
            whole = _means_along(whole, axis, int(step))
        means[planes] = whole

    at_once = max(1, 16 * SAMPLED // max(int(block[0]) * field[0].size, 1))  # in the cache
    in_pieces(average, len(means), at_once)
    return means


def _means_along(field: Field, axis: int, step: int) -> Field:
    """Means of `step` neighbours along one axis; the last are filled up with the edge."""
    if step == 1:
        return field
    ahead = np.moveaxis(field, axis, 0)
    total = ahead[::step].copy()
    for n in range(1, step):
        part = ahead[n::step]
        total[: len(part)] += part
        total[len(part) :] += ahead[-1]
    total /= np.float32(step)
    return np.moveaxis(total, 0, axis)
