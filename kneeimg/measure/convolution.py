"""Forward pass of a small residual network in NumPy.

A few million multiplications per film do not need a framework, and loading one takes longer than
measuring the film. `tests/measure/test_convolution.py` compares the result with MONAI's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.kl_opinion import Convolution, ResidualBlock

Image = NDArray[np.float32]


def convolve(image: Image, layer: Convolution) -> Image:
    """(in, R, C) to (out, R / stride, C / stride) features, rounded up.

    Parameters
    ----------
    image : Channels first; beyond its edges everything is zero.
    layer : With weights for as many channels.

    Notes
    -----
    One product of matrices for each of the k × k places, which BLAS does fast without the large
    copies of a single one.

    Examples
    --------
    >>> mean = Convolution(np.full((1, 1, 3, 3), 1 / 9, np.float32), np.zeros(1, np.float32))
    >>> convolve(np.ones((1, 3, 3), np.float32), mean)[0, 1, 1].round(6)
    np.float32(1.0)
    """
    size, stride = layer.weight.shape[2], layer.stride
    around = size // 2
    padded = np.pad(image, ((0, 0), (around, around), (around, around)))
    rows, columns = (-(-length // stride) for length in image.shape[1:])
    total = np.repeat(layer.bias[:, None], rows * columns, axis=1)
    for i in range(size):
        for j in range(size):
            seen = padded[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
            total += layer.weight[:, :, i, j] @ seen[:, :rows, :columns].reshape(len(image), -1)
    return total.reshape(-1, rows, columns)


def residual(image: Image, block: ResidualBlock) -> Image:
    """Features of a block of two convolutions and its shortcut."""
    inner = rectified(convolve(image, block.first))
    direct = image if block.shortcut is None else convolve(image, block.shortcut)
    return rectified(convolve(inner, block.second) + direct)


def rectified(image: Image) -> Image:
    """Negative values become 0."""
    return np.maximum(image, np.float32(0))
