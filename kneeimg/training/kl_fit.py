"""Fitting the ordinal model of KL support, and judging it on people it has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.kl_support import GRADES, KlAppearance, KlFeature, KlModel, KlSupport
from kneeimg.errors import AnalysisError
from kneeimg.measure.appearance import look_names, look_scores
from kneeimg.measure.kl_model import contribution, kl_support
from kneeimg.settings.kl_support import KlSupportSettings

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RIDGE = 1.0  # penalty of the looks, per value
_LEAST_SD = 1e-3  # a value that varies less is noise
PENALTIES = (0.01, 0.05, 0.2)
FOLDS = 5
_LEAST_FILMS = 50
_FEWEST_SEEN = 0.5  # share of the films that must have a feature for it to be used


@dataclass(frozen=True, slots=True, eq=False)
class GradedFilms:
    """Films with their features and the grades that readers gave.

    Attributes
    ----------
    names : (P,) features.
    values : (N, P), NaN where a feature was not measured.
    grades : (N,) 0 to 4.
    people : (N,) who; both knees of a person are one person's.
    looks : (N, D) how the bones look, of `measure.appearance.look_vector`; D may be 0.
    framed : (N,) whether the film has margins of its own. One without, laid into the typical frame
        of its collection, teaches how bones look and nothing else.
    """

    names: tuple[str, ...]
    values: FloatArray
    grades: IntArray
    people: NDArray[np.str_]
    looks: NDArray[np.float32]
    framed: NDArray[np.bool_]

    def __post_init__(self) -> None:
        films = len(self.grades)
        if (
            self.values.shape != (films, len(self.names))
            or len(self.people) != films
            or (len(self.looks) != films)
        ):
            raise AnalysisError("features, grades and people do not belong together")
        films = int(self.framed.sum())
        if films < _LEAST_FILMS or len(np.unique(self.grades)) != len(GRADES):
            raise AnalysisError(
                "too few films to fit an ordinal model",
                expected=f"at least {_LEAST_FILMS} films, some of each grade",
                found=f"{films} films of the grades {np.unique(self.grades).tolist()}",
            )

    def take(self, rows: NDArray[np.bool_]) -> GradedFilms:
        """Some of the films."""
        return GradedFilms(
            self.names,
            self.values[rows],
            self.grades[rows],
            self.people[rows],
            self.looks[rows],
            self.framed[rows],
        )

    def with_scores(self, scored: FloatArray) -> GradedFilms:
        """With the scores of `look_names` as further features."""
        names, values = (*self.names, *look_names()), np.hstack([self.values, scored])
        return replace(self, names=names, values=values, looks=self.looks[:, :0])

    def film(self, row: int) -> dict[str, float]:
        """Features of one film by name."""
        return dict(zip(self.names, self.values[row].tolist(), strict=True))


def folds_by_person(people: NDArray[np.str_], folds: int, seed: int) -> IntArray:
    """(N,) fold of every film, the same for all films of a person; equal seeds, equal folds."""
    who, place = np.unique(people, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(who))
    found: IntArray = (order % folds)[place]
    return found


def fit_kl_model(films: GradedFilms, seed: int = 0) -> KlModel:
    """Proportional odds with an L2 penalty chosen by cross-validation, then calibrated.

    Notes
    -----
    The penalty is that with the least log loss on held-out people. It shrinks the score and so
    flattens the probabilities; slope and thresholds are therefore fitted again, without a penalty,
    to the scores of the held-out people. Where the looks of the bones are given, their scores are
    learned first, and the ordinal model sees those of held-out people only.
    """
    if films.looks.shape[1]:
        return _fit_with_looks(films, seed)
    penalty, held_out = _choose_penalty(films, seed)
    model = _fit(films, penalty)
    slope, thresholds = calibration(held_out, films.grades)
    features = tuple(_scaled(feature, slope) for feature in model.features)
    first, second, third, fourth = thresholds.tolist()
    return KlModel(features, (first, second, third, fourth), {"penalty": penalty})


def _fit_with_looks(films: GradedFilms, seed: int) -> KlModel:
    """The looks first, each film scored by people that are not on it, then the ordinal model."""
    fold = folds_by_person(films.people, FOLDS, seed)
    scored = np.full((len(films.grades), len(look_names())), np.nan)
    for number in range(FOLDS):
        appearance = _ridge(films.looks[fold != number], films.grades[fold != number])
        scored[fold == number] = _looked(films.looks[fold == number], appearance)
    model = fit_kl_model(films.with_scores(scored).take(films.framed), seed + 1)
    return replace(model, appearance=_ridge(films.looks, films.grades))


def _looked(looks: NDArray[np.float32], appearance: KlAppearance) -> FloatArray:
    """(N, 10) scores of every film."""
    rows = [list(look_scores(look, appearance).values()) for look in looks.astype(np.float64)]
    return np.array(rows).reshape(len(looks), len(look_names()))


def _ridge(looks: NDArray[np.float32], grades: IntArray) -> KlAppearance:
    """Ridge regression of the grade on standardised looks, solved in the space of the films."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a cell that no film shows
        mean, sd = np.nanmean(looks, axis=0), np.nanstd(looks, axis=0)
    mean, sd = np.nan_to_num(mean), np.nan_to_num(sd)
    scale = np.where(sd > _LEAST_SD, 1 / np.maximum(sd, _LEAST_SD), 0.0).astype(np.float32)
    standard = np.nan_to_num((looks - mean) * scale, nan=0.0)  # float32: half the time
    gram = (standard @ standard.T).astype(np.float64)
    gram += RIDGE * standard.shape[1] * np.eye(len(gram))
    by_film = np.linalg.solve(gram, grades - grades.mean())
    weight = standard.T.astype(np.float64) @ by_film * scale
    return KlAppearance(mean.astype(np.float64), weight)


