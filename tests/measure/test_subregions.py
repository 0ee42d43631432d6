"""Subregions on hand-made plates and on the whole phantom knee."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import SUBREGIONS_OF, Bone, Plate, Side, Subregion
from kneeimg.measure.bones import measure_bone
from kneeimg.measure.canonical import canonical_knee
from kneeimg.measure.frames import BoneFrame
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.regions import (
    EXTREME_REGIONS,
    EXTREME_UNITS,
    planned_measurements,
    region_mask,
)
from kneeimg.measure.subregions import ridge_line, subregion_codes
from kneeimg.phantoms.cartilage import DenudedPatch
from kneeimg.phantoms.grids import demo_grid, random_pose, slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.settings.morphometry import MorphometrySettings

PHANTOM = KneePhantom(Side.RIGHT)
TRUTH = PHANTOM.truth()
FRAME = BoneFrame(np.eye(3), np.zeros(3))


def oval(half_x: float, half_y: float, turn_deg: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Points 0.25 mm apart in an ellipse at x = 20 that is turned about z, and their areas."""
    x, y = np.meshgrid(np.arange(-30, 30, 0.25), np.arange(-30, 30, 0.25), indexing="ij")
    inside = (x / half_x) ** 2 + (y / half_y) ** 2 < 1
    turn = np.deg2rad(turn_deg)
    u, v = x[inside], y[inside]
    points = np.stack(
        [20 + u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn), 0 * u], 1
    )
    return points, np.full(len(points), 0.0625)


def tibia_codes(points: np.ndarray, area: np.ndarray, plate: Plate) -> np.ndarray:
    plates = np.full(len(points), int(plate), dtype=np.uint8)
    return subregion_codes(Bone.TIBIA, FRAME, points, area, plates)


@pytest.mark.parametrize("turn_deg", [0.0, 25.0, -25.0])
def test_an_elliptical_plate_has_five_parts_of_a_fifth(turn_deg: float) -> None:
    points, area = oval(12.0, 20.0, turn_deg)
    codes = tibia_codes(points, area, Plate.MT)
    share = np.bincount(codes, weights=area)[1:6] / area.sum()
    assert share[0] == pytest.approx(0.2, abs=0.001)
    assert share == pytest.approx(0.2, abs=0.004)
    middle = {p.name: points[codes == p].mean(axis=0) for p in SUBREGIONS_OF[Plate.MT]}
    assert middle["eMT"][0] > middle["cMT"][0] > middle["iMT"][0]
    assert middle["aMT"][1] < middle["cMT"][1] < middle["pMT"][1]


def test_the_ellipse_follows_the_plate_by_hand() -> None:
    # half axes 12 and 20: the ellipse of 20 % has the half axes times sqrt(0.2)
    points, area = oval(12.0, 20.0)
    central = points[tibia_codes(points, area, Plate.MT) == Subregion.cMT]
    assert np.ptp(central[:, 0]) / 2 == pytest.approx(12 * np.sqrt(0.2), abs=0.3)
    assert np.ptp(central[:, 1]) / 2 == pytest.approx(20 * np.sqrt(0.2), abs=0.3)


def test_external_is_away_from_the_other_plate() -> None:
    points, area = oval(12.0, 20.0)
    codes = tibia_codes(points * [-1, 1, 1], area, Plate.LT)
    assert points[codes == Subregion.eLT][:, 0].mean() > points[codes == Subregion.iLT][:, 0].mean()


def test_a_condyle_is_cut_into_thirds() -> None:
    points, area = oval(12.0, 20.0, turn_deg=11.0)  # no columns of points with one x
    plates = np.full(len(points), int(Plate.cMF), dtype=np.uint8)
    codes = subregion_codes(Bone.FEMUR, FRAME, points, area, plates)
    share = np.bincount(codes, weights=area)[11:14] / area.sum()
    assert share == pytest.approx(1 / 3, abs=0.005)
    inner, outer = codes == Subregion.icMF, codes == Subregion.ecMF
    assert points[inner][:, 0].max() < points[outer][:, 0].min()


def test_nothing_is_cut_where_there_is_no_plate() -> None:
    points, area = oval(12.0, 20.0)
    none = np.zeros(len(points), dtype=np.uint8)
    for bone in Bone:
        assert not subregion_codes(bone, FRAME, points, area, none).any()
    trochlea = np.full(len(points), int(Plate.TrF), dtype=np.uint8)
    assert not subregion_codes(Bone.FEMUR, FRAME, points, area, trochlea).any()


def test_a_slanting_ridge_is_found_beside_the_middle() -> None:
    x, z = (a.ravel() for a in np.meshgrid(np.arange(-20, 20, 0.5), np.arange(-14, 14, 0.5)))
    y = -0.4 * np.abs(x - (3.0 + 0.1 * z))
    y[np.hypot(x - 12, z) < 1] += 8.0  # an osteophyte
    start, slope = ridge_line(np.stack([x, y, z], axis=1), np.ones(len(x)))
    assert start == pytest.approx(3.0, abs=0.3)
    assert slope == pytest.approx(0.1, abs=0.03)


