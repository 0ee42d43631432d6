"""One knee, stored in many ways: the same numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid, reorient_array
from kneeimg.core.label_map import LabelMap
from kneeimg.geometry.affines import from_linear
from kneeimg.io.label_maps import read_label_map, write_label_map
from kneeimg.measure.morphometry import measure_knee
from kneeimg.phantoms.grids import random_pose, sagittal_grid
from kneeimg.phantoms.knee import KneePhantom

Rows = dict[str, float]


def phantom() -> LabelMap:
    """A knee on oblique slices: no entry of the affine is a round number."""
    pose = random_pose(np.random.default_rng(8), max_angle_deg=12.0)
    grid = sagittal_grid((1.4, 0.7, 0.7), (78, 168, 168))
    grid = replace(grid, affine=pose.matrix @ grid.affine)
    soft = KneePhantom(Side.RIGHT, pose=pose).label_map(grid)
    return LabelMap(soft.labels, grid)


@pytest.fixture(scope="module")
def knee() -> LabelMap:
    return phantom()


def measured(label_map: LabelMap, side: Side = Side.RIGHT) -> Rows:
    return {row.name: row.value for row in measure_knee(label_map, side).measurements}


@pytest.fixture(scope="module")
def rows(knee: LabelMap) -> Rows:
    return measured(knee)


def worst_um(first: Rows, second: Rows) -> float:
    """Largest difference of any thickness, µm."""
    names = [name for name in first if "_Th" in name and not name.endswith("aCV")]
    assert len(names) > 100
    assert all(np.isnan(first[name]) == np.isnan(second[name]) for name in names)
    return float(1e3 * np.nanmax([abs(first[name] - second[name]) for name in names]))


def as_nrrd(label_map: LabelMap, path: Path) -> Path:
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(label_map.labels.transpose(2, 1, 0)))
    spacing = label_map.grid.spacing_mm
    image.SetSpacing(spacing.tolist())
    image.SetDirection((label_map.grid.affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(label_map.grid.affine[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path))
    return path


def padded(label_map: LabelMap) -> LabelMap:
    """More background, except on the sides that cut a bone: its end would become a surface."""
    labels, grid = label_map.labels, label_map.grid
    free = [[not labels.take(end, axis).any() for end in (0, -1)] for axis in range(3)]
    widths = [(4 * low, 7 * high) for low, high in free]
    assert sum(map(sum, free)) >= 4
    origin = grid.to_mm([-low for low, _ in widths])
    more = np.pad(labels, widths)
    return LabelMap(more, Grid(more.shape, from_linear(grid.affine[:3, :3], origin), None))


def cropped(label_map: LabelMap) -> LabelMap:
    """Background cut away to within 5 mm of the knee."""
    found = np.argwhere(label_map.labels)
    margin = np.ceil(5.0 / label_map.grid.spacing_mm).astype(int)
    low = np.maximum(found.min(axis=0) - margin, 0)
    high = np.minimum(found.max(axis=0) + margin + 1, label_map.labels.shape)
    part = label_map.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    shape = (part.shape[0], part.shape[1], part.shape[2])
    return LabelMap(part, label_map.grid.crop((low[0], low[1], low[2]), shape))


def turned(label_map: LabelMap) -> LabelMap:
    axes, flips = (2, 0, 1), (-1, 1, -1)
    labels = reorient_array(label_map.labels, axes, flips).astype(np.uint8)
    return LabelMap(labels, label_map.grid.reorient(axes, flips))


def mirrored(label_map: LabelMap) -> LabelMap:
    affine = from_linear(np.diag([-1.0, 1.0, 1.0])) @ label_map.grid.affine
    return label_map.with_grid(replace(label_map.grid, affine=affine))


def differences_um(knee: LabelMap, rows: Rows, folder: Path) -> dict[str, float]:
    """Way of storing to the largest difference of any thickness, µm."""
    others = {
        "padded": padded(knee),
        "cropped": cropped(knee),
        "turned": turned(knee),
        "NIfTI": read_label_map(write_label_map(knee, folder / "knee.nii.gz")),
        "NRRD": read_label_map(as_nrrd(knee, folder / "knee.nrrd")),
    }
    found = {name: worst_um(rows, measured(other)) for name, other in others.items()}
    return found | {"mirrored": worst_um(rows, measured(mirrored(knee), Side.LEFT))}


def test_one_knee_stored_in_six_ways(knee: LabelMap, rows: Rows, tmp_path: Path) -> None:
    found = differences_um(knee, rows, tmp_path)
    exact = {name: um for name, um in found.items() if name in ("padded", "turned", "mirrored")}
    assert max(exact.values()) < 1e-6, found
    assert max(found.values()) < 1.0, found  # NIfTI keeps the affine in single precision


@pytest.mark.real
@pytest.mark.slow
def test_a_real_knee_stored_in_six_ways(real_data: Path, tmp_path: Path) -> None:
    knee = read_label_map(real_data / "mri/labels/P10_M00.nii.gz")
    found = differences_um(knee, measured(knee), tmp_path)
    assert max(found.values()) < 1.0, found
