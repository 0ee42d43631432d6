"""Change between visits of a knee whose true change is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from kneeimg.core.anatomy import PLATE_UNIONS, REGION_BONES, Bone, Plate, Side, VertexState
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.surface import RigidTransform, Surface
from kneeimg.errors import ReasonCode
from kneeimg.geometry.rigid import rotation
from kneeimg.longitudinal.change import CARRIED, KneeChange, compare_knees
from kneeimg.longitudinal.ordered import planned_ordered
from kneeimg.longitudinal.rows import ChangeClass, PrecisionTable, Repeatability
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.planned import planned_knee
from kneeimg.measure.regions import planned_measurements
from kneeimg.phantoms.grids import demo_grid, sagittal_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.settings.change import ChangeSettings

DAYS = 365.25
POSE = RigidTransform(rotation([0.3, 1.0, -0.4], 8.0), np.array([3.0, -2.0, 4.0]))
#: Small change of cMF and MT, a large one of LT.
LOSS_MM = {"cMF": -0.10, "MT": -0.10, "LT": -0.40}


def visit(**changes: object) -> tuple[KneePhantom, KneeMorphometry]:
    phantom = KneePhantom(Side.RIGHT, menisci=True, **changes)  # type: ignore[arg-type]
    return phantom, measure_knee(phantom.label_map(demo_grid()), Side.RIGHT)


@pytest.fixture(scope="module")
def baseline() -> tuple[KneePhantom, KneeMorphometry]:
    return visit()


@pytest.fixture(scope="module")
def followup() -> tuple[KneePhantom, KneeMorphometry]:
    return visit(thickness_change_mm=LOSS_MM, pose=POSE)


def compare(before: KneeMorphometry, after: KneeMorphometry, **options: object) -> KneeChange:
    days = options.pop("days", DAYS)
    return compare_knees(
        before.surfaces,
        after.surfaces,
        days,  # type: ignore[arg-type]
        before.measurements,
        after.measurements,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def change(
    baseline: tuple[KneePhantom, KneeMorphometry], followup: tuple[KneePhantom, KneeMorphometry]
) -> KneeChange:
    return compare(baseline[1], followup[1])


def by_name(change: KneeChange) -> dict[tuple[str, str], float]:
    return {(row.region, row.quantity): row.change for row in change.rows}


def test_the_same_scan_twice_changes_nothing(
    baseline: tuple[KneePhantom, KneeMorphometry],
) -> None:
    found = compare(baseline[1], baseline[1])
    cut = [row for row in found.rows if row.reason is ReasonCode.BONE_CUT_BY_VIEW]
    assert {f"{row.region}_{row.quantity}" for row in cut} == {
        f"{bone}_bone_{what}" for bone in ("femur", "tibia") for what in ("volume", "area")
    }
    rest = [row for row in found.rows if row not in cut]
    assert all(row.status is Status.OK for row in rest)
    assert max(abs(row.change) for row in rest) < 1e-6
    for surface in found.surfaces.values():
        assert np.nanmax(np.abs(surface.fields["change_mm"])) < 1e-6


@pytest.mark.slow
def test_a_rigidly_moved_rescan_changes_little(
    baseline: tuple[KneePhantom, KneeMorphometry],
) -> None:
    """The same knee in another pose on other voxels: no region moves by 20 µm."""
    phantom = KneePhantom(Side.RIGHT, pose=POSE)
    grid = sagittal_grid((0.7, 0.45, 0.45), (140, 250, 250))
    found = compare(baseline[1], measure_knee(phantom.label_map(grid), Side.RIGHT))
    rows = [
        r for r in found.rows if r.quantity == "ThCtAB_aMe" and r.region in found.undetermined_pct
    ]
    assert [row.region for row in rows] == list(REGION_BONES)
    for row in rows:  # the ring and the outer thirds are small and mostly rim
        limit_mm = 0.020 if row.region in (*PLATE_UNIONS, "cMT", "cLT", "ccMF", "ccLF") else 0.030
        assert abs(row.change) < limit_mm, row.region


def test_the_true_change_is_found(
    baseline: tuple[KneePhantom, KneeMorphometry],
    followup: tuple[KneePhantom, KneeMorphometry],
    change: KneeChange,
) -> None:
    before, after = baseline[0].truth(), followup[0].truth()
    found = by_name(change)
    for region in ("MT", "LT", "cMF", "cLF", "pMF", "pLF", "TrF", "P"):
        key = (region, "ThCtAB_aMe")
        assert found[key] == pytest.approx(after[key] - before[key], abs=0.020), region
        volume = (region, "VC")
        true_loss = after[volume] - before[volume]
        assert found[volume] == pytest.approx(true_loss, abs=0.02 * before[volume]), region


def test_every_planned_row_is_there_in_order(change: KneeChange) -> None:
    names = tuple((row.region, row.quantity, row.unit) for row in change.rows)
    assert names == planned_knee() + planned_ordered()
    carried = change.rows[: len(planned_measurements())]
    assert {row.tab_source for row in carried} == {CARRIED}
    assert {row.kind for row in change.rows} == {"mri"}


def test_without_a_rim_the_baseline_value_is_that_of_the_visit_itself(
    baseline: tuple[KneePhantom, KneeMorphometry], followup: tuple[KneePhantom, KneeMorphometry]
) -> None:
    plain = compare(baseline[1], followup[1], settings=ChangeSettings(rim_mm=0.0))
    paired = plain.rows[: -len(planned_ordered())]  # ordered values have no baseline
    for own, row in zip(baseline[1].measurements, paired, strict=True):
        assert (row.region, row.quantity) == (own.region, own.quantity)
        assert row.baseline == pytest.approx(own.value, rel=1e-9, nan_ok=True), own.name


def test_bone_area_is_carried_and_volume_is_kept(
    followup: tuple[KneePhantom, KneeMorphometry], change: KneeChange
) -> None:
    found = by_name(change)
    assert all(found[region, "tAB"] == 0 for region in ("MT", "LT", "cMF", "P"))
    femur = ("MF", "LF", "TrF")
    whole = sum(r.followup for r in change.rows if r.quantity == "VC" and r.region in femur)
    rows = followup[1].measurements
    own = sum(row.value for row in rows if row.quantity == "VC" and row.region in femur)
    assert whole == pytest.approx(own, rel=1e-9)


def test_sums_and_derived_columns(change: KneeChange) -> None:
    found = {(row.region, row.quantity): row for row in change.rows}
    ftj = found["FTJ", "ThCtAB_aMe"]
    parts = [found[region, "ThCtAB_aMe"] for region in ("MT", "cMF", "LT", "cLF")]
    assert ftj.change == pytest.approx(sum(part.change for part in parts))
    assert ftj.registration_rms_mm == max(part.registration_rms_mm for part in parts)
    row = found["LT", "ThCtAB_aMe"]
    assert row.change == pytest.approx(row.followup - row.baseline)
    assert row.change_pct == pytest.approx(100 * row.change / row.baseline)
    assert row.change_per_year == pytest.approx(row.change)


def test_the_map_lies_on_the_baseline_bone(
    baseline: tuple[KneePhantom, KneeMorphometry], change: KneeChange
) -> None:
    surface = change.surfaces[Bone.TIBIA]
    np.testing.assert_array_equal(surface.vertices, baseline[1].surfaces[Bone.TIBIA].vertices)
    fields = surface.fields
    inside = fields["state"] != VertexState.OUTSIDE
    assert np.isnan(fields["change_mm"][~inside]).all()
    known = np.isfinite(fields["change_mm"])
    np.testing.assert_allclose(
        fields["change_mm"][known], (fields["followup_mm"] - fields["baseline_mm"])[known]
    )
    assert known[inside].mean() > 0.99


def test_classes_against_repeatability(
    baseline: tuple[KneePhantom, KneeMorphometry], followup: tuple[KneePhantom, KneeMorphometry]
) -> None:
    table = PrecisionTable(
        {
            ("LT", "ThCtAB_aMe"): Repeatability(0.2, "phantom rescans"),
            ("MT", "ThCtAB_aMe"): Repeatability(0.2, "phantom rescans"),
        }
    )
    forth = compare(baseline[1], followup[1], sdc=table)
    back = compare(followup[1], baseline[1], sdc=table, days=None)
    classes = {
        (row.region, row.change_class)
        for row in forth.rows
        if row.quantity == "ThCtAB_aMe" and row.region in ("LT", "MT", "cMF")
    }
    assert classes == {
        ("LT", ChangeClass.LOSS),
        ("MT", ChangeClass.WITHIN),
        ("cMF", ChangeClass.NO_DATA),
    }
    row = next(r for r in back.rows if (r.region, r.quantity) == ("LT", "ThCtAB_aMe"))
    assert (row.change_class, row.sdc, row.sdc_source) == (ChangeClass.GAIN, 0.2, "phantom rescans")
    assert math.isnan(row.change_per_year)


@pytest.mark.slow
def test_the_mirror_law(change: KneeChange) -> None:
    """The left knee that mirrors the right one, at both visits: the same numbers."""
    flip = np.diag([-1.0, 1.0, 1.0])

    def left(**changes: object) -> KneeMorphometry:
        phantom = KneePhantom(Side.RIGHT, menisci=True, **changes)  # type: ignore[arg-type]
        label_map = phantom.label_map(demo_grid())
        affine = np.eye(4)
        affine[:3, :3] = flip
        grid = replace(label_map.grid, affine=affine @ label_map.grid.affine)
        mirrored = replace(label_map, grid=grid, side_from_labels=None)
        return measure_knee(mirrored, Side.LEFT)

    found = compare(left(), left(thickness_change_mm=LOSS_MM, pose=POSE))
    for plain, mirrored in zip(change.rows, found.rows, strict=True):
        assert mirrored.change == pytest.approx(plain.change, abs=1e-6, rel=1e-6, nan_ok=True), (
            plain
        )


def with_lost_rays(knee: KneeMorphometry, lost: Callable[[Surface], np.ndarray]) -> KneeMorphometry:
    """The knee with undetermined rays on its tibia."""
    tibia = knee.surfaces[Bone.TIBIA]
    ray_mm = np.where(lost(tibia), np.nan, tibia.fields["ray_mm"])
    return replace(knee, surfaces={**knee.surfaces, Bone.TIBIA: tibia.with_fields(ray_mm=ray_mm)})


def medial_hole(tibia: Surface) -> np.ndarray:
    """(V,) True within 5 mm of the middle of the medial plate."""
    centre = tibia.vertices[tibia.fields["plate"] == Plate.MT].mean(axis=0)
    return np.linalg.norm(tibia.vertices - centre, axis=1) < 5.0


def test_undetermined_points_leave_both_visits(
    baseline: tuple[KneePhantom, KneeMorphometry],
) -> None:
    holed = with_lost_rays(baseline[1], medial_hole)
    for found in (compare(baseline[1], holed), compare(holed, baseline[1])):
        assert 1.0 < found.undetermined_pct["MT"] < 20.0
        row = next(r for r in found.rows if (r.region, r.quantity) == ("MT", "ThCtAB_aMe"))
        assert row.status is Status.OK
        assert row.change == pytest.approx(0.0, abs=1e-6)
        fields = found.surfaces[Bone.TIBIA].fields
        assert np.isnan(fields["change_mm"][fields["state"] == VertexState.UNDETERMINED]).all()


def test_a_region_that_is_mostly_undetermined_is_not_compared(
    baseline: tuple[KneePhantom, KneeMorphometry],
) -> None:
    holed = with_lost_rays(baseline[1], lambda tibia: tibia.fields["plate"] == Plate.MT)
    found = {(r.region, r.quantity): r for r in compare(baseline[1], holed).rows}
    for region in ("MT", "MFTC", "FTJ"):
        row = found[region, "ThCtAB_aMe"]
        assert (row.status, row.reason) == (Status.NOT_MEASURABLE, ReasonCode.UNDETERMINED_SHARE)
        assert math.isnan(row.change)
    assert found["LT", "ThCtAB_aMe"].status is Status.OK


@pytest.mark.slow
def test_another_knee_gives_rows_with_a_reason(
    baseline: tuple[KneePhantom, KneeMorphometry],
) -> None:
    """Bones 15 % larger: nobody's follow-up."""
    big = {
        bone: replace(surface, vertices=surface.vertices * 1.15)
        for bone, surface in baseline[1].surfaces.items()
    }
    found = compare(baseline[1], replace(baseline[1], surfaces=big))
    assert {finding.where for finding in found.findings} == {"femur", "tibia", "patella"}
    assert {row.reason for row in found.rows} == {ReasonCode.REGISTRATION_FAILED}
    assert not found.surfaces
    assert len(found.rows) == len(planned_knee()) + len(planned_ordered())