def cross_validate(
    films: GradedFilms, settings: KlSupportSettings | None = None, seed: int = 0
) -> list[KlSupport]:
    """What models that never saw a person say of that person's films that have margins, in order.

    Everything is learned anew in each fold: looks, ranges, penalty, coefficients and calibration.
    """
    fold = folds_by_person(films.people, FOLDS, seed)
    answers: dict[int, KlSupport] = {}
    for number in range(FOLDS):
        model = fit_kl_model(films.take(fold != number), seed + 1)
        for row in np.flatnonzero((fold == number) & films.framed):
            values = films.film(int(row))
            if model.appearance is not None:
                look = films.looks[row].astype(np.float64)
                values |= look_scores(look, model.appearance)
            answers[int(row)] = kl_support(values, model, settings)
    return [answers[int(row)] for row in np.flatnonzero(films.framed)]


def scores(films: GradedFilms, model: KlModel) -> FloatArray:
    """(N,) log odds of every film before the thresholds."""
    column = {name: n for n, name in enumerate(films.names)}
    return np.array(
        [
            sum(contribution(f, float(row[column[f.name]])) for f in model.features)
            for row in films.values
        ]
    )


def _choose_penalty(films: GradedFilms, seed: int) -> tuple[float, FloatArray]:
    """Penalty with the least held-out loss, and the held-out scores under it."""
    fold = folds_by_person(films.people, FOLDS, seed)
    best: tuple[float, float, FloatArray] | None = None
    for penalty in PENALTIES:
        held_out = np.zeros(len(films.grades))
        loss = 0.0
        for number in range(FOLDS):
            inner, outer = films.take(fold != number), fold == number
            model = _fit(inner, penalty)
            held_out[outer] = _scores_of(films.values[outer], films.names, model)
            loss += _loss(held_out[outer], films.grades[outer], np.array(model.thresholds))
        if best is None or loss < best[0]:
            best = (loss, penalty, held_out)
    assert best is not None  # PENALTIES is not empty
    return best[1], best[2]


def _scores_of(values: FloatArray, names: Sequence[str], model: KlModel) -> FloatArray:
    column = {name: n for n, name in enumerate(names)}
    total = np.zeros(len(values))
    for feature in model.features:
        held = np.clip(values[:, column[feature.name]], feature.low, feature.high)
        part = feature.coefficient * (held - feature.mean) / feature.sd
        total += np.nan_to_num(part, nan=0.0)
    return total


def _fit(films: GradedFilms, penalty: float) -> KlModel:
    """Model with one penalty; features that are rarely seen or never vary stay out."""
    ranges = [
        described
        for name, column in zip(films.names, films.values.T, strict=True)
        if (described := _described(name, column)) is not None
    ]
    unit = KlModel(tuple(ranges), (0.0, 1.0, 2.0, 3.0))
    columns = [_scores_of(films.values, films.names, _only(unit, f)) for f in unit.features]
    weights, thresholds = _proportional_odds(np.column_stack(columns), films.grades, penalty)
    first, second, third, fourth = thresholds.tolist()
    pairs = zip(ranges, weights, strict=True)
    features = tuple(_scaled(feature, float(weight)) for feature, weight in pairs)
    return KlModel(features, (first, second, third, fourth))


