"""Anatomical frames: the phantom's own axes, whatever the cut of the shaft and the pose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.io.label_maps import read_label_map
from kneeimg.io.label_schemes import load_scheme
from kneeimg.measure.bones import measure_bone
from kneeimg.measure.canonical import canonical_knee
from kneeimg.measure.frames import BoneFrame, femur_frame, patella_frame
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.plates import femur_lines
from kneeimg.phantoms.grids import demo_grid, random_pose, slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.settings.morphometry import MorphometrySettings

PHANTOM = KneePhantom(Side.RIGHT)
#: 140 mm along the leg, as in the OAI scans, in fewer voxels.
TALL = slice_grid("sagittal", (1.0, 0.8, 0.8), (84, 176, 120), centre_mm=(0, 0, -30))


@pytest.fixture(scope="module")
def knee() -> KneeMorphometry:
    return measure_knee(PHANTOM.label_map(TALL), Side.RIGHT)


def frame_of(surface: Surface, turn: np.ndarray | None = None, top_mm: float = np.inf) -> BoneFrame:
    """Frame of a femur that is turned first, and cut at a height."""
    kept = surface.vertices[:, 2] < top_mm
    fields = {name: surface.fields[name][kept] for name in ("normals", "area_mm2", "state")}
    turn = np.eye(3) if turn is None else turn
    frame = femur_frame(
        surface.vertices[kept] @ turn.T,
        fields["normals"] @ turn.T,
        fields["area_mm2"],
        fields["state"] > 0,
    )
    assert frame is not None
    return frame


def angle_deg(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.rad2deg(np.arccos(np.clip(first @ second, -1.0, 1.0))))


def test_the_femoral_axes_are_those_of_the_phantom(knee: KneeMorphometry) -> None:
    frame = frame_of(knee.surfaces[Bone.FEMUR])
    assert angle_deg(frame.axes[0], np.array([1.0, 0, 0])) < 0.5
    assert angle_deg(frame.axes[2], np.array([0, 0, 1.0])) < 0.7
    assert frame.shaft_mm > 15.0
    assert not frame.has_short_shaft


def test_the_femoral_lines_are_those_of_the_phantom(knee: KneeMorphometry) -> None:
    surface = knee.surfaces[Bone.FEMUR]
    frame = frame_of(surface)
    lines = femur_lines(frame.coordinates(surface.vertices), 0.75)
    assert lines is not None
    origin = frame.origin_mm @ frame.axes.T
    femur = PHANTOM.femur_bone
    assert lines.notch_y_mm + origin[1] == pytest.approx(femur.notch_front_y_mm, abs=0.5)
    for found, name in ((lines.medial_end_mm, "medial"), (lines.lateral_end_mm, "lateral")):
        assert found[0] + origin[1] == pytest.approx(femur.posterior_end_y_mm(name), abs=0.3)


@pytest.mark.parametrize("seed", range(3))
def test_the_frame_turns_with_the_bone(seed: int, knee: KneeMorphometry) -> None:
    surface = knee.surfaces[Bone.FEMUR]
    turn = random_pose(np.random.default_rng(seed), max_angle_deg=20.0).rotation
    before, after = frame_of(surface), frame_of(surface, turn)
    for axis in range(3):
        assert angle_deg(turn @ before.axes[axis], after.axes[axis]) < 0.1


def test_lost_cartilage_does_not_turn_the_femur(knee: KneeMorphometry) -> None:
    surface = knee.surfaces[Bone.FEMUR]
    lost = (surface.vertices[:, 0] > 8) & (surface.vertices[:, 1] > 10)
    state = np.where(lost, 0, surface.fields["state"])
    before, after = frame_of(surface), frame_of(surface.with_fields(state=state))
    assert angle_deg(before.axes[0], after.axes[0]) < 0.1


def test_a_ragged_cut_of_the_shaft_hardly_turns_it(knee: KneeMorphometry) -> None:
    surface = knee.surfaces[Bone.FEMUR]
    ragged = surface.vertices[:, 2] > 34 + 6 * np.sin(surface.vertices[:, 0] / 2)
    kept = replace(
        surface,
        vertices=np.where(ragged[:, None], [0.0, 0.0, 0.0], surface.vertices),
        fields={**surface.fields, "area_mm2": np.where(ragged, 0.0, surface.fields["area_mm2"])},
    )
    assert angle_deg(frame_of(surface).axes[2], frame_of(kept).axes[2]) < 1.0


@pytest.fixture(scope="module")
def tall_femur() -> Surface:
    """The phantom's femur with more shaft than any view shows."""
    grid = slice_grid("sagittal", (1.0, 0.8, 0.8), (84, 180, 100), centre_mm=(0, 0, 20))
    canonical = canonical_knee(PHANTOM.label_map(grid), Side.RIGHT)
    found = measure_bone(canonical, Bone.FEMUR, MorphometrySettings())
    assert found is not None
    return found.surface


