"""What the cartilage plates of a healthy knee look like, learned from label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone
from kneeimg.errors import GeometryError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BonePlates:
    """Mean joint end of one bone of a right knee and where its cartilage ends.

    Attributes
    ----------
    points_mm : (N, 3) points of the mean bone around its cartilage; +x medial, +y posterior,
        +z proximal, origin arbitrary.
    normals : (N, 3) unit outward normals there.
    inside_mm : (N,) mean distance to the border of the plate, positive inside it.
    modes_mm : (N, K) how that distance varies between people: each column is one standard
        deviation of one independent mode.
    """

    points_mm: FloatArray
    normals: FloatArray
    inside_mm: FloatArray
    modes_mm: FloatArray

    def __post_init__(self) -> None:
        count = len(self.points_mm)
        shapes = (self.points_mm.shape, self.normals.shape, self.inside_mm.shape)
        if shapes != ((count, 3), (count, 3), (count,)) or self.modes_mm.shape[:1] != (count,):
            raise GeometryError(f"plate model: shapes {shapes} and {self.modes_mm.shape}")
        arrays = (self.points_mm, self.normals, self.inside_mm, self.modes_mm)
        if not all(np.isfinite(array).all() for array in arrays):
            raise GeometryError("plate model: values that are not finite")


@dataclass(frozen=True, slots=True, eq=False)
class PlateModel:
    """The plates of the three bones.

    Attributes
    ----------
    bones : Bone to its plates; a bone without an entry keeps what its own visit shows.
    sha256 : Hash of the file it came from; "" when it came from memory.
    """

    bones: Mapping[Bone, BonePlates]
    sha256: str = ""