def _only(model: KlModel, feature: KlFeature) -> KlModel:
    return KlModel((feature,), model.thresholds)


def _described(name: str, column: FloatArray) -> KlFeature | None:
    """Range and spread of a feature with coefficient 1; None when it cannot be used."""
    seen = column[np.isfinite(column)]
    if len(seen) < _FEWEST_SEEN * len(column):
        return None
    low, high = (float(edge) for edge in np.percentile(seen, [1, 99]))
    held = np.clip(seen, low, high)
    sd = float(held.std())
    if sd <= 1e-12:
        return None
    mean = float(held.mean())
    return KlFeature(name, 1.0, mean, sd, low, high, float(seen.min()), float(seen.max()))


def _scaled(feature: KlFeature, weight: float) -> KlFeature:
    values = {field: getattr(feature, field) for field in ("mean", "sd", "low", "high")}
    return KlFeature(
        feature.name, feature.coefficient * weight, **values, least=feature.least, most=feature.most
    )


def _proportional_odds(
    values: FloatArray, grades: IntArray, penalty: float
) -> tuple[FloatArray, FloatArray]:
    """Weights (P,) and ascending thresholds (4,) of the least penalised log loss."""
    from scipy.optimize import minimize

    count = values.shape[1]
    at_least = np.array([(grades >= g).mean() for g in GRADES[1:]])
    usual = -np.log(at_least / (1 - at_least))
    start = np.concatenate([np.zeros(count), usual[:1], np.log(np.maximum(np.diff(usual), 1e-2))])
    found = minimize(_objective, start, args=(values, grades, penalty), jac=True, method="L-BFGS-B")
    return found.x[:count], _thresholds(found.x[count:])


def _thresholds(raw: FloatArray) -> FloatArray:
    """First threshold and the logarithms of the three steps to four ascending ones."""
    return np.cumsum(np.concatenate([raw[:1], np.exp(raw[1:])]))


def _objective(
    x: FloatArray, values: FloatArray, grades: IntArray, penalty: float
) -> tuple[float, FloatArray]:
    """Mean log loss with its penalty, and the gradient."""
    count, films = values.shape[1], len(grades)
    weights, cuts = x[:count], _thresholds(x[count:])
    score = values @ weights
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    upper, lower = _logistic(score - edges[grades]), _logistic(score - edges[grades + 1])
    share = np.maximum(upper - lower, 1e-12)
    steep_upper, steep_lower = upper * (1 - upper) / share, lower * (1 - lower) / share
    slope = -(steep_upper - steep_lower) / films
    by_cut = np.array(
        [
            (steep_upper[grades == k].sum() - steep_lower[grades == k - 1].sum()) / films
            for k in GRADES[1:]
        ]
    )
    below = np.cumsum(by_cut[::-1])[::-1]  # a threshold moves with every step before it
    raw = np.concatenate([below[:1], below[1:] * np.exp(x[count + 1 :])])
    loss = float(-np.log(share).mean() + penalty / 2 * weights @ weights)
    return loss, np.concatenate([values.T @ slope + penalty * weights, raw])


def _logistic(x: FloatArray) -> FloatArray:
    found: FloatArray = 0.5 * (1.0 + np.tanh(x / 2.0))
    return found


def _loss(score: FloatArray, grades: IntArray, thresholds: FloatArray) -> float:
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
    share = _logistic(score - edges[grades]) - _logistic(score - edges[grades + 1])
    return float(-np.log(np.maximum(share, 1e-12)).sum())


def calibration(score: FloatArray, grades: IntArray) -> tuple[float, FloatArray]:
    """Slope and thresholds that fit held-out scores best."""
    weights, thresholds = _proportional_odds(score[:, None], grades, 0.0)
    return float(weights[0]), thresholds


def graded_films(
    rows: Sequence[Mapping[str, str]],
    names: Sequence[str],
    looks: NDArray[np.float32] | None = None,
) -> GradedFilms:
    """Films of a table with the columns `person`, `kl`, `refused` and the features.

    An empty cell is NaN; a film that says why it was refused has no margins.
    """
    values = [[float(row[name]) if row.get(name) else np.nan for name in names] for row in rows]
    return GradedFilms(
        tuple(names),
        np.array(values, dtype=np.float64).reshape(len(rows), len(names)),
        np.array([int(row["kl"]) for row in rows], dtype=np.int64),
        np.array([row["person"] for row in rows]),
        np.zeros((len(rows), 0), dtype=np.float32) if looks is None else looks,
        np.array([not row.get("refused") for row in rows]),
    )
