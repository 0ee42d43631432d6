"""The NumPy forward pass against torch and against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.kl_opinion import Convolution, ResidualBlock
from kneeimg.errors import ModelError
from kneeimg.measure.convolution import convolve, residual


def drawn(out: int, channels: int, size: int, stride: int, seed: int = 0) -> Convolution:
    random = np.random.default_rng(seed)
    weight = random.normal(size=(out, channels, size, size)).astype(np.float32)
    return Convolution(weight, random.normal(size=out).astype(np.float32), stride)


def test_a_shift_moves_the_image_and_the_bias_is_added() -> None:
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    weight = np.zeros((1, 1, 3, 3), dtype=np.float32)
    weight[0, 0, 1, 2] = 1.0  # the neighbour on the right
    found = convolve(image, Convolution(weight, np.array([10.0], dtype=np.float32)))
    np.testing.assert_array_equal(found[0, 0], [11, 12, 13, 10])


@pytest.mark.parametrize("shape", [(16, 16), (15, 22), (7, 5), (1, 1)])
@pytest.mark.parametrize("size, stride", [(1, 1), (1, 2), (3, 1), (3, 2), (5, 2)])
def test_it_is_the_convolution_of_torch(shape: tuple[int, int], size: int, stride: int) -> None:
    import torch
    from torch.nn.functional import conv2d

    layer = drawn(6, 3, size, stride)
    image = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    wanted = conv2d(
        torch.from_numpy(image)[None],
        torch.from_numpy(layer.weight),
        torch.from_numpy(layer.bias),
        stride=stride,
        padding=size // 2,
    )[0].numpy()
    np.testing.assert_allclose(convolve(image, layer), wanted, atol=1e-4)


def test_a_block_adds_its_shortcut_before_the_last_rectifier() -> None:
    def nothing(out: int, channels: int) -> Convolution:
        return Convolution(np.zeros((out, channels, 3, 3), np.float32), np.zeros(out, np.float32))

    image = np.array([[[1.0, -2.0]]], dtype=np.float32)
    plain = residual(image, ResidualBlock(nothing(1, 1), nothing(1, 1), None))
    np.testing.assert_array_equal(plain, [[[1.0, 0.0]]])
    double = Convolution(np.full((1, 1, 1, 1), 2.0, np.float32), np.zeros(1, np.float32))
    wide = residual(image, ResidualBlock(nothing(1, 1), nothing(1, 1), double))
    np.testing.assert_array_equal(wide, [[[2.0, 0.0]]])


def test_weights_that_are_no_convolution_are_refused() -> None:
    with pytest.raises(ModelError, match="k odd"):
        Convolution(np.zeros((1, 1, 2, 2), np.float32), np.zeros(1, np.float32))
    with pytest.raises(ModelError, match="bias"):
        Convolution(np.zeros((2, 1, 3, 3), np.float32), np.zeros(1, np.float32))
