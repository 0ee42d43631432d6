"""Smooth randomness: white noise on a lattice made to vary over a stated length."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter


def smooth_noise(
    shape: tuple[int, ...],
    nodes_per_length: float,
    rng: np.random.Generator,
    *,
    mode: Literal["reflect", "wrap"],
    single: bool = False,
) -> NDArray[Any]:
    """Gaussian noise on the nodes of a lattice with the correlation exp(−r² / 2 l²).

    Parameters
    ----------
    shape : Nodes along each axis.
    nodes_per_length : Correlation length l in nodes.
    rng : The same state gives the same noise.
    mode : How the lattice goes on beyond its edge.
    single : float32 instead of float64.

    Returns
    -------
    Noise of this shape; its SD over many draws is :func:`noise_sd`.
    """
    drawn = rng.standard_normal(shape, np.float32) if single else rng.standard_normal(shape)
    # white noise smoothed with a Gaussian of SD σ has the correlation exp(−r² / 4 σ²)
    result: NDArray[Any] = gaussian_filter(drawn, _sigma(nodes_per_length), mode=mode)
    return result


def noise_sd(nodes_per_length: float, axes: int = 3) -> float:
    """SD of :func:`smooth_noise` on a lattice of so many axes.

    >>> round(noise_sd(2.0), 3)
    0.089
    """
    return float((2.0 * np.sqrt(np.pi) * _sigma(nodes_per_length)) ** (-axes / 2))


def _sigma(nodes_per_length: float) -> float:
    return float(nodes_per_length / np.sqrt(2.0))
