"""Reading values of one grid at the voxels of another."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.networks.frame import frame_of, resample, sample, source_index


def _oblique(order: tuple[int, ...], degrees: float = 20.0) -> Grid:
    """A grid whose axes are turned about x and run in any order, one of them backwards."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    axes = (turn * (1.1, -0.6, 0.5))[:, list(order)]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, (5.0, -7.0, 11.0)
    shape = np.array([14, 20, 22])[list(order)]
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, None)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_axis_by_axis_gives_what_reading_each_voxel_gives(
    order: tuple[int, ...], side: Side
) -> None:
    image = _oblique(order)
    frame = frame_of(image, side, (0.8, 0.4, 0.4))
    values = torch.rand(2, *image.shape, generator=torch.Generator().manual_seed(3))
    each = sample(values, source_index(image, frame, values), values)
    assert torch.allclose(resample(values, image, frame), each, atol=2e-5)
    back = torch.rand(2, *frame.shape, generator=torch.Generator().manual_seed(4))
    each = sample(back, source_index(frame, image, back), back)
    assert torch.allclose(resample(back, frame, image), each, atol=2e-5)


def test_a_linear_ramp_is_read_exactly_between_grids_turned_against_each_other() -> None:
    image, other = _oblique((0, 1, 2), 20.0), _oblique((0, 1, 2), 24.0)
    ramp_mm = [
        torch.as_tensor(g.to_mm(np.indices(g.shape).reshape(3, -1).T)) for g in (image, other)
    ]
    weights = torch.tensor([0.3, -0.7, 0.2], dtype=torch.float64)
    values = [
        (mm @ weights).float().reshape(g.shape)
        for mm, g in zip(ramp_mm, (image, other), strict=True)
    ]
    found = resample(values[0][None], image, other)[0]
    assert torch.allclose(found[4:-4, 6:-6, 6:-6], values[1][4:-4, 6:-6, 6:-6], atol=1e-4)


def test_beyond_the_ends_the_last_value_counts() -> None:
    thin = Grid((1, 2, 3), np.diag([1.0, 1.0, 1.0, 1.0]), None)
    wide_affine = np.eye(4)
    wide_affine[:3, 3] = -2.0
    wide = Grid((5, 6, 7), wide_affine, None)
    values = torch.arange(6.0).reshape(1, 1, 2, 3)
    found = resample(values, thin, wide)[0]
    assert torch.equal(found[0, 0], torch.tensor([0.0, 0, 0, 1, 2, 2, 2]))
    assert torch.equal(found[4, 5], torch.tensor([3.0, 3, 3, 4, 5, 5, 5]))
