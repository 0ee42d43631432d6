"""Closed-form solids: voxel fractions add up to the exact volume, in any pose and layout."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Tissue
from kneeimg.core.surface import RigidTransform
from kneeimg.geometry.rigid import rotation
from kneeimg.phantoms.grids import orientation_variants, slice_grid
from kneeimg.phantoms.shells import CylinderShell, Slab, Solid, SphericalShell, Wedge

TILT = RigidTransform(rotation([1.0, 2.0, 0.5], 33.0), np.array([0.31, -0.17, 0.05]))
GRID = slice_grid("sagittal", (0.7, 0.365, 0.365), (75, 145, 145), centre_mm=(0, 0, 0))
SOLIDS = [
    SphericalShell(0.5, pose=TILT),
    SphericalShell(2.0, pose=TILT),
    CylinderShell(1.9, radius_mm=15.0, pose=TILT),
    Slab(1.0, pose=TILT),
    Wedge(2.0, slope=0.08, pose=TILT),
]


def volume_mm3(solid: Solid, tissue: Tissue) -> float:
    label_map = solid.label_map(GRID)
    return float(label_map.fraction(tissue).sum(dtype=np.float64)) * GRID.voxel_volume_mm3


@pytest.mark.parametrize("solid", SOLIDS, ids=lambda s: f"{type(s).__name__}-{s.thickness_mm}")
def test_voxel_fractions_add_up_to_the_exact_volume(solid: Solid) -> None:
    found = volume_mm3(solid, Tissue.FEMORAL_CARTILAGE)
    assert found == pytest.approx(solid.truth()["VC"], rel=2e-4)


def test_bone_of_a_sphere_has_the_volume_of_a_ball() -> None:
    found = volume_mm3(SphericalShell(2.0, pose=TILT), Tissue.FEMUR)
    assert found == pytest.approx(4 / 3 * np.pi * 20.0**3, rel=1e-5)


@pytest.mark.parametrize("solid", SOLIDS, ids=lambda s: f"{type(s).__name__}-{s.thickness_mm}")
def test_volume_is_the_integral_of_area_over_thickness(solid: Solid) -> None:
    # Steiner: for a thin sheet VC lies between t * tAB and t * AC
    truth = solid.truth()
    low, high = sorted((truth["tAB"], truth["AC"]))
    assert low * solid.thickness_mm * (1 - 1e-12) <= truth["VC"] <= high * solid.thickness_mm


def test_sphere_by_hand() -> None:
    truth = SphericalShell(1.0, radius_mm=1.0).truth()
    assert truth["tAB"] == pytest.approx(4 * np.pi)
    assert truth["AC"] == pytest.approx(16 * np.pi)
    assert truth["VC"] == pytest.approx(28 / 3 * np.pi)


def test_every_layout_holds_the_same_volume() -> None:
    solid = Wedge(2.0, slope=0.08, pose=TILT)
    reference = volume_mm3(solid, Tissue.FEMORAL_CARTILAGE)
    for name, grid in orientation_variants(GRID).items():
        share = solid.label_map(grid).fraction(Tissue.FEMORAL_CARTILAGE)
        found = float(share.sum(dtype=np.float64)) * grid.voxel_volume_mm3
        assert found == pytest.approx(reference, rel=1e-5), name


def test_hard_map_takes_what_lies_at_the_voxel_centre() -> None:
    solid = SphericalShell(2.0, radius_mm=10.0, bone=Bone.TIBIA)
    grid = slice_grid("axial", (1.0, 1.0, 1.0), (30, 30, 30), centre_mm=(0.2, 0.1, 0.0))
    label_map = solid.label_map(grid, hard=True)
    radius = np.linalg.norm(grid.to_mm(np.argwhere(np.ones(grid.shape))), axis=1)
    expected = np.where(radius < 10.0, 3, np.where(radius < 12.0, 4, 0)).reshape(grid.shape)
    assert not label_map.is_soft
    assert np.array_equal(label_map.labels, expected)


def test_wedge_that_would_reach_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="to zero"):
        Wedge(1.0, slope=0.1)