def test_vertices_that_crowd_on_one_side_do_not_move_the_ridge() -> None:
    x, z = (a.ravel() for a in np.meshgrid(np.arange(-20, 20, 0.5), np.arange(-14, 14, 0.5)))
    crowd = x > 1.0  # four vertices of a quarter of the area in place of one
    x, z = np.concatenate([x, *3 * [x[crowd]]]), np.concatenate([z, *3 * [z[crowd]]])
    area = np.where(x > 1.0, 0.25, 1.0)
    start, slope = ridge_line(np.stack([x, -0.05 * (x - 1.0) ** 2, z], axis=1), area)
    assert start == pytest.approx(1.0, abs=0.05)
    assert slope == pytest.approx(0.0, abs=0.01)


def test_any_pose_keeps_the_facets() -> None:
    medial, lateral = [], []
    for seed in range(6):
        pose = random_pose(np.random.default_rng(seed), max_angle_deg=20.0)
        knee = KneePhantom(Side.RIGHT, pose=pose)
        middle_mm = knee.scanner([[0.0, -37.0, -17.0]])[0]
        grid = slice_grid("sagittal", (0.7, 0.5, 0.5), (84, 130, 140), centre_mm=middle_mm)
        canonical = canonical_knee(knee.label_map(grid), Side.RIGHT)
        found = measure_bone(canonical, Bone.PATELLA, MorphometrySettings())
        assert found is not None
        fields = found.surface.fields
        for part, values in ((Subregion.mP, medial), (Subregion.lP, lateral)):
            values.append(fields["area_mm2"][fields["subregion"] == part].sum())
    for values in (medial, lateral):
        assert np.ptp(values) < 0.02 * np.mean(values)


# ---- the whole knee


@pytest.fixture(scope="module")
def knee() -> KneeMorphometry:
    return measure_knee(PHANTOM.label_map(demo_grid()), Side.RIGHT)


def test_subregions_fill_their_plates(knee: KneeMorphometry) -> None:
    for plate, parts in SUBREGIONS_OF.items():
        bone = next(b for b, s in knee.surfaces.items() if (s.fields["plate"] == plate).any())
        surface = knee.surfaces[bone]
        inside = surface.fields["plate"] == plate
        assert np.array_equal(inside, np.isin(surface.fields["subregion"], parts))
        assert np.array_equal(
            region_mask(surface, parts[0].name), surface.fields["subregion"] == parts[0]
        )


def test_every_subregion_is_near_the_truth(knee: KneeMorphometry) -> None:
    rows = {row.name: row.value for row in knee.measurements}
    for part in (p.name for parts in SUBREGIONS_OF.values() for p in parts):
        assert rows[f"{part}_tAB"] == pytest.approx(TRUTH[part, "tAB"], rel=0.025), part
        limit_mm = 0.02 if part in EXTREME_REGIONS else 0.06  # the rim is coarse on this grid
        assert rows[f"{part}_ThCtAB_aMe"] == pytest.approx(
            TRUTH[part, "ThCtAB_aMe"], abs=limit_mm
        ), part
    for name in ("cMFTC", "cLFTC"):
        total = TRUTH[name, "ThCtAB_aMe"]
        assert rows[f"{name}_ThCtAB_aMe"] == pytest.approx(total, abs=0.03)
    for plate in ("MT", "LT"):
        assert rows[f"c{plate}_tAB"] / rows[f"{plate}_tAB"] == pytest.approx(0.2, abs=0.001)


def test_extremes_only_in_central_subregions_and_in_order(knee: KneeMorphometry) -> None:
    planned = {(region, quantity) for region, quantity, _ in planned_measurements()}
    rows = {row.name: row.value for row in knee.measurements}
    for quantity in EXTREME_UNITS:
        assert {r for r, q in planned if q == quantity} == set(EXTREME_REGIONS)
    for region in EXTREME_REGIONS:
        low, high = (rows[f"{region}_{q}"] for q in EXTREME_UNITS)
        mean, sd = rows[f"{region}_ThCtAB_aMe"], rows[f"{region}_ThCtAB_aSD"]
        assert low < mean - sd < mean + sd < high


@pytest.mark.slow
def test_lost_cartilage_moves_no_border(knee: KneeMorphometry) -> None:
    patches = (DenudedPatch("MT", 0.2, 0.3, 6.0), DenudedPatch("cMF", 0.3, 0.0, 6.0))
    damaged = replace(PHANTOM, denuded=patches)
    after = measure_knee(damaged.label_map(demo_grid()), Side.RIGHT)
    for bone in (Bone.TIBIA, Bone.FEMUR):
        old, new = knee.surfaces[bone], after.surfaces[bone]
        assert len(old.vertices) == pytest.approx(len(new.vertices), rel=1e-3)
        for part in np.unique(old.fields["subregion"])[1:]:
            first, second = (
                np.average(
                    s.vertices,
                    axis=0,
                    weights=s.fields["area_mm2"] * (s.fields["subregion"] == part),
                )
                for s in (old, new)
            )
            assert np.linalg.norm(first - second) < 0.5, Subregion(part).name


@pytest.mark.slow
def test_a_turned_knee_keeps_its_regions(knee: KneeMorphometry) -> None:
    pose = random_pose(np.random.default_rng(11), max_angle_deg=20.0)
    turned = replace(PHANTOM, pose=pose)
    after = {
        r.name: r for r in measure_knee(turned.label_map(demo_grid()), Side.RIGHT).measurements
    }
    for name, row in {r.name: r for r in knee.measurements}.items():
        if row.quantity == "tAB" and not row.aggregate:
            assert after[name].value == pytest.approx(row.value, rel=0.025), name
