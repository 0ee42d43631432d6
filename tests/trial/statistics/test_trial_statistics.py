"""The statistics against exact answers, published examples, brute force and simulated truth."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from kneeimg.errors import AnalysisError, ReasonCode
from kneeimg.trial.statistics.ancova import ancova, permutation_check
from kneeimg.trial.statistics.bootstrap import bca, percentile, quantiles, resamples
from kneeimg.trial.statistics.correlation import pearson, spearman, spearman_interval
from kneeimg.trial.statistics.means import hedges_g, mean_interval, welch
from kneeimg.trial.statistics.mixed import mixed_model
from kneeimg.trial.statistics.multiplicity import benjamini_hochberg, holm
from kneeimg.trial.statistics.noncentral import noncentral_t_cdf, noncentral_t_interval
from kneeimg.trial.statistics.power import power_two_arms, size_two_arms
from kneeimg.trial.statistics.proportions import fisher, newcombe, wilson
from kneeimg.trial.statistics.responsiveness import response_mean, response_mean_interval

ARM = np.array([True] * 12 + [False] * 13)


def _trial(rng: np.random.Generator, effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Baseline and follow-up of 12 + 13 people; the arm adds `effect`."""
    baseline = rng.normal(3.6, 0.4, 25)
    followup = baseline * 0.97 + effect * ARM + rng.normal(0, 0.08, 25)
    return baseline, followup


def _code(caught: pytest.ExceptionInfo[AnalysisError]) -> ReasonCode:
    return caught.value.code


def test_ancova_finds_an_exact_difference() -> None:
    baseline, _ = _trial(np.random.default_rng(1), 0.0)
    wobble = np.tile([1e-6, -1e-6], 13)[:25]
    fit = ancova(0.9 * baseline + 0.3 + 0.07 * ARM + wobble, baseline, ARM)
    assert fit.difference == pytest.approx(0.07, abs=2e-6)
    assert fit.baseline_slope == pytest.approx(0.9, abs=5e-6)
    assert fit.adjusted_change_arm - fit.adjusted_change_reference == pytest.approx(fit.difference)
    plain = 0.9 * baseline.mean() + 0.3 - baseline.mean()
    assert fit.adjusted_change_reference == pytest.approx(plain, abs=2e-6)


def test_change_in_place_of_follow_up_gives_the_same_difference() -> None:
    baseline, followup = _trial(np.random.default_rng(2), 0.05)
    first, second = ancova(followup, baseline, ARM), ancova(followup - baseline, baseline, ARM)
    assert second.difference == pytest.approx(first.difference, rel=1e-12)
    assert second.p == pytest.approx(first.p, rel=1e-9)
    assert second.baseline_slope == pytest.approx(first.baseline_slope - 1)


def test_swapping_the_arms_and_the_unit_turns_and_scales_the_difference() -> None:
    baseline, followup = _trial(np.random.default_rng(3), 0.05)
    first = ancova(followup, baseline, ARM)
    other = ancova(1000 * followup, 1000 * baseline, ~ARM)
    assert (other.difference, other.low) == pytest.approx(
        (-1000 * first.difference, -1000 * first.high)
    )
    assert other.p == pytest.approx(first.p)
    assert other.effect_size.value == pytest.approx(-first.effect_size.value)


def test_order_of_participants_does_not_matter() -> None:
    baseline, followup = _trial(np.random.default_rng(4), 0.05)
    order = np.random.default_rng(5).permutation(25)
    first = ancova(followup, baseline, ARM)
    assert ancova(followup[order], baseline[order], ARM[order]).p == pytest.approx(first.p)


