"""The front of the knee: quadriceps and its tendon, patellar tendon, fat pads before the joint."""

from __future__ import annotations

import numpy as np

from kneeimg.training.anatomy_bones import Landmarks
from kneeimg.training.anatomy_donor import COARSE_MM
from kneeimg.training.anatomy_fields import FloatField, Mask, smooth_field


def axes_mm(shape: tuple[int, ...]) -> tuple[FloatField, FloatField, FloatField]:
    """Open coordinates in mm along the coarse axes, ready to broadcast."""
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return (
        np.asarray(x * COARSE_MM[0], dtype=np.float32),
        np.asarray(y * COARSE_MM[1], dtype=np.float32),
        np.asarray(z * COARSE_MM[2], dtype=np.float32),
    )


def patellar_tendon(shape: tuple[int, ...], marks: Landmarks, rng: np.random.Generator) -> Mask:
    """A band of 4 to 7 mm by 24 to 32 mm from the patella's lower pole to the tubercle."""
    x, y, z = axes_mm(shape)
    top, end = marks.patella_tip, marks.tubercle
    run = np.clip((top[2] + 6 - z) / max(top[2] + 6 - end[2], 1.0), 0, 1)
    half_mm = rng.uniform(2.0, 3.4)
    start_y = (marks.patella_front + top[1]) / 2 + 0.5
    along_y = start_y + (end[1] - half_mm - start_y) * run
    along_x = top[0] + (end[0] - top[0]) * run
    width = rng.uniform(12.0, 16.0) * (1 - 0.12 * run)
    band = ((x - along_x) / width) ** 4 + ((y - along_y) / half_mm) ** 2 < 1
    return np.asarray(band & (z <= top[2] + 6) & (z >= end[2] - 4))


def quadriceps_tendon(shape: tuple[int, ...], marks: Landmarks, rng: np.random.Generator) -> Mask:
    """A band from the patella's upper pole up to where the muscle bellies begin."""
    x, y, z = axes_mm(shape)
    base = marks.patella_base
    rise = np.clip(z - (base[2] - 6), 0, None)
    half_mm = rng.uniform(2.6, 4.2)
    along_y = base[1] - 3.0 + rng.uniform(-0.08, 0.06) * rise
    width = rng.uniform(12.0, 16.0) + 0.08 * rise
    band = ((x - base[0]) / width) ** 4 + ((y - along_y) / half_mm) ** 2 < 1
    return np.asarray(band & (z >= base[2] - 6) & (rise < rng.uniform(45.0, 75.0)))


def quadriceps_muscle(
    from_femur_mm: FloatField, marks: Landmarks, rng: np.random.Generator
) -> Mask:
    """Bellies in front and beside the femur; the medial one reaches down to the patella."""
    shape = from_femur_mm.shape
    x, y, z = axes_mm(shape)
    aside = x - marks.patella_base[0]
    low_medial = rng.uniform(26.0, 40.0) * np.clip(aside / 32.0, 0, 1)
    low_lateral = rng.uniform(4.0, 16.0) * np.clip(-aside / 32.0, 0, 1)
    rough = smooth_field(rng, shape[:2], COARSE_MM[:2], 14.0)[:, :, None]
    begins = marks.patella_high + rng.uniform(24.0, 38.0) - low_medial - low_lateral + 3.0 * rough
    femur_middle = marks.femur_front + 0.62 * (marks.femur_back - marks.femur_front)
    gap_mm = 3.0 + 4.0 * np.clip((marks.patella_high + 45.0 - z) / 45.0, 0, 1)
    behind = femur_middle - 6.0 * np.clip((begins + 30.0 - z) / 30.0, 0, 1)
    return np.asarray((z > begins) & (y < behind) & (from_femur_mm > gap_mm))


def before_the_joint(shape: tuple[int, ...], marks: Landmarks, rng: np.random.Generator) -> Mask:
    """Where fat before and above the joint is fat pad (Hoffa, prefemoral, quadriceps)."""
    x, y, z = axes_mm(shape)
    rough = smooth_field(rng, shape, COARSE_MM, 16.0)
    wide = rng.uniform(26.0, 38.0)
    middle_z = (marks.joint[2] + marks.patella_high) / 2
    ellipse = ((x - marks.joint[0]) / wide) ** 2 + ((z - middle_z) / 58.0) ** 2
    return np.asarray((ellipse < 1.0 + 0.25 * rough) & (y < marks.joint[1] - 4.0 + 3.0 * rough))
