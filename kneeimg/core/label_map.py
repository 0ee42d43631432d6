"""Segmented anatomy on a grid: hard labels or per-tissue probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.errors import GeometryError, MaskError, ReasonCode

ProbabilityMap = Mapping[Tissue, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Which tissue each voxel holds, in the scheme `knee-v1`.

    Attributes
    ----------
    labels : (i, j, k) uint8 values of :class:`Tissue`. For a soft map the tissue of at least one
        half, else the largest.
    grid : Where the voxels lie.
    probabilities : Tissue to (i, j, k) float32 in 0..1, the fraction of the voxel that the tissue
        fills; None for a hard map.
    side_from_labels : The side that the label geometry itself shows (separate medial and lateral
        labels, fibula); None when the labels do not tell.
    """

    labels: NDArray[np.uint8]
    grid: Grid
    probabilities: ProbabilityMap | None = field(default=None)
    side_from_labels: Side | None = field(default=None)

    def __post_init__(self) -> None:
        if self.labels.shape != self.grid.shape:
            raise GeometryError(f"labels {self.labels.shape} on a grid of {self.grid.shape}")
        _require_shapes(self.probabilities or {}, self.grid)

    @classmethod
    def from_probabilities(cls, probabilities: ProbabilityMap, grid: Grid) -> LabelMap:
        """Soft map; the hard labels are the most probable tissue (background = the rest)."""
        _require_shapes(probabilities, grid)
        best = np.zeros(grid.shape, dtype=np.uint8)
        rest = np.ones(grid.shape, dtype=np.float32)
        for fraction in probabilities.values():
            rest -= fraction
        highest = rest
        for tissue, fraction in probabilities.items():
            wins = fraction > highest
            best[wins] = int(tissue)
            highest = np.maximum(highest, fraction)
        return cls(labels=best, grid=grid, probabilities=probabilities)

    @property
    def is_soft(self) -> bool:
        """Whether voxel fractions are known."""
        return self.probabilities is not None

    def fraction(self, tissue: Tissue) -> NDArray[np.float32]:
        """(i, j, k) float32 fraction of each voxel that the tissue fills (0 or 1 if hard)."""
        if self.probabilities is None:
            hard: NDArray[np.float32] = (self.labels == int(tissue)).astype(np.float32)
            return hard
        if tissue in self.probabilities:
            fraction: NDArray[np.float32] = self.probabilities[tissue]
            return fraction
        return np.zeros(self.grid.shape, dtype=np.float32)

    def tissues(self) -> frozenset[Tissue]:
        """Tissues with at least one voxel, background excluded."""
        present = np.flatnonzero(np.bincount(self.labels.ravel(), minlength=256))
        return frozenset(Tissue(int(value)) for value in present if value)

    def require_measurable(self) -> None:
        """Raise MaskError for an empty map or for cartilage without the bone below it."""
        tissues = self.tissues()
        if not tissues:
            raise MaskError("the mask holds no labelled voxel", code=ReasonCode.EMPTY_MASK)
        pairs = (
            (Tissue.FEMUR, Tissue.FEMORAL_CARTILAGE),
            (Tissue.TIBIA, Tissue.TIBIAL_CARTILAGE),
            (Tissue.PATELLA, Tissue.PATELLAR_CARTILAGE),
        )
        orphans = [c.name.lower() for bone, c in pairs if c in tissues and bone not in tissues]
        bones = [bone.name.lower() for bone, _ in pairs if bone in tissues]
        if orphans or not bones:
            raise MaskError(
                "cartilage thickness is measured from bone, and the bone is not in the mask",
                code=ReasonCode.NO_BONE,
                expected="femur, tibia or patella labelled beside its cartilage",
                found=f"without bone: {', '.join(orphans) or 'none'}; "
                f"bones: {', '.join(bones) or 'none'}",
                action="label the bones too, or choose the right --scheme",
            )

    def with_grid(self, grid: Grid) -> LabelMap:
        """The same labels placed by another grid of equal shape."""
        return replace(self, grid=grid)


def _require_shapes(probabilities: ProbabilityMap, grid: Grid) -> None:
    for tissue, fraction in probabilities.items():
        if fraction.shape != grid.shape:
            raise GeometryError(f"{tissue.name} {fraction.shape} on a grid of {grid.shape}")
