"""Exactness of feet and distances where cartilage lies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kneeimg.core.anatomy import Bone, Side
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.profiles import CondyleProfile, RidgeProfile

FloatArray = NDArray[np.float64]
KNEE = KneePhantom(Side.RIGHT)


def surface_points(bone: Bone, step_mm: float) -> tuple[FloatArray, FloatArray]:
    """Points and normals of the whole articular side of a bone."""
    patches = list(KNEE.sheets[bone].bone.patches(step_mm))
    points = np.concatenate([p.points.reshape(-1, 3) for p in patches])
    return points, np.concatenate([p.normals.reshape(-1, 3) for p in patches])


def on_plate(bone: Bone, count: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Random points of the total subchondral bone area and their normals."""
    points, normals = surface_points(bone, 0.7)
    inside = np.flatnonzero(KNEE.sheets[bone].bone.edge(points) < 0.0)
    picked = np.random.default_rng(seed).choice(inside, size=count, replace=False)
    return points[picked], normals[picked]


@pytest.mark.parametrize("bone", list(Bone))
def test_patches_lie_on_the_surface(bone: Bone) -> None:
    points, normals = on_plate(bone, 500)
    solid = KNEE.sheets[bone].bone
    assert np.abs(solid.foot(points).distance_mm).max() < 1e-9
    assert np.abs(solid.distance(points)).max() < 1e-9  # the bone itself, notch and shaft included
    assert np.allclose(solid.foot(points + 1e-3 * normals).normals, normals, atol=1e-6)


@pytest.mark.parametrize("bone", list(Bone))
@pytest.mark.parametrize("height_mm", [0.5, 2.0, 4.0])
def test_walking_along_the_normal_comes_back_to_the_same_foot(bone: Bone, height_mm: float) -> None:
    points, normals = on_plate(bone, 500)
    foot = KNEE.sheets[bone].bone.foot(points + height_mm * normals)
    assert np.abs(foot.distance_mm - height_mm).max() < 1e-9
    assert np.abs(foot.points - points).max() < 1e-9


@pytest.mark.parametrize("bone", list(Bone))
def test_distance_is_the_shortest_way_to_the_surface(bone: Bone) -> None:
    # brute force: no sampled point of the surface is nearer than the closed form says
    points, normals = on_plate(bone, 300, seed=1)
    outside = points + 3.0 * normals
    tree = cKDTree(surface_points(bone, 0.15)[0])
    nearest, _ = tree.query(outside)
    assert (nearest >= 3.0 - 1e-9).all()
    assert nearest.max() < 3.0 + 0.15**2  # half a cell diagonal away from the foot at most


@pytest.mark.parametrize("bone", list(Bone))
def test_bone_level_is_steep_enough_everywhere_near_its_surface(bone: Bone) -> None:
    # a level that is flat at its zero would smear the voxel fractions
    rng = np.random.default_rng(2)
    solid = KNEE.sheets[bone].bone
    low, high = np.clip(solid.bounds_mm, -90.0, 40.0)
    points = rng.uniform(low, high, size=(40000, 3))
    value = solid.distance(points)
    points = points[np.abs(value) < 0.3]
    step = 1e-4 * np.eye(3)
    slope = [(solid.distance(points + d) - solid.distance(points - d)) / 2e-4 for d in step]
    steepness = np.linalg.norm(slope, axis=0)
    assert np.percentile(steepness, 1) > 0.5
    assert steepness.max() < 2.5


def test_profile_is_smooth_where_its_arcs_meet() -> None:
    profile = CondyleProfile(20.0, -19.0, 16.0, 15.0, 20.0, 19.5, 20.0)
    for first, second in zip(profile.arcs()[:-1], profile.arcs()[1:], strict=True):
        end, start = first.sample(4), second.sample(4)
        assert np.allclose([v[-1] for v in end], [v[0] for v in start], atol=1e-12)


def test_ridge_is_smooth_where_its_arcs_meet() -> None:
    profile = RidgeProfile(70.0, 14.0, 45.0, 24.0)
    for first, second in zip(profile.arcs()[:-1], profile.arcs()[1:], strict=True):
        end, start = first.sample(4), second.sample(4)
        assert np.allclose([v[-1] for v in end], [v[0] for v in start], atol=1e-12)


def test_shafts_have_the_stated_width() -> None:
    femur = KNEE.femur_bone.shape
    rise = 150.0 - femur.roof_z_mm + 5.9
    middle = femur.shaft_y_mm + np.tan(np.deg2rad(femur.shaft_lean_deg)) * rise
    high = np.array([[femur.shaft_half_ml_mm, middle, 150.0]])
    assert KNEE.signed_distance(Bone.FEMUR, high)[0] == pytest.approx(0.0, abs=1e-3)


def test_outer_walls_of_the_condyles_are_flat() -> None:
    femur = KNEE.femur_bone.shape
    wall = femur.medial_x_mm + femur.medial_radius_mm
    points = np.array([[wall, y, z] for y in (-5.0, 0.0, 3.0) for z in (-12.0, -8.0)])
    assert np.abs(KNEE.femur_bone.foot(points).distance_mm).max() < 1e-9


def test_joint_surfaces_touch_without_overlap() -> None:
    from kneeimg.phantoms.placement import joint_gap_mm

    femur = KNEE.sheets[Bone.FEMUR]
    for bone in (Bone.TIBIA, Bone.PATELLA):
        gap_mm = joint_gap_mm(femur, KNEE.sheets[bone])
        assert gap_mm == pytest.approx(KNEE.contact_gap_mm, abs=1e-3)
