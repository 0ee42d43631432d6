"""The local fit against numpy's own weighted fit, one sample at a time."""

from __future__ import annotations

import numpy as np

from kneeimg.geometry.smoothing import local_quadratic


def test_every_sample_is_a_weighted_quadratic_fit():
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0.0, 10.0, 40))
    y = np.sin(x) + 0.1 * rng.normal(size=40)
    weight = rng.uniform(0.2, 1.0, 40)
    fitted = local_quadratic(x, y, weight, 3.0, passes=0)
    for number, at in enumerate(x):
        kernel = np.clip(1 - np.abs((x - at) / 3.0) ** 3, 0, None) ** 3
        by_hand = np.polyfit(x - at, y, 2, w=np.sqrt(kernel * weight))[-1]
        assert abs(fitted[number] - by_hand) < 1e-6


def test_an_outlier_has_hardly_a_say():
    x = np.linspace(0.0, 1.0, 50)
    y = x**2
    y[20] += 5.0
    fitted = local_quadratic(x, y, np.ones(50), 0.3, least_spread=0.1)
    assert np.abs(fitted - x**2).max() < 0.02
    assert np.abs(local_quadratic(x, y, np.ones(50), 0.3, passes=0) - x**2).max() > 0.3
