"""The femur of the phantom: two condyles, trochlea, notch and shaft.

The articular surface is one profile in the medial-lateral direction (condyle, groove, condyle),
swept about three parallel axes: posterior, distal and anterior. Neighbouring sectors share the
plane that holds both their axes, so the surface is smooth and its closest point is found in the
meridian half-plane of one axis: signed distance and foot are exact in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Plate
from kneeimg.phantoms.bones import Foot, Patch, Shape
from kneeimg.phantoms.levels import ellipse, smooth_max, smooth_min, smooth_step
from kneeimg.phantoms.profiles import CondyleProfile

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class FemurShape(Shape):
    """Sizes of the femur in mm; the origin is the axis of the distal sector."""

    medial_x_mm: float = 20.5
    lateral_x_mm: float = -20.0
    medial_radius_mm: float = 16.5
    lateral_radius_mm: float = 15.5
    groove_radius_mm: float = 20.0
    posterior_radius_mm: float = 20.0
    distal_radius_mm: float = 36.0
    anterior_radius_mm: float = 24.0
    lateral_crest_offset_mm: float = -0.5
    posterior_from_deg: float = -28.0
    anterior_from_deg: float = 28.0
    notch_front_y_mm: float = -6.0
    notch_half_width_mm: float = 10.0
    notch_roof_z_mm: float = -13.0
    notch_roof_slope_deg: float = 45.0
    notch_margin_mm: float = 1.0
    outer_margin_mm: float = 5.0
    trochlea_narrowing_mm: float = 8.0
    trochlea_top_z_mm: float = -2.0
    condyle_top_z_mm: float = -4.0
    roof_z_mm: float = 3.9
    shaft_y_mm: float = -8.0
    shaft_lean_deg: float = 0.6
    shaft_half_ml_mm: float = 17.0
    shaft_half_ap_mm: float = 13.0
    flare_half_ml_mm: float = 34.9
    flare_ml_length_mm: float = 16.4
    flare_front_mm: float = 4.7
    flare_front_length_mm: float = 8.0
    flare_back_mm: float = 10.3
    flare_back_length_mm: float = 11.5
    shaft_top_z_mm: float = 200.0


@dataclass(frozen=True)
class Femur:
    """Femur in canonical coordinates; exact foot points wherever cartilage lies."""

    shape: FemurShape

    @cached_property
    def profile(self) -> CondyleProfile:
        """Profile of the posterior sector; the others are the same, moved outwards."""
        s = self.shape
        return CondyleProfile(
            s.medial_x_mm,
            s.lateral_x_mm,
            s.medial_radius_mm,
            s.lateral_radius_mm,
            s.posterior_radius_mm,
            s.posterior_radius_mm + s.lateral_crest_offset_mm,
            s.groove_radius_mm,
        )

    @cached_property
    def sectors(self) -> tuple[tuple[float, float, float, float, float], ...]:
        """Per sector: axis (y, z), radial offset of the profile, first and last angle in degrees.

        Angles run from distal towards anterior: posterior, distal, anterior sector.
        """
        s = self.shape
        rows = []
        for radius, joint, span in (
            (s.posterior_radius_mm, s.posterior_from_deg, (-150.0, s.posterior_from_deg)),
            (s.distal_radius_mm, 0.0, (s.posterior_from_deg, s.anterior_from_deg)),
            (s.anterior_radius_mm, s.anterior_from_deg, (s.anterior_from_deg, 150.0)),
        ):
            inwards = s.distal_radius_mm - radius
            y, z = _direction(np.array(joint))
            rows.append(
                (inwards * float(y), inwards * float(z), radius - s.posterior_radius_mm, *span)
            )
        return tuple(rows)

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box around bone and cartilage."""
        s = self.shape
        reach = s.distal_radius_mm + 6.0
        return np.array([[-reach, -reach - 2.0, -reach - 6.0], [reach, reach, s.shaft_top_z_mm]])

    @property
    def notch_front_y_mm(self) -> float:
        """AP position of the trochlear notch line, a plane parallel to the shaft."""
        return self.shape.notch_front_y_mm

    def posterior_end_y_mm(self, compartment: str) -> float:
        """Most posterior point of a condyle's bone, measured perpendicular to the shaft."""
        y = self.sectors[0][0] + self.shape.posterior_radius_mm
        return y + (self.shape.lateral_crest_offset_mm if compartment == "lateral" else 0.0)

    def split_y_mm(self, compartment: str, femur_fraction: float) -> float:
        """AP position of the border between central and posterior condyle."""
        front = self.notch_front_y_mm
        return front + femur_fraction * (self.posterior_end_y_mm(compartment) - front)

    def foot(self, points: FloatArray) -> Foot:
        """Closest points on the condyles and trochlea, as if there were no notch."""
        x, y, z = points.T
        axis_y, axis_z, offset = self._sector(y, z)
        dy, dz = y - axis_y, z - axis_z
        rho = np.hypot(dy, dz)
        distance, nx, nr = self.profile.closest(x, rho - offset)
        safe = np.maximum(rho, 1e-12)
        normals = np.stack([nx, nr * dy / safe, nr * dz / safe], axis=1)
        return Foot(distance, points - distance[:, None] * normals, normals)

    def _sector(self, y: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Axis y, axis z and radial offset of the sector that holds each point."""
        back = _beyond(y, z, self.shape.posterior_from_deg) < 0.0
        front = _beyond(y, z, self.shape.anterior_from_deg) > 0.0
        both = back & front  # proximal of the axes: hidden inside the metaphysis
        back = np.where(both, y > -2.0, back)
        index = np.where(back, 0, np.where(front, 2, 1))
        table = np.array([row[:3] for row in self.sectors])
        return table[index, 0], table[index, 1], table[index, 2]

    def distance(self, points: FloatArray) -> FloatArray:
        """Level of the whole bone: exact outside the condyles away from notch and metaphysis."""
        s = self.shape
        body = smooth_max(self.foot(points).distance_mm, points[:, 2] - s.roof_z_mm, 3.7)
        bone = smooth_min(body, self._shaft(points), 2.4)
        result: FloatArray = np.maximum(bone, -self._notch(points))
        return result

    def _shaft(self, points: FloatArray) -> FloatArray:
        """Metaphysis that flares into the condyles, and shaft along z.

        The flares are those of real femora: the mean directions of the anterior and the posterior
        cortex and the mean width of 24 people's label maps, by height (`scripts/fit_shaft_table.py`
        prints how the cortices lean), so that a short view misleads here as much as there. The
        front passes behind the cartilage first.
        """
        s = self.shape
        x, y, z = points.T
        rise = np.maximum(z - s.roof_z_mm + 5.9, 0.0)
        passed = smooth_step(rise - 3.7, 3.7)
        bulge = s.flare_front_mm * np.exp(-((rise / s.flare_front_length_mm) ** 1.7))
        front = s.shaft_y_mm - s.shaft_half_ap_mm + 4.0 - (4.0 + bulge) * passed
        back = s.shaft_y_mm + s.shaft_half_ap_mm
        back = back + s.flare_back_mm * np.exp(-((rise / s.flare_back_length_mm) ** 1.45))
        middle = 0.5 * (front + back) + np.tan(np.deg2rad(s.shaft_lean_deg)) * rise
        flare = np.exp(-((rise / s.flare_ml_length_mm) ** 1.8))
        half_ml = s.shaft_half_ml_mm + (s.flare_half_ml_mm - s.shaft_half_ml_mm) * flare
        box = 0.58 * flare  # share of the width that is flat: a rounded box near the condyles
        across = np.maximum(np.abs(x) - box * half_ml, 0.0)
        walls = ellipse(across, y - middle, half_ml * (1.0 - box), 0.5 * (back - front))
        ends = np.maximum(s.roof_z_mm - 18.0 - z, z - s.shaft_top_z_mm)
        result: FloatArray = np.maximum(walls, ends)
        return result

    def _notch(self, points: FloatArray) -> FloatArray:
        """Intercondylar notch: U-shaped from below, a roof that rises backwards."""
        s = self.shape
        walls = self._notch_distance(points) - s.notch_half_width_mm
        tilt = np.deg2rad(s.notch_roof_slope_deg)
        rise = points[:, 2] - s.notch_roof_z_mm
        roof = rise * np.cos(tilt) - (points[:, 1] - s.notch_front_y_mm) * np.sin(tilt)
        return smooth_max(walls, roof, 4.0)

    def _notch_distance(self, points: FloatArray) -> FloatArray:
        """Distance, seen from below, to the centre line of the notch."""
        start = self.shape.notch_front_y_mm + self.shape.notch_half_width_mm
        result: FloatArray = np.hypot(points[:, 0], np.minimum(points[:, 1] - start, 0.0))
        return result

    def edge(self, foot: FloatArray) -> FloatArray:
        """Border of the total subchondral bone area: notch margin, outer walls, upper ends."""
        s = self.shape
        x, y, z = foot.T
        notch = s.notch_half_width_mm + s.notch_margin_mm - self._notch_distance(foot)
        anterior = smooth_step(s.notch_front_y_mm - 2.0 - y, 6.0)
        rise = np.clip((z + s.anterior_radius_mm) / s.anterior_radius_mm, 0.0, 1.0)
        narrowing = s.trochlea_narrowing_mm * anterior * rise * rise
        medial = x - (s.medial_x_mm + s.medial_radius_mm - s.outer_margin_mm - narrowing)
        lateral = s.lateral_x_mm - s.lateral_radius_mm + s.outer_margin_mm + narrowing - x
        top = z - np.where(y < s.notch_front_y_mm, s.trochlea_top_z_mm, s.condyle_top_z_mm)
        result: FloatArray = np.maximum.reduce([notch, medial, lateral, top])
        return result

    def patches(self, step_mm: float) -> Iterator[Patch]:
        """Every sector times every arc of the profile."""
        for axis_y, axis_z, offset, first, last in self.sectors:
            radius = self.shape.posterior_radius_mm + offset
            turns = max(int(np.deg2rad(last - first) * radius / step_mm), 1)
            angle = np.linspace(first, last, turns + 1)
            out_y, out_z = _direction(angle)
            for arc in self.profile.arcs():
                x, r, nx, nr = arc.sample(max(int(arc.length_mm / step_mm), 1))
                rho = r + offset
                ones = np.ones_like(angle)
                yield Patch(
                    _stack(
                        np.outer(x, ones),
                        axis_y + np.outer(rho, out_y),
                        axis_z + np.outer(rho, out_z),
                    ),
                    _stack(np.outer(nx, ones), np.outer(nr, out_y), np.outer(nr, out_z)),
                )

    def plates(self, foot: FloatArray, femur_fraction: float) -> NDArray[np.uint8]:
        """Plate code of surface points; the caller masks what lies outside the edge."""
        x, y = foot[:, 0], foot[:, 1]
        medial = x >= 0.0
        split = np.where(
            medial,
            self.split_y_mm("medial", femur_fraction),
            self.split_y_mm("lateral", femur_fraction),
        )
        central = np.where(medial, int(Plate.cMF), int(Plate.cLF))
        posterior = np.where(medial, int(Plate.pMF), int(Plate.pLF))
        condyle = np.where(y <= split, central, posterior)
        codes = np.where(y < self.notch_front_y_mm, int(Plate.TrF), condyle)
        return codes.astype(np.uint8)


def _direction(angle_deg: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(y, z) unit vector at an angle from distal (-z) towards anterior (-y)."""
    angle = np.deg2rad(angle_deg)
    return -np.sin(angle), -np.cos(angle)


def _beyond(y: FloatArray, z: FloatArray, angle_deg: float) -> FloatArray:
    """Positive on the anterior side of the ray at `angle_deg` through the origin."""
    angle = np.deg2rad(angle_deg)
    result: FloatArray = -y * np.cos(angle) + z * np.sin(angle)
    return result


def _stack(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    return np.stack([x, y, z], axis=-1)
