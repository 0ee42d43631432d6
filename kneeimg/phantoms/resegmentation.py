"""A knee scanned and segmented again: a label map in another pose, on a new grid, drawn anew.

What a scan–rescan study would show when nothing but the pose, the voxels and the hand of whoever
draws the boundaries differ. The anatomy is that of the given label map; the error of the new
drawing is an assumption, stated in :class:`ReadingError`, not something that was observed. Knees
that are known exactly, as functions of place, are drawn with errors in `boundary_error`.

Boundaries are smoothed first, which rounds thin edges off: bones and cartilage keep their shape, a
meniscus, which is all rim, loses about a quarter of its volume. Its repeatability is therefore not
simulated from label maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, find_objects, gaussian_filter, map_coordinates
from scipy.special import ndtri

from kneeimg.core.anatomy import Bone, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import RigidTransform
from kneeimg.phantoms.random_fields import noise_sd, smooth_noise

FloatArray = NDArray[np.float32]

#: SD of the smoothing that removes the steps of the voxels from the given map, mm. The cartilage's
#: own boundary error fades to the bone's over about twice as much beyond the cartilage.
_SMOOTH_MM = 0.6
#: Distance of every voxel that lies farther from a boundary than three times that, mm.
_REACH_MM = 2.0
#: Room around a structure, mm.
_ROOM_MM = 4.0
#: Voxels farther than this from both boundaries are not touched by a new drawing, mm.
_BAND_MM = 1.5
#: Nodes of the random field for each correlation length.
_NODES_PER_LENGTH = 2.5
#: Structures beside the bones that carry cartilage.
_OTHERS = (Tissue.MEDIAL_MENISCUS, Tissue.LATERAL_MENISCUS, Tissue.FIBULA)


@dataclass(frozen=True, slots=True)
class DrawingError:
    """How far a boundary drawn again lies from where it was, along its normal.

    Two independent Gaussian random fields with the correlation exp(−r² / 2 l²) are added: small
    wobbles of the outline, and stretches that are drawn too far out or in.

    Attributes
    ----------
    local_sd_mm, local_length_mm : SD and correlation length l of the wobbles, mm.
    wide_sd_mm, wide_length_mm : The same of the stretches, mm.

    Notes
    -----
    The defaults are a choice: wobbles of a quarter of a pixel, and stretches such that two scans
    of the whole femorotibial joint differ about as much as published ones (FTJ: SEM 69 µm).
    """

    local_sd_mm: float = 0.10
    local_length_mm: float = 2.0
    wide_sd_mm: float = 0.06
    wide_length_mm: float = 10.0

    @property
    def parts(self) -> tuple[tuple[float, float], ...]:
        """(SD, correlation length) of both fields, mm."""
        return (
            (self.local_sd_mm, self.local_length_mm),
            (self.wide_sd_mm, self.wide_length_mm),
        )


@dataclass(frozen=True, slots=True)
class ReadingError:
    """Independent errors of the bone surface and of the articular surface of one drawing."""

    bone: DrawingError = DrawingError()
    cartilage: DrawingError = DrawingError()


#: A drawing that puts every boundary where it was: only pose and voxels differ.
NO_ERROR = ReadingError(DrawingError(0.0, 2.0, 0.0, 10.0), DrawingError(0.0, 2.0, 0.0, 10.0))


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """One bone with its cartilage, or one structure without, as signed distances.

    Attributes
    ----------
    tissue, cartilage : What it is; `cartilage` is None for structures without.
    grid : Grid of the distances, a part of the label map's.
    inner_mm : (i, j, k) float32 signed distance to the tissue, negative inside.
    outer_mm : The same to tissue and cartilage together; `inner_mm` without cartilage.
    cover : (i, j, k) float32, 1 in the cartilage, falling to 0 beyond it.
    """

    tissue: Tissue
    cartilage: Tissue | None
    grid: Grid
    inner_mm: FloatArray
    outer_mm: FloatArray
    cover: FloatArray

    def drawn(self, error: ReadingError, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """`inner_mm` and `outer_mm` with the boundaries displaced.

        Where there is no cartilage both boundaries move as one: no film of cartilage appears on
        bare bone.
        """
        near = np.minimum(np.abs(self.inner_mm), np.abs(self.outer_mm)) < _BAND_MM
        bone = random_field(self.grid, near, error.bone, rng)
        inner, outer = self.inner_mm.copy(), self.outer_mm.copy()
        inner[near] -= bone
        if self.cartilage is None:
            return inner, inner
        articular = random_field(self.grid, near, error.cartilage, rng)
        cover = self.cover[near]
        outer[near] -= cover * articular + (1.0 - cover) * bone
        return inner, np.minimum(outer, inner)


@dataclass(frozen=True, eq=False)
class DrawnKnee:
    """A label map prepared to be scanned and drawn again.

    Attributes
    ----------
    label_map : The anatomy, hard or soft; its hard labels are used.
    """

    label_map: LabelMap

    @cached_property
    def structures(self) -> tuple[Structure, ...]:
        """Every structure that the map holds."""
        boxes = find_objects(self.label_map.labels, max_label=max(int(t) for t in Tissue))
        present = {Tissue(n + 1): box for n, box in enumerate(boxes) if box is not None}
        found = [
            _structure(self.label_map, [present[t] for t in pair if t in present], *pair)
            for bone in Bone
            if (pair := (bone.tissue, bone.cartilage))[0] in present
        ]
        found += [
            _structure(self.label_map, [present[tissue]], tissue, None)
            for tissue in _OTHERS
            if tissue in present
        ]
        return tuple(found)

    @cached_property
    def centre_mm(self) -> NDArray[np.float64]:
        """(3,) middle of the labelled voxels, mm."""
        index = [np.flatnonzero(self.label_map.labels.any(axis=axes)) for axes in _OTHER_AXES]
        middle: NDArray[np.float64] = self.label_map.grid.to_mm(
            [(line[0] + line[-1]) / 2 for line in index]
        )
        return middle

    def scanned_again(
        self,
        motion: RigidTransform,
        grid: Grid,
        error: ReadingError = NO_ERROR,
        rng: np.random.Generator | None = None,
    ) -> LabelMap:
        """The knee moved, laid on another grid and drawn again.

        Parameters
        ----------
        motion : From the frame of `label_map` to the frame of `grid`.
        grid : Voxels of the new scan.
        error : How the new drawing differs.
        rng : Source of the drawing's randomness; the same state gives the same drawing.

        Returns
        -------
        Soft label map: the fraction of each voxel that a tissue fills, from the distance of its
        boundary. Its `labels` alone are the hard map.
        """
        rng = rng or np.random.default_rng(0)
        parts: dict[Tissue, FloatArray] = {}
        for structure in self.structures:
            inner_mm, outer_mm = structure.drawn(error, rng)
            filled = _filled(structure.grid, inner_mm, motion, grid)
            parts[structure.tissue] = filled
            if structure.cartilage is not None:
                both = _filled(structure.grid, outer_mm, motion, grid)
                parts[structure.cartilage] = np.maximum(both - filled, 0.0)
        total = np.ones(grid.shape, dtype=np.float32)
        np.maximum(total, sum(parts.values()), out=total)
        shares = {tissue: (part / total).astype(np.float32) for tissue, part in parts.items()}
        return LabelMap.from_probabilities(shares, grid)


_OTHER_AXES = ((1, 2), (0, 2), (0, 1))


def random_field(
    grid: Grid, near: NDArray[np.bool_], error: DrawingError, rng: np.random.Generator
) -> FloatArray:
    """(n,) float32 displacement in mm at the marked voxels of a grid.

    Parameters
    ----------
    grid : Where the voxels lie.
    near : (i, j, k) voxels at which the field is wanted.
    error : SDs and correlation lengths.
    """
    places = np.array(np.nonzero(near), dtype=np.float32)
    total: FloatArray = np.zeros(places.shape[1], dtype=np.float32)
    for sd_mm, length_mm in error.parts:
        if sd_mm > 0:
            total += np.float32(sd_mm) * _unit_field(grid, places, length_mm, rng)
    return total


def _unit_field(
    grid: Grid, places: FloatArray, length_mm: float, rng: np.random.Generator
) -> FloatArray:
    """Gaussian random field of SD 1, made on a coarse lattice and interpolated."""
    scale = grid.spacing_mm * _NODES_PER_LENGTH / length_mm
    shape = tuple(int(np.ceil(n * s)) + 2 for n, s in zip(grid.shape, scale, strict=True))
    smooth = smooth_noise(shape, _NODES_PER_LENGTH, rng, mode="wrap", single=True)
    smooth /= noise_sd(_NODES_PER_LENGTH)
    lattice = places * scale[:, None].astype(np.float32)
    field: FloatArray = map_coordinates(smooth, lattice, order=1, mode="nearest")
    return field


def _structure(
    label_map: LabelMap,
    boxes: Sequence[tuple[slice, ...]],
    tissue: Tissue,
    cartilage: Tissue | None,
) -> Structure:
    """Signed distances in the box of a structure, with room around it."""
    spacing = label_map.grid.spacing_mm
    room = np.ceil(_ROOM_MM / spacing).astype(int)
    low = [max(min(b[a].start for b in boxes) - room[a], 0) for a in range(3)]
    high = [
        min(max(b[a].stop for b in boxes) + room[a], label_map.labels.shape[a]) for a in range(3)
    ]
    labels = label_map.labels[tuple(slice(*edge) for edge in zip(low, high, strict=True))]
    grid = label_map.grid.crop((low[0], low[1], low[2]), labels.shape)
    inner = _signed_distance(labels == tissue, spacing)
    if cartilage is None or not (labels == cartilage).any():
        return Structure(tissue, cartilage, grid, inner, inner, np.zeros_like(inner))
    covered = labels == cartilage
    outer = _signed_distance((labels == tissue) | covered, spacing)
    soft = gaussian_filter(covered.astype(np.float32), _SMOOTH_MM / spacing, mode="nearest")
    return Structure(tissue, cartilage, grid, inner, outer, np.clip(2.0 * soft, 0.0, 1.0))


def _signed_distance(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> FloatArray:
    """Distance in mm to the boundary of a mask, negative inside, without its voxel steps.

    A smoothed mask falls as the normal distribution across its boundary, which tells the distance
    up to about two SDs of the smoothing. Farther away only the sign is right.
    """
    soft = gaussian_filter(mask.astype(np.float32), _SMOOTH_MM / spacing, mode="nearest")
    edge = np.float32(0.001)
    signed: FloatArray = np.where(soft > 0.5, -_REACH_MM, _REACH_MM).astype(np.float32)
    near = (soft > edge) & (soft < 1.0 - edge)
    signed[near] = -_SMOOTH_MM * ndtri(soft[near])
    return signed


def _filled(
    source: Grid, distance_mm: FloatArray, motion: RigidTransform, grid: Grid
) -> FloatArray:
    """(i, j, k) float32 fraction of each voxel of `grid` that lies inside a boundary.

    Long voxels are cut into parts about as long as the short edge; the fraction of a part follows
    from the distance at its centre.
    """
    edge_mm = float(grid.spacing_mm.min())
    cuts = np.maximum(np.round(grid.spacing_mm / edge_mm), 1).astype(int)
    to_source: NDArray[np.float64] = np.linalg.inv(motion.matrix @ source.affine) @ grid.affine
    box = _covered_box(source, np.linalg.inv(to_source), grid)
    out: FloatArray = np.zeros(grid.shape, dtype=np.float32)
    if box is None:
        return out
    shape = tuple(part.stop - part.start for part in box)
    corner = np.array([part.start for part in box], dtype=np.float64)
    linear = to_source[:3, :3]
    offset = to_source[:3, 3] + linear @ corner
    # a voxel's nearest sample tells which voxels a boundary may cut; only those are looked at twice
    rough = affine_transform(
        distance_mm, linear, offset, output_shape=shape, order=0, mode="nearest"
    )
    inside: FloatArray = (rough < 0).astype(np.float32)
    cut = np.abs(rough) < float(np.linalg.norm(source.spacing_mm + grid.spacing_mm))
    places = linear @ np.array(np.nonzero(cut), dtype=np.float64) + offset[:, None]
    total = np.zeros(places.shape[1])
    for part in product(*[(np.arange(n) + 0.5) / n - 0.5 for n in cuts]):
        shifted = places + (linear @ np.array(part))[:, None]
        signed = map_coordinates(distance_mm, shifted, order=1, mode="nearest")
        total += np.clip(0.5 - signed / edge_mm, 0.0, 1.0)
    inside[cut] = total / float(np.prod(cuts))
    out[box] = inside
    return out


def _covered_box(
    source: Grid, from_source: NDArray[np.floating], grid: Grid
) -> tuple[slice, slice, slice] | None:
    """Voxels of `grid` that the source box covers; None where it lies outside."""
    corners = np.array(list(product(*[(0, n - 1) for n in source.shape])), dtype=np.float64)
    places = corners @ from_source[:3, :3].T + from_source[:3, 3]
    low = np.maximum(np.floor(places.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(places.max(axis=0)) + 1, grid.shape).astype(int)
    if (high <= low).any():
        return None
    return (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
