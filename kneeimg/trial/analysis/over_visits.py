"""Table `mixed`: the difference between arms from a model of all visits together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kneeimg.settings.trial import TrialSettings
from kneeimg.trial.analysis.rows import (
    Comparison,
    Row,
    estimated,
    require_comparison,
    require_outcome,
)
from kneeimg.trial.dataset import Sample
from kneeimg.trial.statistics.mixed import METHOD, MixedModel, mixed_model


def mixed_rows(
    samples: Sequence[Sample], pairs: Sequence[Comparison], settings: TrialSettings
) -> list[Row]:
    """One row per outcome, visit and comparison."""
    rows: list[Row] = []
    for outcome in dict.fromkeys(sample.outcome for sample in samples):
        own = [sample for sample in samples if sample.outcome == outcome]
        for pair in pairs:
            rows += _model_rows(own, pair, settings)
    return rows


def _model_rows(samples: Sequence[Sample], pair: Comparison, settings: TrialSettings) -> list[Row]:
    fits: list[MixedModel] = []

    def row_of(sample: Sample) -> Row:
        row = sample.outcome.as_row(sample.visit) | pair.as_row() | {"method": METHOD}

        def estimate(row: Row) -> None:
            require_outcome(sample)
            require_comparison(pair)
            if not fits:
                fits.append(_fit(samples, pair, settings))
            _add(row, sample.visit, fits[0])
            used = [r for s in samples for r in s.measured(pair.arm, pair.reference)]
            row |= {"n_values": len(used)}
            row["n_participants"] = len({r["participant"] for r in used})

        return estimated(row, estimate)

    return [row_of(sample) for sample in samples]


def _fit(samples: Iterable[Sample], pair: Comparison, settings: TrialSettings) -> MixedModel:
    rows = [r for sample in samples for r in sample.measured(pair.arm, pair.reference)]
    return mixed_model(
        [r["followup"] for r in rows],
        [r["baseline"] for r in rows],
        [r["arm"] == pair.arm for r in rows],
        [r["visit"] for r in rows],
        [r["participant"] for r in rows],
        settings.confidence,
    )


def _add(row: Row, visit: str, fit: MixedModel) -> None:
    found = next(d for d in fit.differences if d.visit == visit)
    row |= {"difference": found.value, "ci_low": found.low, "ci_high": found.high}
    row |= {"se": found.se, "z": found.z, "p": found.p}
    row |= {"sd_participants": fit.sd_participants, "sd_residual": fit.sd_residual}
    row["baseline_slope"] = fit.baseline_slope
