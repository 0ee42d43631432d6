"""Echoes of known T2: exact decays, layered cartilage, and a simulated dual-echo steady state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone
from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.phantoms.knee import KneePhantom

FloatArray = NDArray[np.float64]


def decay_echoes(
    t2_ms: FloatArray,
    te_ms: Sequence[float],
    grid: Grid,
    *,
    amplitude: float = 1000.0,
    noise_sd: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[Volume, ...]:
    """Magnitude images of a spin-echo train.

    Parameters
    ----------
    t2_ms : (i, j, k) true T2 in ms; 0 or NaN is empty.
    te_ms : Echo times, ms.
    amplitude : Signal at echo time 0.
    noise_sd : SD of the noise in each of the two receiver channels: Rician magnitudes.
    rng : Source of the noise; needed when there is any.
    """
    filled = np.nan_to_num(t2_ms) > 0
    rate = np.divide(1.0, t2_ms, out=np.zeros(t2_ms.shape), where=filled)
    images = []
    for te in te_ms:
        signal = np.where(filled, amplitude * np.exp(-te * rate), 0.0)
        if noise_sd > 0.0:
            if rng is None:
                raise ValueError("noise needs a source of randomness")
            real = signal + rng.normal(0.0, noise_sd, signal.shape)
            signal = np.hypot(real, rng.normal(0.0, noise_sd, signal.shape))
        images.append(Volume(signal, grid, "a.u."))
    return tuple(images)


def layered_t2_ms(
    phantom: KneePhantom, grid: Grid, deep_ms: float, surface_ms: float, other_ms: float = 35.0
) -> FloatArray:
    """(i, j, k) T2 of a knee whose cartilage rises linearly from bone to its surface.

    Parameters
    ----------
    phantom, grid : The knee and where the voxels lie.
    deep_ms, surface_ms : T2 at the bone interface and at the articular surface.
    other_ms : T2 everywhere else.
    """
    label_map = phantom.label_map(grid, hard=True)
    t2_ms = np.full(grid.shape, other_ms)
    for bone in Bone:
        place = np.nonzero(label_map.labels == int(bone.cartilage))
        points = grid.to_mm(np.stack(place, axis=1))
        if not len(points):
            continue
        depth = phantom.signed_distance(bone, points) / phantom.thickness_at(bone, points)
        t2_ms[place] = deep_ms + (surface_ms - deep_ms) * np.clip(depth, 0.0, 1.0)
    return t2_ms


def dual_echo_steady_state(
    t1_ms: float, t2_ms: float, *, repetition_ms: float, echo_ms: float, flip_deg: float
) -> tuple[float, float]:
    """Magnitudes of both echoes of a dual-echo steady state, by extended phase graphs.

    Every configuration is followed through pulse, relaxation and spoiling until nothing changes;
    no diffusion. Independent of any closed form.

    Examples
    --------
    >>> first, second = dual_echo_steady_state(
    ...     1200.0, 40.0, repetition_ms=25.0, echo_ms=7.48, flip_deg=30.0)
    >>> 0.0 < second < first < 1.0
    True
    """
    flip = np.deg2rad(flip_deg)
    e1, e2 = np.exp(-repetition_ms / t1_ms), np.exp(-repetition_ms / t2_ms)
    pulse = np.array(
        [
            [np.cos(flip / 2) ** 2, np.sin(flip / 2) ** 2, np.sin(flip)],
            [np.sin(flip / 2) ** 2, np.cos(flip / 2) ** 2, -np.sin(flip)],
            [-0.5 * np.sin(flip), 0.5 * np.sin(flip), np.cos(flip)],
        ]
    )  # about the y axis: all configurations stay real
    orders = int(np.ceil(30.0 * t2_ms / repetition_ms)) + 20
    plus, minus, along = np.zeros(orders), np.zeros(orders), np.zeros(orders)
    along[0] = 1.0
    before = after = 0.0
    for _ in range(int(np.ceil(12.0 * t1_ms / repetition_ms))):
        before = plus[0]
        plus, minus, along = pulse @ np.stack([plus, minus, along])
        after = plus[0]
        plus, minus, along = e2 * plus, e2 * minus, e1 * along
        along[0] += 1.0 - e1
        plus = np.concatenate([[minus[1]], plus[:-1]])
        minus = np.concatenate([minus[1:], [0.0]])
        minus[0] = plus[0]
    first = float(abs(after) * np.exp(-echo_ms / t2_ms))
    return first, float(abs(before) * np.exp(echo_ms / t2_ms))
