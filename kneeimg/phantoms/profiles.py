"""Chains of circular arcs in a half-plane: exact distance and closest point.

A body of revolution has its closest point in the meridian half-plane of the query, so a profile
made of tangent arcs gives the exact distance to the body, in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Arc:
    """Circular arc of a profile in (x, r); convex bulges towards +r, concave is hollow.

    Attributes
    ----------
    centre_mm : (2,) centre (x, r).
    radius_mm : Radius.
    convex : Whether the solid lies inside the circle.
    start_deg, stop_deg : Direction of the first and last outward normal, from +r towards +x.
    """

    centre_mm: FloatArray
    radius_mm: float
    convex: bool
    start_deg: float
    stop_deg: float

    def sample(self, count: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Points and outward normals at `count` + 1 equal steps: x, r, normal x, normal r."""
        angle = np.deg2rad(np.linspace(self.start_deg, self.stop_deg, count + 1))
        nx, nr = np.sin(angle), np.cos(angle)
        sign = 1.0 if self.convex else -1.0
        return (
            self.centre_mm[0] + sign * self.radius_mm * nx,
            self.centre_mm[1] + sign * self.radius_mm * nr,
            nx,
            nr,
        )

    @property
    def length_mm(self) -> float:
        """Arc length."""
        return float(abs(np.deg2rad(self.stop_deg - self.start_deg)) * self.radius_mm)


@dataclass(frozen=True)
class CondyleProfile:
    """Two convex condyles with a concave groove between them; flat outer walls.

    Attributes
    ----------
    medial_x_mm, lateral_x_mm : Crest positions (medial positive, lateral negative).
    medial_radius_mm, lateral_radius_mm : Coronal radii of the condyles.
    medial_crest_mm, lateral_crest_mm : Crest heights r.
    groove_radius_mm : Radius of the groove.
    """

    medial_x_mm: float
    lateral_x_mm: float
    medial_radius_mm: float
    lateral_radius_mm: float
    medial_crest_mm: float
    lateral_crest_mm: float
    groove_radius_mm: float

    @cached_property
    def medial(self) -> FloatArray:
        """(2,) centre of the medial arc."""
        return np.array([self.medial_x_mm, self.medial_crest_mm - self.medial_radius_mm])

    @cached_property
    def lateral(self) -> FloatArray:
        """(2,) centre of the lateral arc."""
        return np.array([self.lateral_x_mm, self.lateral_crest_mm - self.lateral_radius_mm])

    @cached_property
    def groove(self) -> FloatArray:
        """(2,) centre of the groove arc, tangent to both condyles from outside."""
        to_medial = self.groove_radius_mm + self.medial_radius_mm
        to_lateral = self.groove_radius_mm + self.lateral_radius_mm
        base = self.medial - self.lateral
        width = float(np.hypot(*base))
        along = (to_lateral**2 - to_medial**2 + width**2) / (2.0 * width)
        height = np.sqrt(to_lateral**2 - along**2)
        unit = base / width
        centre: FloatArray = self.lateral + along * unit + height * unit[::-1] * (-1.0, 1.0)
        return centre

    def closest(self, x: FloatArray, r: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Signed distance and outward normal (x, r) at the closest profile point.

        Exact outside and on the profile up to the groove's centre; inside only the sign and the
        neighbourhood of the surface are exact.
        """
        over_lateral = _right_of(x, r, self.lateral, self.groove)
        over_medial = ~_right_of(x, r, self.medial, self.groove)
        hollow = over_lateral & over_medial
        on_medial = x >= self.groove[0]
        centre_x = np.where(on_medial, self.medial[0], self.lateral[0])
        centre_r = np.where(on_medial, self.medial[1], self.lateral[1])
        radius = np.where(on_medial, self.medial_radius_mm, self.lateral_radius_mm)
        dx = np.where(hollow, self.groove[0] - x, x - centre_x)
        # below a condyle's centre its wall is flat: only x counts
        dr = np.where(hollow, self.groove[1] - r, np.maximum(r - centre_r, 0.0))
        length = np.hypot(dx, dr)
        safe = np.maximum(length, 1e-12)
        distance = np.where(hollow, self.groove_radius_mm - length, length - radius)
        return distance, dx / safe, dr / safe

    def arcs(self, outer_deg: float = 89.0) -> tuple[Arc, Arc, Arc]:
        """Lateral, groove and medial arcs from outer wall to outer wall, for quadrature."""
        lateral_to = _direction_deg(self.groove - self.lateral)
        medial_to = _direction_deg(self.groove - self.medial)
        return (
            Arc(self.lateral, self.lateral_radius_mm, True, -outer_deg, lateral_to),
            Arc(self.groove, self.groove_radius_mm, False, lateral_to, medial_to),
            Arc(self.medial, self.medial_radius_mm, True, medial_to, outer_deg),
        )


@dataclass(frozen=True)
class RidgeProfile:
    """One convex ridge at x = 0 between two concave facets (the back of the patella).

    Attributes
    ----------
    apex_mm : Height r of the ridge.
    ridge_radius_mm, facet_radius_mm : Radii of ridge and facets.
    slope_deg : Slope of the surface where ridge and facet meet.
    """

    apex_mm: float
    ridge_radius_mm: float
    facet_radius_mm: float
    slope_deg: float

    @cached_property
    def ridge(self) -> FloatArray:
        """(2,) centre of the ridge arc."""
        return np.array([0.0, self.apex_mm - self.ridge_radius_mm])

    @cached_property
    def facet(self) -> FloatArray:
        """(2,) centre of the facet arc at x > 0; the other is its mirror image."""
        slope = np.deg2rad(self.slope_deg)
        reach = self.ridge_radius_mm + self.facet_radius_mm
        return self.ridge + reach * np.array([np.sin(slope), np.cos(slope)])

    def closest(self, x: FloatArray, r: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Signed distance and outward normal (x, r) at the closest profile point."""
        side = np.where(x >= 0.0, 1.0, -1.0)
        ax = np.abs(x)
        hollow = _right_of(ax, r, self.ridge, self.facet)
        dx = np.where(hollow, self.facet[0] - ax, ax)
        dr = np.where(hollow, self.facet[1] - r, r - self.ridge[1])
        length = np.hypot(dx, dr)
        safe = np.maximum(length, 1e-12)
        distance = np.where(hollow, self.facet_radius_mm - length, length - self.ridge_radius_mm)
        return distance, side * dx / safe, dr / safe

    def arcs(self, outer_deg: float = -20.0) -> tuple[Arc, Arc, Arc]:
        """Lateral facet, ridge and medial facet, for quadrature."""
        slope, facet = self.slope_deg, self.facet
        return (
            Arc(facet * np.array([-1.0, 1.0]), self.facet_radius_mm, False, -outer_deg, -slope),
            Arc(self.ridge, self.ridge_radius_mm, True, -slope, slope),
            Arc(facet, self.facet_radius_mm, False, slope, outer_deg),
        )


def _right_of(
    x: FloatArray, r: FloatArray, start: FloatArray, end: FloatArray
) -> NDArray[np.bool_]:
    """Whether (x, r) lies on the +x side of the line that rises from `start` to `end`."""
    along = end - start
    right: NDArray[np.bool_] = along[1] * (x - start[0]) > along[0] * (r - start[1])
    return right


def _direction_deg(vector: FloatArray) -> float:
    """Direction from +r towards +x."""
    return float(np.rad2deg(np.arctan2(vector[0], vector[1])))
