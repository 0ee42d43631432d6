"""Borders that cut through triangles: areas and integrals against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import Delaunay

from kneeimg.geometry.area_shares import AreaShares, hats_below
from kneeimg.geometry.meshes import triangle_areas

RADIUS_MM = 10.0


def disc(step_mm: float = 0.5, row_mm: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """A disc whose vertices lie in rows, as those of a surface along slices do, turned in space."""
    x, y = np.meshgrid(np.arange(-11.0, 11.0, row_mm), np.arange(-11.0, 11.0, step_mm))
    inner = np.stack([x.ravel(), y.ravel()], axis=1)
    inner = inner[np.hypot(*inner.T) < RADIUS_MM - 0.3]
    angle = np.linspace(0.0, 2.0 * np.pi, 1440, endpoint=False)
    rim = RADIUS_MM * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([inner, rim])
    faces = Delaunay(points).simplices.astype(np.int64)
    return np.column_stack([points, np.zeros(len(points))]), faces


def segment_mm2(offset_mm: float) -> float:
    """Area of the disc on the near side of a line at this distance from its centre."""
    part = offset_mm / RADIUS_MM
    return RADIUS_MM**2 * (np.pi - np.arccos(part) + part * np.sqrt(1.0 - part**2))


@pytest.fixture(scope="module")
def mesh() -> tuple[np.ndarray, AreaShares]:
    vertices, faces = disc()
    return vertices, AreaShares.of(vertices, faces)


def test_a_line_cuts_a_disc_where_it_lies(mesh: tuple[np.ndarray, AreaShares]) -> None:
    vertices, shares = mesh
    vertex_mm2 = 0.7 * 0.5
    rng = np.random.default_rng(3)
    error, of_labels = [], []
    for offset_mm in rng.uniform(-8.0, 8.0, 60):
        for angle in (0.0, rng.uniform(0.0, np.pi)):  # along the rows, and askew
            level = vertices[:, :2] @ [np.cos(angle), np.sin(angle)] - offset_mm
            area = shares.around_mm2 / 3.0
            error.append(area @ shares.below(level) - segment_mm2(offset_mm))
            of_labels.append(area @ (level < 0) - segment_mm2(offset_mm))
    assert np.abs(error).max() < 0.02 * vertex_mm2
    # whole vertices move by half a row at once, 0.7 mm × 20 mm: what this replaces
    assert np.abs(of_labels).max() > 10.0 * vertex_mm2


def test_means_over_one_side_are_exact_for_linear_values(
    mesh: tuple[np.ndarray, AreaShares],
) -> None:
    vertices, shares = mesh
    weight = shares.below(vertices[:, 0]) * shares.around_mm2
    centroid_mm = 4.0 * RADIUS_MM / (3.0 * np.pi)
    assert weight @ vertices[:, 0] / weight.sum() == pytest.approx(-centroid_mm, abs=1e-3)
    assert weight @ vertices[:, 1] / weight.sum() == pytest.approx(0.0, abs=1e-3)


def test_the_sides_add_up_and_move_steadily(mesh: tuple[np.ndarray, AreaShares]) -> None:
    vertices, shares = mesh
    near, far = (shares.below(sign * (vertices[:, 0] - 1.4)) for sign in (1.0, -1.0))
    assert near + far == pytest.approx(np.ones(len(near)), abs=1e-12)
    area = shares.around_mm2 / 3.0
    places = np.arange(1.0, 2.5, 0.01)  # over two rows
    grown = np.diff([area @ shares.below(vertices[:, 0] - x) for x in places])
    assert grown == pytest.approx(np.diff([segment_mm2(x) for x in places]), abs=1e-3)


def test_the_level_with_a_share_is_found_between_the_rows(
    mesh: tuple[np.ndarray, AreaShares],
) -> None:
    vertices, shares = mesh
    area = shares.around_mm2 / 3.0
    for share in (0.2, 1.0 / 3.0, 0.5):
        (level,) = shares.levels_with_shares(vertices[:, 0], area, (share,))
        assert area @ shares.below(vertices[:, 0] - level) == pytest.approx(
            share * area.sum(), rel=1e-6
        )
    halves = shares.levels_with_shares(vertices[:, 0], area, (0.5,))
    assert halves == pytest.approx((0.0,), abs=1e-3)
    radius = np.hypot(*vertices[:, :2].T)
    rings = shares.levels_with_shares(radius, area, (0.2, 0.7))
    assert rings == pytest.approx(RADIUS_MM * np.sqrt([0.2, 0.7]), abs=0.01)
    assert np.isnan(shares.levels_with_shares(radius, 0.0 * area, (0.5,))).all()


def test_weight_on_a_part_is_shared_on_that_part(mesh: tuple[np.ndarray, AreaShares]) -> None:
    vertices, shares = mesh
    weight = np.where(vertices[:, 1] > 0, shares.around_mm2 / 3.0, 0.0)
    (level,) = shares.levels_with_shares(vertices[:, 0], weight, (0.25,))
    found = weight @ shares.below(vertices[:, 0] - level)
    assert found == pytest.approx(0.25 * weight.sum(), rel=1e-6)


def test_a_border_through_vertices_and_values_that_are_all_alike() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    shares = AreaShares.of(vertices, np.array([[0, 1, 2], [1, 3, 2]]))
    assert shares.below(np.zeros(4)).tolist() == [0.0] * 4
    assert shares.below(np.full(4, -1.0)).tolist() == [1.0] * 4
    diagonal = shares.below(vertices[:, 0] + vertices[:, 1] - 1.0)
    assert diagonal @ shares.around_mm2 / 3.0 == pytest.approx(0.5)
    assert shares.levels_with_shares(np.full(4, 2.0), np.ones(4), (0.3,)) == (2.0,)


@pytest.mark.parametrize("corners", [[-1, 2, 3], [2, -1, 3], [3, 2, -1], [1, -2, -3], [-2, -3, 1]])
def test_hats_against_many_points(corners: list[int]) -> None:
    rng = np.random.default_rng(5)
    hats = rng.dirichlet(np.ones(3), 400_000)
    below = hats @ np.array(corners, dtype=float) < 0
    expected = np.where(below[:, None], hats, 0.0).mean(axis=0)
    assert hats_below(np.array([corners], dtype=float))[0] == pytest.approx(expected, abs=2e-3)


def test_a_part_has_the_shares_of_the_whole(mesh: tuple[np.ndarray, AreaShares]) -> None:
    vertices, shares = mesh
    chosen = vertices[:, 1] > 2.0
    number, part = shares.around(chosen)
    level = vertices[:, 0] - 0.3
    own = chosen[number]
    assert np.array_equal(number[own], np.flatnonzero(chosen))
    assert part.below(level[number])[own] == pytest.approx(shares.below(level)[chosen])
    weight = np.where(chosen, 1.0, 0.0)
    assert part.levels_with_shares(level[number], weight[number], (0.4,)) == pytest.approx(
        shares.levels_with_shares(level, weight, (0.4,))
    )


def test_the_area_of_a_triangle() -> None:
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [0, 0, 4]])
    assert triangle_areas(vertices, np.array([[0, 1, 2]])).tolist() == [6.0]
