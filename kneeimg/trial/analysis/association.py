"""Table `association`: change in structure beside change in symptoms and markers."""

from __future__ import annotations

from collections.abc import Sequence

from kneeimg.settings.trial import TrialSettings
from kneeimg.trial.analysis.rows import (
    EVERYBODY,
    Row,
    adjust_families,
    estimated,
    part_of,
    require_outcome,
)
from kneeimg.trial.dataset import Sample
from kneeimg.trial.outcomes import associated
from kneeimg.trial.statistics.checks import seeded
from kneeimg.trial.statistics.correlation import pearson, spearman, spearman_interval


def association_rows(
    samples: Sequence[Sample], arms: Sequence[str], settings: TrialSettings
) -> list[Row]:
    """Rows per outcome of structure, visit, clinical column and population.

    All rank correlations of the table are one family of tests.
    """
    wanted = associated((sample.outcome for sample in samples), settings)
    markers = [s for s in samples if s.outcome.role == "clinical"]
    rows = [
        _association_row(sample, marker, name, settings, arms)
        for sample in samples
        if sample.outcome in wanted
        for marker in markers
        if marker.visit == sample.visit
        for name in (EVERYBODY, *arms)
    ]
    adjust_families(rows, "p", None)
    return rows


def _association_row(
    sample: Sample, marker: Sample, name: str, settings: TrialSettings, arms: Sequence[str]
) -> Row:
    chosen = tuple(arms) if name == EVERYBODY else (name,)
    changes = {r["participant"]: r["change"] for r in marker.measured(*chosen)}
    pairs = [
        (r["change"], changes[r["participant"]])
        for r in sample.measured(*chosen)
        if r["participant"] in changes
    ]
    structure, symptom = [a for a, _ in pairs], [b for _, b in pairs]
    column = marker.outcome.quantity
    row = sample.outcome.as_row(sample.visit) | {"marker": column, "n": len(pairs)}
    row |= {"marker_unit": marker.outcome.unit, "population": name}

    def estimate(row: Row) -> None:
        require_outcome(sample)
        require_outcome(marker)
        rank = spearman(structure, symptom)
        line = pearson(structure, symptom, settings.confidence)
        row |= {"spearman": rank.r, "p": rank.p, "pearson": line.r, "pearson_p": line.p}
        row |= {"pearson_low": line.low, "pearson_high": line.high}
        with part_of(row):
            rng = seeded(settings.seed, sample.outcome.endpoint, sample.visit, column, name)
            interval = spearman_interval(
                structure, symptom, settings.resamples, rng, settings.confidence
            )
            row |= {"spearman_low": interval.low, "spearman_high": interval.high}
            row["resamples"] = interval.resamples

    return estimated(row, estimate)
