"""Smoothing plane by plane against scipy's filter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from kneeimg.geometry import gaussian as module
from kneeimg.geometry.gaussian import gaussian, steepest


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7, 9, 11), (1, 5, 3), (4, 1, 1), (30, 2, 3)])
@pytest.mark.parametrize("planes", [1, 3, 100])
def test_it_is_what_scipy_computes(
    dtype: type, shape: tuple[int, int, int], planes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE", planes * shape[1] * shape[2])
    volume: np.ndarray = (np.random.default_rng(1).random(shape) * 3).astype(dtype)
    sigma = (1.7, 0.4, 2.6)
    expected = gaussian_filter(volume, sigma, mode="nearest", truncate=3.0, output=np.float64)
    smooth = gaussian(volume, sigma, truncate=3.0)
    assert smooth.dtype == np.float32
    assert np.abs(smooth - expected).max() < 2e-6


def test_no_sigma_changes_nothing_and_the_result_goes_where_it_is_wanted() -> None:
    volume = np.random.default_rng(2).random((4, 5, 6)).astype(np.float32)
    whole = np.zeros((6, 7, 8), dtype=np.float32)
    inner = whole[1:5, 1:6, 1:7]
    assert gaussian(volume, (0, 0, 0), out=inner) is inner
    assert np.array_equal(whole[1:5, 1:6, 1:7], volume)
    assert whole.sum() == pytest.approx(volume.sum())


@pytest.mark.parametrize("corner", [(0, 0, 0), (5, 4, 3), (9, 12, 14)])
def test_what_is_far_from_everything_is_left_out_and_nothing_else(
    corner: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = np.zeros((10, 13, 15), dtype=np.uint8)
    volume[tuple(slice(at, at + 3) for at in corner)] = 1
    monkeypatch.setattr(module, "_PIECE", 2 * 13 * 15)
    sigma = (0.4, 0.8, 1.1)
    expected = gaussian_filter(volume, sigma, mode="nearest", truncate=3.0, output=np.float64)
    assert np.abs(gaussian(volume, sigma, truncate=3.0) - expected).max() < 2e-6


def test_no_neighbours_differ_by_more_than_the_steepest_edge() -> None:
    sigma = (0.0, 0.45, 0.8)
    limit = steepest(sigma)
    noise = np.random.default_rng(3).random((20, 21, 22)) > 0.5
    edge = np.indices((20, 21, 22))[2] > 10
    for volume in (noise, edge):
        for axis in range(3):
            most = np.abs(np.diff(gaussian(volume, sigma), axis=axis)).max()
            assert most <= limit[axis] + 1e-6
    assert np.abs(np.diff(gaussian(edge, sigma), axis=2)).max() == pytest.approx(limit[2])