def test_all_permutations_of_a_small_trial_are_counted_by_brute_force() -> None:
    rng = np.random.default_rng(6)
    baseline, arm = rng.normal(0, 1, 6), np.array([1, 1, 1, 0, 0, 0], dtype=bool)
    followup = baseline + 1.2 * arm + rng.normal(0, 0.5, 6)
    ones = np.column_stack([np.ones(6), baseline])
    fitted = ones @ np.linalg.lstsq(ones, followup, rcond=None)[0]
    rest = followup - fitted

    full = np.column_stack([ones, arm])
    covariance = np.linalg.inv(full.T @ full)

    def t_of(y: np.ndarray) -> float:
        coefficients = covariance @ full.T @ y
        left = y - full @ coefficients
        return abs(coefficients[2]) / math.sqrt(left @ left / 3 * covariance[2, 2])

    observed = t_of(followup)
    assert observed == pytest.approx(abs(ancova(followup, baseline, arm).t))
    every = [t_of(fitted + rest[list(order)]) for order in permutations(range(6))]
    expected = np.mean([t >= observed * (1 - 1e-9) for t in every])
    check = permutation_check(followup, baseline, arm, 9999, rng)
    assert (check.complete, check.permutations) == (True, 720)
    assert check.p == pytest.approx(expected, abs=1e-12)


def test_random_permutations_agree_with_t_and_never_give_zero() -> None:
    baseline, followup = _trial(np.random.default_rng(7), 0.06)
    rng = np.random.default_rng(8)
    check = permutation_check(followup, baseline, ARM, 9999, rng)
    assert (check.complete, check.permutations) == (False, 10_000)
    p = ancova(followup, baseline, ARM).p
    assert check.p == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 9999) + 0.005)
    far = permutation_check(baseline + 10 * ARM + 0.01 * followup, baseline, ARM, 999, rng)
    assert far.p == pytest.approx(1 / 1000)


@pytest.mark.parametrize(
    "followup, baseline, arm, code",
    [
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 1, 0, 0, 0], ReasonCode.TOO_FEW_PARTICIPANTS),
        ([1, 2, 3, 4, 5, 7], [2] * 6, [1, 1, 1, 0, 0, 0], ReasonCode.NO_VARIANCE),
        ([2] * 6, [1, 2, 3, 4, 5, 7], [1, 1, 1, 0, 0, 0], ReasonCode.NO_VARIANCE),
        ([1, 2, 3, 4, 5, 7], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], ReasonCode.NO_VARIANCE),
    ],
)
def test_ancova_says_why_not(
    followup: list[float], baseline: list[float], arm: list[int], code: ReasonCode
) -> None:
    with pytest.raises(AnalysisError) as caught:
        ancova(followup, baseline, arm)
    assert _code(caught) is code


def test_missing_values_are_the_callers_decision() -> None:
    with pytest.raises(ValueError, match="finite"):
        ancova([1, 2, 3, 4, 5, math.nan], [1, 2, 3, 4, 5, 6], [1, 1, 1, 0, 0, 0])


def test_hedges_g_is_the_published_formula() -> None:
    a, b = np.array([5.0, 6, 7, 9]), np.array([3.0, 4, 6, 5, 4])
    pooled = math.sqrt((3 * a.var(ddof=1) + 4 * b.var(ddof=1)) / 7)
    found = hedges_g(a, b)
    # Hedges' approximation 1 - 3 / (4 df - 1) is right to 3 digits
    assert found.value == pytest.approx((a.mean() - b.mean()) / pooled * (1 - 3 / 27), rel=2e-3)
    assert found.low < found.value < found.high
    with pytest.raises(AnalysisError) as caught:
        hedges_g([1, 1], [1, 1])
    assert _code(caught) is ReasonCode.NO_VARIANCE


def test_welch_and_mean_say_why_not() -> None:
    with pytest.raises(AnalysisError) as caught:
        welch([1.0], [1.0, 2.0])
    assert _code(caught) is ReasonCode.TOO_FEW_PARTICIPANTS
    with pytest.raises(AnalysisError):
        mean_interval([])


def test_noncentral_t_agrees_with_scipy_and_goes_where_it_cannot() -> None:
    for t, df, ncp in ((0.5, 4, 1.5), (-3, 23, -1), (6, 8, 4), (1.7, 300, 2)):
        wanted = float(stats.nct.cdf(t, df, ncp))
        assert noncentral_t_cdf(t, df, ncp) == pytest.approx(wanted, abs=1e-10)
    assert noncentral_t_cdf(2.0, 7, 0) == pytest.approx(float(stats.t.cdf(2.0, 7)), abs=1e-12)
    low, high = noncentral_t_interval(500.0, 3)
    assert 100 < low < 500 < high < 1000
    mirrored = noncentral_t_interval(-500.0, 3)
    assert mirrored == pytest.approx((-high, -low))


