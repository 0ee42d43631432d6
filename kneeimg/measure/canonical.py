"""Every knee is measured as a right knee whose array axes run closest to +L, +P, +S.

Array axes are permuted and flipped (views, no resampling) and a left knee is mirrored at x = 0, so
that medial is +x. All arithmetic then sees the same arrays whatever the orientation of the file
and whichever the side: the mirror law holds to the last bit by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone, Side, Tissue
from kneeimg.core.grid import Grid, reorient_array
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import Surface
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.sharing import in_pieces

FloatArray = NDArray[np.float64]
Box = tuple[slice, slice, slice]

#: Rows of an array that a thread turns at once.
_ROWS = 32
_MIRRORED = np.array([-1.0, 1.0, 1.0])
#: A tissue "begins" at this fraction of a voxel when the region of interest is cut out.
_PRESENT = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalKnee:
    """A label map as a right knee, cut to its bones and cartilage.

    Attributes
    ----------
    label_map : The map after permuting and flipping axes, and mirroring a left knee.
    boxes : Tissue to its bounding box in `label_map`; only tissues that are present.
    start : (3,) index of the origin of local coordinates in `label_map`.
    mirrored : Whether x was mirrored (a left knee).
    axes, flips : How the array that was given was turned, see `Grid.reorient`.
    labelled : Box around everything that is labelled, whatever it is.

    Notes
    -----
    Local coordinates are mm along the patient axes with their origin at voxel `start`: small
    numbers that do not depend on where the scanner put its origin.
    """

    label_map: LabelMap
    boxes: dict[Tissue, Box]
    start: tuple[int, int, int]
    mirrored: bool
    axes: tuple[int, int, int]
    flips: tuple[int, int, int]
    labelled: Box

    @property
    def linear(self) -> FloatArray:
        """(3, 3) mm per index step."""
        return self.label_map.grid.affine[:3, :3]

    def to_patient(self, local_mm: FloatArray) -> FloatArray:
        """(..., 3) local mm to (..., 3) patient LPS+ mm."""
        patient = local_mm + self.label_map.grid.to_mm(self.start)
        return patient * _MIRRORED if self.mirrored else patient

    def surface_to_patient(self, surface: Surface, frame_uid: str | None) -> Surface:
        """A local surface in the patient frame; winding follows the mirror, normals too."""
        fields = dict(surface.fields)
        faces = surface.faces
        if self.mirrored:
            faces = np.ascontiguousarray(faces[:, ::-1])
            fields["normals"] = fields["normals"] * _MIRRORED
        return Surface(self.to_patient(surface.vertices), faces, fields, frame_uid)

    def box_of(self, *tissues: Tissue, margin_mm: float) -> Box:
        """Box around the tissues that are present, widened by a margin, inside the array."""
        boxes = [self.boxes[tissue] for tissue in tissues if tissue in self.boxes]
        spacing = self.label_map.grid.spacing_mm
        widen = np.ceil(margin_mm / spacing).astype(int)
        sides = []
        for axis, count in enumerate(self.label_map.labels.shape):
            low = min(box[axis].start for box in boxes) - widen[axis]
            high = max(box[axis].stop for box in boxes) + widen[axis]
            sides.append(slice(max(int(low), 0), min(int(high), count)))
        return sides[0], sides[1], sides[2]

    def amount(self, tissue: Tissue, box: Box) -> NDArray[Any]:
        """The tissue inside a box, in C order: float32 fractions, of a hard map uint8 0 and 1."""
        soft = self.label_map.probabilities
        if soft is None:
            inside = np.ascontiguousarray(self.label_map.labels[box] == int(tissue))
            return inside.view(np.uint8)
        if tissue not in soft:
            return np.zeros(self.label_map.labels[box].shape, dtype=np.float32)
        return np.ascontiguousarray(soft[tissue][box], dtype=np.float32)

    def fraction(self, tissue: Tissue, box: Box) -> NDArray[np.float32]:
        """Float32 fraction of the tissue inside a box, in C order."""
        fraction: NDArray[np.float32] = self.amount(tissue, box).astype(np.float32, copy=False)
        return fraction

    def own_index(self, index: NDArray[np.int32]) -> NDArray[np.int32]:
        """(N, 3) indices of the canonical array to those of the array that was given."""
        own = np.empty_like(index)
        for new, (old, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            count = self.label_map.labels.shape[new]
            own[:, old] = index[:, new] if flip > 0 else count - 1 - index[:, new]
        return own

    def local_affine(self, box: Box) -> FloatArray:
        """(4, 4) affine from indices of a cut-out box to local mm."""
        corner = np.array([side.start for side in box], dtype=np.float64) - self.start
        return from_linear(self.linear, self.linear @ corner)

    def touches_edge(self, tissue: Tissue, axis: int, *, high: bool) -> bool:
        """Whether the tissue reaches the first or last voxel along an array axis."""
        side = self.boxes[tissue][axis]
        edge = side.stop == self.label_map.labels.shape[axis] if high else side.start == 0
        return bool(edge)


def canonical_knee(label_map: LabelMap, side: Side) -> CanonicalKnee:
    """Put a label map into canonical form.

    Parameters
    ----------
    label_map : Any orientation.
    side : Which knee it is; a left knee is mirrored.

    Raises
    ------
    MaskError
        `EMPTY_MASK` when no bone or cartilage is labelled.
    """
    grid, mirrored = label_map.grid, side is Side.LEFT
    if mirrored:
        grid = Grid(grid.shape, from_linear(np.diag(_MIRRORED)) @ grid.affine, grid.frame_uid)
    axes, flips = grid.closest_lps()
    labels, labelled = _straight(reorient_array(label_map.labels, axes, flips))  # type: ignore[arg-type]
    soft = None
    if label_map.probabilities is not None:
        soft = {
            tissue: reorient_array(fraction, axes, flips)
            for tissue, fraction in label_map.probabilities.items()
        }
    turned = LabelMap(labels, grid.reorient(axes, flips), soft)  # type: ignore[arg-type]
    boxes = _tissue_boxes(turned, labelled)
    if not boxes:
        raise MaskError("the mask holds no bone or cartilage", code=ReasonCode.EMPTY_MASK)
    start = tuple(min(box[axis].start for box in boxes.values()) for axis in range(3))
    corner = (start[0], start[1], start[2])
    if labelled is None:  # fractions of which none wins a voxel
        labelled = (slice(0, 0), slice(0, 0), slice(0, 0))
    return CanonicalKnee(turned, boxes, corner, mirrored, axes, flips, labelled)


def _tissue_boxes(label_map: LabelMap, labelled: Box | None) -> dict[Tissue, Box]:
    """Bounding boxes of the bones and their cartilage, all within the box of what is labelled."""
    wanted = [tissue for bone in Bone for tissue in (bone.tissue, bone.cartilage)]
    boxes: dict[Tissue, Box] = {}
    if label_map.probabilities is None:
        if labelled is not None:
            found = _label_boxes(label_map.labels[labelled], wanted)
            boxes = {tissue: _shifted(box, labelled) for tissue, box in found.items()}
        return boxes
    for tissue in wanted:
        fraction = label_map.probabilities.get(tissue)
        present = None if fraction is None else _bounding_box(fraction >= _PRESENT)
        if present is not None:
            boxes[tissue] = present
    return boxes


def _label_boxes(labels: NDArray[np.uint8], wanted: list[Tissue]) -> dict[Tissue, Box]:
    """Bounding boxes of labels below 8, in one walk over the planes: a bit for each label."""
    across = np.zeros(labels.shape[1:], dtype=np.uint8)
    along = np.empty((labels.shape[0], labels.shape[2]), dtype=np.uint8)
    for number, plane in enumerate(labels):
        bits = np.left_shift(np.uint8(1), plane)
        across |= bits
        np.bitwise_or.reduce(bits, axis=0, out=along[number])
    seen = (
        np.bitwise_or.reduce(along, axis=1),
        np.bitwise_or.reduce(across, axis=1),
        np.bitwise_or.reduce(along, axis=0),
    )
    boxes: dict[Tissue, Box] = {}
    for tissue in wanted:
        hits = [np.flatnonzero(axis & (1 << int(tissue))) for axis in seen]
        if len(hits[0]):
            i, j, k = (slice(int(axis[0]), int(axis[-1]) + 1) for axis in hits)
            boxes[tissue] = (i, j, k)
    return boxes


def _straight(labels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Box | None]:
    """The array in C order, and the box of what is labelled.

    Only what is labelled is copied, plane by plane and first in the order of the source: both
    orders stay in the cache, and no axis is walked backwards.
    """
    if labels.flags.c_contiguous:
        return labels, _bounding_box(labels)
    forward = tuple(slice(None, None, 1 if step > 0 else -1) for step in labels.strides)
    straight = np.zeros(labels.shape, dtype=labels.dtype)
    into, source = straight[forward], labels[forward]
    box = _bounding_box(source)
    if box is None:
        return straight, None
    into, source = into[box], source[box]

    def copy(rows: slice) -> None:
        for row in range(rows.start, rows.stop):
            into[:, row, :] = np.ascontiguousarray(source[:, row, :].copy(order="K"))

    in_pieces(copy, source.shape[1], _ROWS)
    return straight, _turned_about(box, labels.shape, forward)


def _turned_about(box: Box, shape: tuple[int, ...], forward: tuple[slice, ...]) -> Box:
    """A box in an array whose axes were walked in these directions, in the array's own indices."""
    i, j, k = (
        side if step.step > 0 else slice(count - side.stop, count - side.start)
        for side, count, step in zip(box, shape, forward, strict=True)
    )
    return i, j, k


def _bounding_box(values: NDArray[Any]) -> Box | None:
    """Smallest box around what is not 0; None when there is nothing."""
    slow = int(np.argmax(np.abs(values.strides)))  # along it the planes lie in one piece of memory
    first, second = (axis for axis in range(3) if axis != slow)
    shadow = values.max(axis=slow)
    seen = {first: shadow.max(axis=1), second: shadow.max(axis=0)}
    seen[slow] = values.max(axis=(first, second))
    hits = [np.flatnonzero(seen[axis]) for axis in range(3)]
    if not len(hits[0]):
        return None
    i, j, k = (slice(int(axis[0]), int(axis[-1]) + 1) for axis in hits)
    return i, j, k


def _shifted(box: Box, by: Box) -> Box:
    """A box inside another one, in the indices of the whole array."""
    i, j, k = (
        slice(inner.start + outer.start, inner.stop + outer.start)
        for inner, outer in zip(box, by, strict=True)
    )
    return i, j, k
