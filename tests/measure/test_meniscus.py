"""Menisci and bones against phantoms with exact answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side, Tissue
from kneeimg.core.label_map import LabelMap
from kneeimg.core.measurement import Measurement
from kneeimg.errors import ReasonCode
from kneeimg.io.label_maps import read_label_map
from kneeimg.measure.meniscus import extrusion_profile
from kneeimg.measure.morphometry import measure_knee
from kneeimg.phantoms.grids import demo_grid, random_pose, slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.meniscus import MeniscusShape

PHANTOM = KneePhantom(Side.RIGHT, menisci=True)


@pytest.fixture(scope="module")
def soft() -> LabelMap:
    return PHANTOM.label_map(demo_grid())


def rows_of(label_map: LabelMap, side: Side = Side.RIGHT) -> dict[str, Measurement]:
    return {row.name: row for row in measure_knee(label_map, side).measurements}


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_truth(kind: str, soft: LabelMap) -> None:
    hard = kind == "hard"
    rows = rows_of(LabelMap(soft.labels, soft.grid) if hard else soft)
    for (region, quantity), value in PHANTOM.meniscus_truth().items():
        got = rows[f"{region}_{quantity}"]
        assert got.method == f"meniscus/{kind}"
        if quantity == "volume":
            assert got.value == pytest.approx(value, rel=0.03 if hard else 0.002)
        elif quantity == "coverage":
            assert got.value == pytest.approx(value, abs=3.0 if hard else 1.0)
        else:
            assert got.value == pytest.approx(value, abs=0.35 if hard else 0.25), quantity


def test_extrusion_follows_the_meniscus_outward() -> None:
    """0.2 plateau half-widths further out: 2.6 mm on MT, 2.5 mm on LT, less the lean."""
    found = []
    for outer in (1.1, 1.3):
        phantom = replace(PHANTOM, meniscus=MeniscusShape(outer=outer, body_height_mm=3.0))
        found.append((rows_of(phantom.label_map(demo_grid())), phantom.meniscus_truth()))
    for region in ("MM", "LM"):
        name = (region, "extrusion_mean")
        moved = found[1][0]["_".join(name)].value - found[0][0]["_".join(name)].value
        assert moved == pytest.approx(found[1][1][name] - found[0][1][name], abs=0.1)
        assert moved > 2.0


@pytest.mark.slow
def test_a_turned_knee_and_the_other_side_give_the_same(soft: LabelMap) -> None:
    rows = rows_of(soft)
    pose = random_pose(np.random.default_rng(3), max_angle_deg=15.0)
    turned = KneePhantom(Side.LEFT, menisci=True, pose=pose)
    grid = slice_grid("sagittal", (0.8, 0.5, 0.5), (140, 250, 250))
    others = rows_of(turned.label_map(grid), Side.LEFT)
    for region in ("MM", "LM"):
        assert others[f"{region}_volume"].value == pytest.approx(
            rows[f"{region}_volume"].value, rel=0.002
        )
        for quantity, limit in (("extrusion_mean", 0.2), ("coverage", 1.0)):
            name = f"{region}_{quantity}"
            assert others[name].value == pytest.approx(rows[name].value, abs=limit)


def test_without_menisci_or_plate_the_rows_say_why(soft: LabelMap) -> None:
    labels = soft.labels.copy()
    labels[labels == Tissue.MEDIAL_MENISCUS] = 0
    labels[labels == Tissue.TIBIAL_CARTILAGE] = 0
    rows = rows_of(LabelMap(labels, soft.grid))
    assert {rows[f"MM_{q}"].reason for q in ("volume", "extrusion_max", "coverage")} == {
        ReasonCode.TISSUE_MISSING
    }
    assert rows["LM_volume"].reason is None
    assert rows["LM_coverage"].reason is ReasonCode.TISSUE_MISSING


def test_profile_leaves_out_what_is_not_there() -> None:
    y = np.arange(-15.0, 15.0, 0.1)
    ring = np.concatenate([np.stack([sign * 10.0 + 0 * y, y, 0 * y], axis=1) for sign in (1, -1)])
    front = np.stack([12.0 + 0 * y, y, 0 * y], axis=1)[y < 0]
    found = extrusion_profile(front, ring, 1.0, 1.0)
    assert found == pytest.approx(2.0)
    assert 14 <= len(found) <= 16
    assert extrusion_profile(ring[:0], ring, 1.0, 1.0).size == 0
    assert extrusion_profile(front * [-1, 1, 1], ring, -1.0, 1.0) == pytest.approx(2.0)


def test_bone_volume_and_area(soft: LabelMap) -> None:
    rows = rows_of(soft)
    voxel = soft.grid.voxel_volume_mm3
    for bone in Bone:
        volume = soft.fraction(bone.tissue).sum(dtype=float) * voxel
        assert rows[f"{bone}_bone_volume"].value == pytest.approx(volume, rel=1e-4)
    cut = ReasonCode.BONE_CUT_BY_VIEW
    assert rows["femur_bone_area"].flags == (cut,)
    assert rows["patella_bone_area"].flags == ()
    rng = np.random.default_rng(5)  # the patella is whole: its exact volume by random points
    grid = soft.grid
    inside = np.argwhere(soft.fraction(Tissue.PATELLA) > 0)
    low, high = grid.to_mm(inside.min(axis=0) - 1), grid.to_mm(inside.max(axis=0) + 1)
    points = rng.uniform(np.minimum(low, high), np.maximum(low, high), (400_000, 3))
    share = (PHANTOM.signed_distance(Bone.PATELLA, points) < 0).mean()
    exact = share * float(np.prod(np.abs(high - low)))
    assert rows["patella_bone_volume"].value == pytest.approx(exact, rel=0.01)


def test_a_sphere_has_its_volume_and_area() -> None:
    grid = slice_grid("axial", (0.6, 0.5, 0.5), (60, 80, 80))
    index = np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3)
    centre = grid.to_mm(np.array(grid.shape) / 2.0)
    far = np.linalg.norm(grid.to_mm(index) - centre, axis=1).reshape(grid.shape)
    soft = np.clip(0.5 + (12.0 - far) / 0.5, 0.0, 1.0).astype(np.float32)
    rows = rows_of(LabelMap.from_probabilities({Tissue.PATELLA: soft}, grid))
    assert rows["patella_bone_volume"].value == pytest.approx(4 / 3 * np.pi * 12.0**3, rel=0.005)
    assert rows["patella_bone_area"].value == pytest.approx(4 * np.pi * 12.0**2, rel=0.01)
    assert rows["femur_bone_area"].reason is ReasonCode.TISSUE_MISSING


@pytest.mark.real
def test_the_real_knee_with_menisci(real_data: Path) -> None:
    path = real_data / "mri" / "labels" / "mskt_right_knee_with_menisci.nrrd"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    rows = rows_of(read_label_map(path, "pymskt"))
    for region in ("MM", "LM"):
        assert 1500 < rows[f"{region}_volume"].value < 4000
        assert 30 < rows[f"{region}_coverage"].value < 75
        assert -3 < rows[f"{region}_extrusion_mean"].value <= rows[f"{region}_extrusion_max"].value
        assert rows[f"{region}_extrusion_max"].value < 6
