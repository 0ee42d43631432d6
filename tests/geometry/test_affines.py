"""Affine arithmetic in every layout."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from kneeimg.geometry.affines import (
    apply_affine,
    closest_axes,
    from_linear,
    reoriented_affine,
    spacing_of,
)
from kneeimg.geometry.rigid import rotation

LAYOUTS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def layout_affine(axes: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """Array axis axes[w] runs along world axis w with this sign and spacing 0.3 * (w + 1)."""
    linear = np.zeros((3, 3))
    for world in range(3):
        linear[world, axes[world]] = signs[world] * 0.3 * (world + 1)
    return from_linear(linear, (5.0, -7.0, 11.0))


@pytest.mark.parametrize("axes,signs", LAYOUTS)
def test_closest_axes_recovers_every_layout(axes: tuple, signs: tuple) -> None:
    assert closest_axes(layout_affine(axes, signs)) == (axes, signs)


@pytest.mark.parametrize("axes,signs", LAYOUTS)
def test_closest_axes_is_stable_under_20_degrees(axes: tuple, signs: tuple) -> None:
    turned = from_linear(rotation([1, 2, 3], 20.0)) @ layout_affine(axes, signs)
    assert closest_axes(turned) == (axes, signs)


@pytest.mark.parametrize("axes,flips", LAYOUTS)
def test_reorienting_leaves_every_voxel_where_it_was(axes: tuple, flips: tuple) -> None:
    rng = np.random.default_rng(0)
    affine = from_linear(rotation([1, 2, 3], 33.0) @ np.diag([0.4, 0.5, 0.7]), (1, 2, 3))
    data = rng.random((4, 5, 6))
    moved = data.transpose(axes)[tuple(slice(None, None, f) for f in flips)]
    new = reoriented_affine(affine, data.shape, axes, flips)
    index = np.argwhere(moved == data[1, 2, 3])[0]
    np.testing.assert_allclose(
        apply_affine(new, index), apply_affine(affine, (1, 2, 3)), atol=1e-12
    )


def test_spacing_is_the_length_of_each_column() -> None:
    affine = from_linear(rotation([0, 0, 1], 30.0) @ np.diag([0.365, 0.365, 0.7]))
    np.testing.assert_allclose(spacing_of(affine), [0.365, 0.365, 0.7])
