"""Rays at the rim of a plate: bone that turns away, and cartilage that ends in a wall."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side, VertexState
from kneeimg.core.label_map import LabelMap
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.rim import border_vertices, carried_to_wall
from kneeimg.measure.surfaces import Mesh
from kneeimg.phantoms.cartilage import PlateThickness
from kneeimg.phantoms.grids import random_pose, slice_grid
from kneeimg.phantoms.knee import KneePhantom

THICK = KneePhantom(
    Side.RIGHT,
    PlateThickness.constant(4.0),
    0.0,
    pose=random_pose(np.random.default_rng(3), max_angle_deg=20.0),
)
#: The plateaus alone, on the voxels of the OAI DESS series.
PLATEAUS = slice_grid("sagittal", (0.7, 0.365, 0.365), (126, 120, 120), centre_mm=(0, 3, -38))


@pytest.fixture(scope="module")
def plateaus() -> LabelMap:
    soft = THICK.label_map(PLATEAUS)
    keep = {t: f for t, f in (soft.probabilities or {}).items() if t.name.startswith("TIBIA")}
    return LabelMap.from_probabilities(keep, soft.grid)


def value(knee: KneeMorphometry, region: str, quantity: str) -> float:
    return next(
        row.value for row in knee.measurements if (row.region, row.quantity) == (region, quantity)
    )


@pytest.mark.parametrize("hard", [False, True])
def test_thick_cartilage_in_a_hollow_plate(hard: bool, plateaus: LabelMap) -> None:
    # normals averaged over the edge of the plateau lean outward: that took 0.1 mm from MT
    label_map = LabelMap(plateaus.labels, plateaus.grid) if hard else plateaus
    knee = measure_knee(label_map, Side.RIGHT)
    for region in ("MT", "LT"):
        assert value(knee, region, "ThCtAB_aMe") == pytest.approx(4.0, abs=0.010)
        assert value(knee, region, "dABp") < 0.2
    if not hard:  # beside the outer edge bone turns away, beside the eminence it turns up
        for region in ("eMT", "iMT", "eLT", "iLT"):
            assert value(knee, region, "ThCtAB_aMe") == pytest.approx(4.0, abs=0.010), region
    # spheres of 60 mm (hollow) and 70 mm: rays that lean spread or narrow the articular surface
    for regions, radii in ((("MT", "eMT", "iMT"), (56, 60)), (("LT", "eLT", "iLT"), (74, 70))):
        for region in regions:
            ratio = value(knee, region, "AC") / value(knee, region, "tAB")
            assert ratio == pytest.approx((radii[0] / radii[1]) ** 2, abs=0.03), region
    surface = knee.surfaces[Bone.TIBIA]
    measured = surface.fields["state"] == VertexState.MEASURED
    area, ray = surface.fields["area_mm2"][measured], surface.fields["ray_mm"][measured]
    assert area[ray < 3.0].sum() / area.sum() < 0.005


#: Widths of the rounded zone and sizes of a voxel, mm.
WIDTH, STEP = np.full(3, 0.6), np.ones(3)


def strip(thickness_mm: np.ndarray, step_mm: float) -> tuple[Mesh, np.ndarray]:
    """Flat bone, cartilage that varies along x; 12 rows of vertices."""
    count = len(thickness_mm)
    x, y = np.meshgrid(np.arange(count), np.arange(12), indexing="ij")
    number = (x * 12 + y)[:-1, :-1].ravel()
    first = np.stack([number, number + 12, number + 1], axis=1)
    second = np.stack([number + 1, number + 12, number + 13], axis=1)
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1) * step_mm
    up = np.tile([0.0, 0.0, 1.0], (len(vertices), 1))
    faces = np.concatenate([first, second])
    # one voxel is 1 mm, so that indices are places
    mesh = Mesh(vertices, vertices, faces, up, up, np.ones(len(vertices)))
    return mesh, np.repeat(thickness_mm, 12)


def test_the_rounded_edge_of_a_wall_takes_the_thickness_inside() -> None:
    wall = np.concatenate([np.zeros(4), [1.2, 1.7], np.full(14, 2.0)])
    mesh, ray = strip(wall, 0.25)
    found = carried_to_wall(mesh, ray, ray > 0.2, WIDTH, STEP)
    assert found[ray > 0] == pytest.approx(2.0)
    assert (found[ray == 0] == 0).all()


@pytest.mark.parametrize("slope", [0.4, 0.9])
def test_cartilage_that_thins_out_keeps_its_rays(slope: float) -> None:
    ramp = np.concatenate([np.zeros(4), slope * 0.25 * np.arange(1, 25)])
    mesh, ray = strip(ramp, 0.25)
    assert np.array_equal(carried_to_wall(mesh, ray, ray > 0.2, WIDTH, STEP), ray)


def test_thickness_that_rises_towards_its_wall_is_not_cut_down() -> None:
    lip = np.concatenate([np.zeros(4), [2.6, 2.5], np.full(14, 2.0)])
    mesh, ray = strip(lip, 0.25)
    assert np.array_equal(carried_to_wall(mesh, ray, ray > 0.2, WIDTH, STEP), ray)


def test_without_bare_bone_there_is_no_border() -> None:
    mesh, ray = strip(np.full(10, 2.0), 0.25)
    assert len(border_vertices(mesh.faces, ray > 0.2)) == 0
    assert carried_to_wall(mesh, ray, ray > 0.2, WIDTH, STEP) is ray
