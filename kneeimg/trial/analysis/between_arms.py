"""Tables `ancova` and `sample_size`: the difference between arms, and the next trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kneeimg.errors import AnalysisError, ReasonCode
from kneeimg.settings.trial import TrialSettings
from kneeimg.trial.analysis.rows import (
    Comparison,
    Row,
    adjust_families,
    estimated,
    part_of,
    require_comparison,
    require_outcome,
)
from kneeimg.trial.dataset import Sample
from kneeimg.trial.statistics.ancova import ancova, permutation_check
from kneeimg.trial.statistics.checks import seeded
from kneeimg.trial.statistics.means import Estimate, hedges_g, welch
from kneeimg.trial.statistics.power import size_two_arms


def ancova_rows(
    samples: Iterable[Sample], pairs: Sequence[Comparison], settings: TrialSettings
) -> list[Row]:
    """One row per outcome, visit and comparison; p-values adjusted within each role."""
    rows = [_ancova_row(sample, pair, settings) for sample in samples for pair in pairs]
    adjust_families(rows, "p", "role")
    return rows


def _ancova_row(sample: Sample, pair: Comparison, settings: TrialSettings) -> Row:
    row = sample.outcome.as_row(sample.visit) | pair.as_row()
    both = (pair.arm, pair.reference)
    row["n_arm"] = len(sample.measured(pair.arm))
    row["n_reference"] = len(sample.measured(pair.reference)) if pair.reference else 0
    row["n_drift"] = sum(bool(r["drift"]) for r in sample.measured(*filter(None, both)))

    def estimate(row: Row) -> None:
        require_outcome(sample)
        require_comparison(pair)
        _add_model(row, sample, pair, settings)
        with part_of(row):
            _add_observed(row, sample, pair, settings)

    return estimated(row, estimate)


def _add_model(row: Row, sample: Sample, pair: Comparison, settings: TrialSettings) -> None:
    both = (pair.arm, pair.reference)
    followup, baseline = (sample.numbers(name, *both) for name in ("followup", "baseline"))
    in_arm = [r["arm"] == pair.arm for r in sample.measured(*both)]
    fit = ancova(followup, baseline, in_arm, settings.confidence)
    row |= {
        "difference": fit.difference,
        "ci_low": fit.low,
        "ci_high": fit.high,
        "se": fit.se,
        "adjusted_change_arm": fit.adjusted_change_arm,
        "adjusted_change_reference": fit.adjusted_change_reference,
        "effect_size": fit.effect_size.value,
        "effect_size_low": fit.effect_size.low,
        "effect_size_high": fit.effect_size.high,
        "baseline_slope": fit.baseline_slope,
        "residual_sd": fit.residual_sd,
        "t": fit.t,
        "df": float(fit.df),
        "p": fit.p,
    }
    rng = seeded(settings.seed, "ancova", sample.outcome.endpoint, sample.visit, *both)
    check = permutation_check(followup, baseline, in_arm, settings.permutations, rng)
    row |= {"permutation_p": check.p, "permutations": check.permutations}
    row["permutation_method"] = check.method


def _add_observed(row: Row, sample: Sample, pair: Comparison, settings: TrialSettings) -> None:
    """The changes as they are, without adjusting."""
    arm, reference = (sample.numbers("change", name) for name in (pair.arm, pair.reference))
    for name, changes in (("arm", arm), ("reference", reference)):
        row[f"mean_change_{name}"] = float(changes.mean())
        row[f"sd_change_{name}"] = float(changes.std(ddof=1))
    raw = welch(arm, reference, settings.confidence)
    row |= {"raw_difference": raw.value, "raw_low": raw.low, "raw_high": raw.high}
    g = hedges_g(arm, reference, settings.confidence)
    row |= {"hedges_g": g.value, "hedges_g_low": g.low, "hedges_g_high": g.high}


def sample_size_rows(
    compared: Iterable[Row], responded: Iterable[Row], settings: TrialSettings
) -> list[Row]:
    """Participants per arm of the next trial.

    Parameters
    ----------
    compared : Rows of the table `ancova`: designs "observed difference".
    responded : Rows of the table `srm`: designs "slowing"; of a single arm, not of everybody.
    settings : Powers, slowing, confidence.
    """
    rows: list[Row] = []
    for source in compared:
        if source["role"] == "clinical":
            continue
        names = ("effect_size", "effect_size_low", "effect_size_high")
        rows += _sizes(source, "observed difference", names, math.nan, settings)
    for source in responded:
        if source["role"] == "clinical" or source["arm"] == "all":
            continue
        for slowing in settings.slowing_pct:
            rows += _sizes(source, "slowing", ("srm", "ci_low", "ci_high"), slowing, settings)
    return rows


_SHARED = ("role", "endpoint", "kind", "region", "quantity", "unit", "visit", "arm")


def _sizes(
    source: Row, design: str, names: Sequence[str], slowing_pct: float, settings: TrialSettings
) -> list[Row]:
    alpha = 1 - settings.confidence
    shared = {name: source[name] for name in _SHARED}
    shared |= {"reference_arm": source.get("reference_arm", ""), "design": design}
    shared |= {"slowing_pct": slowing_pct, "alpha": round(alpha, 12)}

    def estimate(row: Row) -> None:
        if source["status"] != "ok":
            raise _inherited(source)
        scale = 1.0 if math.isnan(slowing_pct) else slowing_pct / 100
        value, low, high = (scale * source.get(name, math.nan) for name in names)
        row |= {"effect_size": value, "effect_size_low": low, "effect_size_high": high}
        with part_of(row):
            _add_limits(row, Estimate(value, low, high), alpha, source)
        row["n_per_arm"] = _whole(value, row["power"], alpha)

    return [estimated(shared | {"power": power}, estimate) for power in settings.powers]


def _add_limits(row: Row, effect: Estimate, alpha: float, source: Row) -> None:
    """Sizes at the limits of the effect: the far one first, the near one may not exist."""
    if math.isnan(effect.low):
        raise _inherited(source)
    near, far = sorted((effect.low, effect.high), key=abs)
    row["n_per_arm_best"] = _whole(far, row["power"], alpha)
    if effect.low <= 0 <= effect.high:
        raise AnalysisError(
            "the interval of the effect includes 0, so that no size is surely enough",
            code=ReasonCode.UNBOUNDED,
            expected="limits on one side of 0",
            found=f"{effect.low:.3g} to {effect.high:.3g}",
        )
    row["n_per_arm_worst"] = _whole(near, row["power"], alpha)


def _whole(effect: float, power: float, alpha: float) -> int:
    return math.ceil(size_two_arms(effect, power, alpha) - 1e-9)


def _inherited(source: Row) -> AnalysisError:
    """The reason why the source of a size has no estimate or no interval."""
    return AnalysisError(source["message"], code=ReasonCode(source["reason"]))
