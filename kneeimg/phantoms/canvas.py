"""Voxel fractions of several solids, put together into one label map."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.phantoms.partial_volume import Fractions

Window = tuple[slice, slice, slice]


@dataclass
class Canvas:
    """Tissue fractions on a grid while they are being drawn.

    Attributes
    ----------
    grid : Where the voxels lie.
    shares : Fraction of every voxel per tissue drawn so far.
    """

    grid: Grid
    shares: dict[Tissue, NDArray[np.float32]] = field(default_factory=dict)
    _windows: list[Window] = field(default_factory=list)

    def draw(self, part: Fractions | None, bone: Tissue, cartilage: Tissue | None = None) -> None:
        """Add one solid; a solid out of view leaves its tissues at zero."""
        layers = [(bone, part.bone if part else None)]
        if cartilage is not None:
            layers.append((cartilage, part.cartilage if part else None))
        for tissue, share in layers:
            self.shares[tissue] = np.zeros(self.grid.shape, dtype=np.float32)
            if part is not None and share is not None:
                self.shares[tissue][part.window] = share
        if part is not None:
            self._windows.append(part.window)

    def label_map(self, *, hard: bool, side: Side | None = None) -> LabelMap:
        """The drawing as a soft map, or as a hard one without fractions."""
        labels = np.zeros(self.grid.shape, dtype=np.uint8)
        if self._windows:
            window = self._union()
            self._limit_sum(window)
            cut = {tissue: share[window] for tissue, share in self.shares.items()}
            start = tuple(part.start for part in window)
            size = next(iter(cut.values())).shape
            labels[window] = LabelMap.from_probabilities(cut, self.grid.crop(start, size)).labels
        return LabelMap(labels, self.grid, None if hard else self.shares, side)

    def _union(self) -> Window:
        """Smallest window that holds everything drawn."""
        i, j, k = (
            slice(min(w[n].start for w in self._windows), max(w[n].stop for w in self._windows))
            for n in range(3)
        )
        return i, j, k

    def _limit_sum(self, window: Window) -> None:
        """Take rounding away where touching surfaces share a voxel: no voxel is over-full."""
        total = np.sum([share[window] for share in self.shares.values()], axis=0)
        full = total > 1.0
        for share in self.shares.values():
            share[window][full] /= total[full]
