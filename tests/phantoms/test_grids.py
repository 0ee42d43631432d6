"""Grids and poses."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.geometry.rigid import rotation, rotation_angle_deg
from kneeimg.phantoms.grids import (
    JOINT_CENTRE_MM,
    coronal_grid,
    demo_grid,
    dess_grid,
    isotropic_grid,
    orientation_variants,
    random_pose,
    slice_grid,
    thick_sagittal_grid,
)


@pytest.mark.parametrize(
    "plane, normal", [("sagittal", (1, 0, 0)), ("coronal", (0, 1, 0)), ("axial", (0, 0, 1))]
)
def test_slices_run_along_the_normal_and_the_centre_is_in_the_middle(
    plane: str, normal: tuple[int, int, int]
) -> None:
    grid = slice_grid(plane, (2.0, 0.5, 0.4), (5, 7, 9), centre_mm=(1.0, 2.0, 3.0))  # type: ignore[arg-type]
    assert np.allclose(grid.affine[:3, 0], 2.0 * np.array(normal))
    assert np.allclose(grid.spacing_mm, (2.0, 0.5, 0.4))
    assert np.allclose(grid.to_mm([2, 3, 4]), (1.0, 2.0, 3.0))


def test_sagittal_pictures_show_anterior_left_and_proximal_up() -> None:
    grid = demo_grid()
    assert grid.affine[2, 1] < 0  # rows run down, towards distal
    assert grid.affine[1, 2] > 0  # columns run to posterior


@pytest.mark.parametrize(
    "grid, spacing_mm",
    [
        (dess_grid(), (0.7, 0.365, 0.365)),
        (thick_sagittal_grid(), (1.5, 0.31, 0.31)),
        (coronal_grid(), (3.0, 0.3, 0.3)),
        (isotropic_grid(0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_protocol_grids_cover_the_joint(grid, spacing_mm) -> None:  # type: ignore[no-untyped-def]
    assert np.allclose(grid.spacing_mm, spacing_mm)
    index = grid.to_index(np.array(JOINT_CENTRE_MM) + [[-42, -30, -20], [42, 32, 25]])
    assert (index > 0).all()
    assert (index < np.array(grid.shape) - 1).all()
    assert grid.frame_uid


def test_oblique_stack_turns_about_its_centre() -> None:
    turn = rotation([1, 1, 0], 20.0)
    straight, oblique = dess_grid(), dess_grid(turn=turn)
    middle = (np.array(straight.shape) - 1) / 2
    assert np.allclose(oblique.to_mm(middle), straight.to_mm(middle))
    assert np.allclose(oblique.affine[:3, :3], turn @ straight.affine[:3, :3])


def test_variants_cover_the_same_voxels() -> None:
    grid = slice_grid("coronal", (3.0, 0.5, 0.4), (3, 4, 5))
    every = np.argwhere(np.ones(grid.shape))
    reference = np.sort(grid.to_mm(every).round(6).view("f8,f8,f8").ravel())
    for name, variant in orientation_variants(grid).items():
        index = np.argwhere(np.ones(variant.shape))
        found = np.sort(variant.to_mm(index).round(6).view("f8,f8,f8").ravel())
        assert np.array_equal(found, reference), name


def test_random_pose_stays_in_its_limits_and_repeats() -> None:
    centre = np.array(JOINT_CENTRE_MM)
    for seed in range(20):
        pose = random_pose(np.random.default_rng(seed), max_angle_deg=10.0, max_shift_mm=3.0)
        assert rotation_angle_deg(pose.rotation) <= 10.0
        assert np.abs(pose.apply(centre) - centre).max() <= 3.0
        again = random_pose(np.random.default_rng(seed), max_angle_deg=10.0, max_shift_mm=3.0)
        assert np.array_equal(pose.matrix, again.matrix)
