"""Direction of the femoral shaft: walls that lean as they should, tilted by a known angle."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.geometry.rigid import rotation
from kneeimg.measure.shaft import FEMUR_WALLS, SECTORS, shaft_tilt, wall_cells

WIDTH_MM = 80.0
ROWS = len(FEMUR_WALLS.lean)

Wall = tuple[np.ndarray, np.ndarray, np.ndarray]


def wall(top_mm: float = 90.0) -> Wall:
    """Points around a shaft along +z, their normals leaning as the table says, and areas."""
    height, angle = np.meshgrid(
        np.arange(37.5, top_mm, 0.5), np.arange(-180.0, 180.0, 2.0) + 1.0, indexing="ij"
    )
    height, angle = height.ravel(), np.deg2rad(angle.ravel())
    row = np.clip(((height / WIDTH_MM - 0.46) / 0.05).astype(int), 0, ROWS - 1)
    sector = ((angle + np.pi) / (2.0 * np.pi) * SECTORS).astype(int)
    lean = np.nan_to_num(FEMUR_WALLS.lean[row, sector], nan=0.5)
    out = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    normals = np.column_stack([np.sqrt(1.0 - lean**2)[:, None] * out, lean])
    points = np.column_stack([15.0 * out, height])
    distal = np.zeros((1, 3))  # the lowest point of the condyles
    return (
        np.vstack([points, distal]),
        np.vstack([normals, [0.0, 0.0, -1.0]]),
        np.ones(len(points) + 1),
    )


def tilt_deg(some: Wall, turn: np.ndarray | None = None) -> tuple[float, float, float]:
    """Tilt backwards and sideways in degrees, and the length of shaft in view."""
    points, normals, area = some
    normals = normals if turn is None else normals @ turn.T
    found = shaft_tilt(points, normals, area, WIDTH_MM)
    assert found is not None
    angles = np.rad2deg(np.arctan([found.backwards, found.sideways]))
    return float(angles[0]), float(angles[1]), found.length_mm


def test_an_upright_wall_is_upright() -> None:
    backwards, sideways, length_mm = tilt_deg(wall())
    assert abs(backwards) < 0.05
    assert abs(sideways) < 0.05
    assert length_mm == pytest.approx(89.5 - 0.6 * WIDTH_MM, abs=1.0)


@pytest.mark.parametrize("top_mm", [90.0, 70.0, 58.0])
def test_a_short_wall_leans_like_a_long_one(top_mm: float) -> None:
    turn = rotation([1.0, 0.0, 0.0], -3.0)  # the upper end goes backwards
    assert tilt_deg(wall(top_mm), turn)[0] == pytest.approx(3.0, abs=0.35)


@pytest.mark.parametrize("slope", [-0.4, 0.4])
def test_an_oblique_cut_does_not_pull_the_shaft_over(slope: float) -> None:
    points, normals, area = wall()
    kept = points[:, 2] < 68.0 + slope * points[:, 1]
    assert abs(tilt_deg((points[kept], normals[kept], area[kept]))[0]) < 0.05


def test_the_anterior_wall_alone_tells_the_pitch() -> None:
    points, normals, area = wall()
    kept = (points[:, 1] < -5.0) | (points[:, 2] < 37.0)
    turn = rotation([1.0, 0.0, 0.0], -2.0)
    front = (points[kept], normals[kept], area[kept])
    assert tilt_deg(front, turn)[0] == pytest.approx(2.0, abs=0.3)


def test_only_the_flare_is_no_shaft() -> None:
    assert tilt_deg(wall(48.0))[2] == 0.0


def test_without_a_wall_there_is_no_direction() -> None:
    points, normals, area = wall(41.0)
    assert shaft_tilt(points, normals, area, WIDTH_MM) is None


def test_a_flat_cap_is_no_wall() -> None:
    points, normals, area = wall(60.0)
    cap = np.array([[x, y, 60.0] for x in range(-14, 15) for y in range(-14, 15)])
    up = np.tile([0.0, 0.0, 1.0], (len(cap), 1))
    seen, normal, top_mm = wall_cells(points, normals, area, WIDTH_MM, ROWS)
    again = wall_cells(
        np.vstack([points, cap]),
        np.vstack([normals, up]),
        np.concatenate([area, np.ones(len(cap))]),
        WIDTH_MM,
        ROWS,
    )
    assert (again[0] == seen).all()
    assert again[1] == pytest.approx(normal)
    assert again[2] == top_mm