def test_size_and_power_are_inverse_and_monotone() -> None:
    for effect in (0.05, 0.62, 1.17, 3.0):
        n = size_two_arms(effect, 0.9)
        assert power_two_arms(n, effect) == pytest.approx(0.9, abs=1e-8)
        assert size_two_arms(-effect, 0.9) == n
    assert size_two_arms(50.0) == 2.0
    with pytest.raises(AnalysisError) as caught:
        size_two_arms(0.0)
    assert _code(caught) is ReasonCode.UNBOUNDED
    with pytest.raises(AnalysisError):
        size_two_arms(1e-4)


def test_newcombes_published_examples() -> None:
    for counts, wanted in (
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ):
        found = newcombe(*counts)
        assert (found.low, found.high) == pytest.approx(wanted, abs=6e-5)


def test_shares_at_the_edge() -> None:
    test = fisher(0, 5, 0, 6)
    assert test.p == 1.0
    assert math.isnan(test.odds_ratio)
    with pytest.raises(AnalysisError):
        wilson(0, 0)
    with pytest.raises(ValueError, match="4 of 3"):
        wilson(4, 3)


def test_srm_and_its_limits() -> None:
    changes = np.random.default_rng(9).normal(-0.08, 0.12, 25)
    found = response_mean(changes)
    assert found.srm == pytest.approx(changes.mean() / changes.std(ddof=1))
    interval = response_mean_interval(changes, 4999, np.random.default_rng(1))
    # two honest 95 % intervals of the same thing lie close together
    assert interval.low == pytest.approx(found.exact_low, abs=0.2)
    assert interval.high == pytest.approx(found.exact_high, abs=0.2)
    again = response_mean_interval(changes, 4999, np.random.default_rng(1))
    assert again == interval


@pytest.mark.parametrize(
    "changes, code",
    [
        ([0.1, 0.2], ReasonCode.TOO_FEW_PARTICIPANTS),
        ([0.1, 0.1, 0.1, 0.1], ReasonCode.NO_VARIANCE),
        ([0.0] * 8, ReasonCode.NO_VARIANCE),
    ],
)
def test_srm_says_why_not(changes: list[float], code: ReasonCode) -> None:
    with pytest.raises(AnalysisError) as caught:
        response_mean(changes)
    assert _code(caught) is code


def test_bootstrap_says_why_not() -> None:
    rng = np.random.default_rng(2)
    with pytest.raises(AnalysisError) as caught:
        response_mean_interval([0.1, 0.2, 0.3, 0.5], 999, rng)
    assert _code(caught) is ReasonCode.TOO_FEW_PARTICIPANTS
    with pytest.raises(AnalysisError) as caught:  # all but one the same: many flat resamples
        response_mean_interval([0.1] * 7 + [0.2], 999, rng)
    assert _code(caught) is ReasonCode.NO_VARIANCE


def test_bca_of_a_mean_is_near_the_t_interval() -> None:
    sample = np.random.default_rng(3).normal(1, 1, 40)
    rows = resamples(40, 4999, np.random.default_rng(4))
    wanted = mean_interval(sample)
    for method in (bca, percentile):
        found = method(lambda r: sample[r].mean(axis=1), rows)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.05)
        assert found.resamples == 4999


def test_quantiles_stay_inside_the_resamples() -> None:
    assert quantiles(np.arange(9.0), [0.0001, 0.9999]).tolist() == [0.0, 8.0]


def test_correlations_of_exact_relations() -> None:
    x = np.array([1.0, 2, 3, 4, 6, 9])
    assert pearson(x, -2 * x).r == -1.0
    assert pearson(x, -2 * x).high == -1.0
    assert spearman(x, np.exp(x)).r == 1.0
    interval = spearman_interval(x, np.exp(x), 999, np.random.default_rng(1))
    assert (interval.low, interval.high) == (1.0, 1.0)
    ties = spearman([1, 1, 2, 3, 3, 4], [2, 1, 2, 5, 4, 4])
    wanted = stats.spearmanr([1, 1, 2, 3, 3, 4], [2, 1, 2, 5, 4, 4])
    assert (ties.r, ties.p) == pytest.approx((wanted.statistic, wanted.pvalue))
    for values, code in (([1, 2, 3], "TOO_FEW_PARTICIPANTS"), ([1, 1, 1, 1], "NO_VARIANCE")):
        with pytest.raises(AnalysisError, match=code):
            pearson(values, np.arange(len(values)))


