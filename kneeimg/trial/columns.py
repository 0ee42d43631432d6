"""The columns of every table of the analysis by arm: name, type and meaning, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["text", "number", "integer"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, what it holds and what it means."""

    name: str
    type: ColumnType
    meaning: str


def _text(name: str, meaning: str) -> Column:
    return Column(name, "text", meaning)


def _number(name: str, meaning: str) -> Column:
    return Column(name, "number", meaning)


def _count(name: str, meaning: str) -> Column:
    return Column(name, "integer", meaning)


_OUTCOME = (
    _text("role", "`primary`, `secondary`, or `clinical` for columns of the clinical CSV"),
    _text("endpoint", "`REGION_QUANTITY`, as in the wide table; a clinical column by its name"),
    _text("kind", "`mri`, `film` or `clinical`"),
    _text("region", "region; empty for clinical columns"),
    _text("quantity", "quantity, or the clinical column"),
    _text("unit", "unit of the values"),
    _text("visit", "follow-up visit"),
)
_ARMS = (
    _text("arm", "arm"),
    _text("reference_arm", "arm that it is compared with; empty for the reference itself"),
)
_STATUS = (
    _text("status", "`ok`, or `not_measurable`: the numbers of the row are then empty"),
    _text("reason", "reason code of what could not be estimated, also in part; empty otherwise"),
    _text("message", "the reason in a sentence"),
)
_INTERVAL = (
    _number("ci_low", "lower limit of the confidence interval"),
    _number("ci_high", "upper limit"),
)
_SHARE_DIFFERENCE = (
    _number("share_difference", "share in the arm − share in the reference arm"),
    _number("difference_low", "lower limit of its interval (Newcombe)"),
    _number("difference_high", "upper limit"),
)
_MANY = (
    _count("n_tests", "tests in the family that the adjusted p-values count"),
    _number("p_holm", "p after Holm, over the family"),
    _number("p_bh", "p after Benjamini–Hochberg, over the family"),
)

