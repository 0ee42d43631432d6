"""What every bone of the phantom knee can say about itself.

All coordinates are canonical knee millimetres: a right knee, +x medial, -y anterior, +z proximal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Foot:
    """Closest points on the cartilage-bearing surface.

    Attributes
    ----------
    distance_mm : (N,) signed distance, positive outside; exact where cartilage can lie.
    points : (N, 3) closest points, mm.
    normals : (N, 3) outward unit normals there.
    """

    distance_mm: FloatArray
    points: FloatArray
    normals: FloatArray


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of the cartilage-bearing surface, sampled at the corners of its cells.

    Attributes
    ----------
    points, normals : (n + 1, m + 1, 3) corners in mm and outward unit normals.
    """

    points: FloatArray
    normals: FloatArray


class CartilageBone(Protocol):
    """A bone with one exact, smooth surface that carries cartilage."""

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) lowest and highest corner of a box around bone and cartilage."""

    def distance(self, points: FloatArray) -> FloatArray:
        """(N,) level of the whole bone, mm: negative inside."""

    def foot(self, points: FloatArray) -> Foot:
        """Closest points on the cartilage-bearing surface."""

    def edge(self, foot: FloatArray) -> FloatArray:
        """(N,) level on the surface, about mm: negative on the total subchondral bone area."""

    def patches(self, step_mm: float) -> Iterator[Patch]:
        """Cells of about `step_mm` that cover the total subchondral bone area."""


@dataclass(frozen=True)
class Shape:
    """Base of the size parameters: every field that ends in `_mm` scales with the knee."""

    def scaled(self, factor: float) -> Self:
        """The same shape, larger or smaller."""
        names = [f.name for f in fields(self) if f.name.endswith("_mm")]
        return replace(self, **{name: getattr(self, name) * factor for name in names})
