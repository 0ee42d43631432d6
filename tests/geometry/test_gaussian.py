"""Smoothing plane by plane against scipy's filter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from kneeimg.geometry import gaussian as module
from kneeimg.geometry.gaussian import gaussian


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
