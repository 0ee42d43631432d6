"""The knee as a whole: truth, sides, poses, change, denuded bone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import PLATE_BONES, PLATE_UNIONS, Bone, Plate, Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.errors import GeometryError
from kneeimg.phantoms.cartilage import DenudedPatch, PlateThickness
from kneeimg.phantoms.femur import FemurShape
from kneeimg.phantoms.grids import orientation_variants, random_pose, slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.patella import PatellaShape
from kneeimg.phantoms.tibia import TibiaShape

KNEE = KneePhantom(Side.RIGHT)
TRUTH = KNEE.truth()
GRID = slice_grid("sagittal", (1.5, 1.0, 1.0), (56, 90, 84), centre_mm=(0, 0, -38))


def mirrored(grid: Grid) -> Grid:
    """The grid seen in a mirror: x -> -x."""
    return Grid(grid.shape, np.diag([-1.0, 1.0, 1.0, 1.0]) @ grid.affine, grid.frame_uid)


@pytest.mark.parametrize("thickness_mm", [0.5, 1.9, 4.0])
def test_constant_thickness_is_found_in_every_plate(thickness_mm: float) -> None:
    knee = KneePhantom(Side.RIGHT, PlateThickness.constant(thickness_mm), thickness_variation=0.0)
    truth = knee.truth()
    for region in PLATE_UNIONS:
        assert truth[region, "ThCtAB_aMe"] == pytest.approx(thickness_mm, rel=1e-9)
        assert truth[region, "ThCcAB_aMe"] == pytest.approx(thickness_mm, rel=1e-9)
    assert truth["FTJ", "ThCtAB_aMe"] == pytest.approx(4 * thickness_mm, rel=1e-9)


def test_volume_of_a_constant_sheet_by_steiner() -> None:
    # spherical plateaus: VC = tAB * ((r ± t)³ - r³) / (± 3 r²), by hand
    t_mm, shape = 2.0, TibiaShape()
    knee = KneePhantom(Side.RIGHT, PlateThickness.constant(t_mm), thickness_variation=0.0)
    truth = knee.truth()
    for region, radius in (
        ("MT", -shape.medial_dish_radius_mm),
        ("LT", shape.lateral_cap_radius_mm),
    ):
        factor = ((radius + t_mm) ** 3 - radius**3) / (3 * radius**2)
        assert truth[region, "VC"] == pytest.approx(truth[region, "tAB"] * factor, rel=1e-6)
        stretch = ((radius + t_mm) / radius) ** 2
        assert truth[region, "AC"] == pytest.approx(truth[region, "tAB"] * stretch, rel=1e-6)


def test_plateau_area_against_an_independent_sum() -> None:
    # a sphere over an ellipse: integrate r / sqrt(r² - x² - y²) over the ellipse in polar steps
    shape = TibiaShape()
    radius, turn = (np.arange(2000) + 0.5) / 2000, np.arange(720) * np.pi / 360
    x = shape.medial_half_ml_mm * np.outer(radius, np.cos(turn))
    y = shape.medial_half_ap_mm * np.outer(radius, np.sin(turn))
    r = shape.medial_dish_radius_mm
    stretch = r / np.sqrt(r**2 - x**2 - y**2) * radius[:, None]
    cell = shape.medial_half_ml_mm * shape.medial_half_ap_mm / 2000 * (np.pi / 360)
    assert TRUTH["MT", "tAB"] == pytest.approx(stretch.sum() * cell, rel=2e-5)


@pytest.mark.parametrize("region", ["cMF", "cLF", "pMF", "pLF", "TrF", "P"])
def test_area_against_a_monte_carlo_count(region: str) -> None:
    # volume of a thin layer over the plate, counted by random points, divided by its thickness
    bone = PLATE_BONES[region]
    rng = np.random.default_rng(8)
    low, high = KNEE.sheets[bone].bone.bounds_mm
    high = np.minimum(high, [40.0, 40.0, 20.0])
    points = rng.uniform(low, high, size=(200_000, 3))
    distance = KNEE.sheets[bone].bone.foot(points).distance_mm
    layer = 2.0
    near = np.abs(distance) < layer / 2  # both sides: curvature cancels to first order
    codes = KNEE.plate_at(bone, points[near])
    share = np.count_nonzero(codes == Plate[region]) / len(points)
    area_mm2 = share * np.prod(high - low) / layer
    spread = area_mm2 / np.sqrt(share * len(points))
    assert area_mm2 == pytest.approx(TRUTH[region, "tAB"], abs=4 * spread)


def test_plates_add_up_to_condyles() -> None:
    for quantity in ("VC", "tAB", "cAB", "AC"):
        for side in "ML":
            parts = TRUTH[f"c{side}F", quantity] + TRUTH[f"p{side}F", quantity]
            assert TRUTH[f"{side}F", quantity] == pytest.approx(parts, rel=1e-12)
    assert TRUTH["MFTC", "ThCtAB_aMe"] == pytest.approx(
        TRUTH["MT", "ThCtAB_aMe"] + TRUTH["cMF", "ThCtAB_aMe"]
    )


def test_smaller_femur_fraction_moves_area_from_central_to_posterior() -> None:
    other = KNEE.truth(femur_fraction=0.6)
    assert other["cMF", "tAB"] < TRUTH["cMF", "tAB"]
    assert other["MF", "tAB"] == pytest.approx(TRUTH["MF", "tAB"], rel=1e-6)
    assert other["MT", "tAB"] == TRUTH["MT", "tAB"]


@pytest.mark.parametrize(
    "region, low, high",
    [("MT", 1.5, 1.9), ("LT", 1.9, 2.3), ("cMF", 1.7, 2.1), ("cLF", 1.6, 2.0), ("P", 2.0, 2.8)],
)
def test_default_thickness_is_that_of_a_healthy_knee(region: str, low: float, high: float) -> None:
    assert low < TRUTH[region, "ThCtAB_aMe"] < high


# ---- change


@pytest.mark.parametrize("plate", ["MT", "P"])
def test_change_of_a_separate_plate_is_exact(plate: str) -> None:
    knee = replace(KNEE, thickness_variation=0.0)
    thinner = replace(knee, thickness_change_mm={plate: -0.1})
    before, after = knee.truth(), thinner.truth()
    assert after[plate, "ThCtAB_aMe"] - before[plate, "ThCtAB_aMe"] == pytest.approx(-0.1, abs=1e-9)
    assert after[plate, "tAB"] == pytest.approx(before[plate, "tAB"], rel=1e-12)


def test_change_of_a_femoral_plate_passes_its_borders_smoothly() -> None:
    before, after = TRUTH, replace(KNEE, thickness_change_mm={"cMF": -0.2}).truth()
    change = {r: after[r, "ThCtAB_aMe"] - before[r, "ThCtAB_aMe"] for r in PLATE_UNIONS}
    assert change["cMF"] == pytest.approx(-0.2, abs=0.015)
    assert -0.02 < change["pMF"] < 0.0
    assert change["cLF"] == pytest.approx(0.0, abs=1e-9)
    assert change["MT"] == pytest.approx(0.0, abs=1e-9)


def test_change_is_refused_when_nothing_is_left_or_the_plate_is_unknown() -> None:
    with pytest.raises(ValueError, match="denuded patches"):
        _ = replace(KNEE, thickness_change_mm={"MT": -3.0}).sheets
    with pytest.raises(ValueError, match="unknown plates"):
        _ = replace(KNEE, thickness_change_mm={"mt": -0.1}).sheets


# ---- denuded bone


def test_denuded_area_of_a_plateau_is_a_spherical_cap() -> None:
    # points of a sphere within a chord c of a point cover exactly pi c²
    bare = replace(KNEE, denuded=(DenudedPatch("MT", 0.0, 0.0, 5.0),))
    truth = bare.truth()
    assert truth["MT", "dAB"] == pytest.approx(np.pi * 25.0, rel=1e-4)
    assert truth["MT", "tAB"] == pytest.approx(TRUTH["MT", "tAB"], rel=1e-9)
    share = np.pi * 25.0 / TRUTH["MT", "tAB"]
    assert truth["MT", "dABp"] == pytest.approx(100.0 * share, rel=1e-4)
    assert truth["LT", "dAB"] == 0.0


def test_denuded_bone_counts_zero_in_thickness_over_all_bone() -> None:
    knee = KneePhantom(
        Side.RIGHT,
        PlateThickness.constant(2.0),
        thickness_variation=0.0,
        denuded=(DenudedPatch("LT", 0.0, 0.0, 6.0),),
    )
    truth = knee.truth()
    assert truth["LT", "ThCcAB_aMe"] == pytest.approx(2.0, rel=1e-9)
    share = 1.0 - np.pi * 36.0 / truth["LT", "tAB"]
    assert truth["LT", "ThCtAB_aMe"] == pytest.approx(2.0 * share, rel=1e-4)


def test_a_bare_plate_measures_zero_and_not_nan() -> None:
    truth = replace(KNEE, denuded=(DenudedPatch("P", 0.0, 0.0, 60.0),)).truth()
    assert truth["P", "ThCtAB_aMe"] == 0.0
    assert truth["P", "dABp"] == pytest.approx(100.0)
    assert np.isnan(truth["P", "ThCcAB_aMe"])


@pytest.mark.parametrize("plate", ["MT", "LT", "cMF", "cLF", "pMF", "pLF", "TrF", "P"])
def test_a_patch_lies_in_the_plate_it_names(plate: str) -> None:
    knee = replace(KNEE, denuded=(DenudedPatch(plate, 0.0, 0.0, 4.0),))
    truth = knee.truth()
    bare = {
        region: truth[region, "dAB"] for region in PLATE_UNIONS if len(PLATE_UNIONS[region]) == 1
    }
    assert bare.pop(plate) == pytest.approx(np.pi * 16.0, rel=0.02)
    assert max(bare.values()) == 0.0
    (centre, _), *_ = knee.sheets[PLATE_BONES[plate]].bare
    assert knee.thickness_at(PLATE_BONES[plate], [centre])[0] == 0.0


# ---- side and pose


def test_left_knee_is_the_mirror_image_of_the_right() -> None:
    left = replace(KNEE, side=Side.LEFT)
    ours, theirs = left.label_map(mirrored(GRID)), KNEE.label_map(GRID)
    for tissue in theirs.probabilities or {}:
        assert np.abs(ours.fraction(tissue) - theirs.fraction(tissue)).max() < 1e-6
    assert left.truth() == TRUTH
    assert ours.side_from_labels is Side.LEFT


def test_medial_and_fibula_are_where_the_side_says() -> None:
    for side, sign in ((Side.RIGHT, 1.0), (Side.LEFT, -1.0)):
        knee = replace(KNEE, side=side)
        label_map = knee.label_map(GRID)
        fibula = GRID.to_mm(np.argwhere(label_map.labels == Tissue.FIBULA))
        assert sign * fibula[:, 0].mean() < -25.0  # lateral
        assert fibula[:, 1].mean() > 10.0  # posterior
        medial = knee.plate_at(Bone.TIBIA, [[sign * 22.0, 2.0, -40.0]])
        assert medial[0] == Plate.MT


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pose_changes_neither_truth_nor_thickness_at_a_place(seed: int) -> None:
    pose = random_pose(np.random.default_rng(seed), max_angle_deg=40.0)
    turned = replace(KNEE, pose=pose)
    assert turned.truth() == TRUTH
    points = np.random.default_rng(9).uniform([-30, -10, -45], [30, 25, -30], size=(200, 3))
    assert np.allclose(
        turned.thickness_at(Bone.FEMUR, pose.apply(points)),
        KNEE.thickness_at(Bone.FEMUR, points),
        equal_nan=True,
        atol=1e-9,
    )


def test_volume_in_an_oblique_pose() -> None:
    pose = random_pose(np.random.default_rng(4), max_angle_deg=30.0)
    label_map = replace(KNEE, pose=pose).label_map(GRID)
    found = label_map.fraction(Tissue.TIBIAL_CARTILAGE).sum(dtype=float) * GRID.voxel_volume_mm3
    assert found == pytest.approx(TRUTH["MT", "VC"] + TRUTH["LT", "VC"], rel=1e-3)


def test_voxels_of_a_denuded_plateau_hold_the_true_volume() -> None:
    knee = replace(KNEE, denuded=(DenudedPatch("LT", 0.2, -0.3, 7.0),))
    grid = slice_grid("sagittal", (0.8, 0.6, 0.6), (40, 30, 80), centre_mm=(-21, 2, -40))
    share = knee.label_map(grid).fraction(Tissue.TIBIAL_CARTILAGE).sum(dtype=float)
    true_mm3 = knee.truth()["LT", "VC"]
    assert true_mm3 < 0.85 * TRUTH["LT", "VC"]
    assert share * grid.voxel_volume_mm3 == pytest.approx(true_mm3, rel=1e-3)


def test_every_layout_shows_the_same_knee() -> None:
    small = slice_grid("coronal", (2.0, 0.9, 0.9), (20, 40, 40), centre_mm=(20, 0, -36))
    reference = KNEE.label_map(small).fraction(Tissue.FEMORAL_CARTILAGE).sum(dtype=float)
    for name, grid in orientation_variants(small).items():
        found = KNEE.label_map(grid).fraction(Tissue.FEMORAL_CARTILAGE).sum(dtype=float)
        assert found == pytest.approx(reference, rel=1e-5), name


def test_grid_of_another_frame_is_refused() -> None:
    pose = random_pose(np.random.default_rng(1), frame_uid="1.2.3")
    with pytest.raises(GeometryError, match="another frame"):
        replace(KNEE, pose=pose).label_map(GRID)


# ---- pointwise truth and shape


def test_thickness_at_is_the_height_of_the_articular_surface() -> None:
    for bone, sheet in KNEE.sheets.items():
        patch = next(iter(sheet.bone.patches(2.0)))
        points, normals = patch.points.reshape(-1, 3), patch.normals.reshape(-1, 3)
        t_mm = KNEE.thickness_at(bone, points)
        on_plate = np.isfinite(t_mm)
        articular = points[on_plate] + t_mm[on_plate, None] * normals[on_plate]
        _, level, _ = sheet.sheet_levels(articular)
        assert np.abs(level).max() < 1e-9
        assert (KNEE.plate_at(bone, points)[~on_plate] == Plate.NONE).all()


def test_rim_ramp_thins_only_the_rim() -> None:
    ramp = replace(KNEE, rim_ramp_mm=1.0).truth()
    assert ramp["MT", "tAB"] == pytest.approx(TRUTH["MT", "tAB"], rel=1e-12)
    assert 0.90 < ramp["MT", "VC"] / TRUTH["MT", "VC"] < 0.99


def test_a_larger_knee_has_larger_areas_and_the_same_thickness() -> None:
    knee = KneePhantom(
        Side.RIGHT,
        PlateThickness.constant(2.0),
        thickness_variation=0.0,
        femur=FemurShape().scaled(1.1),
        tibia=TibiaShape().scaled(1.1),
        patella=PatellaShape().scaled(1.1),
    )
    truth = knee.truth()
    assert truth["MT", "tAB"] == pytest.approx(1.21 * TRUTH["MT", "tAB"], rel=3e-5)
    assert truth["cMF", "tAB"] == pytest.approx(1.21 * TRUTH["cMF", "tAB"], rel=1e-4)
    assert truth["cMF", "ThCtAB_aMe"] == pytest.approx(2.0, rel=1e-9)


def test_knee_out_of_view_gives_an_empty_map() -> None:
    far = slice_grid("axial", (1.0, 1.0, 1.0), (5, 5, 5), centre_mm=(500, 0, 0))
    label_map = KNEE.label_map(far)
    assert not label_map.labels.any()
    assert Tissue.FEMUR in (label_map.probabilities or {})


def test_hard_map_agrees_with_the_soft_one() -> None:
    hard, soft = KNEE.label_map(GRID, hard=True), KNEE.label_map(GRID)
    assert not hard.is_soft
    assert (hard.labels != soft.labels).mean() < 0.005
