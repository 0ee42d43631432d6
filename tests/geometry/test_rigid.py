"""Rotations and rigid fits with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.geometry.rigid import fit_rigid, rotation, rotation_angle_deg


def test_quarter_turn_about_each_axis() -> None:
    np.testing.assert_allclose(rotation([1, 0, 0], 90) @ [0, 1, 0], [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(rotation([0, 1, 0], 90) @ [0, 0, 1], [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(rotation([0, 0, 1], 90) @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@pytest.mark.parametrize("angle_deg", [0.5, 20.0, 120.0])
def test_angle_is_recovered(angle_deg: float) -> None:
    assert rotation_angle_deg(rotation([3, -1, 2], angle_deg)) == pytest.approx(angle_deg)


def test_known_motion_is_recovered_exactly() -> None:
    points = np.random.default_rng(1).normal(size=(20, 3)) * 30
    turn, shift = rotation([1, 1, 2], 17.0), np.array([4.0, -2.0, 9.0])
    found_turn, found_shift = fit_rigid(points, points @ turn.T + shift)
    np.testing.assert_allclose(found_turn, turn, atol=1e-12)
    np.testing.assert_allclose(found_shift, shift, atol=1e-10)


def test_a_mirror_image_is_never_fitted_by_a_reflection() -> None:
    points = np.random.default_rng(2).normal(size=(30, 3))
    turn, _ = fit_rigid(points, points * [-1, 1, 1])
    assert np.linalg.det(turn) == pytest.approx(1.0)


def test_zero_weight_points_do_not_count() -> None:
    points = np.random.default_rng(3).normal(size=(12, 3))
    target = points + [1.0, 0.0, 0.0]
    target[-1] += 100.0
    _, shift = fit_rigid(points, target, weights=np.r_[np.ones(11), 0.0])
    np.testing.assert_allclose(shift, [1, 0, 0], atol=1e-12)


def test_unpaired_points_are_refused() -> None:
    with pytest.raises(ValueError, match="point pairs"):
        fit_rigid(np.zeros((3, 3)), np.zeros((4, 3)))
