"""Rays against solids whose thickness is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side, VertexState
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import RigidTransform
from kneeimg.errors import ReasonCode
from kneeimg.geometry.affines import from_linear
from kneeimg.geometry.gaussian import gaussian, steepest
from kneeimg.geometry.rigid import rotation
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.thickness import crossing_mm, without_wall_foot
from kneeimg.phantoms.shells import Slab, SphericalShell, Wedge
from kneeimg.settings.morphometry import MorphometrySettings

SPACING = (0.7, 0.365, 0.365)
OBLIQUE = RigidTransform(rotation([1.0, 2.0, 3.0], 25.0), np.array([0.11, -0.07, 0.19]))


def _grid(reach_mm: float) -> Grid:
    shape = tuple(int(2 * (reach_mm + 3.0) / step) for step in SPACING)
    linear = np.diag(SPACING)
    origin = -linear @ ((np.array(shape) - 1) / 2.0)
    return Grid((shape[0], shape[1], shape[2]), from_linear(linear, origin), "phantom")


def _values(knee: KneeMorphometry, region: str = "P") -> dict[str, float]:
    return {m.quantity: m.value for m in knee.measurements if m.region == region}


@pytest.mark.parametrize("thickness_mm", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("hard, limit_mm", [(False, 0.004), (True, 0.015)])
def test_spherical_shell(thickness_mm: float, hard: bool, limit_mm: float) -> None:
    shell = SphericalShell(thickness_mm, radius_mm=12.0, bone=Bone.PATELLA, pose=OBLIQUE)
    label_map = shell.label_map(_grid(shell.reach_mm), hard=hard)
    values, truth = _values(measure_knee(label_map, Side.RIGHT)), shell.truth()
    assert values["ThCcAB_aMe"] == pytest.approx(thickness_mm, abs=limit_mm)
    assert values["tAB"] == pytest.approx(truth["tAB"], rel=0.02 if hard else 0.003)
    assert values["AC"] == pytest.approx(truth["AC"], rel=0.01 if hard else 0.003)
    assert values["VC"] == pytest.approx(truth["VC"], rel=0.01 if hard else 1e-3)
    assert values["dABp"] < 1.0
    assert values["ThCtAB_aSD"] < 0.12


def test_thin_cartilage_on_a_soft_map_is_neither_lost_nor_thickened() -> None:
    shell = SphericalShell(0.3, radius_mm=12.0, bone=Bone.PATELLA, pose=OBLIQUE)
    knee = measure_knee(shell.label_map(_grid(shell.reach_mm)), Side.RIGHT)
    assert _values(knee)["ThCtAB_aMe"] == pytest.approx(0.3, abs=0.01)
    assert _values(knee)["dABp"] < 1.0


@pytest.mark.parametrize("tilt_deg, limit_mm", [(0.0, 0.04), (17.0, 0.005)])
def test_slab_away_from_its_rim(tilt_deg: float, limit_mm: float) -> None:
    # on a plane along the voxels every ray has the same rounding, at most 0.09 voxel per surface
    pose = RigidTransform(rotation([1.0, 0.3, 0.0], tilt_deg), np.zeros(3))
    slab = Slab(1.7, bone=Bone.PATELLA, pose=pose)
    knee = measure_knee(slab.label_map(_grid(slab.reach_mm)), Side.RIGHT)
    surface = knee.surfaces[Bone.PATELLA]
    local = pose.inverse().apply(surface.vertices)
    inner = (np.hypot(local[:, 0], local[:, 1]) < 12.0) & (np.abs(local[:, 2]) < 1.0)
    ray_mm = surface.fields["ray_mm"][inner]
    assert ray_mm.mean() == pytest.approx(1.7, abs=limit_mm)
    assert np.abs(ray_mm - 1.7).max() < 0.15
    area = surface.fields["area_mm2"][inner].sum()
    assert area == pytest.approx(np.pi * 144.0, rel=0.02)


def test_wedge_follows_its_slope() -> None:
    wedge = Wedge(2.0, slope=0.06, bone=Bone.PATELLA, pose=OBLIQUE)
    knee = measure_knee(wedge.label_map(_grid(wedge.reach_mm)), Side.RIGHT)
    surface = knee.surfaces[Bone.PATELLA]
    local = OBLIQUE.inverse().apply(surface.vertices)
    inner = (np.hypot(local[:, 0], local[:, 1]) < 12.0) & (np.abs(local[:, 2]) < 1.0)
    slope, offset = np.polyfit(local[inner, 0], surface.fields["ray_mm"][inner], 1)
    assert slope == pytest.approx(0.06, abs=0.002)
    assert offset == pytest.approx(2.0, abs=0.01)


def test_a_ray_without_an_end_is_undetermined_and_never_zero() -> None:
    shell = SphericalShell(4.0, radius_mm=8.0, bone=Bone.PATELLA)
    label_map = shell.label_map(_grid(shell.reach_mm))
    knee = measure_knee(label_map, Side.RIGHT, MorphometrySettings(max_thickness_mm=3.0))
    fields = knee.surfaces[Bone.PATELLA].fields
    assert (fields["state"] == VertexState.UNDETERMINED).all()
    assert np.isnan(fields["thickness_mm"]).all()
    rows = {m.quantity: m for m in knee.measurements if m.region == "P"}
    assert rows["ThCtAB_aMe"].reason is ReasonCode.RAY_MISSED
    assert rows["tAB"].value == pytest.approx(shell.tab_mm2, rel=0.01)
    assert ReasonCode.UNDETERMINED_SHARE in rows["tAB"].flags


def test_cartilage_cut_by_the_image_edge_is_undetermined() -> None:
    shell = SphericalShell(3.0, radius_mm=8.0, bone=Bone.PATELLA)
    grid = _grid(shell.reach_mm)
    whole = shell.label_map(grid, hard=True)
    start = round(grid.to_index([[-9.5, 0.0, 0.0]])[0, 0])
    shape = (grid.shape[0] - start, grid.shape[1], grid.shape[2])
    cut = LabelMap(whole.labels[start:], grid.crop((start, 0, 0), shape))
    knee = measure_knee(cut, Side.RIGHT)
    surface = knee.surfaces[Bone.PATELLA]
    lost = surface.fields["state"] == VertexState.UNDETERMINED
    assert 0.01 < lost.mean() < 0.3
    assert surface.vertices[lost, 0].max() < -4.0
    assert ReasonCode.BONE_CUT_BY_VIEW in {finding.code for finding in knee.findings}


def test_crossing_takes_the_first_fall_and_tells_failure_from_zero() -> None:
    # along k: cartilage to 4.5, a gap, a second fold from 7.5 to 10.5
    line = np.array([1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0], dtype=np.float32)
    field = np.broadcast_to(line, (3, 3, 13)).copy()
    start = np.array([[1, 1, 0.0], [1, 1, 6.0], [1, 1, 9.0], [1, 1, 2.0]])
    step = np.array([[0, 0, 1.0], [0, 0, 1.0], [0, 0, 1.0], [0, 0, -1.0]])
    found = crossing_mm(field, start, step, step_mm=0.5, max_mm=10.0, falling=True)
    assert found[:3] == pytest.approx([4.5, 0.0, 1.5])
    assert np.isnan(found[3])  # leaves the image inside cartilage


@pytest.mark.parametrize("falling", [True, False])
@pytest.mark.parametrize("sigma", [(0.0, 0.0, 0.0), (0.3, 0.5, 0.5)])
def test_steps_that_cannot_cross_are_left_out_and_nothing_changes(
    falling: bool, sigma: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(9)
    field = gaussian(rng.random((18, 30, 32)) > (0.1 if falling else 0.9), sigma)  # thin gaps
    start = rng.uniform(0.0, 1.0, (4000, 3)) * (np.array(field.shape) - 1)
    step = rng.normal(size=(4000, 3))
    every, fewer = (
        crossing_mm(field, start, step, step_mm=0.1, max_mm=8.0, falling=falling, steepest=limit)
        for limit in (None, steepest(sigma))
    )
    assert np.count_nonzero(every > 0) > 400
    assert np.array_equal(np.isnan(every), np.isnan(fewer))
    assert np.nanmax(np.abs(every - fewer)) < 1e-6


def test_crossing_respects_the_greatest_length() -> None:
    field = np.ones((2, 2, 30), dtype=np.float32)
    field[..., 20:] = 0.0
    start, step = np.array([[0.5, 0.5, 0.0]]), np.array([[0.0, 0.0, 1.0]])
    near = crossing_mm(field, start, step, step_mm=0.4, max_mm=19.0, falling=True)
    far = crossing_mm(field, start, step, step_mm=0.4, max_mm=20.0, falling=True)
    assert np.isnan(near[0])
    assert far[0] == pytest.approx(19.5)


def test_the_foot_of_a_wall_is_bare_and_a_slope_is_not() -> None:
    faces = np.array([[0, 1, 2], [1, 2, 3]])
    wall = without_wall_foot(np.array([2.0, 2.0, 0.4, 0.3]), faces, 0.35)
    assert wall == pytest.approx([2.0, 2.0, 0.0, 0.0])
    slope = np.array([1.0, 0.8, 0.6, np.nan])
    assert without_wall_foot(slope, faces, 0.35) == pytest.approx(slope, nan_ok=True)