@pytest.mark.slow
def test_a_visit_without_a_bone(baseline: tuple[KneePhantom, KneeMorphometry]) -> None:
    knee, patellar = baseline[1], ("P", "mP", "lP")
    fewer = replace(
        knee,
        surfaces={b: s for b, s in knee.surfaces.items() if b is not Bone.PATELLA},
        measurements=tuple(
            Measurement.missing(m.region, m.quantity, m.unit, ReasonCode.TISSUE_MISSING)
            if m.region in patellar
            else m
            for m in knee.measurements
        ),
    )
    for found in (compare(knee, fewer), compare(fewer, knee)):
        reasons = {row.reason for row in found.rows if row.region in patellar}
        assert reasons == {ReasonCode.TISSUE_MISSING}
        rest = [row for row in found.rows if row.region not in (*patellar, "femur", "tibia")]
        assert all(row.status is Status.OK for row in rest if row.region != "patella")
        assert {r.reason for r in rest if r.region == "patella"} == {ReasonCode.REGISTRATION_FAILED}


def test_the_undetermined_limit_is_a_setting(
    baseline: tuple[KneePhantom, KneeMorphometry],
) -> None:
    holed = with_lost_rays(baseline[1], medial_hole)
    strict = ChangeSettings(max_undetermined_pct=1.0)
    found = {(r.region, r.quantity): r for r in compare(baseline[1], holed, settings=strict).rows}
    assert found["MT", "ThCtAB_aMe"].reason is ReasonCode.UNDETERMINED_SHARE


