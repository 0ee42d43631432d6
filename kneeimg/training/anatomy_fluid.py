"""Joint fluid: effusion in the recesses of the joint, and popliteal cysts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.training.anatomy_bones import Landmarks
from kneeimg.training.anatomy_donor import COARSE_MM
from kneeimg.training.anatomy_extensor import axes_mm
from kneeimg.training.anatomy_fields import FloatField, Mask, smooth_field
from kneeimg.training.tissues import Substance

_FIBRES = (int(Substance.TENDON), int(Substance.LIGAMENT), int(Substance.VESSEL))


def lay_effusion(
    soft: NDArray[np.uint8],
    from_femur_mm: FloatField,
    from_patella_mm: FloatField,
    marks: Landmarks,
    effusion: float,
    rng: np.random.Generator,
) -> None:
    """Fluid around the condyles, under the patella and in the suprapatellar pouch, in place.

    Parameters
    ----------
    soft : Coarse soft tissue.
    from_femur_mm, from_patella_mm : Distance to each bone with its cartilage.
    marks : Landmarks.
    effusion : 0 (a film here and there) to 1 (a tense joint).
    rng : Source of the shape.
    """
    free = ~np.isin(soft, _FIBRES)
    rough = smooth_field(rng, soft.shape, COARSE_MM, 14.0)
    depth_mm = (0.3 + rng.uniform(2.0, 6.0) * effusion) * (0.7 + 0.6 * rough)
    around = _recesses(marks, soft.shape) * depth_mm
    soft[free & (from_femur_mm < around)] = int(Substance.FLUID)
    soft[free & (from_patella_mm < 0.35 * around)] = int(Substance.FLUID)
    if effusion > 0.05:
        pouch = _pouch(from_femur_mm, marks, effusion, rough, rng)
        soft[free & pouch] = int(Substance.FLUID)


def _recesses(marks: Landmarks, shape: tuple[int, ...]) -> FloatField:
    """0 to 1: how easily fluid gathers there; most in the gutters, less behind the condyles."""
    x, y, z = axes_mm(shape)
    aside = np.abs(x - (marks.medial + marks.lateral) / 2)
    gutter = np.clip((aside - 18.0) / 14.0, 0, 1)
    behind = np.clip((y - marks.femur_back + 14.0) / 10.0, 0, 1)
    before = np.clip((marks.joint[1] - 18.0 - y) / 10.0, 0, 1)
    low = np.clip((z - marks.joint[2] + 4.0) / 6.0, 0, 1)
    high = np.clip((marks.patella_high + 4.0 - z) / 12.0, 0, 1)
    high_behind = np.clip((marks.joint[2] + 32.0 - z) / 10.0, 0, 1)
    share = np.maximum(np.maximum(gutter, 0.8 * before) * high, 0.5 * behind * high_behind)
    return np.asarray(share * low, dtype=np.float32)


def _pouch(
    from_femur_mm: FloatField,
    marks: Landmarks,
    effusion: float,
    rough: FloatField,
    rng: np.random.Generator,
) -> Mask:
    """A flat bag before the femur, from behind the patella upwards, over the prefemoral fat."""
    x, y, z = axes_mm(from_femur_mm.shape)
    base = marks.patella_base
    top = base[2] + effusion * rng.uniform(30.0, 65.0)
    bottom = base[2] - 14.0
    up = np.clip((z - bottom) / max(top - bottom, 1.0), 0.0, 1.0)
    inside = (z > bottom) & (z < top)
    half_mm = rng.uniform(16.0, 30.0) * (1.0 - 0.35 * up)
    flank = np.clip(1.0 - ((x - base[0]) / half_mm) ** 2, 0.0, 1.0)
    thick_mm = (1.0 + effusion * rng.uniform(4.0, 12.0)) * np.sqrt(flank) * (1.0 - 0.5 * up)
    thick_mm = thick_mm * (0.9 + 0.4 * rough)
    start_mm = 2.0 + rng.uniform(0.0, 3.0) * up
    front = y < marks.femur_front + 16.0
    return np.asarray(
        inside & front & (from_femur_mm > start_mm) & (from_femur_mm < start_mm + thick_mm)
    )


def lay_baker_cyst(
    soft: NDArray[np.uint8], marks: Landmarks, length_mm: float, rng: np.random.Generator
) -> None:
    """A bag of fluid behind the medial condyle that hangs down between the muscles, in place."""
    if length_mm <= 0:
        return
    x, y, z = axes_mm(soft.shape)
    wide_mm = rng.uniform(0.18, 0.32) * length_mm + 2.0
    deep_mm = rng.uniform(0.5, 0.9) * wide_mm
    middle = (
        marks.joint[0] + rng.uniform(10.0, 20.0),
        marks.femur_back + deep_mm + rng.uniform(1.0, 4.0),
        marks.joint[2] + 16.0 - 0.4 * length_mm,
    )
    rough = smooth_field(rng, soft.shape, COARSE_MM, 10.0)
    bag = ((x - middle[0]) / wide_mm) ** 2 + ((y - middle[1]) / deep_mm) ** 2
    bag = bag + ((z - middle[2]) / (0.5 * length_mm)) ** 2 < 1.0 + 0.25 * rough
    neck = ((x - middle[0]) / 3.0) ** 2 + ((z - marks.joint[2] - 10.0) / 2.5) ** 2 < 1
    neck = neck & (y > marks.femur_back - 2.0) & (y < middle[1])
    soft[(bag | neck) & ~np.isin(soft, _FIBRES)] = int(Substance.FLUID)
