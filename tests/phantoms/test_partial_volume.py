"""Voxel fractions against counting points."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone, Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.phantoms.cartilage import DenudedPatch
from kneeimg.phantoms.grids import dess_grid, random_pose, slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.partial_volume import box_fraction

FloatArray = NDArray[np.float64]


@pytest.mark.parametrize("dims", [2, 3])
def test_box_fraction_of_random_planes(dims: int) -> None:
    rng = np.random.default_rng(3)
    slopes = rng.normal(size=(dims, 50))
    slopes[0, :10] = 0.0  # planes parallel to an edge
    centre = rng.uniform(-1.0, 1.0, size=50)
    steps = (np.arange(60) + 0.5) / 60 - 0.5
    points = np.stack(np.meshgrid(*[steps] * dims), axis=-1).reshape(-1, dims)
    counted = (points @ slopes + centre < 0.0).mean(axis=0)
    assert np.abs(box_fraction(centre, slopes) - counted).max() < 0.02
    assert np.abs(box_fraction(centre, slopes) - counted).mean() < 0.003


def test_box_fraction_and_its_complement_fill_the_box() -> None:
    rng = np.random.default_rng(4)
    slopes, centre = rng.normal(size=(3, 200)), rng.normal(size=200)
    both = box_fraction(centre, slopes) + box_fraction(-centre, -slopes)
    assert np.allclose(both, 1.0, atol=1e-9)


def counted_shares(
    knee: KneePhantom, bone: Bone, grid: Grid, index: NDArray[np.int64], fine: int = 12
) -> tuple[FloatArray, FloatArray]:
    """Bone and cartilage share of voxels by counting fine³ points in each."""
    sheet = knee.sheets[bone]
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    inner = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    points = knee.canonical(grid.to_mm((index[:, None, :] + inner).reshape(-1, 3)))
    below, articular, border = sheet.sheet_levels(points)
    in_bone = sheet.bone_level(points) < 0.0
    in_cartilage = (below > 0.0) & (articular < 0.0) & (border < 0.0)
    return (
        in_bone.reshape(len(index), -1).mean(axis=1),
        in_cartilage.reshape(len(index), -1).mean(axis=1),
    )


@pytest.mark.parametrize("bone", list(Bone))
def test_knee_fractions_against_supersampling(bone: Bone) -> None:
    pose = random_pose(np.random.default_rng(5), max_angle_deg=25.0)
    patch = {Bone.FEMUR: "cMF", Bone.TIBIA: "MT", Bone.PATELLA: "P"}[bone]
    knee = KneePhantom(Side.LEFT, denuded=(DenudedPatch(patch, 0.1, 0.0, 5.0),), pose=pose)
    # voxels of the DESS protocol in a box around a rim and the denuded patch of each bone
    place = {Bone.FEMUR: (26, 3, -34), Bone.TIBIA: (26, 3, -40), Bone.PATELLA: (8, -29, -12)}[bone]
    centre = knee.scanner([place])[0]
    grid = slice_grid("sagittal", (0.7, 0.365, 0.365), (34, 70, 70), centre_mm=centre)
    label_map = knee.label_map(grid)
    rng = np.random.default_rng(6)
    for tissue, which in ((bone.tissue, 0), (bone.cartilage, 1)):
        share = label_map.fraction(tissue)
        cut = np.argwhere((share > 0.0) & (share < 1.0))
        index = cut[rng.choice(len(cut), size=250, replace=False)]
        error = share[tuple(index.T)] - counted_shares(knee, bone, grid, index)[which]
        assert np.abs(error).mean() < 0.003
        assert abs(error.mean()) < 6e-4
        assert np.percentile(np.abs(error), 99) < 0.02


def test_whole_voxels_hold_no_surface() -> None:
    knee = KneePhantom(Side.RIGHT)
    grid = slice_grid("coronal", (3.0, 0.6, 0.6), (12, 80, 80), centre_mm=(18, 5, -25))
    label_map = knee.label_map(grid)
    rng = np.random.default_rng(7)
    for tissue, which in ((Tissue.FEMUR, 0), (Tissue.FEMORAL_CARTILAGE, 1)):
        share = label_map.fraction(tissue)
        for value in (0.0, 1.0):
            whole = np.argwhere(share == value)
            # above the cartilage two sweeps of the condyle meet in a step of the outer wall
            place = grid.to_mm(whole)
            whole = whole[(place[:, 0] < 33.0) | (place[:, 2] < -4.0)]
            index = whole[rng.choice(len(whole), size=min(2000, len(whole)), replace=False)]
            counted = counted_shares(knee, Bone.FEMUR, grid, index, fine=5)[which]
            assert np.abs(counted - value).max() <= 0.04


def test_no_voxel_is_overfull() -> None:
    knee = KneePhantom(Side.RIGHT, contact_gap_mm=0.0)
    grid = slice_grid("sagittal", (0.7, 0.5, 0.5), (100, 60, 100), centre_mm=(0, 0, -38))
    label_map = knee.label_map(grid)
    assert label_map.probabilities is not None
    total = np.sum(list(label_map.probabilities.values()), axis=0)
    assert total.max() <= 1.0 + 1e-6


@pytest.mark.slow
def test_dess_grid_holds_the_true_volume() -> None:
    knee = KneePhantom(Side.RIGHT)
    grid, truth = dess_grid(), knee.truth()
    label_map = knee.label_map(grid)
    for bone, plates in {
        Bone.FEMUR: ("cMF", "cLF", "pMF", "pLF", "TrF"),
        Bone.TIBIA: ("MT", "LT"),
        Bone.PATELLA: ("P",),
    }.items():
        share = label_map.fraction(bone.cartilage).sum(dtype=np.float64)
        true_mm3 = sum(truth[plate, "VC"] for plate in plates)
        assert share * grid.voxel_volume_mm3 == pytest.approx(true_mm3, rel=1e-4)
