"""The outline of a typical knee on a PA film, in the tangent frame and in femoral widths.

Coordinates (x, v): x from 0 at the medial to 1 at the lateral edge of the femur, v below the common
tangent of the condyles, both divided by femoral width. Only a starting shape: it locates the
joint and straightens the band in which the margins are then traced.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

# Mean shape of PA films: condyles, notch, plateaus and spines as (x, v) support points.
_FEMUR = np.array(
    [
        (0.00, -0.270), (0.01, -0.180), (0.03, -0.110), (0.06, -0.060), (0.10, -0.022),
        (0.15, -0.005), (0.21, 0.000), (0.27, -0.006), (0.32, -0.022), (0.37, -0.060),
        (0.42, -0.130), (0.46, -0.190), (0.50, -0.205), (0.54, -0.190), (0.58, -0.140),
        (0.63, -0.075), (0.68, -0.030), (0.73, -0.008), (0.79, 0.000), (0.85, -0.005),
        (0.90, -0.020), (0.94, -0.055), (0.97, -0.100), (0.99, -0.170), (1.00, -0.270),
    ]
)  # fmt: skip
_TIBIA = np.array(
    [
        (-0.02, 0.050), (0.05, 0.055), (0.15, 0.068), (0.25, 0.062), (0.34, 0.030),
        (0.40, -0.020), (0.45, -0.065), (0.50, -0.030), (0.55, -0.055), (0.60, -0.010),
        (0.66, 0.040), (0.74, 0.066), (0.85, 0.070), (0.95, 0.062), (1.02, 0.060),
    ]
)  # fmt: skip
_FEMUR_EDGE = np.array(
    [(-0.62, 0.20), (-0.50, 0.085), (-0.40, 0.015), (-0.30, 0.0), (-0.20, 0.01), (-0.12, 0.03)]
)
_TIBIA_EDGE = np.array([(0.08, 0.01), (0.15, 0.03), (0.25, 0.08), (0.35, 0.15), (0.45, 0.21)])


def femur_v(x: ArrayLike) -> FloatArray:
    """v of the typical distal femoral margin at each x."""
    value: FloatArray = np.interp(np.asarray(x, dtype=np.float64), _FEMUR[:, 0], _FEMUR[:, 1])
    return value


def tibia_v(x: ArrayLike) -> FloatArray:
    """v of the typical plateau floor at each x."""
    value: FloatArray = np.interp(np.asarray(x, dtype=np.float64), _TIBIA[:, 0], _TIBIA[:, 1])
    return value


def femur_edge_x(v: ArrayLike) -> FloatArray:
    """x of the typical medial femoral edge at each v; the lateral edge is 1 minus it."""
    value: FloatArray = np.interp(
        np.asarray(v, dtype=np.float64), _FEMUR_EDGE[:, 0], _FEMUR_EDGE[:, 1]
    )
    return value


def tibia_edge_x(v: ArrayLike) -> FloatArray:
    """x of the typical medial tibial edge at each v; the lateral edge is 1 minus it."""
    value: FloatArray = np.interp(
        np.asarray(v, dtype=np.float64), _TIBIA_EDGE[:, 0], _TIBIA_EDGE[:, 1]
    )
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Points of the outline with the direction in which the film gets brighter.

    Attributes
    ----------
    points : (N, 2) x, v.
    inward : (N, 2) unit vectors into bone.
    weight : (N,) share of each point, sums to 1.
    """

    points: FloatArray
    inward: FloatArray
    weight: FloatArray


def knee_outline() -> Outline:
    """The parts of the outline that every knee film shows, weighted by how well they do."""
    medial, lateral = np.linspace(0.04, 0.40, 37), np.linspace(0.60, 0.96, 37)
    femur_v_range, tibia_v_range = np.linspace(-0.45, -0.14, 25), np.linspace(0.10, 0.40, 25)
    up, down = np.array([0.0, -1.0]), np.array([0.0, 1.0])
    right, left = np.array([1.0, 0.0]), np.array([-1.0, 0.0])
    parts: list[tuple[FloatArray, FloatArray, float]] = []
    for x in (medial, lateral):
        parts.append((np.column_stack([x, femur_v(x)]), up, 0.25))
        parts.append((np.column_stack([x, tibia_v(x)])[2:-4], down, 0.25))
    for edge, v, share in (
        (femur_edge_x, femur_v_range, 0.10),
        (tibia_edge_x, tibia_v_range, 0.06),
    ):
        parts.append((np.column_stack([edge(v), v]), right, share))
        parts.append((np.column_stack([1 - edge(v), v]), left, share))
    points = np.concatenate([line for line, _, _ in parts])
    inward = np.concatenate([_normals(line, toward) for line, toward, _ in parts])
    weight = np.concatenate([np.full(len(line), part / len(line)) for line, _, part in parts])
    return Outline(points, inward, weight / weight.sum())


def _normals(line: FloatArray, toward: FloatArray) -> FloatArray:
    tangent = np.gradient(line, axis=0)
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0]])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    flipped = (normal @ toward) < 0
    normal[flipped] *= -1
    return normal
