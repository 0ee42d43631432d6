"""One bone of one knee: its surface with everything that was measured at its vertices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from kneeimg.core.anatomy import Bone, Plate
from kneeimg.core.plate_model import BonePlates
from kneeimg.core.surface import Surface
from kneeimg.geometry.affines import apply_affine, from_linear, spacing_of
from kneeimg.geometry.closest import nearest_points
from kneeimg.geometry.sharing import each
from kneeimg.measure.canonical import CanonicalKnee
from kneeimg.measure.coarse import wall_voxels_mm
from kneeimg.measure.frames import BoneFrame, femur_frame, patella_frame, tibia_frame
from kneeimg.measure.plate_model import Recovered, recover_lost
from kneeimg.measure.plates import (
    PlateLines,
    TibiaLine,
    WholePatella,
    femur_lines,
    tibia_split_mm,
)
from kneeimg.measure.rim import carried_to_wall, rounding_mm, with_rim_normals
from kneeimg.measure.subregions import divided
from kneeimg.measure.surfaces import LevelSets, Mesh, level_sets, mesh_level_set
from kneeimg.measure.tab import covered_by, plates_from_cover, with_tab
from kneeimg.measure.thickness import articular_area, bone_to_articular, without_wall_foot
from kneeimg.measure.voxel_map import VoxelOwners
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]
Plates = NDArray[np.uint8]

#: A second surface of at least this share of the first is another bone, not an island.
_SECOND_BONE = 0.25
#: Vertices to a leaf of the search tree: the fastest for voxels over a surface.
_LEAF = 32


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredBone:
    """What one bone of a label map yields.

    Attributes
    ----------
    surface : Whole bone, local mm, with the vertex fields of `KneeMorphometry.surfaces`.
    frame_found : Whether the plates could be told apart.
    frame : Anatomical frame, local mm; None without cartilage or when none was found.
    rim : What the plate model recovered at the rims; None when it was not asked.
    bone_mm3 : Volume of the bone in view, cavities closed.
    next_part : Size of the next largest surface of this label, as a share of this one.
    wall_voxel_mm : (V,) length of voxels that are too long across a border of tAB beside which bone
        rises, see :func:`kneeimg.measure.coarse.wall_voxels_mm`; None without tAB.
    owners : Cartilage voxels (canonical indices) and the vertices below them; None without tAB.
    """

    surface: Surface
    frame_found: bool
    frame: BoneFrame | None = None
    rim: Recovered | None = None
    bone_mm3: float = float("nan")
    owners: VoxelOwners | None = None
    next_part: float = 0.0
    wall_voxel_mm: FloatArray | None = None

    @property
    def is_several(self) -> bool:
        """Whether the label holds more than one bone."""
        return self.next_part >= _SECOND_BONE


def measure_bone(
    knee: CanonicalKnee,
    bone: Bone,
    settings: MorphometrySettings,
    model: BonePlates | None = None,
) -> MeasuredBone | None:
    """Surface, rays, plates, volumes of one bone; None when it is not in the label map.

    `model` recovers what was lost at the rims of the plates; without it they keep their own border.
    """
    if bone.tissue not in knee.boxes:
        return None
    levels = level_sets(knee, bone, settings)
    mesh = mesh_level_set(levels.bone, levels.affine, settings.sigma_normal_mm)
    if mesh is None:
        return None
    if bone.cartilage not in knee.boxes:
        return MeasuredBone(
            _surface(mesh), True, bone_mm3=levels.bone_mm3, next_part=mesh.next_part
        )
    smooth, (mesh, ray_mm) = mesh, _rays(levels, mesh, settings, knee.label_map.is_soft)
    tasks: tuple[Callable[[], Any], ...] = (
        partial(_frame_and_lines, bone, smooth, ray_mm, settings),
        partial(_with_articular, mesh, ray_mm, settings),
    )
    framed, surface = each(lambda task: task(), tasks)
    if framed is None:
        return MeasuredBone(surface, False, bone_mm3=levels.bone_mm3, next_part=mesh.next_part)
    frame, lines, would_be = framed
    at_edge = np.zeros(len(mesh.index), dtype=bool)
    for column, size in zip(mesh.index.T, levels.bone.shape, strict=True):
        at_edge |= (column < 0.5) | (column > size - 1.5)
    plate = plates_from_cover(
        surface.fields["ray_mm"], mesh.area_mm2, mesh.faces, would_be, at_edge, settings
    )
    rim = None
    if model is not None:
        rim = recover_lost(surface, plate, would_be, at_edge, model, settings.plate_model)
        plate = rim.plate
    inside = np.flatnonzero(plate != int(Plate.NONE))
    tree = KDTree(mesh.vertices[inside], leafsize=_LEAF)
    owners = _owners(tree, inside, levels, knee) if len(inside) else None
    if owners is not None:
        surface = _with_volume(surface, owners, levels)
    surface = with_tab(surface, plate, settings, tree)
    surface = surface.with_fields(**divided(surface, bone, frame, lines))
    walls = wall_voxels_mm(mesh, levels, plate)
    return MeasuredBone(surface, True, frame, rim, levels.bone_mm3, owners, mesh.next_part, walls)


def _rays(
    levels: LevelSets, mesh: Mesh, settings: MorphometrySettings, soft: bool
) -> tuple[Mesh, FloatArray]:
    """(V,) rays to the articular surface, and the mesh with the normals that they follow."""
    ray_mm = bone_to_articular(levels, mesh, settings)
    covered = covered_by(ray_mm, settings)
    mesh, rim = with_rim_normals(mesh, ray_mm, covered, settings.sigma_normal_mm)
    ray_mm[rim] = bone_to_articular(levels, mesh, settings, rim)
    ray_mm = without_wall_foot(ray_mm, mesh.faces, settings.wall_foot_share)
    covered = covered_by(ray_mm, settings) & np.isfinite(ray_mm)
    sigma_mm = settings.sigma_soft_mm if soft else settings.sigma_hard_mm
    widths_mm, spacing_mm = rounding_mm(levels, sigma_mm), spacing_of(levels.affine)
    return mesh, carried_to_wall(mesh, ray_mm, covered, widths_mm, spacing_mm)


def _with_articular(mesh: Mesh, ray_mm: FloatArray, settings: MorphometrySettings) -> Surface:
    """Bone surface with rays, and the area of the articular surface over each vertex."""
    covered = covered_by(ray_mm, settings) & np.isfinite(ray_mm)
    area = articular_area(mesh, ray_mm, covered, settings)
    return _surface(mesh).with_fields(
        ray_mm=ray_mm, articular_mm2=area, articular_mm3=area * np.nan_to_num(ray_mm)
    )


def _surface(mesh: Mesh) -> Surface:
    """Bone surface on which nothing is covered yet."""
    count = len(mesh.vertices)
    fields = {
        "thickness_mm": np.full(count, np.nan),
        "ray_mm": np.zeros(count),
        "state": np.zeros(count, dtype=np.uint8),
        "plate": np.zeros(count, dtype=np.uint8),
        "subregion": np.zeros(count, dtype=np.uint8),
        "area_mm2": mesh.area_mm2,
        "normals": mesh.normals,
        "volume_mm3": np.zeros(count),
        "articular_mm2": np.zeros(count),
        "articular_mm3": np.zeros(count),
    }
    return Surface(mesh.vertices, mesh.faces, fields)


def _frame_and_lines(
    bone: Bone, mesh: Mesh, ray_mm: FloatArray, settings: MorphometrySettings
) -> tuple[BoneFrame, PlateLines, Plates] | None:
    """The bone's anatomical frame, what parts its plates, and the plate on which each vertex would
    lie if covered; None without a frame."""
    covered = covered_by(ray_mm, settings)
    frame = _FRAMES[bone](mesh.vertices, mesh.normals, mesh.area_mm2, covered)
    if frame is None:
        return None
    coordinates = frame.coordinates(mesh.vertices)
    lines: PlateLines | None = WholePatella()
    if bone is Bone.TIBIA:
        lines = TibiaLine(tibia_split_mm(coordinates[:, 0], mesh.area_mm2, covered))
    elif bone is Bone.FEMUR:
        lines = femur_lines(coordinates, settings.femur_fraction)
    return None if lines is None else (frame, lines, lines.plate_of(coordinates))


_FRAMES = {Bone.FEMUR: femur_frame, Bone.TIBIA: tibia_frame, Bone.PATELLA: patella_frame}


def _owners(
    tree: KDTree, inside: NDArray[np.int64], levels: LevelSets, knee: CanonicalKnee
) -> VoxelOwners:
    """Cartilage voxels and the nearest vertex of tAB to each, from a tree of these vertices."""
    flat = np.flatnonzero(levels.cartilage > 0)
    index = np.unravel_index(flat, levels.cartilage.shape)
    voxels = np.stack(index, axis=1).astype(np.int32) + np.array(levels.start, dtype=np.int32)
    places = apply_affine(from_linear(knee.linear), voxels - np.array(knee.start))
    return VoxelOwners(voxels, inside[nearest_points(tree, places)[1]])


def _with_volume(surface: Surface, owners: VoxelOwners, levels: LevelSets) -> Surface:
    """Cartilage volume over each vertex of tAB."""
    amount = levels.cartilage[tuple((owners.index - levels.start).T)].astype(np.float64)
    amount *= abs(np.linalg.det(levels.affine[:3, :3]))
    volume = np.bincount(owners.vertex, weights=amount, minlength=len(surface.vertices))
    return surface.with_fields(volume_mm3=volume.astype(np.float64))
