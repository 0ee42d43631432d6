"""Scalar voxel values on a grid, in one stated unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from numpy.typing import NDArray

from kneeimg.core.grid import Grid
from kneeimg.errors import GeometryError

Unit = Literal["a.u.", "mm", "ms"]


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Scalar voxel values on a Grid, in one stated unit."""

    data: NDArray[Any]
    grid: Grid
    unit: Unit

    def __post_init__(self) -> None:
        if self.data.shape != self.grid.shape:
            raise GeometryError(f"data {self.data.shape} on a grid of {self.grid.shape}")

    def with_data(self, data: NDArray[Any], *, unit: Unit) -> Volume:
        """Return new values on the same grid; the unit is always said again."""
        return replace(self, data=data, unit=unit)
