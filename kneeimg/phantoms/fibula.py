"""The fibula of the phantom: a capsule behind the lateral plateau; it tells the side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.phantoms.bones import Shape
from kneeimg.phantoms.levels import round_cone

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class FibulaShape(Shape):
    """Sizes of the fibula in mm; `head_below_mm` counts from the medial plateau's floor."""

    x_mm: float = -37.0
    y_mm: float = 25.0
    head_below_mm: float = 19.0
    head_radius_mm: float = 8.5
    shaft_x_mm: float = -33.0
    shaft_y_mm: float = 26.0
    shaft_radius_mm: float = 6.0
    neck_mm: float = 28.0
    shaft_mm: float = 180.0


@dataclass(frozen=True)
class Fibula:
    """Fibula in canonical coordinates, hung from the plateau at `height_mm`."""

    shape: FibulaShape
    height_mm: float

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box around the bone."""
        s = self.shape
        radius = s.head_radius_mm + 1.0
        top = self.height_mm - s.head_below_mm
        xs, ys = sorted((s.x_mm, s.shaft_x_mm)), sorted((s.y_mm, s.shaft_y_mm))
        low = [xs[0] - radius, ys[0] - radius, top - s.shaft_mm - radius]
        return np.array([low, [xs[1] + radius, ys[1] + radius, top + radius]])

    def bone_level(self, points: FloatArray) -> FloatArray:
        """Signed distance to head, neck and shaft (first order)."""
        s = self.shape
        top = self.height_mm - s.head_below_mm
        head = np.array([s.x_mm, s.y_mm, top])
        neck = np.array([s.shaft_x_mm, s.shaft_y_mm, top - s.neck_mm])
        foot = np.array([s.shaft_x_mm, s.shaft_y_mm, top - s.shaft_mm])
        upper = round_cone(points, head, neck, s.head_radius_mm, s.shaft_radius_mm)
        lower = round_cone(points, neck, foot, s.shaft_radius_mm, s.shaft_radius_mm)
        result: FloatArray = np.minimum(upper, lower)
        return result

    @property
    def greatest_mm(self) -> float:
        """No cartilage."""
        return 0.0

    def sheet_levels(self, points: FloatArray) -> FloatArray:
        """(3, N) levels of a sheet that is nowhere."""
        return np.full((3, len(points)), 1e3)
