"""KL support on graded real films: kappa, AUC, calibration, confusion, narrowing by grade.

    python scripts/train_kl_support.py collect FILMS --cache DIR     (once, resumable)
    python scripts/train_kl_support.py fit --cache DIR
    python benchmarks/kl_support.py --cache DIR [--picture PNG]

Figures of the answers that `fit` left: five folds by person, no person in two folds, everything
learned anew in each fold.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.kl_support import GRADES
from kneeimg.training.kl_fit import GradedFilms, graded_films
from kneeimg.training.kl_scores import auc, confusion, quadratic_kappa, reliability

_ABOUT = {"file", "person", "side", "kl", "refused", "flags"}
_RESAMPLES = 200


def read_table(cache: Path) -> tuple[list[dict[str, str]], GradedFilms]:
    """All rows of the table of features, and the films whose look is known."""
    with (cache / "features.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name not in _ABOUT]
    with np.load(cache / "looks.npz", allow_pickle=False) as stored:
        known = [row for row in rows if row["file"] in stored]
        looks = np.array([stored[row["file"]] for row in known], dtype=np.float32)
    return rows, graded_films(known, names, looks)


def print_films(rows: list[dict[str, str]], films: GradedFilms) -> None:
    """How many films were measured and refused."""
    refused = Counter(row["refused"] for row in rows if row["refused"])
    flags = Counter(flag for row in rows for flag in (row["flags"] or "").split())
    print(f"{len(rows)} films, measured {len(films.grades)}, refused {dict(refused)}")
    print(f"flags of the measured films: {dict(flags)}")
    print(f"{len(set(films.people.tolist()))} people; grades {np.bincount(films.grades).tolist()}")


def interval(films: GradedFilms, statistic) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """95 % interval of a statistic of row numbers, people drawn with replacement."""
    rng = np.random.default_rng(0)
    rows_of = {who: np.flatnonzero(films.people == who) for who in np.unique(films.people)}
    people = list(rows_of)
    found = []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(0, len(people), len(people))
        found.append(statistic(np.concatenate([rows_of[people[n]] for n in drawn])))
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)


def read_answers(cache: Path) -> NDArray[np.float64]:
    """(N, 6) whether a grade was suggested, and five probabilities, of each film with margins."""
    answers: NDArray[np.float64] = np.loadtxt(cache / "answers.csv", delimiter=",", skiprows=1)
    return answers


def print_agreement(films: GradedFilms, answers: NDArray[np.float64]) -> None:
    """Kappa, AUC, calibration and the table of grades, all out of fold."""
    certain, chances = answers[:, 0] > 0, answers[:, 1:]
    suggested = (np.cumsum(chances, axis=1) >= 0.5).argmax(axis=1)
    from_two, is_two = chances[:, 2:].sum(axis=1), films.grades >= 2
    kappa_range = interval(films, lambda r: quadratic_kappa(films.grades[r], suggested[r]))
    auc_range = interval(films, lambda r: auc(is_two[r], from_two[r]))
    kappa, area = quadratic_kappa(films.grades, suggested), auc(is_two, from_two)
    for name, value, limits, aim in (
        ("quadratic kappa", kappa, kappa_range, 0.72),
        ("AUC(KL >= 2)", area, auc_range, 0.88),
    ):
        verdict = "reached" if value >= aim else "MISSED"
        print(f"{name:18s}{value:.3f} ({limits[0]:.3f} to {limits[1]:.3f}), aim {aim}: {verdict}")
    exact = float((suggested == films.grades).mean())
    near = float((np.abs(suggested - films.grades) <= 1).mean())
    print(f"the same grade {100 * exact:.0f} %, within one grade {100 * near:.0f} %")
    if certain.any():
        held = quadratic_kappa(films.grades[certain], suggested[certain])
        print(f"grade suggested for {100 * certain.mean():.0f} % of films; kappa there {held:.3f}")
    print("\nconfusion, rows: readers KL 0-4, columns: suggested")
    for grade, row in zip(GRADES, confusion(films.grades, suggested), strict=True):
        print(f"  KL{grade} " + " ".join(f"{count:5d}" for count in row))
    print_reliability(chances, films)


def print_reliability(chances: NDArray[np.float64], films: GradedFilms) -> None:
    """Stated and found share of films, for KL >= 2 and the mean error over all grades."""
    table, error = reliability(films.grades >= 2, chances[:, 2:].sum(axis=1))
    print("\nreliability of P(KL >= 2): stated, found, films")
    for row in table:
        print(f"  {row.low:.1f}-{row.high:.1f}  {row.stated:.3f}  {row.found:.3f}  {row.films:5d}")
    each = [reliability(films.grades == g, chances[:, g])[1] for g in GRADES]
    print(
        f"expected calibration error: KL >= 2 {error:.3f}; single grades "
        + ", ".join(f"{value:.3f}" for value in each)
    )


def by_grade(films: GradedFilms, name: str) -> list[NDArray[np.float64]]:
    """Measured values of a feature, one array per grade."""
    values = films.values[:, films.names.index(name)]
    return [values[(films.grades == g) & np.isfinite(values)] for g in GRADES]


def print_features(films: GradedFilms) -> None:
    """Median of every feature by grade, and its rank correlation with the grade."""
    from scipy.stats import spearmanr

    print("\nfeature: films, Spearman with KL, medians of KL 0-4")
    for name in films.names:
        groups = by_grade(films, name)
        values = np.concatenate(groups)
        grades = np.repeat(GRADES, [len(group) for group in groups])
        if len(values) < 20 or np.ptp(values) == 0:
            continue
        medians = " ".join(f"{np.median(g):+.4f}" if len(g) else "  none " for g in groups)
        rho = float(spearmanr(values, grades).statistic)
        print(f"  {name:30s}{len(values):5d} {rho:+.2f}  {medians}")


def draw(films: GradedFilms, path: Path) -> None:
    """Joint-space narrowing by grade: boxes, with the atlas's JSN grades 1 and 2."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for panel, region in zip(axes, ("medial", "lateral"), strict=True):
        kept = [1 - group for group in by_grade(films, f"{region}_JSN")]
        panel.boxplot(kept, positions=list(GRADES), widths=0.6, showfliers=False)
        for level, text in ((2 / 3, "atlas JSN 1"), (1 / 3, "atlas JSN 2")):
            panel.axhline(level, color="#888888", linewidth=0.8, linestyle="--")
            panel.text(4.45, level + 0.015, text, fontsize=7, ha="right", color="#555555")
        panel.set_title(f"{region}: least joint space / normal", fontsize=9)
        panel.set_xlabel("KL grade of the readers", fontsize=9)
        panel.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(f"\nwrote {path}")


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    rows, films = read_table(options.cache)
    print(f"{len(films.grades)} films teach how bones look")
    films = films.take(films.framed)
    print_films(rows, films)
    print_agreement(films, read_answers(options.cache))
    print_features(films)
    if options.picture:
        draw(films, options.picture)


if __name__ == "__main__":
    main()
