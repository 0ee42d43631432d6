"""Menisci of the phantom: C-shaped wedges of exact volume over the rims of the two plateaus.

A meniscus follows the sphere of its plateau. Its place is told by the foot point on that sphere, in
units of the plateau's ellipse (s = 1 on the border, angle 0 outward), and by the height h above
it: floor < h < floor + wedge(s, angle). The wedge begins with height 0 at the inner edge, is
highest at the outer edge, higher outward (body) than in front and behind (horns).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kneeimg.phantoms.bones import Shape
from kneeimg.phantoms.cartilage import Sheet
from kneeimg.phantoms.levels import ellipse
from kneeimg.phantoms.tibia import Tibia

FloatArray = NDArray[np.float64]

_NODES = 64


@dataclass(frozen=True)
class MeniscusShape(Shape):
    """Form of both menisci.

    Attributes
    ----------
    inner, outer : Inner and outer edge in units of the plateau's ellipse.
    body_height_mm, horn_height_mm : Height at the outer edge, outward and in front or behind.
    opening_deg : Half of the angle, towards the eminence, in which there is no meniscus.
    clearance_mm : Gap between the highest tibial cartilage below it and its floor.
    """

    inner: float = 0.6
    outer: float = 1.15
    body_height_mm: float = 4.5
    horn_height_mm: float = 1.1
    opening_deg: float = 55.0
    clearance_mm: float = 0.05


@dataclass(frozen=True)
class Meniscus:
    """One meniscus in canonical coordinates.

    Attributes
    ----------
    shape : Its form.
    tibia : Cartilage-bearing tibia on which it lies.
    medial : Over the medial plateau, else over the lateral.
    """

    shape: MeniscusShape
    tibia: Sheet
    medial: bool

    @property
    def _bone(self) -> Tibia:
        assert isinstance(self.tibia.bone, Tibia)
        return self.tibia.bone

    @property
    def _ellipse(self) -> tuple[float, float, float, float, float]:
        """Centre x, y, half axes outward and along, and +1 where outward is +x."""
        s = self._bone.shape
        if self.medial:
            return s.medial_x_mm, s.medial_y_mm, s.medial_half_ml_mm, s.medial_half_ap_mm, 1.0
        return s.lateral_x_mm, s.lateral_y_mm, s.lateral_half_ml_mm, s.lateral_half_ap_mm, -1.0

    @property
    def _curvature(self) -> float:
        """1 / mm of the plateau's sphere: positive where it bulges, negative where it is hollow."""
        s = self._bone.shape
        return -1.0 / s.medial_dish_radius_mm if self.medial else 1.0 / s.lateral_cap_radius_mm

    @property
    def floor_mm(self) -> float:
        """Height of the lower face above the bone, clear of the cartilage below it."""
        nominal = self.tibia.nominal.MT if self.medial else self.tibia.nominal.LT
        around = max(abs(1.0 - 2.0 * self.shape.inner**2), 1.0 if self.tibia.variation < 0 else 0.0)
        highest = nominal * (1.0 + abs(self.tibia.variation) * around)
        return float(highest + self.shape.clearance_mm)

    def _wedge_mm(self, s: FloatArray, angle: FloatArray) -> FloatArray:
        """Height over its floor; negative inside the inner edge."""
        shape = self.shape
        body = np.maximum(np.cos(angle), 0.0) ** 2
        outer = shape.horn_height_mm + (shape.body_height_mm - shape.horn_height_mm) * body
        result: FloatArray = outer * (s - shape.inner) / (shape.outer - shape.inner)
        return result

    # ---- voxels

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box around the meniscus."""
        x, y, half_x, half_y, _ = self._ellipse
        reach = self.shape.outer * np.array([half_x, half_y]) + 2.0
        z = self._bone.height_mm
        top = z + self.floor_mm + self.shape.body_height_mm + 8.0
        return np.array([[x - reach[0], y - reach[1], z - 8.0], [x + reach[0], y + reach[1], top]])

    @property
    def greatest_mm(self) -> float:
        """No cartilage."""
        return 0.0

    def bone_level(self, points: FloatArray) -> FloatArray:
        """(N,) level, negative inside the meniscus."""
        on_side = np.where(self.medial, points[:, 0], -points[:, 0])
        foot = self._bone.foot(points)
        x, y, half_x, half_y, sign = self._ellipse
        across, along = sign * (foot.points[:, 0] - x), foot.points[:, 1] - y
        s = np.hypot(across / half_x, along / half_y)
        angle = np.arctan2(along / half_y, across / half_x)
        height = foot.distance_mm - self.floor_mm
        outer = self.shape.outer
        rim = ellipse(across, along, outer * half_x, outer * half_y)
        levels = [-height, height - self._wedge_mm(s, angle), rim, self._opening(across, along)]
        result: FloatArray = np.maximum.reduce([*levels, -on_side])
        return result

    def _opening(self, across: FloatArray, along: FloatArray) -> FloatArray:
        """Positive in the angle that is open towards the eminence."""
        _, _, half_x, half_y, _ = self._ellipse
        gap = np.deg2rad(self.shape.opening_deg)
        edge = np.array([half_x * np.cos(gap), half_y * np.sin(gap)])
        normal = np.array([edge[1], -edge[0]]) / np.linalg.norm(edge)
        result: FloatArray = -across * normal[0] + np.abs(along) * normal[1]
        return result

    def sheet_levels(self, points: FloatArray) -> FloatArray:
        """(3, N) levels of a sheet that is nowhere."""
        return np.full((3, len(points)), 1e3)

    # ---- exact answers

    def volume_mm3(self) -> float:
        """Volume by Gauss quadrature on the sphere (converged to better than 1e-6)."""
        s, angle, weight = self._nodes(self.shape.inner, self.shape.outer)
        low = self.floor_mm
        high = low + self._wedge_mm(s, angle)
        k = self._curvature

        def shells(h: FloatArray | float) -> FloatArray | float:
            return h + k * h**2 + k**2 * h**3 / 3.0  # the integral of (1 + k h)²

        return float(np.sum(weight * (shells(high) - shells(low))))

    def covered_mm2(self, least_mm: float = 0.0) -> float:
        """Plateau area under at least so much meniscus, along the plateau's normal."""
        share = (self.shape.outer - self.shape.inner) * least_mm

        def begins(angle: FloatArray) -> FloatArray:
            per_s = self._wedge_mm(np.full(angle.shape, self.shape.outer), angle)
            return self.shape.inner + share / per_s

        return float(np.sum(self._nodes(begins, 1.0)[2]))

    def plateau_mm2(self) -> float:
        """Area of the plateau inside its border."""
        return float(np.sum(self._nodes(0.0, 1.0, whole=True)[2]))

    def extrusion_mm(self, body_share: float = 1.0 / 3.0) -> tuple[float, float]:
        """Mean and greatest distance of the outer edge beyond the plateau's border.

        Parameters
        ----------
        body_share : Central part of the plateau's front-to-back extent over which it is taken.

        Notes
        -----
        In canonical coordinates, along x, at equal y. A hollow plateau's normals lean inward, so
        the outer edge reaches furthest out at the floor; those of a bulging one at the top.
        """
        _, _, half_x, half_y, _ = self._ellipse
        y = np.linspace(-body_share, body_share, 2001) * half_y
        k, outer = self._curvature, self.shape.outer
        reach = np.full(len(y), -np.inf)
        for part in (0.0, 1.0):
            stretch = np.full(len(y), 1.0 + k * self.floor_mm)
            for _ in range(20):  # the foot's y, its angle and the height there settle together
                foot_y = y / stretch
                angle = np.arcsin(np.clip(foot_y / (outer * half_y), -1.0, 1.0))
                top = self._wedge_mm(np.full(len(y), outer), angle)
                stretch = 1.0 + k * (self.floor_mm + part * top)
            x = half_x * np.sqrt(outer**2 - (foot_y / half_y) ** 2)
            reach = np.maximum(reach, stretch * x)
        beyond = reach - half_x * np.sqrt(1.0 - (y / half_y) ** 2)
        return float(beyond.mean()), float(beyond.max())

    def _nodes(
        self,
        begins: float | Callable[[FloatArray], FloatArray],
        high: float,
        *,
        whole: bool = False,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """s, angle and area weight in mm² of quadrature nodes on the sphere."""
        _, _, half_x, half_y, _ = self._ellipse
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        most = np.pi if whole else np.pi - np.deg2rad(self.shape.opening_deg)
        pieces = []
        corners = [-most, -np.pi / 2.0, np.pi / 2.0, most]  # the wedge has a kink at ± 90°
        for first, last in pairwise(corners):
            place, angle = np.meshgrid(
                (nodes + 1.0) / 2.0, first + (last - first) * (nodes + 1.0) / 2.0, indexing="ij"
            )
            low = begins(angle) if callable(begins) else begins
            s = low + (high - low) * place
            share = np.outer(weights, weights) * (high - low) * (last - first) / 4.0
            rho2 = s**2 * ((half_x * np.cos(angle)) ** 2 + (half_y * np.sin(angle)) ** 2)
            slope = 1.0 / np.sqrt(1.0 - self._curvature**2 * rho2)
            pieces.append((s.ravel(), angle.ravel(), (share * half_x * half_y * s * slope).ravel()))
        s, angle, weight = (np.concatenate(part) for part in zip(*pieces, strict=True))
        return s, angle, weight
