"""Where voxels are too long: across a border of cartilage beside which bone rises.

Beside the eminence cartilage ends in a wall next to a flank of bone. A voxel that is longer than
the gap between them holds both, and interpolation lays a wedge of cartilage on the flank: in slices
of 1.5 mm the inner part of a medial plate reads 0.13 mm too thin, while elsewhere the same slices
do no such harm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from kneeimg.core.anatomy import Plate
from kneeimg.geometry.meshes import mixed_faces
from kneeimg.measure.surfaces import LevelSets, Mesh, sample

FloatArray = NDArray[np.float64]

#: Shorter voxels do no harm, mm: 1.5 mm read 1.7 mm of cartilage 0.1 mm wrong, 0.7 mm do not.
LONG_MM = 1.0
#: Bone rises beside a border when, one voxel further out, it stands this part of a voxel above the
#: plate as it lies so many voxels inside.
_RISE, _INSIDE = 0.5, 2.0
#: A border runs across the slices when its outward direction is less than 60° from their normal.
_ACROSS = 0.5
#: Vertices on either side that tell which way is out.
_NEIGHBOURS = 24


def wall_voxels_mm(mesh: Mesh, levels: LevelSets, plate: NDArray[np.uint8]) -> FloatArray:
    """Length of a voxel across the border of tAB, where bone rises beside it.

    Parameters
    ----------
    mesh : Bone surface.
    levels : Its fields.
    plate : (V,) plate of each vertex, NONE outside tAB.

    Returns
    -------
    (V,) mm at the vertices along the border of tAB where bone rises and the voxel is `LONG_MM` or
    longer; 0 at the other vertices of the border; NaN elsewhere.
    """
    inside = plate != int(Plate.NONE)
    result = np.full(len(plate), np.nan)
    border = np.unique(mesh.faces[mixed_faces(mesh.faces, inside)])
    border = border[inside[border]]
    result[border] = 0.0
    linear = levels.affine[:3, :3]
    if not len(border) or np.linalg.norm(linear, axis=0).max() < LONG_MM:
        return result
    lengths = np.linalg.norm(linear, axis=0)
    long_mm, axis = float(lengths.max()), linear[:, lengths.argmax()] / lengths.max()
    outward = _outward(mesh, inside, border)
    # seen from further inside: on a flank with a wedge on it the border itself leans already
    within = np.flatnonzero(inside)
    known = np.isfinite(outward[:, 0])
    border, outward = border[known], outward[known]
    place = mesh.vertices[border] - _INSIDE * long_mm * outward
    start = within[KDTree(mesh.vertices[within]).query(place)[1]]
    ahead = _along(outward, mesh.normals[start])
    step_mm = long_mm * ((_INSIDE + 1.0) * ahead + _RISE * mesh.normals[start])
    bone = sample(levels.bone, mesh.index[start] + step_mm @ np.linalg.inv(linear).T)
    across = np.abs(ahead @ axis) > _ACROSS
    result[border] = np.where(across & (bone > 0.5), long_mm, 0.0)
    return result


def _along(directions: FloatArray, normals: FloatArray) -> FloatArray:
    """(N, 3) unit parts of the directions along surfaces with these normals; NaN without any."""
    flat = directions - np.einsum("ij,ij->i", directions, normals)[:, None] * normals
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit: FloatArray = np.where(length > 1e-9, flat / length, np.nan)
    return unit


def _outward(mesh: Mesh, inside: NDArray[np.bool_], border: NDArray[np.int64]) -> FloatArray:
    """(B, 3) unit vectors along the surface out of tAB; NaN where there is no such direction."""
    middle = []
    for side in (inside, ~inside):
        points = mesh.vertices[side]
        count = min(_NEIGHBOURS, len(points))
        near = KDTree(points).query(mesh.vertices[border], k=count)[1].reshape(len(border), -1)
        middle.append(points[near].mean(axis=1))
    return _along(middle[1] - middle[0], mesh.normals[border])