def drawn_smaller(knee: KneeMorphometry, by_mm: float) -> KneeMorphometry:
    """The same knee whose tibial plates end `by_mm` earlier, all around."""
    tibia = knee.surfaces[Bone.TIBIA]
    inside = tibia.fields["plate"] != Plate.NONE
    gap_mm, _ = cKDTree(tibia.vertices[~inside]).query(tibia.vertices)
    kept = inside & (gap_mm >= by_mm)
    fields = {
        "ray_mm": np.where(inside & ~kept, 0.0, tibia.fields["ray_mm"]),
        "plate": np.where(kept, tibia.fields["plate"], Plate.NONE).astype(np.uint8),
    }
    return replace(knee, surfaces={**knee.surfaces, Bone.TIBIA: tibia.with_fields(**fields)})


def test_a_border_drawn_otherwise_is_no_loss(
    baseline: tuple[KneePhantom, KneeMorphometry],
) -> None:
    after = drawn_smaller(baseline[1], 0.8)
    plain = compare(baseline[1], after, settings=ChangeSettings(rim_mm=0.0))
    assert by_name(plain)["MT", "ThCtAB_aMe"] < -0.03
    rim = compare(baseline[1], after)
    assert by_name(rim)["MT", "ThCtAB_aMe"] == pytest.approx(0.0, abs=0.002)
    assert by_name(rim)["MT", "dAB"] == pytest.approx(0.0, abs=1e-6)


def test_loss_deeper_than_the_rim_is_seen(
    baseline: tuple[KneePhantom, KneeMorphometry],
) -> None:
    after = drawn_smaller(baseline[1], 5.0)
    change = by_name(compare(baseline[1], after))
    assert change["MT", "dAB"] > 100.0
    assert change["MT", "ThCtAB_aMe"] < -0.3
