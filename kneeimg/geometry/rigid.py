"""Rigid motion: rotations about axes and the least-squares rigid fit of point pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def rotation(axis: ArrayLike, angle_deg: float) -> FloatArray:
    """(3, 3) rotation about `axis` (any length) by `angle_deg`, right-handed (Rodrigues).

    Examples
    --------
    >>> np.round(rotation([0, 0, 1], 90) @ [1, 0, 0], 6) + 0.0
    array([0., 1., 0.])
    """
    unit = np.asarray(axis, dtype=np.float64)
    unit = unit / np.linalg.norm(unit)
    angle = np.deg2rad(angle_deg)
    cross = np.array([[0, -unit[2], unit[1]], [unit[2], 0, -unit[0]], [-unit[1], unit[0], 0]])
    result: FloatArray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return result


def rotation_angle_deg(matrix: ArrayLike) -> float:
    """Angle in degrees by which a (3, 3) rotation turns."""
    trace = float(np.trace(np.asarray(matrix, dtype=np.float64)[:3, :3]))
    return float(np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0))))


def fit_rigid(
    source_mm: ArrayLike, target_mm: ArrayLike, weights: ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Rotation (3, 3) and translation (3,) in mm that carry source points onto target points.

    Least squares over paired points, proper rotation only (Kabsch 1976,
    doi:10.1107/S0567739476001873; reflection case after Umeyama 1991, doi:10.1109/34.88573).
    """
    source = np.asarray(source_mm, dtype=np.float64)
    target = np.asarray(target_mm, dtype=np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3:
        raise ValueError(f"point pairs must be (n, 3): {source.shape}, {target.shape}")
    weight = np.ones(len(source)) if weights is None else np.asarray(weights, dtype=np.float64)
    weight = weight / weight.sum()
    source_mean, target_mean = weight @ source, weight @ target
    covariance = (source - source_mean).T @ ((target - target_mean) * weight[:, None])
    u, _, vt = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(vt.T @ u.T))
    turn: FloatArray = vt.T @ np.diag([1.0, 1.0, sign]) @ u.T
    return turn, target_mean - turn @ source_mean
