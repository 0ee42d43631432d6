"""Lean of the femoral shaft: a straight wall of known lean, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.geometry.rigid import rotation
from kneeimg.measure.shaft import LEAN_TOPS, LEANS_DEG, LOWEST_TOP, TOP, ShaftLean, shaft_lean

WIDTH_MM = 80.0
LEAN_DEG = 4.0

Wall = tuple[np.ndarray, np.ndarray, np.ndarray]


def wall(flare_deg: float = 6.0, bend_deg: float = 0.0) -> Wall:
    """An open tube whose walls all lean outwards downwards, above a lowest point of condyles.

    The flare grows by `bend_deg` over 20 mm downwards.
    """
    height, angle = np.meshgrid(np.arange(26.0, 96.0, 0.4), np.arange(-180.0, 180.0, 2.0) + 1.0)
    height, angle = height.ravel(), np.deg2rad(angle.ravel())
    out = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    flare = np.deg2rad(flare_deg + bend_deg * (96.0 - height) / 20.0)
    normals = np.column_stack([np.cos(flare)[:, None] * out, np.sin(flare)])
    points = np.column_stack([15.0 * out, height])
    return (
        np.vstack([points, [0.0, 0.0, 0.0]]),
        np.vstack([normals, [0.0, 0.0, -1.0]]),
        np.ones(len(points) + 1),
    )


def lean_of(
    some: Wall, kept: np.ndarray | None = None, lean_deg: float = LEAN_DEG
) -> ShaftLean | None:
    """Lean of a tube whose upper end leans backwards, after a part was kept."""
    points, normals, area = some if kept is None else tuple(part[kept] for part in some)
    turn = rotation([1.0, 0.0, 0.0], -lean_deg)
    return shaft_lean(points @ turn.T, normals @ turn.T, area, WIDTH_MM)


def test_a_whole_wall_leans_as_it_does() -> None:
    found = lean_of(wall())
    assert found is not None
    assert found.backwards_deg == pytest.approx(LEAN_DEG, abs=0.1)
    assert found.top == TOP
    assert found.length_mm == pytest.approx(95.6 - 0.60 * WIDTH_MM, abs=2.0)


@pytest.mark.parametrize("top", LEAN_TOPS[2:])
def test_a_short_wall_is_told_how_such_a_piece_leans(top: float) -> None:
    """A straight wall has no such lean: what comes back is the table's, to the hundredth."""
    some = wall(flare_deg=0.0)
    found = lean_of(some, some[0][:, 2] < top * WIDTH_MM + 2.5)
    assert found is not None
    assert found.top == pytest.approx(top, abs=0.02)
    expected = LEAN_DEG + np.interp(found.top, LEAN_TOPS, LEANS_DEG)
    assert found.backwards_deg == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("toward", [(0.4, 0.0), (-0.4, 0.0), (0.0, 0.4), (0.0, -0.4), (0.3, 0.3)])
def test_an_oblique_cut_adds_nothing_to_one_side(toward: tuple[float, float]) -> None:
    """The wall that flares tells the lean that a level cut at its lowest end would."""
    some = wall(flare_deg=2.0, bend_deg=8.0)
    slope = some[0][:, :2] @ np.array(toward)
    found = lean_of(some, some[0][:, 2] + slope < 74.0, lean_deg=0.0)
    assert found is not None
    straight = np.interp(found.top, LEAN_TOPS, LEANS_DEG)
    assert found.backwards_deg == pytest.approx(straight, abs=0.2)


def test_a_ragged_cut_adds_nothing_either() -> None:
    some = wall()
    ragged = 78.0 + 4.0 * np.sin(some[0][:, 0]) + 4.0 * np.sin(1.3 * some[0][:, 1])
    found = lean_of(some, some[0][:, 2] < ragged)
    assert found is not None
    straight = LEAN_DEG + np.interp(found.top, LEAN_TOPS, LEANS_DEG)
    assert found.backwards_deg == pytest.approx(straight, abs=0.3)


def test_a_closed_end_is_not_read() -> None:
    """A rounded cap above the cut would lean by tens of degrees."""
    points, normals, _ = wall()
    kept = points[:, 2] < 84.0
    x, y = (
        a.ravel() for a in np.meshgrid(np.arange(-14.0, 14.1, 0.5), np.arange(-14.0, 14.1, 0.5))
    )
    inside = np.hypot(x, y) < 14.0
    cap = np.column_stack([x[inside], y[inside], np.full(inside.sum(), 84.0)])
    up = np.tile([0.0, 0.0, 1.0], (len(cap), 1))
    rounded = kept & (points[:, 2] > 80.5)
    tilted = normals + np.where(rounded[:, None], [0.0, 0.35, 0.35], 0.0)
    tilted /= np.linalg.norm(tilted, axis=1, keepdims=True)
    closed = (
        np.vstack([points[kept], cap]),
        np.vstack([tilted[kept], up]),
        np.ones(kept.sum() + len(cap)),
    )
    found = lean_of(closed)
    assert found is not None
    straight = LEAN_DEG + np.interp(found.top, LEAN_TOPS, LEANS_DEG)
    assert found.backwards_deg == pytest.approx(straight, abs=0.3)


def test_without_a_wall_there_is_no_lean() -> None:
    some = wall()
    assert lean_of(some, some[0][:, 2] < LOWEST_TOP * WIDTH_MM - 2.0) is None
    assert lean_of(some, some[0][:, 2] < 10.0) is None


def test_one_side_alone_tells_nothing() -> None:
    some = wall()
    assert lean_of(some, some[0][:, 1] <= 0.0) is None
