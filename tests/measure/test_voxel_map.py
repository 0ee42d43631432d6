"""The thickness map on voxels says what the surface says."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.geometry.affines import from_linear
from kneeimg.measure.morphometry import measure_knee
from kneeimg.measure.voxel_map import thickness_on_grid
from kneeimg.phantoms.shells import Wedge


@pytest.mark.parametrize("side", list(Side))
def test_each_cartilage_voxel_and_no_other_has_the_thickness_below_it(side: Side) -> None:
    wedge = Wedge(2.0, slope=0.06, bone=Bone.PATELLA)
    linear = np.diag([0.6, 0.5, 0.4])
    grid = Grid((80, 96, 90), from_linear(linear, -linear @ [39.5, 47.5, 60.0]), "phantom")
    label_map = wedge.label_map(grid)
    volume = thickness_on_grid(measure_knee(label_map, side).surfaces, label_map)
    cartilage = label_map.labels == Tissue.PATELLAR_CARTILAGE
    assert volume.unit == "mm"
    assert np.array_equal(np.isfinite(volume.data), cartilage)
    points = grid.to_mm(np.argwhere(cartilage))
    inner = np.hypot(points[:, 0], points[:, 1]) < 12.0
    slope, offset = np.polyfit(points[inner, 0], volume.data[cartilage][inner], 1)
    assert slope == pytest.approx(0.06, abs=0.01)
    assert offset == pytest.approx(2.0, abs=0.05)


def test_a_bone_without_cover_leaves_no_value() -> None:
    grid = Grid((8, 8, 8), np.eye(4), None)
    wedge = Wedge(2.0, sheet_radius_mm=1.0, bone_radius_mm=2.0, bone_depth_mm=2.0)
    label_map = wedge.label_map(grid, hard=True)
    assert np.isnan(thickness_on_grid({}, label_map).data).all()
