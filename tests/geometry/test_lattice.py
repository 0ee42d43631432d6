"""Gaussian sums over scattered points."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.geometry.lattice import gaussian_sums


def test_sums_are_those_of_the_gaussian_between_points() -> None:
    rng = np.random.default_rng(7)
    points, places = rng.uniform(12.0, 18.0, (40, 3)), rng.uniform(12.0, 18.0, (15, 3))
    values = rng.normal(2.0, 1.0, (40, 2))
    sigma = 3.0
    found = gaussian_sums(points, values, places, (31, 31, 31), sigma, 4.0)
    squared = ((places[:, None] - points[None]) ** 2).sum(axis=2)
    # sharing out and reading linearly widen the kernel by 1/3 step² in the mean over places
    wide = sigma**2 + 1.0 / 3.0
    exact = np.exp(-0.5 * squared / wide) @ values / (2.0 * np.pi * wide) ** 1.5
    assert found == pytest.approx(exact, rel=0.03)


def test_no_value_is_lost_inside_the_lattice() -> None:
    points = np.array([[6.3, 7.1, 5.8]])
    everywhere = np.stack(np.meshgrid(*[np.arange(13.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
    everywhere = everywhere[(everywhere < 12.0).all(axis=1)]
    found = gaussian_sums(points, np.array([[5.0]]), everywhere, (13, 13, 13), 1.0, 3.0)
    assert found.sum() == pytest.approx(5.0, rel=1e-9)
