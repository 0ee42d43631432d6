"""Hard masks of surfaces that run along layers of voxels."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.surface import RigidTransform
from kneeimg.measure.morphometry import measure_knee
from kneeimg.measure.terraces import least_bent, softened
from kneeimg.phantoms.grids import dess_grid
from kneeimg.phantoms.knee import KneePhantom

SPACING = np.array([0.7, 0.4, 0.5])


def floor_of(x: np.ndarray, y: np.ndarray, level_mm: float) -> np.ndarray:
    return level_mm + 0.02 * (x - 13.0) + ((x - 14.0) ** 2 + (y - 12.0) ** 2) / 160.0


def dish(level_mm: float = 11.13) -> tuple[np.ndarray, np.ndarray]:
    """Bone below a shallow dish, cartilage of 2.1 mm on the middle of it."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in (40, 60, 50)), indexing="ij")
    x, y, z = (i * SPACING[0], j * SPACING[1], k * SPACING[2])
    floor = floor_of(x, y, level_mm)
    bone = (z < floor).astype(np.uint8)
    plate = (np.abs(x - 14.0) < 9.0) & (np.abs(y - 12.0) < 9.0)
    return bone, ((z >= floor) & (z < floor + 2.1) & plate).astype(np.uint8)


def test_a_surface_between_layers_is_found_from_where_it_crosses_them() -> None:
    a, b = np.meshgrid(0.7 * np.arange(50), 0.4 * np.arange(70), indexing="ij")
    true = 3.0 + 0.03 * a - 0.02 * b + ((a - 17.0) ** 2 - 0.5 * (b - 14.0) ** 2) / 300.0
    step = 0.5
    drawn = step * (np.floor(true / step) + 0.5)
    found = least_bent(drawn, np.ones(true.shape, dtype=bool), step / 2, (0.7, 0.4))
    assert np.abs(found - drawn).max() <= step / 2 + 1e-6
    inner = (slice(6, -6), slice(10, -10))
    before, after = (np.sqrt(np.mean((z - true)[inner] ** 2)) for z in (drawn, found))
    assert before > 0.13
    assert after < 0.02


def test_the_middle_of_a_dish_lies_where_it_is() -> None:
    """At whatever height it lies: where no layer is crossed, nothing says how deep it is."""
    middle = (slice(14, 26), slice(20, 40))  # slopes up to 4 degrees
    x, y = np.meshgrid(0.7 * np.arange(14, 26), 0.4 * np.arange(20, 40), indexing="ij")
    errors = []
    for level_mm in np.arange(10.85, 11.35, 0.1):
        bone, cartilage = dish(level_mm)
        fields = bone, softened(bone, cartilage, SPACING)
        true = floor_of(x, y, level_mm)
        heights = (0.5 * (field[middle].sum(axis=2) - 0.5) for field in fields)
        errors.append([np.sqrt(np.mean((height - true) ** 2)) for height in heights])
    hard, soft = np.array(errors).T
    assert (soft < hard).all()
    assert np.median(soft) < 0.03 < 0.1 < np.median(hard)


def test_every_voxel_stays_on_its_side_and_only_joint_surfaces_change() -> None:
    bone, cartilage = dish()
    fraction = softened(bone, cartilage, SPACING)
    assert fraction[bone == 1].min() >= 0.5 - 1e-6
    assert fraction[bone == 0].max() <= 0.5 + 1e-6
    changed = (fraction != bone).any(axis=2)
    beside = np.zeros_like(changed)
    under = np.argwhere(cartilage.any(axis=2))
    (i, j), (p, q) = under.min(axis=0) - (3, 5), under.max(axis=0) + (4, 6)
    beside[i:p, j:q] = True
    assert changed.any()
    assert not changed[~beside].any()
    assert (softened(bone, np.zeros_like(bone), SPACING) == bone).all()


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_no_orientation_of_the_voxels_changes_anything(axes: tuple[int, int, int]) -> None:
    bone, cartilage = dish()
    here = softened(bone, cartilage, SPACING)
    turned = softened(*(np.flip(a.transpose(axes), 1) for a in (bone, cartilage)), SPACING[[*axes]])
    np.testing.assert_allclose(turned, np.flip(here.transpose(axes), 1), atol=2e-5)


@pytest.mark.parametrize("up_mm", [0.1, 0.25])
def test_a_plateau_along_a_layer_of_voxels_is_measured_as_any_other(up_mm: float) -> None:
    """The medial centre read 45 µm too thin, or 32 too thick: all of it is rounded alike."""
    pose = RigidTransform(np.eye(3), np.array([0.0, 0.0, up_mm]))
    phantom = KneePhantom(Side.RIGHT, pose=pose)
    knee = measure_knee(phantom.label_map(dess_grid(), hard=True), Side.RIGHT)
    found = {row.name: row.value for row in knee.measurements}
    for region in ("cMT", "cLT", "MT", "LT"):
        true = phantom.truth()[region, "ThCtAB_aMe"]
        assert found[f"{region}_ThCtAB_aMe"] == pytest.approx(true, abs=0.012), region
