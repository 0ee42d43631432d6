"""Masks with a segmenter's errors: of the size asked for, smooth, and still masks."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.phantoms.boundary_error import BoundaryError, SmoothField
from kneeimg.phantoms.grids import sagittal_grid
from kneeimg.phantoms.knee import KneePhantom

BOX_MM = np.array([[0.0, 0.0, 0.0], [60.0, 60.0, 60.0]])


def field(sd=0.1, length_mm=3.0, seed=1):
    return SmoothField.random(BOX_MM, length_mm, sd, np.random.default_rng(seed))


def correlation(noise: SmoothField, distance_mm: float) -> float:
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 50, size=(40_000, 3))
    step = rng.normal(size=points.shape)
    step *= distance_mm / np.linalg.norm(step, axis=1, keepdims=True)
    return float(np.corrcoef(noise(points), noise(points + step))[0, 1])


def test_the_field_has_the_size_and_length_asked_for():
    noise = field()
    assert noise.nodes.std() == pytest.approx(0.1, rel=0.02)
    assert abs(noise.nodes.mean()) < 0.01
    assert np.abs(noise.nodes).max() <= 0.3 + 1e-12
    assert correlation(noise, 3.0) == pytest.approx(np.exp(-0.5), abs=0.06)
    assert abs(correlation(noise, 12.0)) < 0.06


def test_equal_seeds_give_equal_fields_and_others_independent_ones():
    assert np.array_equal(field(seed=4).nodes, field(seed=4).nodes)
    other = np.corrcoef(field(seed=4).nodes.ravel(), field(seed=5).nodes.ravel())[0, 1]
    assert abs(other) < 0.05


@pytest.mark.parametrize("change", [{"bone_mm": -0.1}, {"length_mm": 0.0}])
def test_impossible_errors_are_refused(change):
    with pytest.raises(ValueError, match="boundary errors"):
        BoundaryError(**change)


@pytest.fixture(scope="module")
def knee():
    return KneePhantom(Side.RIGHT)


GRID = sagittal_grid((2.0, 0.8, 0.8), (16, 110, 110), centre_mm=(24.0, 0.0, -30.0))


def drawn(knee, error, seed=1):
    return knee.label_map(GRID, error=error, rng=np.random.default_rng(seed))


def test_no_error_draws_the_knee_itself(knee):
    none = BoundaryError(bone_mm=0.0, articular_mm=0.0, rim_mm=0.0, offset_mm=0.0)
    exact, same = knee.label_map(GRID), drawn(knee, none)
    for tissue in (Tissue.FEMUR, Tissue.FEMORAL_CARTILAGE, Tissue.TIBIAL_CARTILAGE):
        assert same.fraction(tissue) == pytest.approx(exact.fraction(tissue), abs=1e-6)


def test_the_mask_is_off_by_little_and_no_voxel_is_over_full(knee):
    exact, rough = knee.label_map(GRID), drawn(knee, BoundaryError())
    total = np.sum(list(rough.probabilities.values()), axis=0)
    assert total.max() <= 1.0 + 1e-5
    for tissue in (Tissue.FEMUR, Tissue.FEMORAL_CARTILAGE, Tissue.TIBIAL_CARTILAGE):
        before, after = exact.fraction(tissue), rough.fraction(tissue)
        assert not np.array_equal(before, after)
        assert after.sum() == pytest.approx(before.sum(), rel=0.05)
        # displaced by a few tenths of a mm: nothing changes deep inside or far outside
        core = np.abs(after - before) > 0.95
        assert core.mean() < 1e-4


def test_an_offset_moves_the_articular_surface_only(knee):
    error = BoundaryError(bone_mm=0.0, articular_mm=0.0, rim_mm=0.0, offset_mm=0.3)
    exact, moved = knee.label_map(GRID), drawn(knee, error)
    femur = Tissue.FEMUR
    assert np.allclose(exact.fraction(femur), moved.fraction(femur), atol=0.02)
    before = exact.fraction(Tissue.FEMORAL_CARTILAGE).sum()
    assert abs(moved.fraction(Tissue.FEMORAL_CARTILAGE).sum() / before - 1) > 0.01


def test_the_truth_is_of_the_knee_and_an_error_needs_a_seed(knee):
    with pytest.raises(ValueError, match="rng"):
        knee.label_map(GRID, error=BoundaryError())
