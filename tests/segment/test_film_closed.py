"""A joint is closed where no dark line is left between margins that lie close together."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.margins import Compartment, MarginLine
from kneeimg.segment.film.closed import close_joint
from kneeimg.segment.film.locate import Pose

MEDIAL, LATERAL = Compartment.MEDIAL, Compartment.LATERAL
POSE = Pose(150.0, 100.0, 240.0, 0.0)
SPACE = 0.05  # of the femoral width


def film(bright_from: float) -> np.ndarray:
    """Bone with a dark space of constant width below v = 0, filled from an x to the lateral end."""
    row, column = np.mgrid[:200, :300]
    x, v = np.moveaxis(POSE.frame(np.stack([column, row], axis=-1).reshape(-1, 2)), -1, 0)
    dark = (v > 0) & (v < SPACE) & (x < bright_from)
    return np.where(dark, 20.0, 100.0).reshape(row.shape)


def margins(v: float, sure: float) -> dict[Compartment, MarginLine]:
    lines = {}
    for c, (low, high) in {MEDIAL: (0.05, 0.38), LATERAL: (0.62, 0.94)}.items():
        x = np.linspace(low, high, 90)
        points = POSE.pixels(np.column_stack([x, np.full(90, v)]))
        lines[c] = MarginLine(points, np.full(90, sure))
    return lines


def floor(gap_outside: float) -> dict[Compartment, MarginLine]:
    """A floor at the bottom of the space that lies so far below the femur from x = 0.86 on."""
    lines = margins(SPACE, 0.5)
    placed = POSE.frame(lines[LATERAL].points)
    placed[:, 1] = np.interp(placed[:, 0], [0.85, 0.86], [SPACE, gap_outside])
    return {**lines, LATERAL: MarginLine(POSE.pixels(placed), lines[LATERAL].confidence)}


@pytest.mark.parametrize("gap, closed", [(0.012, True), (0.025, True), (0.045, False)])
def test_a_place_without_a_dark_line_is_closed_if_its_margins_lie_close(gap, closed):
    femur, tibia = close_joint(film(0.855), POSE, margins(0.0, 0.9), floor(gap))
    x, top = POSE.frame(femur[LATERAL].points).T
    outside = x > 0.88
    bottom = np.interp(x[outside], *POSE.frame(tibia[LATERAL].points).T)
    assert np.allclose(bottom - top[outside], 0.0 if closed else gap, atol=1e-3)
    inside = np.interp(0.7, *POSE.frame(tibia[LATERAL].points).T)
    assert inside == pytest.approx(SPACE, abs=1e-6)
    assert np.allclose(tibia[MEDIAL].points, floor(gap)[MEDIAL].points)
