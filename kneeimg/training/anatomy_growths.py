"""What grows on and in the bones: osteophytes, marrow lesions, subchondral cysts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kneeimg.training.anatomy_bones import FEMUR, PATELLA, TIBIA, is_any
from kneeimg.training.anatomy_fields import Mask, largest_part, smooth_field
from kneeimg.training.anatomy_interface import PAIRS, interface_of
from kneeimg.training.anatomy_source import SPACING_MM
from kneeimg.training.tissues import Substance

_LESION_OF = {
    int(Substance.MARROW_FEMUR): int(Substance.LESION_FEMUR),
    int(Substance.MARROW_TIBIA): int(Substance.LESION_TIBIA),
    int(Substance.MARROW_PATELLA): int(Substance.LESION_PATELLA),
}


def add_osteophytes(
    codes: NDArray[np.uint8], rng: np.random.Generator, sizes_mm: Sequence[float]
) -> None:
    """Grow a lip of bone at random places of the cartilage margins, in place.

    Each reaches `size` mm from the margin into unlabelled room, stays joined to its bone and a
    millimetre off the other bones.
    """
    if not sizes_mm:
        return
    surfaces = [interface_of(codes, bone, cartilage) for bone, cartilage, _ in PAIRS]
    weights = np.array([s.on_margin.sum() for s in surfaces], dtype=float)
    if weights.sum() == 0:
        return
    for size_mm in sizes_mm:
        n = int(rng.choice(len(surfaces), p=weights / weights.sum()))
        margin = np.flatnonzero(surfaces[n].on_margin)
        seed = int(rng.choice(margin))
        middle = surfaces[n].points_mm[seed] + surfaces[n].outward[seed] * 0.1 * size_mm
        bone_codes, _, osteophyte = PAIRS[n]
        _grow(codes, bone_codes, osteophyte, middle, size_mm, rng)


def _grow(
    codes: NDArray[np.uint8],
    bone_codes: tuple[int, ...],
    osteophyte: int,
    middle_mm: NDArray[np.float64],
    size_mm: float,
    rng: np.random.Generator,
) -> None:
    box, blob = _blob(codes.shape, middle_mm, 0.75 * size_mm, rng)
    part = codes[box]
    own = is_any(part, bone_codes)
    others = is_any(part, tuple(c for c in (*FEMUR, *TIBIA, *PATELLA) if c not in bone_codes))
    room = (part == 0) & ~ndimage.binary_dilation(others, iterations=2)
    grown = blob & room
    joined = largest_part(own | grown) if own.any() else own
    part[grown & joined] = osteophyte


def add_lesions(
    codes: NDArray[np.uint8],
    rng: np.random.Generator,
    lesions_mm: Sequence[float],
    cysts_mm: Sequence[float],
) -> None:
    """Put marrow lesions and cysts under the cartilage or under bared bone, in place.

    They replace marrow only, so the cortex around them stays. Call after the cortex is made.
    """
    surfaces = [interface_of(codes, bone, cartilage) for bone, cartilage, _ in PAIRS]
    surfaces = [surface for surface in surfaces if len(surface.index)]
    for size_mm, is_cyst in [(s, False) for s in lesions_mm] + [(s, True) for s in cysts_mm]:
        surface = surfaces[int(rng.integers(len(surfaces)))]
        seed = int(rng.integers(len(surface.index)))
        inwards = rng.uniform(0.2, 0.6) * size_mm + (1.0 if is_cyst else 0.0)
        middle = surface.points_mm[seed] - surface.outward[seed] * inwards
        box, blob = _blob(codes.shape, middle, 0.5 * size_mm, rng)
        part = codes[box]
        for marrow, lesion in _LESION_OF.items():
            part[blob & (part == marrow)] = int(Substance.CYST) if is_cyst else lesion
            if is_cyst:
                part[blob & (part == lesion)] = int(Substance.CYST)


def _blob(
    shape: tuple[int, ...],
    middle_mm: NDArray[np.float64],
    radius_mm: float,
    rng: np.random.Generator,
) -> tuple[tuple[slice, ...], Mask]:
    """A rough ellipsoid and the box it lies in."""
    step = np.array(SPACING_MM)
    axes_mm = radius_mm * rng.uniform(0.75, 1.3, size=3)
    reach_mm = 1.5 * axes_mm
    low = np.maximum(np.floor((middle_mm - reach_mm) / step).astype(int), 0)
    high = np.minimum(np.ceil((middle_mm + reach_mm) / step).astype(int) + 1, shape)
    high = np.maximum(high, low + 1)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    grid = np.ogrid[box]
    square = sum(
        ((axis * s - m) / r) ** 2
        for axis, s, m, r in zip(grid, step, middle_mm, axes_mm, strict=True)
    )
    rough = smooth_field(rng, np.shape(square), SPACING_MM, max(radius_mm, 1.5))
    return box, np.asarray(np.sqrt(square) < 1.0 + 0.22 * np.clip(rough, -2.0, 2.0))
