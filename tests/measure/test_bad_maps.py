"""Faulty label maps: a right number, a flag or a reason, never a wrong number without a word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from kneeimg.core.anatomy import Bone, Plate, Side, Tissue, VertexState
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.measurement import Measurement
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.voxel_map import thickness_on_grid
from kneeimg.phantoms.grids import random_pose, sagittal_grid
from kneeimg.phantoms.knee import KneePhantom

GRID = sagittal_grid((1.2, 0.6, 0.6), (92, 196, 196))
PHANTOM = KneePhantom(Side.RIGHT)
#: Of a field of view of the plateaus.
MIDDLE = (0, 3, -45)


@pytest.fixture(scope="module")
def good() -> LabelMap:
    soft = PHANTOM.label_map(GRID)
    return LabelMap(soft.labels, soft.grid)


@pytest.fixture(scope="module")
def measured(good: LabelMap) -> KneeMorphometry:
    return measure_knee(good, Side.RIGHT)


def rows_of(knee: KneeMorphometry) -> dict[str, Measurement]:
    return {row.name: row for row in knee.measurements}


def relabelled(good: LabelMap, change: dict[Tissue, Tissue]) -> LabelMap:
    table = np.arange(256, dtype=np.uint8)
    for old, new in change.items():
        table[old] = new
    return LabelMap(table[good.labels], good.grid)


def test_swapped_bones_are_refused(good: LabelMap) -> None:
    pairs = {
        Tissue.FEMUR: Tissue.TIBIA,
        Tissue.FEMORAL_CARTILAGE: Tissue.TIBIAL_CARTILAGE,
    }
    swapped = relabelled(good, pairs | {new: old for old, new in pairs.items()})
    with pytest.raises(MaskError) as caught:
        measure_knee(swapped, Side.RIGHT)
    assert caught.value.code is ReasonCode.LABELS_SWAPPED
    upside_down = replace(good.grid, affine=np.diag([-1.0, 1, -1, 1]) @ good.grid.affine)
    with pytest.raises(MaskError) as caught:
        measure_knee(good.with_grid(upside_down), Side.RIGHT)
    assert caught.value.code is ReasonCode.LABELS_SWAPPED


def test_cartilage_on_the_wrong_bone_has_no_frame(good: LabelMap) -> None:
    femoral, tibial = Tissue.FEMORAL_CARTILAGE, Tissue.TIBIAL_CARTILAGE
    rows = rows_of(measure_knee(relabelled(good, {femoral: tibial, tibial: femoral}), Side.RIGHT))
    for region in ("MT", "LT", "cMF", "TrF", "FTJ"):
        assert rows[f"{region}_ThCtAB_aMe"].reason is ReasonCode.FRAME_UNDEFINED
        assert np.isnan(rows[f"{region}_tAB"].value)
    assert rows["P_ThCtAB_aMe"].reason is None


def test_two_knees_in_one_map_are_not_measured(good: LabelMap) -> None:
    both = np.concatenate([good.labels, good.labels[::-1]])
    grid = Grid(both.shape, good.grid.affine, good.grid.frame_uid)
    knee = measure_knee(LabelMap(both, grid), Side.RIGHT)
    assert {f.where for f in knee.findings if f.code is ReasonCode.SEVERAL_BONES} == set(Bone)
    rows = rows_of(knee)
    for name in ("MT_ThCtAB_aMe", "FTJ_VC", "P_tAB", "femur_bone_volume", "MT_defect_count"):
        assert rows[name].reason is ReasonCode.SEVERAL_BONES, name
    assert not any(row.reason is None for row in knee.measurements)


def test_a_lesion_below_cartilage_is_bone(good: LabelMap, measured: KneeMorphometry) -> None:
    surface = measured.surfaces[Bone.TIBIA]
    inside = surface.fields["plate"] == Plate.MT
    normal = surface.fields["normals"][inside].mean(axis=0)
    middle = good.grid.to_index(surface.vertices[inside].mean(axis=0) - 1.5 * normal)
    i, j, k = np.round(middle).astype(int)
    labels = good.labels.copy()
    pit = labels[i - 3 : i + 3, j - 4 : j + 4, k - 5 : k + 5]
    pit[pit == Tissue.TIBIA] = 0  # reaches up to the cartilage: there the bone has no surface
    assert (labels != good.labels).sum() > 150
    assert measure_knee(LabelMap(labels, good.grid), Side.RIGHT).measurements == (
        measured.measurements
    )


def test_a_hollow_bone_is_filled(good: LabelMap, measured: KneeMorphometry) -> None:
    # the cortex alone, open where the field of view cuts the shafts
    labels = good.labels.copy()
    for tissue in (Tissue.FEMUR, Tissue.TIBIA, Tissue.PATELLA):
        solid = np.pad(labels == tissue, 3, mode="edge")
        labels[binary_erosion(solid, iterations=3)[3:-3, 3:-3, 3:-3]] = 0
    bones = [Tissue.FEMUR, Tissue.TIBIA, Tissue.PATELLA]
    assert np.isin(labels, bones).sum() < 0.5 * np.isin(good.labels, bones).sum()
    hollow = measure_knee(LabelMap(labels, good.grid), Side.RIGHT)
    assert hollow.measurements == measured.measurements
    assert hollow.findings == measured.findings


@pytest.mark.parametrize("slice_mm, flagged", [(1.5, True), (0.75, False)])
def test_thick_slices_are_flagged_beside_rising_bone(slice_mm: float, flagged: bool) -> None:
    pose = random_pose(np.random.default_rng(20240611), max_angle_deg=20.0)
    knee = KneePhantom(Side.RIGHT, pose=pose)
    grid = sagittal_grid((slice_mm, 0.6, 0.6), (round(111 / slice_mm), 150, 150), centre_mm=MIDDLE)
    soft = knee.label_map(grid).probabilities or {}
    tibia = {t: f for t, f in soft.items() if t.name.startswith("TIBIA")}
    found = measure_knee(LabelMap.from_probabilities(tibia, grid), Side.RIGHT)
    regions = {row.region for row in found.measurements if ReasonCode.COARSE_GRID in row.flags}
    assert ("iMT" in regions) is flagged
    assert not regions & {"cMT", "aMT", "eMT", "cLT", "eLT", "P"}
    findings = [f for f in found.findings if f.code is ReasonCode.COARSE_GRID]
    assert len(findings) == flagged
    if flagged:  # and there is something to flag
        rows, truth = rows_of(found), knee.truth()
        wrong = rows["iMT_ThCtAB_aMe"].value - truth["iMT", "ThCtAB_aMe"]
        assert abs(wrong) > 0.05
        assert "1.50 mm" in findings[0].found


@pytest.mark.parametrize("gone, other", [("MT", "LT"), ("LT", "MT")])
def test_a_plate_without_cartilage_is_not_measurable_and_the_other_is(
    gone: str, other: str, good: LabelMap, measured: KneeMorphometry
) -> None:
    # without the baseline's bone area nobody knows how much was denuded: no 0 is given
    labels = good.labels.copy()
    tibial = np.argwhere(labels == Tissue.TIBIAL_CARTILAGE)
    medial = good.grid.to_mm(tibial)[:, 0] > 0
    labels[tuple(tibial[medial == (gone == "MT")].T)] = 0
    rows = rows_of(measure_knee(LabelMap(labels, good.grid), Side.RIGHT))
    before = rows_of(measured)
    for quantity in ("ThCtAB_aMe", "tAB", "dABp", "defect_count"):
        assert rows[f"{gone}_{quantity}"].reason is ReasonCode.REGION_EMPTY, quantity
    assert rows[f"i{gone}_ThCtAB_aMe"].reason is ReasonCode.REGION_EMPTY
    assert rows["FTJ_ThCtAB_aMe"].reason is ReasonCode.REGION_EMPTY
    for region in (other, f"c{other}", f"i{other}", f"e{other}", "cMF"):
        name = f"{region}_ThCtAB_aMe"
        assert rows[name].value == pytest.approx(before[name].value, abs=1e-3), region


def test_plates_that_touch_keep_their_thickness(good: LabelMap, measured: KneeMorphometry) -> None:
    # close the joint space with femoral cartilage: each ray ends at the end of its own cartilage
    labels = good.labels.copy()
    up = np.roll(labels == Tissue.TIBIAL_CARTILAGE, -1, axis=1)  # rows run downwards
    gap = (labels == 0) & up & np.roll(labels == Tissue.FEMORAL_CARTILAGE, 1, axis=1)
    labels[gap] = Tissue.FEMORAL_CARTILAGE
    after = rows_of(measure_knee(LabelMap(labels, good.grid), Side.RIGHT))
    before = rows_of(measured)
    for region in ("MT", "LT"):
        name = f"{region}_ThCtAB_aMe"
        assert after[name].value == pytest.approx(before[name].value, abs=1e-9)


def test_a_sheared_grid_is_measured_as_it_lies() -> None:
    affine = GRID.affine.copy()
    affine[:3, 1] += 0.05 * affine[:3, 0]
    affine[:3, 2] += 0.10 * affine[:3, 1]
    sheared = PHANTOM.label_map(Grid(GRID.shape, affine, GRID.frame_uid))
    rows, truth = rows_of(measure_knee(sheared, Side.RIGHT)), PHANTOM.truth()
    for region in ("MT", "LT", "cMF", "cLF", "TrF", "P"):
        got = rows[f"{region}_ThCtAB_aMe"].value
        assert got == pytest.approx(truth[region, "ThCtAB_aMe"], abs=0.03), region


def test_the_voxel_map_is_the_same_with_and_without_owners(
    good: LabelMap, measured: KneeMorphometry
) -> None:
    surface = measured.surfaces[Bone.TIBIA]
    state = surface.fields["state"].copy()
    state[(state == VertexState.MEASURED) & (surface.vertices[:, 1] > 5.0)] = VertexState.DENUDED
    surfaces = {**measured.surfaces, Bone.TIBIA: surface.with_fields(state=state)}
    quick = thickness_on_grid(surfaces, good, measured.owners).data
    assert np.isfinite(quick).sum() > 10_000
    slow = thickness_on_grid(surfaces, good).data
    assert np.array_equal(np.isnan(quick), np.isnan(slow))
    gap_mm = np.abs(quick - slow)[np.isfinite(slow)]
    assert (gap_mm > 1e-6).mean() < 0.02  # two vertices at the same distance
    assert gap_mm.mean() < 1e-3
