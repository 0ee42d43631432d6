"""How the bones look: edge directions, parts of the joint, scores that add up."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.kl_support import KlAppearance
from kneeimg.core.margins import Compartment
from kneeimg.errors import ModelError
from kneeimg.measure.appearance import (
    Part,
    cell_parts,
    grid_shape,
    look_names,
    look_scores,
)
from kneeimg.measure.edge_histograms import ANGLES, CELL, edge_histograms
from kneeimg.measure.film_level import S_RANGE, SAMPLES_PER_WIDTH, V_RANGE, LevelCompartment

ROWS, COLUMNS = grid_shape()
SIZE = 2 * ROWS * COLUMNS * ANGLES


def histograms(level: LevelCompartment) -> np.ndarray:
    return edge_histograms(level.detail, level.inside, grid_shape())


def level_of(detail: np.ndarray, inside: np.ndarray | None = None) -> LevelCompartment:
    s, v = (
        np.arange(round(low * SAMPLES_PER_WIDTH), round(high * SAMPLES_PER_WIDTH) + 1)
        / SAMPLES_PER_WIDTH
        for low, high in (S_RANGE, V_RANGE)
    )
    seen = np.ones((len(v), len(s)), dtype=bool) if inside is None else inside
    line = np.zeros_like(s)
    return LevelCompartment(Compartment.MEDIAL, s, v, detail, detail, seen, line, line)


def blank() -> np.ndarray:
    rows, columns = (round((b - a) * SAMPLES_PER_WIDTH) + 1 for a, b in (V_RANGE, S_RANGE))
    return np.zeros((rows, columns))


@pytest.mark.parametrize("axis, direction", [(1, 0), (0, 2)])
def test_an_edge_falls_into_its_cell_and_direction(axis, direction):
    detail = blank()
    middle = 5 * CELL + CELL // 2  # in the middle of cell 5
    (detail[:, middle:] if axis == 1 else detail[middle:, :])[...] = 1.0
    found = histograms(level_of(detail))
    totals = found.sum(axis=(0, 1))
    assert totals[direction] > 0.99 * totals.sum()
    by_cell = found[..., direction].sum(axis=1 - axis)
    assert by_cell.argmax() == 5
    opposite = histograms(level_of(-detail)).sum(axis=(0, 1))
    assert opposite[(direction + 4) % ANGLES] > 0.99 * opposite.sum()


def test_a_cell_off_the_film_is_not_a_cell_without_edges():
    detail = np.random.default_rng(0).standard_normal(blank().shape)
    inside = np.ones(detail.shape, dtype=bool)
    inside[:, : 2 * CELL] = False
    found = histograms(level_of(detail, inside))
    assert np.isnan(found[:, :2]).all()
    assert np.isfinite(found[:, 2:]).all()


def test_every_cell_belongs_to_one_part():
    owners = sum(cells.astype(int) for cells in cell_parts().values())
    assert (owners == 1).all()
    assert len(look_names()) == 2 * len(Part)


def test_scores_add_up_to_the_whole_regression():
    rng = np.random.default_rng(1)
    appearance = KlAppearance(rng.standard_normal(SIZE), rng.standard_normal(SIZE))
    look = rng.standard_normal(SIZE)
    scores = look_scores(look, appearance)
    assert tuple(scores) == look_names()
    assert sum(scores.values()) == pytest.approx((look - appearance.mean) @ appearance.weight)


def test_a_part_off_the_film_has_no_score_and_the_others_do():
    appearance = KlAppearance(np.zeros(SIZE), np.ones(SIZE))
    look = np.ones((2, ROWS, COLUMNS, ANGLES))
    look[0, cell_parts()[Part.TIBIAL_MARGIN]] = np.nan
    scores = look_scores(look.ravel(), appearance)
    assert np.isnan(scores["medial_look_tibial_margin"])
    assert scores["lateral_look_tibial_margin"] == cell_parts()[Part.TIBIAL_MARGIN].sum() * ANGLES


def test_weights_that_do_not_belong_together_are_refused():
    with pytest.raises(ModelError):
        KlAppearance(np.zeros(3), np.zeros(4))
    with pytest.raises(ModelError):
        KlAppearance(np.zeros(1), np.array([np.nan]))
