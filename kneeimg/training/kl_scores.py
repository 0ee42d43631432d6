"""How well suggested grades and probabilities agree with the grades of readers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.core.kl_support import GRADES

FloatArray = NDArray[np.float64]


def confusion(truth: ArrayLike, suggested: ArrayLike) -> NDArray[np.int64]:
    """(5, 5) counts, rows the readers' grades, columns the suggested ones."""
    table = np.zeros((len(GRADES), len(GRADES)), dtype=np.int64)
    np.add.at(table, (np.asarray(truth), np.asarray(suggested)), 1)
    return table


def quadratic_kappa(truth: ArrayLike, suggested: ArrayLike) -> float:
    """Agreement beyond chance with squared distances as weights (Cohen 1968).

    >>> quadratic_kappa([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    1.0
    >>> quadratic_kappa([0, 0, 4, 4], [0, 4, 0, 4])
    0.0
    """
    table = confusion(truth, suggested).astype(np.float64)
    grade = np.arange(len(GRADES))
    weight = (grade[:, None] - grade[None, :]) ** 2
    chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(1.0 - (weight * table).sum() / (weight * chance).sum())


def auc(positive: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive film scores above a negative one.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    from scipy.stats import rankdata

    yes = np.asarray(positive, dtype=bool)
    ranks = rankdata(np.asarray(score, dtype=np.float64))
    many, few = int(yes.sum()), int((~yes).sum())
    return float((ranks[yes].sum() - many * (many + 1) / 2) / (many * few))


@dataclass(frozen=True, slots=True)
class Bin:
    """Films whose stated probability lies in one tenth.

    Attributes
    ----------
    low, high : Limits of the stated probability.
    films : How many.
    stated : Their mean stated probability.
    found : Share of them for which it was true.
    """

    low: float
    high: float
    films: int
    stated: float
    found: float


def reliability(
    true: ArrayLike, probability: ArrayLike, bins: int = 10
) -> tuple[tuple[Bin, ...], float]:
    """Reliability table and the expected calibration error, its mean gap weighted by films.

    >>> table, error = reliability([0, 1, 1, 1], [0.25, 0.25, 0.75, 0.75], bins=2)
    >>> [(row.stated, row.found) for row in table], error
    ([(0.25, 0.5), (0.75, 1.0)], 0.25)
    """
    yes, stated = np.asarray(true, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    place = np.minimum((stated * bins).astype(np.int64), bins - 1)
    rows = tuple(
        Bin(
            float(n / bins),
            float((n + 1) / bins),
            int((place == n).sum()),
            float(stated[place == n].mean()),
            float(yes[place == n].mean()),
        )
        for n in np.unique(place)
    )
    error = sum(row.films * abs(row.stated - row.found) for row in rows) / len(yes)
    return rows, float(error)
