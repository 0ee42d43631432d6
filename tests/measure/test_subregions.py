"""Subregions on hand-made plates and on the whole phantom knee."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import Delaunay

from kneeimg.core.anatomy import CELLS, SUBREGIONS_OF, Bone, Plate, Side, Subregion
from kneeimg.core.surface import Surface
from kneeimg.geometry.meshes import vertex_areas
from kneeimg.measure.bones import measure_bone
from kneeimg.measure.canonical import canonical_knee
from kneeimg.measure.frames import BoneFrame
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.plates import FemurLines, TibiaLine, WholePatella
from kneeimg.measure.regions import (
    EXTREME_REGIONS,
    EXTREME_UNITS,
    planned_measurements,
    region_mask,
    region_share,
)
from kneeimg.measure.subregions import divided, ridge_line
from kneeimg.phantoms.cartilage import DenudedPatch
from kneeimg.phantoms.grids import demo_grid, random_pose, slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.settings.morphometry import MorphometrySettings

PHANTOM = KneePhantom(Side.RIGHT)
TRUTH = PHANTOM.truth()
FRAME = BoneFrame(np.eye(3), np.zeros(3))
#: A femur of which everything at y > -100 is central.
CENTRAL = FemurLines(0.0, -100.0, (1000.0, 100.0), (1000.0, 100.0), 0.75)


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


def surface_of(points: np.ndarray, area: np.ndarray, plate: Plate) -> Surface:
    """A flat surface on one plate."""
    faces = Delaunay(points[:, :2]).simplices.astype(np.int64)
    plates = np.full(len(points), int(plate), dtype=np.uint8)
    return Surface(points, faces, {"plate": plates, "area_mm2": area})


def tibia_codes(points: np.ndarray, area: np.ndarray, plate: Plate) -> np.ndarray:
    return divided(surface_of(points, area, plate), Bone.TIBIA, FRAME, TibiaLine(0.0))["subregion"]


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
    codes = divided(surface_of(points, area, Plate.cMF), Bone.FEMUR, FRAME, CENTRAL)["subregion"]
    share = np.bincount(codes, weights=area)[11:14] / area.sum()
    assert share == pytest.approx(1 / 3, abs=0.005)
    inner, outer = codes == Subregion.icMF, codes == Subregion.ecMF
    assert points[inner][:, 0].max() < points[outer][:, 0].min()


def test_shares_are_exact_where_rows_of_vertices_run_along_the_borders() -> None:
    # rows 0.7 mm apart, 24 mm long: a row is 6 % of the plate
    x, y = (a.ravel() for a in np.meshgrid(np.arange(10, 21, 0.7), np.arange(-12, 12.1, 0.5)))
    points = np.stack([x, y, np.zeros(len(x))], axis=1)
    area = vertex_areas(points, Delaunay(points[:, :2]).simplices)
    fields = divided(surface_of(points, area, Plate.cMF), Bone.FEMUR, FRAME, CENTRAL)
    whole = area @ fields["shares"] / area.sum()
    found = dict(zip(CELLS[Bone.FEMUR], whole, strict=True))
    thirds = [found[name] for name in ("ecMF", "ccMF", "icMF")]
    assert thirds == pytest.approx([1 / 3] * 3, abs=1e-6)
    assert sum(whole) == pytest.approx(1.0, abs=1e-6)
    of_labels = np.bincount(fields["subregion"], weights=area)[11:14] / area.sum()
    assert np.abs(of_labels - 1 / 3).max() > 0.01  # what labels alone would give


@pytest.mark.parametrize("notch_y_mm", [-1.3, -1.1, -0.9, 0.0])
def test_borders_between_plates_lie_where_they_are_drawn(notch_y_mm: float) -> None:
    y, x = (a.ravel() for a in np.meshgrid(np.arange(-14, 14.1, 0.7), np.arange(10, 20.1, 0.5)))
    points = np.stack([x, y, np.zeros(len(x))], axis=1)
    area = vertex_areas(points, Delaunay(points[:, :2]).simplices)
    lines = FemurLines(0.0, notch_y_mm, (9.0, 50.0), (9.0, 50.0), 0.75)
    surface = surface_of(points, area, Plate.cMF).with_fields(plate=lines.plate_of(points))
    shares = divided(surface, Bone.FEMUR, FRAME, lines)["shares"]
    found = dict(zip(CELLS[Bone.FEMUR], area @ shares, strict=True))
    split_mm = notch_y_mm + 0.75 * (9.0 - notch_y_mm)
    central = found["ecMF"] + found["ccMF"] + found["icMF"]
    assert found["TrF"] == pytest.approx(10.0 * (notch_y_mm + 14.0), rel=1e-6)
    assert central == pytest.approx(10.0 * (split_mm - notch_y_mm), rel=1e-6)
    assert found["pMF"] == pytest.approx(10.0 * (14.0 - split_mm), rel=1e-6)


def test_nothing_is_cut_where_there_is_no_plate() -> None:
    points, area = oval(12.0, 20.0)
    lines = {Bone.FEMUR: CENTRAL, Bone.TIBIA: TibiaLine(0.0), Bone.PATELLA: WholePatella()}
    for bone in Bone:
        fields = divided(surface_of(points, area, Plate.NONE), bone, FRAME, lines[bone])
        assert not fields["subregion"].any()
        assert not fields["shares"].any()
    trochlea = surface_of(points, area, Plate.TrF)
    fields = divided(trochlea, Bone.FEMUR, FRAME, replace(CENTRAL, notch_y_mm=100.0))
    assert not fields["subregion"].any()
    assert (fields["shares"] == [name == "TrF" for name in CELLS[Bone.FEMUR]]).all()


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
        for part, values in (("mP", medial), ("lP", lateral)):
            share = region_share(found.surface, part)
            values.append(share @ found.surface.fields["area_mm2"])
    for values in (medial, lateral):
        assert np.ptp(values) < 0.01 * np.mean(values)


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


def test_subregions_add_up_to_their_plates(knee: KneeMorphometry) -> None:
    rows = {row.name: row.value for row in knee.measurements}
    unions = {plate.name: [p.name for p in parts] for plate, parts in SUBREGIONS_OF.items()}
    for whole, parts in {**unions, "MF": ["cMF", "pMF"], "LF": ["cLF", "pLF"]}.items():
        for quantity in ("tAB", "VC", "AC", "cAB"):
            total = sum(rows[f"{part}_{quantity}"] for part in parts)
            assert rows[f"{whole}_{quantity}"] == pytest.approx(total, rel=1e-9), whole
    for surface in knee.surfaces.values():
        inside = surface.fields["plate"] != Plate.NONE
        assert surface.fields["shares"].sum(axis=1) == pytest.approx(1.0 * inside, abs=1e-6)
    for plate in ("MT", "LT"):
        assert rows[f"c{plate}_tAB"] / rows[f"{plate}_tAB"] == pytest.approx(0.2, abs=1e-6)
    for plate in ("MF", "LF"):
        for part in ("ec", "cc", "ic"):
            third = rows[f"{part}{plate}_tAB"] / rows[f"c{plate}_tAB"]
            assert third == pytest.approx(1 / 3, abs=1e-6)


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
