"""Repeatability and responsiveness against hand-worked and published examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kneeimg.longitudinal.precision import (
    bland_altman,
    icc_2_1,
    icc_3_1,
    ordered_values,
    rms_cv_percent,
    rms_sd,
    sdc95,
    sem,
    srm,
    thickening_score,
    thinning_score,
)

#: Six targets, four judges: Shrout & Fleiss 1979, table 2.
SHROUT_FLEISS = [
    [9, 2, 5, 8],
    [6, 1, 3, 2],
    [8, 4, 6, 8],
    [7, 1, 2, 6],
    [10, 5, 6, 9],
    [6, 2, 4, 7],
]


def test_icc_of_the_published_example() -> None:
    assert icc_2_1(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)
    assert icc_3_1(SHROUT_FLEISS) == pytest.approx(0.71, abs=0.005)


def test_a_shift_between_repeats_hurts_agreement_but_not_consistency() -> None:
    table = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    assert icc_3_1(table) == pytest.approx(1.0)
    # mean squares 2, 1.5, 0: 2 / (2 + 2 · 1.5 / 3) = 2/3
    assert icc_2_1(table) == pytest.approx(2.0 / 3.0)


def test_icc_of_values_that_never_vary_is_not_measured() -> None:
    assert math.isnan(icc_2_1([[1.0, 1.0], [1.0, 1.0]]))
    assert math.isnan(icc_3_1([[1.0, 1.0], [1.0, 1.0]]))


def test_rms_sd_of_two_repeats_is_the_difference_formula() -> None:
    pairs = np.array([[2.0, 2.3], [1.0, 0.9], [1.5, 1.5]])
    d = pairs[:, 1] - pairs[:, 0]
    assert rms_sd(pairs) == pytest.approx(math.sqrt((d**2).sum() / (2 * 3)))
    assert sem(pairs) == rms_sd(pairs)
    assert sdc95(pairs) == pytest.approx(1.96 * math.sqrt(2) * rms_sd(pairs))


def test_rms_cv_weighs_each_participant_by_its_own_mean() -> None:
    # SD 0.1 √2 over means 1 and 2: CVs 14.142 % and 7.071 %, mean square 125 %²
    table = [[0.9, 1.1], [1.9, 2.1]]
    assert rms_cv_percent(table) == pytest.approx(math.sqrt(125.0))
    with pytest.raises(ValueError, match="positive means"):
        rms_cv_percent([[0.0, 0.0]])


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0], [2.0]], [[1.0, math.nan]]])
def test_a_table_of_repeats_must_be_complete(values: list[object]) -> None:
    with pytest.raises(ValueError, match="repeats"):
        rms_sd(values)  # type: ignore[arg-type]


def test_bland_altman_by_hand() -> None:
    found = bland_altman([1.0, 2.0, 3.0], [1.1, 2.3, 3.2])
    assert found.bias == pytest.approx(0.2)
    assert found.sd == pytest.approx(0.1)
    assert (found.lower, found.upper) == pytest.approx((0.2 - 0.196, 0.2 + 0.196))
    # t(0.975, 2) = 4.302653; SE of the bias 0.1 / √3, of a limit 0.1 √(1/3 + 1.96²/4)
    assert found.bias_ci == pytest.approx((0.2 - 0.248414, 0.2 + 0.248414), abs=1e-6)
    reach = 4.302653 * 0.1 * math.sqrt(1 / 3 + 1.96**2 / 4)
    assert found.upper_ci == pytest.approx((0.396 - reach, 0.396 + reach), abs=1e-6)


def test_srm_and_its_interval() -> None:
    change = [-0.3, -0.1, -0.2, -0.2, 0.0, -0.4]
    found = srm(change, list("abcdef"))
    assert found.srm == pytest.approx(-0.2 / np.std(change, ddof=1))
    assert found.ci[0] < found.srm < found.ci[1] < 0
    assert found == srm(change, list("abcdef"))  # seeded


def test_both_knees_of_a_participant_are_drawn_together() -> None:
    rng = np.random.default_rng(3)
    person = rng.normal(-0.1, 0.2, size=30)
    knees = np.concatenate([person, person])  # knees alike: no more information than 30 people
    names = np.tile(np.arange(30), 2)
    together, apart = srm(knees, names), srm(knees, np.arange(60))
    single = srm(person, np.arange(30))
    assert together.n == 30
    assert np.ptp(together.ci) == pytest.approx(np.ptp(single.ci), rel=0.1)
    assert np.ptp(apart.ci) < 0.85 * np.ptp(together.ci)


def test_srm_leaves_out_what_was_not_measured() -> None:
    with_gap = srm([-0.3, math.nan, -0.1, -0.2], ["a", "b", "c", "d"])
    assert with_gap.n == 3
    assert with_gap.srm == pytest.approx(-2.0)
    assert math.isnan(srm([-0.1, -0.1, -0.1], ["a", "b", "c"]).srm)


def test_ordered_values_and_scores() -> None:
    change = np.array([0.05, -0.2, 0.0, -0.1])
    np.testing.assert_array_equal(ordered_values(change), [-0.2, -0.1, 0.0, 0.05])
    assert thinning_score(change) == pytest.approx(-0.3)
    assert thickening_score(change) == pytest.approx(0.05)
    assert math.isnan(thinning_score([0.1, math.nan]))
