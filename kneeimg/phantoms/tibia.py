"""The tibia of the phantom: hollow medial plateau, bulging lateral plateau, eminence, shaft.

Both plateaus are spherical, so signed distance and foot point are exact in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Plate
from kneeimg.phantoms.bones import Foot, Patch, Shape
from kneeimg.phantoms.levels import ellipse, ellipsoid, smooth_max, smooth_min, smooth_step

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TibiaShape(Shape):
    """Sizes of the tibia in mm; z = 0 is the floor of the medial plateau."""

    medial_x_mm: float = 22.0
    medial_y_mm: float = 2.0
    medial_half_ml_mm: float = 13.0
    medial_half_ap_mm: float = 20.0
    medial_dish_radius_mm: float = 60.0
    medial_rim_mm: float = 3.4
    lateral_x_mm: float = -21.0
    lateral_y_mm: float = 2.0
    lateral_half_ml_mm: float = 12.5
    lateral_half_ap_mm: float = 17.5
    lateral_cap_radius_mm: float = 70.0
    lateral_height_mm: float = 0.24
    lobe_x_mm: float = 15.0
    lobe_half_ml_mm: float = 23.0
    lobe_half_ap_mm: float = 25.0
    lobe_y_mm: float = 3.0
    shaft_half_ml_mm: float = 13.0
    shaft_half_ap_mm: float = 14.0
    flare_length_mm: float = 30.0
    shaft_bottom_z_mm: float = -200.0


@dataclass(frozen=True)
class Tibia:
    """Tibia in canonical coordinates, its medial floor at `height_mm`."""

    shape: TibiaShape
    height_mm: float

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box around bone and cartilage."""
        s = self.shape
        wide = s.lobe_x_mm + s.lobe_half_ml_mm + 1.0
        low = [-wide, s.lobe_y_mm - s.lobe_half_ap_mm - 1.0, s.shaft_bottom_z_mm]
        high = [wide, s.lobe_y_mm + s.lobe_half_ap_mm + 1.0, self.height_mm + 14.0]
        return np.array([low, high])

    def _centres(self) -> tuple[FloatArray, FloatArray]:
        """Centres of the medial sphere (above) and of the lateral sphere (below)."""
        s, z = self.shape, self.height_mm
        medial = np.array([s.medial_x_mm, s.medial_y_mm, z + s.medial_dish_radius_mm])
        floor = z + s.lateral_height_mm - s.lateral_cap_radius_mm
        return medial, np.array([s.lateral_x_mm, s.lateral_y_mm, floor])

    def foot(self, points: FloatArray) -> Foot:
        """Closest points on the medial (x >= 0) or lateral sphere."""
        medial, lateral = self._centres()
        is_medial = points[:, 0] >= 0.0
        outwards = points - np.where(is_medial[:, None], medial, lateral)
        length = np.maximum(np.linalg.norm(outwards, axis=1), 1e-12)
        sign = np.where(is_medial, -1.0, 1.0)
        radius = np.where(
            is_medial, self.shape.medial_dish_radius_mm, self.shape.lateral_cap_radius_mm
        )
        distance = sign * (length - radius)
        normals = outwards * (sign / length)[:, None]
        return Foot(distance, points - distance[:, None] * normals, normals)

    def edge(self, foot: FloatArray) -> FloatArray:
        """Elliptical borders of the two plateaus."""
        s = self.shape
        x, y, _ = foot.T
        medial = ellipse(
            x - s.medial_x_mm, y - s.medial_y_mm, s.medial_half_ml_mm, s.medial_half_ap_mm
        )
        lateral = ellipse(
            x - s.lateral_x_mm, y - s.lateral_y_mm, s.lateral_half_ml_mm, s.lateral_half_ap_mm
        )
        result: FloatArray = np.where(x >= 0.0, medial, lateral)
        return result

    def plateau_radius2(self, foot: FloatArray) -> FloatArray:
        """Squared elliptical radius: 0 at the centre of a plateau, 1 on its border."""
        s = self.shape
        medial = foot[:, 0] >= 0.0
        dx = foot[:, 0] - np.where(medial, s.medial_x_mm, s.lateral_x_mm)
        dy = foot[:, 1] - np.where(medial, s.medial_y_mm, s.lateral_y_mm)
        half_ml = np.where(medial, s.medial_half_ml_mm, s.lateral_half_ml_mm)
        half_ap = np.where(medial, s.medial_half_ap_mm, s.lateral_half_ap_mm)
        result: FloatArray = (dx / half_ml) ** 2 + (dy / half_ap) ** 2
        return result

    def plateau_point(self, plate: str, u: float, v: float) -> FloatArray:
        """Point above a plateau: u from its inner (-1) to outer, v from front (-1) to back."""
        s = self.shape
        if plate == "MT":
            x, y = s.medial_x_mm + u * s.medial_half_ml_mm, s.medial_y_mm + v * s.medial_half_ap_mm
        else:
            x = s.lateral_x_mm - u * s.lateral_half_ml_mm
            y = s.lateral_y_mm + v * s.lateral_half_ap_mm
        return np.array([x, y, self.height_mm])

    def distance(self, points: FloatArray) -> FloatArray:
        """Level of the whole bone; equals the exact distance above the plateaus."""
        bone = smooth_max(self._walls(points), self._top(points), 2.0)
        bone = smooth_min(bone, self._tuberosity(points), 6.0)
        return smooth_min(bone, self._eminence(points), 1.0)

    def _tuberosity(self, points: FloatArray) -> FloatArray:
        """The ridge in front on which the patellar tendon ends."""
        y = self.shape.lobe_y_mm - self.shape.lobe_half_ap_mm
        centre = np.array([-2.0, y + 10.0, self.height_mm - 36.0])
        return ellipsoid(points - centre, (9.0, 8.0, 17.0))

    def _top(self, points: FloatArray) -> FloatArray:
        """The two plateaus, blended between them under the eminence."""
        s = self.shape
        centre, below = self._centres()
        dish = s.medial_dish_radius_mm - np.linalg.norm(points - centre, axis=1)
        medial = np.maximum(dish, points[:, 2] - self.height_mm - s.medial_rim_mm)
        lateral = np.linalg.norm(points - below, axis=1) - s.lateral_cap_radius_mm
        weight = smooth_step(points[:, 0], 6.0)
        result: FloatArray = weight * medial + (1.0 - weight) * lateral
        return result

    def _walls(self, points: FloatArray) -> FloatArray:
        """Two elliptical lobes that narrow into the shaft below."""
        s = self.shape
        x, y, z = points.T
        depth = np.maximum(self.height_mm - z, 0.0) / s.flare_length_mm
        flare = np.exp(-(depth**2))
        half_ml = s.shaft_half_ml_mm + (s.lobe_half_ml_mm - s.shaft_half_ml_mm) * flare
        half_ap = s.shaft_half_ap_mm + (s.lobe_half_ap_mm - s.shaft_half_ap_mm) * flare
        across = np.abs(x) - s.lobe_x_mm * flare  # the nearer of the two lobes
        along = y - s.lobe_y_mm * flare
        walls = np.minimum(
            ellipse(across, along, half_ml, half_ap),
            ellipse(np.abs(x) + s.lobe_x_mm * flare, along, half_ml, half_ap),
        )
        result: FloatArray = np.maximum(walls, s.shaft_bottom_z_mm - z)
        return result

    def _eminence(self, points: FloatArray) -> FloatArray:
        """Two tubercles between the plateaus."""
        z = self.height_mm
        medial = ellipsoid(points - np.array([3.5, 4.0, z + 1.0]), (4.0, 8.0, 7.5))
        lateral = ellipsoid(points - np.array([-3.5, 6.0, z]), (4.0, 7.0, 6.5))
        return smooth_min(medial, lateral, 2.0)

    def patches(self, step_mm: float) -> Iterator[Patch]:
        """A rectangle of each sphere around its ellipse."""
        s = self.shape
        medial, lateral = self._centres()
        yield _sphere_patch(
            medial, -s.medial_dish_radius_mm, (s.medial_half_ml_mm, s.medial_half_ap_mm), step_mm
        )
        yield _sphere_patch(
            lateral, s.lateral_cap_radius_mm, (s.lateral_half_ml_mm, s.lateral_half_ap_mm), step_mm
        )

    def plates(self, foot: FloatArray) -> NDArray[np.uint8]:
        """Plate code of surface points; the caller masks what lies outside the edge."""
        codes = np.where(foot[:, 0] >= 0.0, int(Plate.MT), int(Plate.LT))
        return codes.astype(np.uint8)


def _sphere_patch(
    centre: FloatArray, radius: float, half_mm: tuple[float, float], step_mm: float
) -> Patch:
    """Cells above an ellipse; a negative radius is the hollow lower side of a ball."""
    axes = [np.linspace(-1.03 * h, 1.03 * h, int(2.06 * h / step_mm) + 1) for h in half_mm]
    x, y = np.meshgrid(*axes, indexing="ij")
    z = np.sqrt(radius**2 - x**2 - y**2) * np.sign(radius)
    outwards = np.stack([x, y, z], axis=-1)
    return Patch(centre + outwards, outwards / radius)