VALUES = (
    _text("participant", "study id"),
    _text("arm", "arm; empty when the participant has none"),
    _text("side", "knee that counts for this participant"),
    *_OUTCOME,
    _count("days", "days between the visits"),
    _number("baseline", "value at baseline, over the same bone area as the follow-up"),
    _number("followup", "value at the visit"),
    _number("change", "follow-up − baseline"),
    _number("change_pct", "change in % of baseline, where that means something"),
    _text("change_class", "the change against the smallest detectable one, as in `change`"),
    _number("sdc", "smallest detectable change of one knee"),
    _text("sdc_source", "where it comes from"),
    _text("drift", "acquisition parameters that differ between the visits"),
    *_STATUS,
)
ANCOVA = (
    *_OUTCOME,
    *_ARMS,
    _count("n_arm", "participants in the arm with both visits"),
    _count("n_reference", "the same in the reference arm"),
    _count("n_drift", "of both, those whose acquisition differs between the visits"),
    _number("difference", "adjusted difference, arm − reference, at equal baseline"),
    *_INTERVAL,
    _number("se", "standard error of the difference"),
    _number("adjusted_change_arm", "change in the arm at the mean baseline of both arms"),
    _number("adjusted_change_reference", "the same in the reference arm"),
    _number("mean_change_arm", "mean change in the arm, as observed"),
    _number("sd_change_arm", "its SD"),
    _number("mean_change_reference", "mean change in the reference arm, as observed"),
    _number("sd_change_reference", "its SD"),
    _number("raw_difference", "difference of the mean changes, not adjusted"),
    _number("raw_low", "lower limit of its interval (Welch)"),
    _number("raw_high", "upper limit"),
    _number(
        "hedges_g", "difference of the mean changes in pooled SDs, corrected for small samples"
    ),
    _number("hedges_g_low", "lower limit of its interval (noncentral t)"),
    _number("hedges_g_high", "upper limit"),
    _number("effect_size", "adjusted difference in residual SDs"),
    _number("effect_size_low", "lower limit of its interval (noncentral t)"),
    _number("effect_size_high", "upper limit"),
    _number("baseline_slope", "coefficient of the baseline value"),
    _number("residual_sd", "SD of the residuals"),
    _number("t", "difference / standard error"),
    _number("df", "degrees of freedom"),
    _number("p", "two-sided p of t, not adjusted for many tests"),
    _number("permutation_p", "two-sided p of the permutation check, not adjusted"),
    _count("permutations", "permutations counted, the observed one included"),
    _text("permutation_method", "`Freedman-Lane, all permutations` or `Freedman-Lane, random`"),
    *_MANY,
    *_STATUS,
)
RESPONDERS = (
    *_OUTCOME,
    *_ARMS,
    _text("outcome", "`improved`, `stable` or `worsened`, against the SDC"),
    _count("n", "participants with a class"),
    _count("count", "those with this outcome"),
    _count("n_no_data", "participants with a change but without repeatability data"),
    _number("share", "count / n"),
    *_INTERVAL,
    *_SHARE_DIFFERENCE,
    _number("odds_ratio", "conditional odds ratio against the reference arm"),
    _number("odds_ratio_low", "lower limit of its exact interval"),
    _number("odds_ratio_high", "upper limit; empty (with a reason) when unbounded"),
    _number("p_fisher", "Fisher's exact test, two-sided, not adjusted"),
    _number("sdc", "smallest detectable change that was used"),
    _text("sdc_source", "where it comes from"),
    *_STATUS,
)
SRM = (
    *_OUTCOME,
    _text("arm", "arm, or `all` for every participant with an arm"),
    _count("n", "participants with both visits"),
    _number("mean_change", "mean change"),
    _number("change_low", "lower limit of its interval (t)"),
    _number("change_high", "upper limit"),
    _number("sd_change", "SD of the changes"),
    _number("median_change", "median change"),
    _number("mean_change_pct", "mean change in % of baseline, where that means something"),
    _number("srm", "standardised response mean: mean change / SD"),
    *_INTERVAL,
    _text("ci_method", "how `ci_low` and `ci_high` were made"),
    _count("resamples", "bootstrap resamples of participants that were used"),
    _number("exact_low", "lower limit of the interval for normal changes (noncentral t)"),
    _number("exact_high", "upper limit"),
    *_STATUS,
)
MIXED = (
    *_OUTCOME,
    *_ARMS,
    _count("n_participants", "participants in the model"),
    _count("n_values", "follow-up values in the model"),
    _number("difference", "difference arm − reference at the visit, at equal baseline"),
    *_INTERVAL,
    _number("se", "standard error"),
    _number("z", "difference / standard error"),
    _number("p", "two-sided p of z (large-sample), not adjusted"),
    _number("sd_participants", "SD of the random intercepts"),
    _number("sd_residual", "SD of the residuals"),
    _number("baseline_slope", "coefficient of the baseline value"),
    _text("method", "estimator"),
    *_STATUS,
)
SAMPLE_SIZE = (
    *_OUTCOME,
    _text(
        "design",
        "`observed difference` (from the ANCOVA) or `slowing` (from the SRM of an arm)",
    ),
    *_ARMS,
    _number("slowing_pct", "assumed slowing of the arm's change; empty for an observed difference"),
    _number("power", "power"),
    _number("alpha", "two-sided type I error"),
    _number("effect_size", "difference between arms in SDs that the trial is sized for"),
    _number("effect_size_low", "lower limit of its interval"),
    _number("effect_size_high", "upper limit"),
    _count("n_per_arm", "participants per arm for `effect_size`, without drop-outs"),
    _count("n_per_arm_best", "per arm at the limit farther from 0"),
    _count("n_per_arm_worst", "per arm at the limit nearer to 0; empty when it includes 0"),
    *_STATUS,
)
ASSOCIATION = (
    *_OUTCOME,
    _text("marker", "clinical column whose change is compared"),
    _text("marker_unit", "its unit as the header of the CSV says"),
    _text("population", "`all`, or one arm"),
    _count("n", "participants with both changes"),
    _number("spearman", "rank correlation of the changes"),
    _number("spearman_low", "lower limit (bootstrap by participant, percentile)"),
    _number("spearman_high", "upper limit"),
    _count("resamples", "bootstrap resamples that were used"),
    _number("pearson", "linear correlation of the changes"),
    _number("pearson_low", "lower limit (Fisher z)"),
    _number("pearson_high", "upper limit"),
    _number("p", "two-sided p of the rank correlation (t approximation), not adjusted"),
    _number("pearson_p", "two-sided p of the linear correlation, not adjusted"),
    *_MANY,
    *_STATUS,
)
AE = (
    *_ARMS,
    _count("n_participants", "participants in the arm"),
    _count("n_reported", "those with at least one count in the clinical CSV"),
    _count("with_event", "those with at least one adverse event"),
    _count("events", "adverse events"),
    _number("events_per_participant", "events / n_reported"),
    _number("share", "with_event / n_reported"),
    *_INTERVAL,
    *_SHARE_DIFFERENCE,
    _number("p_fisher", "Fisher's exact test of `with_event`, two-sided, not adjusted"),
    *_STATUS,
)
EXCLUDED = (
    _text("source", "file, without its folder, or `results`"),
    _count("line", "line of the file"),
    _text("participant", "study id; empty where the cell is none"),
    _text("visit", "visit"),
    _text("column", "column or outcome that is left out; empty for the whole row"),
    _text("code", "reason code"),
    _text("message", "what is wrong"),
    _text("expected", "what was needed"),
    _text("found", "what was there"),
    _text("action", "what to do"),
)

#: File name below `tables/trial` to its columns, in the order in which they are best read.
TABLES: dict[str, tuple[Column, ...]] = {
    "ancova": ANCOVA,
    "responders": RESPONDERS,
    "srm": SRM,
    "sample_size": SAMPLE_SIZE,
    "association": ASSOCIATION,
    "mixed": MIXED,
    "ae": AE,
    "values": VALUES,
    "excluded": EXCLUDED,
}

#: What each table is, for its head in the documentation.
ABOUT: dict[str, str] = {
    "ancova": "Difference between arms at each follow-up visit: follow-up ~ arm + baseline.",
    "responders": "Shares of participants who improved, stayed or worsened beyond the SDC.",
    "srm": "Responsiveness: standardised response mean per arm and pooled.",
    "sample_size": "Participants per arm for the next trial, and at the limits of the effect.",
    "association": "Change in structure beside change in symptoms and markers.",
    "mixed": "Mixed model over all visits; only with `--mixed`. A large-sample method.",
    "ae": "Adverse events by arm, as counts; only with an `ae_count` column.",
    "values": "The values that were analysed: one row per participant, outcome and visit.",
    "excluded": "Everything that was left out, with its reason code.",
}


def names(table: str) -> tuple[str, ...]:
    """Column names of a table.

    >>> names("excluded")[:3]
    ('source', 'line', 'participant')
    """
    return tuple(column.name for column in TABLES[table])
