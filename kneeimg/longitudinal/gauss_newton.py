"""One step of an alignment: nearest points, robust weights, the small motion they ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.rigid import rotation
from kneeimg.longitudinal.bone_patch import Patch

FloatArray = NDArray[np.float64]
#: Points to the foot points on a surface and its normals there.
Matcher = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

#: Tukey's constant: 95 % efficiency on Gaussian noise, nothing beyond 4.685 scales counts.
_TUKEY = 4.685
_MAD_TO_SD = 1.4826


def matcher(target: Patch) -> Matcher:
    tree = cKDTree(target.vertices_mm)

    def match(points: FloatArray) -> tuple[FloatArray, FloatArray]:
        _, nearest = tree.query(points)
        return target.vertices_mm[nearest], target.normals[nearest]

    return match


def tukey_weights(
    residual: FloatArray, agrees: NDArray[np.bool_], min_scale_mm: float
) -> FloatArray:
    """Weights of a biweight estimator; 0 where the normals do not agree."""
    if np.count_nonzero(agrees) < 12:
        agrees = np.ones_like(agrees)  # a hopeless start: let distance alone decide
    scale = max(min_scale_mm, _MAD_TO_SD * float(np.median(np.abs(residual[agrees]))))
    ratio = np.clip(np.abs(residual) / (_TUKEY * scale), 0.0, 1.0)
    weight: FloatArray = np.where(agrees, (1.0 - ratio**2) ** 2, 0.0)
    return weight


def small_motion(
    points: FloatArray, plane: FloatArray, residual: FloatArray, weight: FloatArray
) -> tuple[FloatArray, float]:
    """(4, 4) motion that lessens the residuals most, and how far it moves the farthest point."""
    centre = points.mean(axis=0)
    offset = points - centre
    size = float(np.sqrt(np.mean(offset**2))) or 1.0  # rotation and translation on one scale
    jacobian = np.hstack([np.cross(offset, plane) / size, plane])
    weighted = jacobian * weight[:, None]
    # Sums over points by einsum: a matrix product this small costs its threads more than it saves.
    normal = np.einsum("ni,nj->ij", weighted, jacobian)
    # Minimum norm: a sphere or a cylinder leaves directions open, and they stay as they are.
    solution = np.linalg.lstsq(normal, -np.einsum("ni,n->i", weighted, residual), rcond=1e-9)[0]
    turn_rad, shift = solution[:3] / size, solution[3:]
    angle = float(np.linalg.norm(turn_rad))
    turn = rotation(turn_rad, np.rad2deg(angle)) if angle > 0 else np.eye(3)
    motion = from_linear(turn, centre + shift - turn @ centre)
    reach = np.linalg.norm(offset @ (turn - np.eye(3)).T + shift, axis=1)
    return motion, float(reach.max())
