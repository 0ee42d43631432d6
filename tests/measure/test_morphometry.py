"""The whole knee: truth, side, orientation, pose, damage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import PLATE_UNIONS, Bone, Plate, Side, Tissue, VertexState
from kneeimg.core.grid import Grid, reorient_array
from kneeimg.core.label_map import LabelMap
from kneeimg.core.measurement import Measurement, Status
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.geometry import sharing
from kneeimg.geometry.affines import from_linear
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.planned import planned_knee
from kneeimg.measure.regions import planned_measurements
from kneeimg.phantoms.cartilage import DenudedPatch
from kneeimg.phantoms.grids import demo_grid, orientation_variants, random_pose
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.settings.morphometry import MorphometrySettings

PHANTOM = KneePhantom(Side.RIGHT, menisci=True)
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def soft() -> LabelMap:
    return PHANTOM.label_map(demo_grid())


@pytest.fixture(scope="module")
def hard(soft: LabelMap) -> LabelMap:
    return LabelMap(soft.labels, soft.grid)


@pytest.fixture(scope="module")
def soft_knee(soft: LabelMap) -> KneeMorphometry:
    return measure_knee(soft, Side.RIGHT)


@pytest.fixture(scope="module")
def hard_knee(hard: LabelMap) -> KneeMorphometry:
    return measure_knee(hard, Side.RIGHT)


def by_name(knee: KneeMorphometry) -> dict[str, Measurement]:
    return {row.name: row for row in knee.measurements}


def relabelled(label_map: LabelMap, change: dict[int, int]) -> LabelMap:
    labels = label_map.labels.copy()
    for old, new in change.items():
        labels[label_map.labels == old] = new
    return LabelMap(labels, label_map.grid)


def test_every_planned_row_once_and_in_order(soft_knee: KneeMorphometry) -> None:
    planned = [(r.region, r.quantity, r.unit) for r in soft_knee.measurements]
    assert tuple(planned) == planned_knee()
    cartilage = soft_knee.measurements[: len(planned_measurements())]
    assert all(row.status is Status.OK for row in cartilage)
    assert {row.method for row in cartilage} == {"ray/soft"}
    assert soft_knee.findings == ()


@pytest.mark.parametrize("kind, limit_mm", [("soft", 0.03), ("hard", 0.06)])
def test_truth_on_a_coarse_grid(
    kind: str, limit_mm: float, soft_knee: KneeMorphometry, hard_knee: KneeMorphometry
) -> None:
    rows, truth = by_name(soft_knee if kind == "soft" else hard_knee), PHANTOM.truth()
    for region in PLATE_UNIONS:
        got = rows[f"{region}_ThCtAB_aMe"].value
        assert got == pytest.approx(truth[region, "ThCtAB_aMe"], abs=limit_mm), region
        # this grid sees 10 mm less of the shaft than its axis needs, see frames
        assert rows[f"{region}_tAB"].value == pytest.approx(truth[region, "tAB"], rel=0.035)
    for region in ("MT", "LT", "P"):
        assert rows[f"{region}_VC"].value == pytest.approx(truth[region, "VC"], rel=0.01)
    total = sum(rows[f"{r}_VC"].value for r in ("MF", "LF", "TrF"))
    assert total == pytest.approx(sum(truth[r, "VC"] for r in ("MF", "LF", "TrF")), rel=0.01)


def test_aggregates_are_sums(soft_knee: KneeMorphometry) -> None:
    rows = by_name(soft_knee)
    mftc = rows["MFTC_ThCtAB_aMe"]
    assert mftc.value == rows["MT_ThCtAB_aMe"].value + rows["cMF_ThCtAB_aMe"].value
    assert mftc.aggregate == "sum"
    assert rows["MF_tAB"].value == pytest.approx(rows["cMF_tAB"].value + rows["pMF_tAB"].value)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_mirror_law_to_the_last_bit(kind: str, soft: LabelMap, hard: LabelMap) -> None:
    label_map = soft if kind == "soft" else hard
    mirrored = label_map.with_grid(replace(label_map.grid, affine=MIRROR @ label_map.grid.affine))
    right, left = measure_knee(label_map, Side.RIGHT), measure_knee(mirrored, Side.LEFT)
    assert right.measurements == left.measurements
    for bone, surface in right.surfaces.items():
        other = left.surfaces[bone]
        assert other.vertices == pytest.approx(surface.vertices * [-1, 1, 1])
        assert np.array_equal(other.fields["plate"], surface.fields["plate"])
        for name in ("normals", "vertices"):
            first = surface.fields.get(name, surface.vertices)
            assert np.allclose(other.fields.get(name, other.vertices), first * [-1, 1, 1])
        assert _outward(surface) > 0
        assert _outward(other) > 0


def test_the_number_of_threads_changes_nothing(
    hard: LabelMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for count in (1, 2):
        monkeypatch.setattr(sharing, "thread_count", lambda count=count: count)
        found.append(measure_knee(hard, Side.RIGHT))
    alone, shared = found
    assert repr(alone.measurements) == repr(shared.measurements)  # NaN is not equal to itself
    for bone, surface in alone.surfaces.items():
        for name, values in surface.fields.items():
            np.testing.assert_array_equal(values, shared.surfaces[bone].fields[name], err_msg=name)
        assert np.array_equal(alone.owners[bone].vertex, shared.owners[bone].vertex)


def _outward(surface) -> float:  # type: ignore[no-untyped-def]
    corners = surface.vertices[surface.faces]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.einsum("ij,ij->i", face, surface.fields["normals"][surface.faces[:, 0]]).mean())


def test_swapping_the_side_swaps_the_compartments(hard: LabelMap) -> None:
    wrong = by_name(measure_knee(hard, Side.LEFT))
    right = by_name(measure_knee(hard, Side.RIGHT))
    assert wrong["MT_tAB"].value == pytest.approx(right["LT_tAB"].value, rel=1e-3)
    assert wrong["MT_tAB"].value != pytest.approx(right["MT_tAB"].value, rel=1e-2)


@pytest.mark.parametrize("name", sorted(orientation_variants(demo_grid())))
def test_axis_order_and_direction_change_nothing(
    name: str, hard: LabelMap, hard_knee: KneeMorphometry
) -> None:
    target = orientation_variants(hard.grid)[name]
    turn = np.linalg.inv(hard.grid.affine[:3, :3]) @ target.affine[:3, :3]
    steps = np.round(turn).astype(int)
    axes = tuple(int(np.argmax(np.abs(steps[:, n]))) for n in range(3))
    flips = tuple(int(steps[axes[n], n]) for n in range(3))
    label_map = LabelMap(reorient_array(hard.labels, axes, flips), target)
    assert measure_knee(label_map, Side.RIGHT).measurements == hard_knee.measurements


def test_a_turned_scanner_frame_changes_nothing_but_noise(
    hard: LabelMap, hard_knee: KneeMorphometry
) -> None:
    # the same voxels placed by a turned affine: only the anatomical frame has to follow
    turn = random_pose(np.random.default_rng(4), max_angle_deg=20.0).matrix
    turned = hard.with_grid(replace(hard.grid, affine=turn @ hard.grid.affine))
    after = by_name(measure_knee(turned, Side.RIGHT))
    for name, before in by_name(hard_knee).items():
        if before.region in PLATE_UNIONS:
            assert after[name].value == pytest.approx(before.value, rel=5e-3, abs=1e-3), name
        elif before.quantity in ("tAB", "ThCtAB_aMe"):  # volume: whole voxels change sides
            assert after[name].value == pytest.approx(before.value, rel=8e-3), name


def test_padding_and_cropping_outside_the_knee_change_nothing(
    hard: LabelMap, hard_knee: KneeMorphometry
) -> None:
    labels = np.pad(hard.labels, ((5, 3), (0, 0), (0, 0)))
    origin = hard.grid.to_mm([-5, 0, 0])
    grid = Grid(labels.shape, from_linear(hard.grid.affine[:3, :3], origin), hard.grid.frame_uid)
    padded = measure_knee(LabelMap(labels, grid), Side.RIGHT)
    assert padded.measurements == hard_knee.measurements


def test_vertices_lie_on_the_bone(soft_knee: KneeMorphometry) -> None:
    for bone, surface in soft_knee.surfaces.items():
        inside = surface.fields["state"] != VertexState.OUTSIDE
        gap_mm = PHANTOM.signed_distance(bone, surface.vertices[inside])
        assert np.abs(gap_mm).mean() < 0.03
        true_mm = PHANTOM.thickness_at(bone, surface.vertices)
        measured = (surface.fields["state"] == VertexState.MEASURED) & (true_mm > 0)
        error = surface.fields["thickness_mm"][measured] - true_mm[measured]
        assert abs(np.median(error)) < 0.006


def test_a_denuded_patch_counts_zero_and_has_its_area() -> None:
    patch = DenudedPatch("MT", 0.0, 0.0, 7.0)
    phantom = replace(PHANTOM, denuded=(patch,))
    rows = by_name(measure_knee(phantom.label_map(demo_grid()), Side.RIGHT))
    truth = phantom.truth()
    assert rows["MT_tAB"].tab_source == "holes filled"
    assert rows["LT_tAB"].tab_source == "covered"
    assert rows["MT_tAB"].value == pytest.approx(truth["MT", "tAB"], rel=0.02)
    assert rows["MT_dAB"].value == pytest.approx(truth["MT", "dAB"], rel=0.06)
    assert rows["MT_ThCcAB_aMe"].value == pytest.approx(truth["MT", "ThCcAB_aMe"], abs=0.04)
    share = rows["MT_cAB"].value / rows["MT_tAB"].value
    assert rows["MT_ThCtAB_aMe"].value == pytest.approx(rows["MT_ThCcAB_aMe"].value * share)


def test_cartilages_that_touch_are_told_apart(hard: LabelMap, hard_knee: KneeMorphometry) -> None:
    # fill the joint space between the plates with tibial cartilage
    labels = hard.labels.copy()
    gap = (labels[:, :, 2:] == Tissue.FEMORAL_CARTILAGE) & (labels[:, :, 1:-1] == 0)
    below = labels[:, :, :-2] == Tissue.TIBIAL_CARTILAGE
    labels[:, :, 1:-1][gap & below] = Tissue.TIBIAL_CARTILAGE
    joined = by_name(measure_knee(LabelMap(labels, hard.grid), Side.RIGHT))
    before = by_name(hard_knee)
    for region in ("cMF", "cLF", "TrF", "P"):
        name = f"{region}_ThCtAB_aMe"
        assert joined[name].value == pytest.approx(before[name].value, abs=1e-9)


def test_a_hole_inside_the_bone_changes_nothing(hard: LabelMap, hard_knee: KneeMorphometry) -> None:
    labels = hard.labels.copy()
    middle = np.round(hard.grid.to_index(_bone_point(Bone.TIBIA, hard_knee))).astype(int)
    i, j, k = middle
    labels[i - 3 : i + 3, j - 5 : j + 5, k - 5 : k + 5][
        labels[i - 3 : i + 3, j - 5 : j + 5, k - 5 : k + 5] == Tissue.TIBIA
    ] = 0
    assert (labels != hard.labels).sum() > 200
    holed = measure_knee(LabelMap(labels, hard.grid), Side.RIGHT)
    assert holed.measurements == hard_knee.measurements


def _bone_point(bone: Bone, knee: KneeMorphometry) -> np.ndarray:
    """A point 12 mm below the middle of the medial plate."""
    fields = knee.surfaces[bone].fields
    inside = fields["plate"] == Plate.MT
    down = 12.0 * fields["normals"][inside].mean(axis=0)
    point: np.ndarray = knee.surfaces[bone].vertices[inside].mean(axis=0) - down
    return point


def test_missing_tissues_leave_rows_with_a_reason(hard: LabelMap) -> None:
    gone = relabelled(hard, {Tissue.PATELLA: 0, Tissue.PATELLAR_CARTILAGE: 0})
    knee = measure_knee(gone, Side.RIGHT)
    rows = by_name(knee)
    assert len(rows) == len(planned_knee())
    assert rows["P_VC"].reason is ReasonCode.TISSUE_MISSING
    assert Bone.PATELLA not in knee.surfaces
    assert rows["FTJ_ThCtAB_aMe"].status is Status.OK
    bare = by_name(measure_knee(relabelled(hard, {Tissue.TIBIAL_CARTILAGE: 0}), Side.RIGHT))
    assert bare["MT_ThCtAB_aMe"].reason is ReasonCode.TISSUE_MISSING
    assert bare["MFTC_ThCtAB_aMe"].reason is ReasonCode.TISSUE_MISSING
    assert bare["cMF_ThCtAB_aMe"].status is Status.OK


def test_one_tibial_plate_only(hard: LabelMap, hard_knee: KneeMorphometry) -> None:
    labels = hard.labels.copy()
    x = hard.grid.to_mm(np.stack(np.indices(labels.shape), axis=-1))[..., 0]
    labels[(labels == Tissue.TIBIAL_CARTILAGE) & (x > 0)] = 0  # medial of a right knee
    rows, before = (
        by_name(measure_knee(LabelMap(labels, hard.grid), Side.RIGHT)),
        by_name(hard_knee),
    )
    assert rows["MT_tAB"].reason is ReasonCode.REGION_EMPTY
    assert rows["LT_VC"].value == pytest.approx(before["LT_VC"].value, rel=1e-6)


def test_empty_and_boneless_maps_are_refused(hard: LabelMap) -> None:
    empty = LabelMap(np.zeros_like(hard.labels), hard.grid)
    with pytest.raises(MaskError) as caught:
        measure_knee(empty, Side.RIGHT)
    assert caught.value.code is ReasonCode.EMPTY_MASK
    with pytest.raises(MaskError) as caught:
        measure_knee(relabelled(hard, {Tissue.FEMUR: 0}), Side.RIGHT)
    assert caught.value.code is ReasonCode.NO_BONE


def test_a_single_voxel_does_not_crash(hard: LabelMap) -> None:
    labels = np.zeros_like(hard.labels)
    labels[10, 10, 10] = Tissue.PATELLA
    labels[10, 10, 11] = Tissue.PATELLAR_CARTILAGE
    rows = measure_knee(LabelMap(labels, hard.grid), Side.RIGHT).measurements
    assert len(rows) == len(planned_knee())
    assert all(row.status is Status.NOT_MEASURABLE for row in rows)


def test_islands_are_flagged_and_specks_are_not_plates(
    hard: LabelMap, hard_knee: KneeMorphometry
) -> None:
    labels = hard.labels.copy()
    rng = np.random.default_rng(0)
    for _ in range(400):
        i, j, k = (rng.integers(4, n - 8) for n in labels.shape)
        block = labels[i : i + 3, j : j + 4, k : k + 4]
        block[block == 0] = Tissue.TIBIAL_CARTILAGE
    knee = measure_knee(LabelMap(labels, hard.grid), Side.RIGHT)
    rows, before = by_name(knee), by_name(hard_knee)
    assert ReasonCode.FRAGMENTED_CARTILAGE in {finding.code for finding in knee.findings}
    assert ReasonCode.FRAGMENTED_CARTILAGE in rows["MT_tAB"].flags
    assert rows["P_tAB"].flags == ()
    assert rows["P_tAB"].value == pytest.approx(before["P_tAB"].value, rel=1e-6)


def test_coarse_voxels_and_implausible_thickness_are_flagged(hard: LabelMap) -> None:
    stretched = Grid(
        hard.grid.shape, np.diag([3.0, 1.0, 1.0, 1.0]) @ hard.grid.affine, hard.grid.frame_uid
    )
    knee = measure_knee(hard.with_grid(stretched), Side.RIGHT)
    assert all(
        ReasonCode.COARSE_GRID in row.flags for row in knee.measurements if row.reason is None
    )
    narrow = MorphometrySettings(plausible_mean_mm=(1.0, 1.5))
    knee = measure_knee(hard, Side.RIGHT, narrow)
    assert ReasonCode.IMPLAUSIBLE_THICKNESS in by_name(knee)["P_ThCtAB_aMe"].flags
    assert ReasonCode.IMPLAUSIBLE_THICKNESS in {finding.code for finding in knee.findings}


def test_femur_fraction_moves_the_border_only(hard: LabelMap, hard_knee: KneeMorphometry) -> None:
    rows = by_name(measure_knee(hard, Side.RIGHT, MorphometrySettings(femur_fraction=0.6)))
    before = by_name(hard_knee)
    assert rows["cMF_tAB"].value < before["cMF_tAB"].value - 20.0
    assert rows["MF_tAB"].value == pytest.approx(before["MF_tAB"].value)
    assert rows["TrF_tAB"].value == before["TrF_tAB"].value
