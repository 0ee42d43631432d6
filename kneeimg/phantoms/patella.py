"""The patella of the phantom, in front of the trochlea, with an exact posterior face."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Plate
from kneeimg.phantoms.bones import Foot, Patch, Shape
from kneeimg.phantoms.levels import ellipse, ellipsoid, smooth_max
from kneeimg.phantoms.profiles import RidgeProfile

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PatellaShape(Shape):
    """Sizes of the patella in mm.

    Its ridge lies in the direction `seat_deg` (from distal towards anterior) of the trochlea. The
    posterior face is a ridge profile swept about an axis in front of it, `sweep_radius_mm` away.
    """

    half_ml_mm: float = 22.0
    half_ap_mm: float = 12.5
    half_si_mm: float = 21.0
    body_mm: float = 8.0
    face_half_ml_mm: float = 17.0
    face_half_si_mm: float = 13.5
    sweep_radius_mm: float = 70.0
    ridge_radius_mm: float = 14.0
    facet_radius_mm: float = 45.0
    slope_deg: float = 24.0
    seat_deg: float = 78.0


@dataclass(frozen=True)
class Patella:
    """Patella in canonical coordinates.

    Attributes
    ----------
    shape : Sizes.
    apex_y_mm, apex_z_mm : Place of the ridge's most posterior point.
    """

    shape: PatellaShape
    apex_y_mm: float
    apex_z_mm: float

    @cached_property
    def _axes(self) -> FloatArray:
        """(3, 3) rows: medial, forward (away from the femur), proximal."""
        seat = np.deg2rad(self.shape.seat_deg)
        forward = np.array([0.0, -np.sin(seat), -np.cos(seat)])
        return np.array([[1.0, 0.0, 0.0], forward, [0.0, -np.cos(seat), np.sin(seat)]])

    @cached_property
    def _profile(self) -> RidgeProfile:
        s = self.shape
        return RidgeProfile(s.sweep_radius_mm, s.ridge_radius_mm, s.facet_radius_mm, s.slope_deg)

    def _local(self, points: FloatArray) -> FloatArray:
        """(N, 3) medial, forward, proximal mm from the ridge's apex."""
        apex = np.array([0.0, self.apex_y_mm, self.apex_z_mm])
        result: FloatArray = (points - apex) @ self._axes.T
        return result

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box around bone and cartilage."""
        s = self.shape
        centre = np.array([0.0, self.apex_y_mm, self.apex_z_mm]) + s.body_mm * self._axes[1]
        reach = np.array([s.half_ml_mm, s.half_si_mm + 4.0, s.half_si_mm + 4.0])
        return np.stack([centre - reach, centre + reach])

    def foot(self, points: FloatArray) -> Foot:
        """Closest points on the posterior face."""
        local = self._local(points)
        forward, up = local[:, 1] - self.shape.sweep_radius_mm, local[:, 2]
        rho = np.hypot(forward, up)
        distance, nx, nr = self._profile.closest(local[:, 0], rho)
        safe = np.maximum(rho, 1e-12)
        normals = np.stack([nx, nr * forward / safe, nr * up / safe], axis=1) @ self._axes
        return Foot(distance, points - distance[:, None] * normals, normals)

    def edge(self, foot: FloatArray) -> FloatArray:
        """Elliptical border of the articular face, seen from behind."""
        local = self._local(foot)
        return ellipse(
            local[:, 0], local[:, 2], self.shape.face_half_ml_mm, self.shape.face_half_si_mm
        )

    def face_radius2(self, foot: FloatArray) -> FloatArray:
        """Squared elliptical radius: 0 at the centre of the face, 1 on its border."""
        local = self._local(foot)
        s = self.shape
        result: FloatArray = (local[:, 0] / s.face_half_ml_mm) ** 2
        return result + (local[:, 2] / s.face_half_si_mm) ** 2

    def face_point(self, u: float, v: float) -> FloatArray:
        """Point near the face: u from lateral (-1) to medial, v from distal (-1) to proximal."""
        s = self.shape
        local = np.array([u * s.face_half_ml_mm, 0.0, v * s.face_half_si_mm])
        apex = np.array([0.0, self.apex_y_mm, self.apex_z_mm])
        result: FloatArray = apex + local @ self._axes
        return result

    def distance(self, points: FloatArray) -> FloatArray:
        """Level of the whole bone; equals the exact distance behind the articular face."""
        s = self.shape
        offset = self._local(points) - np.array([0.0, s.body_mm, 0.0])
        body = ellipsoid(offset, (s.half_ml_mm, s.half_ap_mm, s.half_si_mm))
        return smooth_max(body, self.foot(points).distance_mm, 1.0)

    def patches(self, step_mm: float) -> Iterator[Patch]:
        """The three arcs of the profile times the height of the face."""
        s = self.shape
        reach = 1.1 * s.face_half_si_mm / (s.sweep_radius_mm - 10.0)
        turn = np.linspace(-reach, reach, int(2.0 * reach * s.sweep_radius_mm / step_mm) + 1)
        back, up = -np.cos(turn), np.sin(turn)
        apex = np.array([0.0, self.apex_y_mm, self.apex_z_mm])
        origin = apex + s.sweep_radius_mm * self._axes[1]
        for arc in self._profile.arcs():
            x, r, nx, nr = arc.sample(max(int(arc.length_mm / step_mm), 1))
            ones = np.ones_like(turn)
            local = np.stack([np.outer(x, ones), np.outer(r, back), np.outer(r, up)], axis=-1)
            normal = np.stack([np.outer(nx, ones), np.outer(nr, back), np.outer(nr, up)], axis=-1)
            yield Patch(origin + local @ self._axes, normal @ self._axes)

    def plates(self, foot: FloatArray) -> NDArray[np.uint8]:
        """Plate code of surface points."""
        return np.full(len(foot), int(Plate.P), dtype=np.uint8)
