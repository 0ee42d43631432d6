"""Level functions of simple solids: negative inside, zero on the surface, in millimetres.

Exact signed distances where the name says so; the ellipse and ellipsoid are exact to first order
at their surface, which is all a partial-volume fraction needs. Bones carry no cartilage there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def ellipse(
    x: FloatArray, y: FloatArray, half_x: FloatArray | float, half_y: FloatArray | float
) -> FloatArray:
    """Ellipse (or elliptic cylinder) about the origin, first-order distance in mm."""
    k0 = np.sqrt((x / half_x) ** 2 + (y / half_y) ** 2) + 1e-6
    k1 = np.sqrt((x / half_x**2) ** 2 + (y / half_y**2) ** 2) + 1e-6 / half_x
    result: FloatArray = (k0 - 1.0) * k0 / k1
    return result


def ellipsoid(offset: FloatArray, half_mm: tuple[float, float, float]) -> FloatArray:
    """Ellipsoid of half axes `half_mm`, first-order distance of (N, 3) offsets from its centre."""
    half = np.asarray(half_mm)
    k0 = np.linalg.norm(offset / half, axis=1) + 1e-6
    k1 = np.linalg.norm(offset / half**2, axis=1) + 1e-6 / half.max()
    result: FloatArray = (k0 - 1.0) * k0 / k1
    return result


def round_cone(
    points: FloatArray, a: FloatArray, b: FloatArray, radius_a: float, radius_b: float
) -> FloatArray:
    """Ball swept from `a` to `b` while its radius changes linearly (first-order distance)."""
    axis = b - a
    length2 = float(axis @ axis)
    along = np.clip((points - a) @ axis / length2, 0.0, 1.0)
    gap = points - a - along[:, None] * axis
    result: FloatArray = np.linalg.norm(gap, axis=1) - (radius_a + (radius_b - radius_a) * along)
    return result


def smooth_min(a: FloatArray, b: FloatArray, width_mm: float) -> FloatArray:
    """Union with a fillet: equal to min(a, b) wherever the two differ by `width_mm` or more."""
    h = np.maximum(width_mm - np.abs(a - b), 0.0) / width_mm
    result: FloatArray = np.minimum(a, b) - h * h * (width_mm / 4.0)
    return result


def smooth_max(a: FloatArray, b: FloatArray, width_mm: float) -> FloatArray:
    """Intersection with a rounded edge: max(a, b) wherever the two differ by `width_mm`."""
    result: FloatArray = -smooth_min(-a, -b, width_mm)
    return result


def smooth_step(value: FloatArray, half_width: float) -> FloatArray:
    """0 below -half_width, 1 above +half_width, a C1 cubic between.

    >>> smooth_step(np.array([-3.0, 0.0, 3.0]), 2.0)
    array([0. , 0.5, 1. ])
    """
    s = np.clip((value + half_width) / (2.0 * half_width), 0.0, 1.0)
    result: FloatArray = s * s * (3.0 - 2.0 * s)
    return result
