"""Tables `srm` and `responders`: how an arm changed, and how many beyond measurement error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from kneeimg.errors import AnalysisError, ReasonCode
from kneeimg.settings.trial import TrialSettings
from kneeimg.trial.analysis.rows import (
    EVERYBODY,
    Row,
    estimated,
    part_of,
    require_outcome,
)
from kneeimg.trial.dataset import Sample
from kneeimg.trial.outcomes import direction
from kneeimg.trial.statistics.checks import seeded
from kneeimg.trial.statistics.means import mean_interval
from kneeimg.trial.statistics.proportions import fisher, newcombe, wilson
from kneeimg.trial.statistics.responsiveness import response_mean, response_mean_interval

OUTCOMES = ("improved", "stable", "worsened")
WITHIN, LOSS, GAIN = "within measurement error", "loss", "gain"


def srm_rows(samples: Iterable[Sample], arms: Sequence[str], settings: TrialSettings) -> list[Row]:
    """One row per outcome, visit and arm, and one for all arms together."""
    return [
        _srm_row(sample, arm, (arm,) if arm != EVERYBODY else tuple(arms), settings)
        for sample in samples
        for arm in (*arms, EVERYBODY)
    ]


def _srm_row(sample: Sample, name: str, arms: Sequence[str], settings: TrialSettings) -> Row:
    changes = sample.numbers("change", *arms)
    row = sample.outcome.as_row(sample.visit) | {"arm": name, "n": len(changes)}

    def estimate(row: Row) -> None:
        require_outcome(sample)
        mean = mean_interval(changes, settings.confidence)
        row |= {"mean_change": mean.value, "change_low": mean.low, "change_high": mean.high}
        row |= {"sd_change": float(changes.std(ddof=1)), "median_change": float(np.median(changes))}
        percent = sample.numbers("change_pct", *arms)
        row["mean_change_pct"] = float(percent.mean())
        found = response_mean(changes, settings.confidence)
        row |= {"srm": found.srm, "exact_low": found.exact_low, "exact_high": found.exact_high}
        with part_of(row):
            rng = seeded(settings.seed, "srm", sample.outcome.endpoint, sample.visit, name)
            interval = response_mean_interval(changes, settings.resamples, rng, settings.confidence)
            row |= {"ci_low": interval.low, "ci_high": interval.high}
            row |= {"ci_method": interval.method, "resamples": interval.resamples}

    return estimated(row, estimate)


def responder_rows(
    samples: Iterable[Sample], arms: Sequence[str], settings: TrialSettings
) -> list[Row]:
    """Three rows per outcome, visit and arm; clinical columns have no SDC and no rows."""
    return [
        _responder_row(sample, arm, "" if arm == arms[0] else arms[0], outcome, settings)
        for sample in samples
        if sample.outcome.role != "clinical"
        for arm in arms
        for outcome in OUTCOMES
    ]


def _responder_row(
    sample: Sample, arm: str, reference: str, outcome: str, settings: TrialSettings
) -> Row:
    row = sample.outcome.as_row(sample.visit)
    row |= {"arm": arm, "reference_arm": reference, "outcome": outcome}
    classes = _classes(sample, arm)
    row |= {"n": len(classes), "n_no_data": len(sample.measured(arm)) - len(classes)}

    def estimate(row: Row) -> None:
        require_outcome(sample)
        which = _class_of(sample.outcome.quantity, outcome)
        if not classes:
            raise _nobody_classed(sample, arm)
        measured = [r for r in sample.measured(arm) if not math.isnan(r["sdc"])]
        row |= {"sdc": measured[0]["sdc"], "sdc_source": measured[0]["sdc_source"]}
        count, n = classes.count(which), len(classes)
        share = wilson(count, n, settings.confidence)
        row |= {"count": count, "share": share.value, "ci_low": share.low, "ci_high": share.high}
        other = _classes(sample, reference) if reference else []
        if other:
            counts = (count, n, other.count(which), len(other))
            with part_of(row):
                _add_difference(row, counts, settings.confidence)

    return estimated(row, estimate)


def _add_difference(row: Row, counts: tuple[int, int, int, int], confidence: float) -> None:
    difference = newcombe(*counts, confidence)
    row["share_difference"] = difference.value
    row |= {"difference_low": difference.low, "difference_high": difference.high}
    test = fisher(*counts, confidence)
    row["p_fisher"] = test.p
    limits = {
        "odds_ratio": test.odds_ratio,
        "odds_ratio_low": test.low,
        "odds_ratio_high": test.high,
    }
    row |= {name: value if math.isfinite(value) else math.nan for name, value in limits.items()}
    unbounded = [name for name, value in limits.items() if not math.isfinite(value)]
    if unbounded:
        raise AnalysisError(
            f"not finite: {', '.join(unbounded)}",
            code=ReasonCode.UNBOUNDED,
            expected="participants with and without this outcome in both arms",
            found=f"{counts[0]} of {counts[1]} against {counts[2]} of {counts[3]}",
        )


def _classes(sample: Sample, arm: str) -> list[str]:
    known = (WITHIN, LOSS, GAIN)
    return [r["change_class"] for r in sample.measured(arm) if r["change_class"] in known]


def _class_of(quantity: str, outcome: str) -> str:
    """The class of the change table that an outcome means for this quantity."""
    if outcome == "stable":
        return WITHIN
    better = direction(quantity)
    if better == 0:
        raise AnalysisError(
            "neither more nor less of this quantity is better",
            code=ReasonCode.NO_DIRECTION,
            expected="a quantity with a direction",
            found=quantity,
        )
    return GAIN if (better > 0) == (outcome == "improved") else LOSS


def _nobody_classed(sample: Sample, arm: str) -> AnalysisError:
    if sample.measured(arm):
        return AnalysisError(
            "no repeatability data",
            code=ReasonCode.NO_REPEATABILITY_DATA,
            expected="a smallest detectable change of this software",
            found="none",
        )
    return AnalysisError(
        "nobody in the arm has a change", expected="at least 1 participant", found="0"
    )
