"""Anatomical frames: the phantom's own axes, whatever the cut of the shaft and the pose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.measure.frames import BoneFrame, femur_frame, patella_frame
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.plates import femur_lines
from kneeimg.phantoms.grids import demo_grid, random_pose, slice_grid
from kneeimg.phantoms.knee import KneePhantom

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
    frame = frame_of(knee.surfaces[Bone.FEMUR], top_mm=5.0)
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
