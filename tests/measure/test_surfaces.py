"""Meshes, normals and areas of level sets on stretched and oblique grids."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from kneeimg.geometry.affines import apply_affine, from_linear
from kneeimg.geometry.rigid import rotation
from kneeimg.measure.cavities import close_cavities
from kneeimg.measure.surfaces import (
    _block_mean,
    evened,
    gradient_normals,
    mesh_level_set,
    sample,
)

STRETCHED = from_linear(rotation([1, 2, 2], 20.0) @ np.diag([2.5, 0.4, 0.5]), [3.0, -2.0, 8.0])
RADIUS_MM = 11.0
CENTRE_MM = apply_affine(STRETCHED, [7.2, 40.3, 34.6])


def ball() -> np.ndarray:
    """Fraction field of a ball on the stretched grid, one edge width of 2.5 mm."""
    index = np.stack(np.indices((16, 81, 70)), axis=-1)
    distance = np.linalg.norm(apply_affine(STRETCHED, index) - CENTRE_MM, axis=-1)
    return np.clip(0.5 - (distance - RADIUS_MM) / 2.5, 0.0, 1.0).astype(np.float32)


def test_normals_are_covectors() -> None:
    rng = np.random.default_rng(1)
    outward = rng.normal(size=(200, 3))
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    index = apply_affine(np.linalg.inv(STRETCHED), CENTRE_MM + RADIUS_MM * outward)
    normals = gradient_normals(ball(), index, STRETCHED, 1.5)
    tilt_deg = np.rad2deg(np.arccos(np.clip((normals * outward).sum(axis=1), -1, 1)))
    assert tilt_deg.mean() < 4.0  # voxels of 2.5 mm; a plain vector transform is 50 off
    assert tilt_deg.max() < 9.0


def test_the_order_of_vertices_changes_no_normal() -> None:
    field = np.random.default_rng(5).random((30, 20, 18)).astype(np.float32)
    index = np.random.default_rng(6).uniform(0.0, 17.0, (40_000, 3))
    index = index[np.argsort(index[:, 0])]  # plane by plane, in several pieces
    normals = gradient_normals(field, index, STRETCHED, 2.0)
    order = np.random.default_rng(7).permutation(len(index))
    assert np.array_equal(gradient_normals(field, index[order], STRETCHED, 2.0), normals[order])


def test_the_mesh_of_a_ball_faces_outward_and_has_its_area() -> None:
    mesh = mesh_level_set(ball(), STRETCHED, 1.0)
    assert mesh is not None
    out = mesh.vertices - CENTRE_MM
    assert np.linalg.norm(out, axis=1).mean() == pytest.approx(RADIUS_MM, abs=0.1)
    corners = mesh.vertices[mesh.faces]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", face, out[mesh.faces[:, 0]]) > 0).mean() > 0.99
    assert mesh.area_mm2.sum() == pytest.approx(4 * np.pi * RADIUS_MM**2, rel=0.02)
    assert (np.einsum("ij,ij->i", mesh.normals, out) > 0).all()


def test_an_empty_level_set_has_no_mesh() -> None:
    assert mesh_level_set(np.zeros((4, 4, 4), dtype=np.float32), np.eye(4), 1.0) is None


def test_sampling_is_exact_for_a_trilinear_field_and_nan_outside() -> None:
    i, j, k = np.indices((4, 5, 6)).astype(np.float32)
    field = 1 + i + 2 * j - 3 * k + i * j * k
    points = np.array([[0.3, 1.7, 4.2], [3.0, 4.0, 5.0], [-0.01, 1, 1], [1, 1, 5.01]])
    x, y, z = points.T
    expected = 1 + x + 2 * y - 3 * z + x * y * z
    # the field is trilinear inside a voxel; at whole numbers along two axes it is linear between
    got = sample(field, points)
    assert got[:2] == pytest.approx(expected[:2], rel=1e-6)
    assert np.isnan(got[2:]).all()


@pytest.mark.parametrize("soft", [False, True])
def test_only_what_is_enclosed_is_filled(soft: bool) -> None:
    solid = np.zeros((9, 10, 11), dtype=np.float32 if soft else np.uint8)
    solid[2:7, 2:8, 2:9] = 1
    solid[4, 5, 5] = 0  # a cavity
    solid[3, 4:, 3] = 0  # a pit that is open
    cartilage = np.zeros((2, 6, 7), dtype=solid.dtype)
    part = (slice(7, 9), slice(2, 8), slice(2, 9))
    filled = close_cavities(solid, cartilage, part)
    assert filled[4, 5, 5] == 1
    assert filled.sum() == solid.sum() + 1
    assert close_cavities(filled, cartilage, part) is filled


@pytest.mark.parametrize("share", [0.3, 0.5, 0.65])
@pytest.mark.parametrize("shape", [(1, 6, 7), (9, 1, 8), (7, 8, 1), (9, 8, 10), (14, 15, 13)])
def test_enclosed_is_what_no_path_joins_to_an_edge_of_the_box(
    shape: tuple[int, int, int], share: float
) -> None:
    solid = (np.random.default_rng(8).random(shape) < share).astype(np.uint8)
    solid[tuple(slice(count // 4, count // 2) for count in shape)] = 1
    parts = label(solid == 0)[0]  # neighbours share a face
    ends = [np.isin(at, (0, count - 1)) for at, count in zip(np.indices(shape), shape, strict=True)]
    open_ = np.unique(parts[np.sum(ends, axis=0) >= 2])
    expected = solid.astype(bool) | ~np.isin(parts, open_)
    nothing = np.zeros((0, 0, 0), dtype=np.uint8)
    filled = close_cavities(solid, nothing, (slice(0, 0), slice(0, 0), slice(0, 0)))
    assert np.array_equal(filled, expected)


def test_marrow_is_bone_also_where_the_view_cuts_the_cortex() -> None:
    solid = np.zeros((12, 13, 14), dtype=np.uint8)
    solid[3:9, 3:10, 4:] = 1
    solid[4:8, 4:9, 6:] = 0  # marrow, open to the last plane along k only
    nothing = np.zeros((0, 0, 0), dtype=np.uint8)
    nowhere = (slice(0, 0), slice(0, 0), slice(0, 0))
    filled = close_cavities(solid, nothing, nowhere)
    assert filled[3:9, 3:10, 4:].all()
    solid[3, 6, 6:] = 0  # a slit in the cortex
    assert close_cavities(solid, nothing, nowhere) is solid


def test_blocks_are_means_and_the_last_repeats_the_edge() -> None:
    field = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    found = _block_mean(field, np.array([2, 3, 1]))
    padded = np.pad(field, [(0, 1), (0, 2), (0, 0)], mode="edge")
    assert found == pytest.approx(padded.reshape(3, 2, 2, 3, 3).mean(axis=(1, 3)))


def plane_heights(phase: float, tilt_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Voxel fractions below a plane, leaning along j, and its height over every j, in voxels."""
    slope, points = np.tan(np.deg2rad(tilt_deg)), (np.arange(64) + 0.5) / 64 - 0.5
    j, k = np.arange(24.0), np.arange(14.0)
    height = 6.0 + phase + slope * (j - 12.0)
    over = 6.0 + phase + slope * (j[:, None, None] + points - 12.0)
    fraction = np.clip(over - k[None, :, None] + 0.5, 0.0, 1.0).mean(axis=-1)
    return np.repeat(fraction[None], 4, axis=0).astype(np.float32), height


@pytest.mark.parametrize("tilt_deg", [0.0, 2.0, 5.0, 20.0])
def test_a_plane_along_the_voxels_lies_where_it_is_in_every_phase(tilt_deg: float) -> None:
    """Read linearly such planes are off by up to 0.09 of a voxel."""
    mean, linear = [], []
    for phase in np.linspace(-0.48, 0.48, 13):
        field, height = plane_heights(phase, tilt_deg)
        for errors, values in ((mean, evened(field)), (linear, field)):
            mesh = mesh_level_set(values, np.eye(4), 1.0)
            assert mesh is not None
            true = np.interp(mesh.index[:, 1], np.arange(24.0), height)
            errors.append((mesh.index[:, 2] - true)[np.abs(mesh.index[:, 1] - 12.0) < 7.0].mean())
    assert np.abs(mean).max() < 0.02
    if tilt_deg < 5.0:
        assert np.abs(linear).max() > 0.05
    assert np.std(mean) < 0.6 * np.std(linear)