def seen(
    surface: Surface, seed: int, top_mm: float, ragged: bool
) -> tuple[np.ndarray, BoneFrame, dict[int, float]]:
    """Turn of a femur in a pose within 20 degrees, its frame from what lies less than `top_mm`
    above the middle of its joint surface, and plate to area."""
    fields, inside = surface.fields, surface.fields["plate"] > 0
    rng = np.random.default_rng(seed)
    pose = random_pose(rng, max_angle_deg=20.0)
    middle = surface.vertices[inside].mean(axis=0)
    points = (surface.vertices - middle) @ pose.rotation.T
    end_mm = np.full(len(points), top_mm + rng.uniform(-3.0, 3.0))
    if ragged:
        end_mm += 2.5 * np.sin(points[:, 0] / 2.5) + 2.5 * np.sin(points[:, 1] / 3.0)
    kept = points[:, 2] < end_mm
    normals, area = fields["normals"] @ pose.rotation.T, fields["area_mm2"]
    frame = femur_frame(points[kept], normals[kept], area[kept], inside[kept])
    assert frame is not None
    lines = femur_lines(frame.coordinates(points[kept]), 0.75)
    assert lines is not None
    plate = np.where(inside, lines.plate_of(frame.coordinates(points)), 0)
    return pose.rotation, frame, {int(p): float(area[plate == p].sum()) for p in np.unique(plate)}


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(
    "top_mm, limit_deg, limit_pct", [(90.0, 0.7, 2.0), (60.0, 0.7, 2.0), (54.0, 2.0, 3.5)]
)
def test_any_pose_and_any_cut_keep_the_regions(
    top_mm: float, limit_deg: float, limit_pct: float, ragged: bool, tall_femur: Surface
) -> None:
    """140 mm of view (about 60 mm above the middle of the joint surface), 30 mm more, 6 mm less.

    Lower down the phantom flares more abruptly than real femora.
    """
    areas = []
    for seed in range(8):
        turn, frame, area = seen(tall_femur, seed, top_mm, ragged)
        areas.append(area)
        for axis in range(3):
            assert angle_deg(frame.axes[axis], turn[:, axis]) < limit_deg, (seed, axis)
    for plate in areas[0]:
        values = np.array([area[plate] for area in areas])
        assert 100.0 * np.ptp(values) < limit_pct * values.mean(), plate


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("name", ["P02_M00", "P14_M00"])
def test_real_femora_keep_their_frame_when_cut(name: str, real_data: Path) -> None:
    path = real_data / "mri" / "labels" / f"{name}.nii.gz"
    canonical = canonical_knee(read_label_map(path, load_scheme("knee-v1")), Side.RIGHT)
    found = measure_bone(canonical, Bone.FEMUR, MorphometrySettings())
    assert found is not None
    whole = found.frame
    assert whole is not None
    for seed in range(4):
        for top_mm, limit_deg in ((65.0, 1.0), (50.0, 2.5)):
            turn, frame, _ = seen(found.surface, seed, top_mm, ragged=True)
            assert frame.shaft_mm < whole.shaft_mm - 1.0
            assert angle_deg(turn @ whole.axes[2], frame.axes[2]) < limit_deg


def test_a_short_shaft_is_flagged() -> None:
    full = PHANTOM.label_map(demo_grid(), hard=True)
    labels = full.labels.copy()
    heights = full.grid.to_mm(np.stack(np.indices(labels.shape), axis=-1))[..., 2]
    labels[heights > 12.0] = 0
    knee = measure_knee(LabelMap(labels, full.grid), Side.RIGHT)
    assert ReasonCode.SHORT_SHAFT in {finding.code for finding in knee.findings}
    rows = {row.name: row for row in knee.measurements}
    assert ReasonCode.SHORT_SHAFT in rows["cMF_tAB"].flags
    assert ReasonCode.SHORT_SHAFT in rows["ccMF_tAB"].flags
    assert ReasonCode.SHORT_SHAFT not in rows["MT_tAB"].flags


def test_without_a_shaft_the_scanner_stands_in(knee: KneeMorphometry) -> None:
    frame = frame_of(knee.surfaces[Bone.FEMUR], top_mm=-4.0)
    assert frame.shaft_mm == 0.0
    assert frame.has_short_shaft
    assert angle_deg(frame.axes[2], np.array([0, 0, 1.0])) < 1.0


def test_the_patella_knows_its_ridge(knee: KneeMorphometry) -> None:
    surface = knee.surfaces[Bone.PATELLA]
    fields = surface.fields
    shape = (surface.vertices, fields["normals"], fields["area_mm2"], fields["state"] > 0)
    frame = patella_frame(*shape)
    assert frame is not None
    assert angle_deg(frame.axes[0], np.array([1.0, 0, 0])) < 3.0
    seat = np.deg2rad(PHANTOM.patella.seat_deg)  # the ridge faces the trochlea
    assert angle_deg(frame.axes[1], np.array([0.0, np.sin(seat), np.cos(seat)])) < 6.0
    assert not frame.has_short_shaft