def test_adjusted_p_ignore_what_was_not_tested() -> None:
    p = [0.01, math.nan, 0.04]
    assert holm(p) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)
    assert benjamini_hochberg(p) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)
    assert holm([]).size == 0


def _long(rng: np.random.Generator, sd_person: float) -> tuple[np.ndarray, ...]:
    person = np.repeat(np.arange(60), 2)
    visit = np.tile(["M06", "M12"], 60)
    arm = person % 2 == 0
    baseline = np.repeat(rng.normal(3.6, 0.4, 60), 2)
    own = np.repeat(rng.normal(0, sd_person, 60), 2)
    followup = baseline + 0.1 * arm * (visit == "M12") + own + rng.normal(0, 0.05, 120)
    return followup, baseline, arm, visit, person.astype(str)


def test_mixed_model_finds_what_was_planted() -> None:
    followup, baseline, arm, visit, person = _long(np.random.default_rng(5), 0.08)
    fit = mixed_model(followup, baseline, arm, visit, person)
    first, second = fit.differences
    assert first.low < 0.0 < first.high
    assert second.low < 0.1 < second.high
    assert fit.sd_participants == pytest.approx(0.08, abs=0.02)
    assert fit.sd_residual == pytest.approx(0.05, abs=0.015)


def test_mixed_model_without_differences_between_people_is_at_the_edge_and_quiet() -> None:
    followup, baseline, arm, visit, person = _long(np.random.default_rng(6), 0.0)
    # residuals that alternate within people leave nothing for a random intercept
    followup = baseline + 0.05 * np.where(visit == "M06", 1, -1) * np.where(arm, 1, -1)
    followup = followup + 0.02 * np.random.default_rng(7).permutation(np.tile([1, -1], 60))
    fit = mixed_model(followup, baseline, arm, visit, person)
    assert fit.sd_participants < 0.02


def test_mixed_model_says_why_not() -> None:
    followup, baseline, arm, visit, person = _long(np.random.default_rng(8), 0.1)
    one = visit == "M06"
    with pytest.raises(AnalysisError, match="TOO_FEW_PARTICIPANTS"):
        mixed_model(followup[one], baseline[one], arm[one], visit[one], person[one])
    few = person.astype(int) < 4
    with pytest.raises(AnalysisError, match="TOO_FEW_PARTICIPANTS"):
        mixed_model(followup[few], baseline[few], arm[few], visit[few], person[few])
    with pytest.raises(AnalysisError, match="NO_VARIANCE"):
        mixed_model(followup, np.full(120, 3.0), arm, visit, person)
    with pytest.raises(AnalysisError, match="NO_VARIANCE"):
        mixed_model(followup, arm.astype(float), arm, visit, person)
    with pytest.raises(AnalysisError, match="NOT_CONVERGED"):
        mixed_model(followup, baseline, arm, visit, person, most_steps=1)


@pytest.mark.slow
def test_the_interval_covers_a_known_effect_and_the_check_is_uniform_under_none() -> None:
    trials, effect = 400, 0.06
    rng = np.random.default_rng(20250601)
    covered, significant, p_values = 0, 0, []
    for _ in range(trials):
        baseline, followup = _trial(rng, effect)
        fit = ancova(followup, baseline, ARM)
        covered += fit.low <= effect <= fit.high
        baseline, followup = _trial(rng, 0.0)
        significant += ancova(followup, baseline, ARM).p < 0.05
        p_values.append(permutation_check(followup, baseline, ARM, 199, rng).p)
    low, high = stats.binom.ppf([0.0005, 0.9995], trials, 0.95)
    assert low <= covered <= high
    low, high = stats.binom.ppf([0.0005, 0.9995], trials, 0.05)
    assert low <= significant <= high
    # Kolmogorov's 99.9 % limit, and the steps of 1 / 200 in which p comes
    distance = stats.kstest(p_values, "uniform").statistic
    assert distance < 1.95 / math.sqrt(trials) + 1 / 200
