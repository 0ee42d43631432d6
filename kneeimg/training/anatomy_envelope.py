"""Outline of the leg: fascia, subcutaneous fat and skin around whatever lies inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kneeimg.training.anatomy_bones import Landmarks
from kneeimg.training.anatomy_donor import COARSE_MM
from kneeimg.training.anatomy_fields import FloatField, Mask, smooth_field
from kneeimg.training.tissues import Substance

_ANGLES = 120  # 3 degrees each; angle 0 points to anterior, a quarter turn later to medial


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """How far each coarse voxel lies inside the fascia, and inside the skin.

    Attributes
    ----------
    below_fascia_mm : (i, j, k) float32 depth below the fascia; negative in fat, skin and air.
    below_skin_mm : (i, j, k) float32 depth below the skin's outside; negative in air.
    skin_mm : Thickness of the skin.
    """

    below_fascia_mm: FloatField
    below_skin_mm: FloatField
    skin_mm: float


def envelope_of(filled: Mask, bones: Mask, marks: Landmarks, rng: np.random.Generator) -> Envelope:
    """Lay a smooth, mostly convex fascia around `filled`, then fat of varied thickness, then skin.

    Parameters
    ----------
    filled : Coarse voxels that must lie below the fascia.
    bones : Coarse voxels of bone; the fascia stays a few millimetres off them.
    marks : Landmarks of the knee.
    rng : Source of the thickness of fat and skin.
    """
    middle = (
        (marks.medial + marks.lateral) / 2,
        (marks.patella_front + marks.femur_back) / 2 + 4.0,
    )
    radius, turn = _polar(filled.shape, middle)
    reach = np.maximum(_farthest(filled, radius, turn), _farthest(bones, radius, turn) + 3.0)
    fascia = _rounded(reach) + 1.5
    fascia *= 1.0 + 0.04 * _around(rng, 2.0)
    skin_mm = float(rng.uniform(1.3, 2.2))
    fat = _fat_mm(fascia.shape[0], marks, rng)
    below_fascia = _spread(fascia, turn) - radius[:, :, None]
    below_skin = below_fascia + _spread(fat, turn) + np.float32(skin_mm)
    return Envelope(below_fascia, below_skin, skin_mm)


def dress(soft: NDArray[np.uint8], envelope: Envelope) -> None:
    """Write air, skin and subcutaneous fat outside the fascia, in place."""
    soft[envelope.below_fascia_mm < 0] = int(Substance.SUBCUTANEOUS_FAT)
    soft[envelope.below_skin_mm < envelope.skin_mm] = int(Substance.SKIN)
    soft[envelope.below_skin_mm < 0] = int(Substance.AIR)


def _polar(shape: tuple[int, ...], middle: tuple[float, float]) -> tuple[FloatField, FloatField]:
    """(i, j) distance in mm from the leg's axis, and direction in steps of the angle table."""
    x = np.arange(shape[0])[:, None] * COARSE_MM[0] - middle[0]
    y = np.arange(shape[1])[None, :] * COARSE_MM[1] - middle[1]
    radius = np.hypot(x, y).astype(np.float32)
    turn = np.arctan2(x, -y) / (2 * np.pi) * _ANGLES
    return radius, np.asarray(turn % _ANGLES, dtype=np.float32)


def _farthest(mask: Mask, radius: FloatField, turn: FloatField) -> FloatField:
    """(k, angle) largest radius of the mask, 0 where it has no voxel."""
    table = np.zeros((mask.shape[2], _ANGLES), dtype=np.float32)
    bins = turn.astype(int) % _ANGLES
    order = np.argsort(radius, axis=None)
    i, j = np.unravel_index(order, radius.shape)
    values, columns = radius[i, j], bins[i, j]
    for k in range(mask.shape[2]):
        on = mask[i, j, k]
        table[k, columns[on]] = values[on]  # sorted, so the last one written is the largest
    return table


def _rounded(reach: FloatField) -> FloatField:
    """Close dents narrower than a third of the circumference and smooth."""
    wide = np.concatenate([reach] * 3, axis=1)
    closed = ndimage.grey_closing(wide, size=(9, _ANGLES // 3))
    wider = ndimage.maximum_filter(closed, size=(7, 3))  # what smoothing cuts off stays inside
    smooth = ndimage.gaussian_filter(wider, (7.0, 4.0), mode="nearest")
    return np.array(smooth[:, _ANGLES : 2 * _ANGLES], dtype=np.float32)


def _around(rng: np.random.Generator, knots_per_turn: float, rows: int = 200) -> FloatField:
    """(rows, angle) random field that closes around the leg, standard deviation about 1."""
    field = smooth_field(
        rng, (rows, 2 * _ANGLES), (COARSE_MM[2], 1.0), (45.0, _ANGLES / knots_per_turn / 3)
    )
    blend = np.linspace(0, 1, _ANGLES, dtype=np.float32)[None, :]
    return np.asarray(
        (field[:, :_ANGLES] * blend + field[:, _ANGLES:] * (1 - blend))
        / np.sqrt(blend**2 + (1 - blend) ** 2),
        dtype=np.float32,
    )


def _fat_mm(rows: int, marks: Landmarks, rng: np.random.Generator) -> FloatField:
    """(k, angle) thickness of subcutaneous fat: thin before the patella, thicker medially."""
    usual = float(np.exp(rng.normal(np.log(7.0), 0.45)))
    height = np.arange(rows) * COARSE_MM[2]
    angle = np.arange(_ANGLES) / _ANGLES * 2 * np.pi
    medially = 1.0 + 0.35 * np.sin(angle)[None, :]
    fat = usual * medially * (1.0 + 0.28 * _around(rng, 3.0, rows))
    before = rng.uniform(2.5, 8.0)
    frontal = np.exp(-((np.minimum(angle, 2 * np.pi - angle) / 0.55) ** 2))[None, :]
    level = np.exp(-(((height - marks.patella_low) / 45.0) ** 2))[:, None]
    share = 0.85 * frontal * level
    fat = fat * (1 - share) + before * share
    return np.asarray(np.clip(fat, 2.0, 26.0), dtype=np.float32)


def _spread(table: FloatField, turn: FloatField) -> FloatField:
    """(k, angle) table read at every (i, j, k), linearly between angles."""
    low = turn.astype(int) % _ANGLES
    weight = (turn - np.floor(turn))[:, :, None]
    rows = np.ascontiguousarray(table.T)
    spread: FloatField = rows[low] * (1 - weight) + rows[(low + 1) % _ANGLES] * weight
    return spread
