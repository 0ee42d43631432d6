"""MR-like pictures of a label map: tissue contrast, coil bias and Rician noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from kneeimg.core.anatomy import Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.phantoms.soft_tissue import Lattice, Soft, soft_tissue

Float32 = NDArray[np.float32]
Contrast = Literal["dess", "pd_fs", "t1"]

#: Signal of the brightest tissue; everything stays far below 65535.
FULL_SCALE = 1000.0


@dataclass(frozen=True, slots=True)
class Signals:
    """Relative signal of every tissue, 1 = brightest."""

    marrow: float
    cortex: float
    cartilage: float
    meniscus: float
    soft: Mapping[Soft, float]


def _soft(
    skin: float, fat: float, muscle: float, tendon: float, fluid: float, vessel: float
) -> Mapping[Soft, float]:
    return {
        Soft.AIR: 0.0,
        Soft.SKIN: skin,
        Soft.FAT: fat,
        Soft.MUSCLE: muscle,
        Soft.TENDON: tendon,
        Soft.FLUID: fluid,
        Soft.VESSEL: vessel,
    }


#: DESS with water excitation, proton density with fat suppression, and T1 spin echo.
SIGNALS: Mapping[str, Signals] = {
    "dess": Signals(0.16, 0.05, 0.58, 0.16, _soft(0.30, 0.20, 0.42, 0.13, 0.95, 0.70)),
    "pd_fs": Signals(0.20, 0.06, 0.68, 0.14, _soft(0.28, 0.22, 0.40, 0.10, 1.00, 0.30)),
    "t1": Signals(0.80, 0.08, 0.42, 0.14, _soft(0.50, 0.95, 0.38, 0.10, 0.26, 0.15)),
}

_BONES = (Tissue.FEMUR, Tissue.TIBIA, Tissue.PATELLA, Tissue.FIBULA)
_CARTILAGE = (Tissue.FEMORAL_CARTILAGE, Tissue.TIBIAL_CARTILAGE, Tissue.PATELLAR_CARTILAGE)
_MENISCI = (Tissue.MEDIAL_MENISCUS, Tissue.LATERAL_MENISCUS)


def mr_image(
    label_map: LabelMap,
    contrast: Contrast = "dess",
    *,
    rng: np.random.Generator,
    noise_snr: float = 25.0,
    bias_field: float = 0.12,
) -> Volume:
    """An MR-like picture of a knee label map.

    Parameters
    ----------
    label_map : Soft or hard labels; soft ones give true partial-volume mixing.
    contrast : Weighting, a key of `SIGNALS`.
    rng : Source of noise, bias and texture; the same state gives the same picture.
    noise_snr : Cartilage signal over the SD of the noise in each of the two receiver channels;
        `inf` for none.
    bias_field : Greatest relative change by the smooth coil shading, 0 for none.

    Returns
    -------
    Volume of float32 whole numbers between 0 and a few thousand, arbitrary units.
    """
    signals = SIGNALS[contrast]
    picture = _mix(label_map, signals, rng)
    if bias_field > 0.0:
        _shade(picture, label_map.grid, bias_field, rng)
    if np.isfinite(noise_snr):
        _add_rician(picture, FULL_SCALE * signals.cartilage / noise_snr, rng)
    np.rint(picture, out=picture)
    return Volume(picture, label_map.grid, "a.u.")


def _mix(label_map: LabelMap, signals: Signals, rng: np.random.Generator) -> Float32:
    """Partial-volume mixture of bone, cartilage and what surrounds them."""
    lattice, kind = soft_tissue(label_map)
    table = np.array([signals.soft[Soft(n)] for n in range(len(Soft))], dtype=np.float32)
    texture = 1.0 + 0.10 * _smooth_noise(kind.shape, rng)
    around = uniform_filter(table[kind] * texture, 2)  # soft borders between soft tissues
    picture = enlarge(around, lattice, label_map.grid.shape)
    bone = _total(label_map, _BONES)
    marrow = signals.marrow * enlarge(texture, lattice, label_map.grid.shape)
    cortex = _cortex(bone, label_map.grid)
    marrow += cortex * (signals.cortex - marrow)
    picture += bone * (marrow - picture)
    for tissues, signal in ((_CARTILAGE, signals.cartilage), (_MENISCI, signals.meniscus)):
        share = _total(label_map, tissues)
        # bone has been mixed in already: what is left of the voxel is 1 - bone
        picture += share * np.float32(signal) - _replaced(picture, share, bone, marrow)
    picture *= np.float32(FULL_SCALE)
    return picture


def _replaced(picture: Float32, share: Float32, bone: Float32, marrow: Float32) -> Float32:
    """Signal of the surroundings that `share` of the voxel pushes out."""
    rest = np.maximum(1.0 - bone, np.float32(1e-6))
    result: Float32 = share * (picture - bone * marrow) / rest
    return result


def _total(label_map: LabelMap, tissues: tuple[Tissue, ...]) -> Float32:
    """Sum of the voxel fractions of some tissues."""
    present = label_map.tissues() if label_map.probabilities is None else label_map.probabilities
    total = np.zeros(label_map.grid.shape, dtype=np.float32)
    for tissue in tissues:
        if tissue in present:
            total += label_map.fraction(tissue)
    return total


def _cortex(bone: Float32, grid: Grid) -> Float32:
    """Weight of the dark rim about 1 mm wide under every bone surface."""
    blurred = gaussian_filter(bone, 0.55 / grid.spacing_mm, truncate=2.0)
    result: Float32 = np.clip(2.0 * (1.0 - blurred), 0.0, 1.0)
    return result


def _smooth_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Float32:
    """Unit-variance noise with grains of two lattice points."""
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.2, truncate=2.0)
    result: Float32 = noise / max(float(noise.std()), 1e-6)
    return result


def enlarge(coarse: Float32, lattice: Lattice, shape: tuple[int, int, int]) -> Float32:
    """Trilinear interpolation from a lattice to all voxels of its grid."""
    result = coarse.astype(np.float32)
    for axis in range(3):
        position = np.arange(shape[axis]) / lattice.steps[axis]
        low = np.minimum(position.astype(int), coarse.shape[axis] - 1)
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        sizes = [1, 1, 1]
        sizes[axis] = -1
        weight = (position - low).astype(np.float32).reshape(sizes)
        first = np.take(result, low, axis=axis)
        result = np.take(result, high, axis=axis)
        result -= first
        result *= weight
        result += first
    return result


def _shade(picture: Float32, grid: Grid, amplitude: float, rng: np.random.Generator) -> None:
    """Multiply by a random quadratic field that changes no voxel by more than `amplitude`."""
    log_field = np.zeros((1, 1, 1), dtype=np.float32)
    for axis in range(3):
        sizes = [1, 1, 1]
        sizes[axis] = -1
        place = np.linspace(-1.0, 1.0, grid.shape[axis], dtype=np.float32).reshape(sizes)
        tilt, bow = rng.uniform(-1.0, 1.0, size=2)
        log_field = log_field + tilt * place - bow * place**2
    log_field *= np.log1p(amplitude) / np.abs(log_field).max()
    picture *= np.exp(log_field)


def _add_rician(picture: Float32, sigma: float, rng: np.random.Generator) -> None:
    """Magnitude of the signal plus complex Gaussian noise, slice by slice to save memory."""
    for plane in picture:
        real = plane + np.float32(sigma) * rng.standard_normal(plane.shape, dtype=np.float32)
        other = np.float32(sigma) * rng.standard_normal(plane.shape, dtype=np.float32)
        np.hypot(real, other, out=plane)
