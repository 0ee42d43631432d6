"""Fitting the ordinal model: known coefficients come back, people stay whole, figures are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.errors import AnalysisError
from kneeimg.measure.appearance import grid_shape, look_names
from kneeimg.measure.edge_histograms import ANGLES
from kneeimg.measure.kl_model import grade_probabilities
from kneeimg.training.kl_fit import (
    GradedFilms,
    _objective,
    cross_validate,
    fit_kl_model,
    folds_by_person,
    graded_films,
    scores,
)
from kneeimg.training.kl_scores import auc, confusion, quadratic_kappa, reliability


def NO_LOOKS(count: int) -> np.ndarray:
    return np.zeros((count, 0), dtype=np.float32)


def ALL(count: int) -> np.ndarray:
    return np.ones(count, dtype=bool)


CUTS = (-2.0, -0.7, 0.7, 2.0)


def drawn(count: int, seed: int = 3) -> GradedFilms:
    """Films whose grade follows 2 x a - 1 x b by proportional odds; c is noise; some gaps."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((count, 3))
    chances = grade_probabilities(values @ [2.0, -1.0, 0.0], CUTS)
    reached = rng.random((count, 1)) > np.cumsum(chances, axis=1)[:, :-1]
    values[rng.random((count, 3)) < 0.02] = np.nan
    people = np.array([f"P{n // 2:04d}" for n in range(count)])
    return GradedFilms(
        ("a", "b", "c"), values, reached.sum(axis=1), people, NO_LOOKS(count), ALL(count)
    )


@pytest.fixture(scope="module")
def films() -> GradedFilms:
    return drawn(1200)


def test_known_coefficients_come_back(films):
    model = fit_kl_model(films)
    found = {f.name: f.coefficient / f.sd for f in model.features}
    assert found == pytest.approx({"a": 2.0, "b": -1.0, "c": 0.0}, abs=0.2)
    assert model.thresholds == pytest.approx(CUTS, abs=0.25)


def test_equal_films_equal_model(films):
    first, second = fit_kl_model(films), fit_kl_model(films)
    assert first.features == second.features
    assert first.thresholds == second.thresholds


def test_the_gradient_is_the_slope_of_the_loss(films):
    values = np.nan_to_num(films.values)
    x = np.array([0.4, -0.2, 0.1, -1.5, 0.1, 0.3, -0.1])
    _, gradient = _objective(x, values, films.grades, 0.05)
    step = 1e-6
    for n in range(len(x)):
        moved = [x + sign * step * np.eye(len(x))[n] for sign in (1, -1)]
        up, down = (_objective(m, values, films.grades, 0.05)[0] for m in moved)
        assert gradient[n] == pytest.approx((up - down) / (2 * step), abs=1e-6)


def test_both_knees_of_a_person_stay_in_one_fold(films):
    fold = folds_by_person(films.people, 5, seed=1)
    assert all(len(set(fold[films.people == who])) == 1 for who in np.unique(films.people)[:50])
    sizes = np.bincount(fold)
    assert sizes.min() > 0.8 * sizes.max()


def test_held_out_probabilities_are_calibrated(films):
    answers = cross_validate(films)
    chances = np.array([answer.probabilities for answer in answers])
    assert chances.sum(axis=1) == pytest.approx(1.0)
    _, error = reliability(films.grades >= 2, chances[:, 2:].sum(axis=1))
    assert error < 0.05
    assert auc(films.grades >= 2, chances[:, 2:].sum(axis=1)) > 0.85


def test_a_grade_that_follows_nothing_is_not_predicted(films):
    shuffled = np.random.default_rng(0).permutation(films.grades)
    blind = GradedFilms(
        films.names, films.values, shuffled, films.people, films.looks, films.framed
    )
    chances = np.array([a.probabilities for a in cross_validate(blind)])
    assert abs(auc(shuffled >= 2, chances[:, 2:].sum(axis=1)) - 0.5) < 0.06


def test_scores_are_the_sums_of_the_contributions():
    model = fit_kl_model(drawn(200))
    small = drawn(60)
    found = scores(small, model)
    by_hand = np.zeros(60)
    for n, feature in enumerate(model.features):
        held = np.clip(small.values[:, n], feature.low, feature.high)
        part = feature.coefficient * (held - feature.mean) / feature.sd
        by_hand += np.where(np.isfinite(part), part, 0.0)
    assert found == pytest.approx(by_hand)


def test_too_few_films_are_refused():
    small = drawn(60)
    with pytest.raises(AnalysisError):
        small.take(np.arange(60) < 40)


def test_a_table_is_read_with_its_gaps():
    rows = [{"person": f"P{n}", "kl": str(n % 5), "a": "" if n == 3 else "0.5"} for n in range(50)]
    films = graded_films(rows, ["a"])
    assert np.isnan(films.values[3, 0])
    assert films.film(4) == {"a": 0.5}


def test_kappa_of_a_table_worked_by_hand():
    truth, suggested = [0, 0, 1, 4], [0, 1, 1, 3]
    # observed squared distances: 0 + 1 + 0 + 1 = 2; by chance the mean over all pairs:
    by_chance = np.mean([(t - s) ** 2 for t in truth for s in suggested]) * 4
    assert quadratic_kappa(truth, suggested) == pytest.approx(1 - 2 / by_chance)
    assert confusion(truth, suggested)[0].tolist() == [1, 1, 0, 0, 0]


def with_looks(count: int, framed: int, seed: int = 7) -> GradedFilms:
    """Films whose grade follows the sum of all looks; only the first ones have margins."""
    rng = np.random.default_rng(seed)
    rows, columns = grid_shape()
    latent = rng.standard_normal(count)
    looks = 0.3 * latent[:, None] + rng.standard_normal((count, 2 * rows * columns * ANGLES))
    grades = np.digitize(latent, [-1.0, -0.3, 0.3, 1.0])
    people = np.array([f"P{n // 2:04d}" for n in range(count)])
    has = np.arange(count) < framed
    values = np.where(has[:, None], rng.standard_normal((count, 1)), np.nan)
    return GradedFilms(("a",), values, grades, people, looks.astype(np.float32), has)


def test_how_bones_look_is_learned_and_held_out_people_show_it():
    films = with_looks(160, framed=100)
    answers = cross_validate(films)
    assert len(answers) == 100
    truth = films.grades[films.framed]
    chances = np.array([answer.probabilities for answer in answers])
    assert auc(truth >= 2, chances[:, 2:].sum(axis=1)) > 0.9
    model = fit_kl_model(films)
    assert model.appearance is not None
    assert {f.name for f in model.features} == {"a", *look_names()}
    noise = replace(films, grades=np.random.default_rng(1).permutation(films.grades))
    blind = np.array([a.probabilities for a in cross_validate(noise)])
    assert abs(auc(noise.grades[films.framed] >= 2, blind[:, 2:].sum(axis=1)) - 0.5) < 0.2
