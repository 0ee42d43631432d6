"""The ordinal model of KL support against numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kneeimg.core.kl_support import KlFeature, KlModel
from kneeimg.errors import ModelError, ReasonCode
from kneeimg.measure.kl_model import grade_probabilities, kl_support, median_grade
from kneeimg.settings.kl_support import KlSupportSettings

EASY = KlSupportSettings(least_probability=0.2, most_far=1.0, most_missing=9)


def feature(name: str, coefficient: float) -> KlFeature:
    return KlFeature(name, coefficient, mean=0.5, sd=0.25, low=0.0, high=1.0, least=-0.2, most=1.2)


MODEL = KlModel((feature("a", 2.0), feature("b", -1.0)), (-2.0, -1.0, 0.5, 3.0), {}, "f00d")


def test_a_film_worked_by_hand():
    answer = kl_support({"a": 0.75, "b": 0.25}, MODEL, EASY)
    # a: 2 * (0.75 - 0.5) / 0.25 = 2; b: -1 * (0.25 - 0.5) / 0.25 = 1; the score is 3
    at_least = [1 / (1 + math.exp(-(3 - cut))) for cut in (-2.0, -1.0, 0.5, 3.0)]
    expected = [
        1 - at_least[0],
        at_least[0] - at_least[1],
        at_least[1] - at_least[2],
        at_least[2] - at_least[3],
        at_least[3],
    ]
    assert answer.probabilities == pytest.approx(expected, abs=1e-12)
    assert dict(answer.contributions) == pytest.approx({"a": 2.0, "b": 1.0})
    assert list(answer.contributions) == ["a", "b"]  # the strongest first
    assert answer.grade == 3
    assert answer.model_sha256 == "f00d"


@pytest.mark.parametrize("score", [-800.0, -3.0, 0.0, 0.7, 800.0])
def test_probabilities_sum_to_one_and_are_none_negative(score):
    found = grade_probabilities(score, MODEL.thresholds)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert (found >= 0).all()


def test_more_of_a_bad_feature_never_lowers_the_grade():
    scores = np.linspace(-6, 6, 50)
    chances = grade_probabilities(scores, MODEL.thresholds)
    at_least = np.cumsum(chances[:, ::-1], axis=1)[:, ::-1]
    assert (np.diff(at_least[:, 1:], axis=0) > 0).all()
    assert np.all(np.diff([median_grade(row) for row in chances]) >= 0)


def test_a_missing_feature_adds_nothing_and_is_named():
    answer = kl_support({"a": 0.75, "b": math.nan}, MODEL, EASY)
    assert answer.contributions["b"] == 0.0
    assert answer.missing == ("b",)
    assert answer.probabilities == kl_support({"a": 0.75}, MODEL, EASY).probabilities
    strict = EASY.model_copy(update={"most_missing": 0})
    doubtful = kl_support({"a": 0.75}, MODEL, strict)
    assert doubtful.grade is None
    assert doubtful.findings[0].code is ReasonCode.KL_UNCERTAIN


def test_a_film_outside_the_training_range_says_so_and_counts_as_its_edge():
    answer = kl_support({"a": 5.0, "b": 0.5}, MODEL, EASY)
    assert answer.outside == ("a",)
    assert answer.findings[0].code is ReasonCode.KL_OUT_OF_RANGE
    assert answer.grade is None
    edge = kl_support({"a": 1.0, "b": 0.5}, MODEL, EASY)
    assert answer.probabilities == edge.probabilities
    assert edge.grade is not None


def test_flat_probabilities_are_uncertain():
    flat = KlModel((feature("a", 1.0),), (-0.6, -0.2, 0.2, 0.6))
    answer = kl_support({"a": 0.5}, flat, KlSupportSettings())
    assert answer.grade is None
    assert {finding.code for finding in answer.findings} == {ReasonCode.KL_UNCERTAIN}
    assert any("grades far apart" in finding.message for finding in answer.findings)
    assert sum(answer.probabilities) == pytest.approx(1.0)
    equal = KlModel((feature("a", 1.0),), (-1.35, -0.40, 0.40, 1.35))
    alone = KlSupportSettings(least_probability=0.4, most_far=1.0)
    assert "no grade stands out" in kl_support({"a": 0.5}, equal, alone).findings[0].message


def test_uncertain_margins_make_the_answer_uncertain():
    values = {"a": 0.75, "b": 0.25}
    assert kl_support(values, MODEL, EASY, [ReasonCode.BONE_ON_BONE]).certain
    answer = kl_support(values, MODEL, EASY, [ReasonCode.MARGIN_UNCERTAIN])
    assert answer.grade is None
    assert answer.as_dict()["suggested_grade"] == "uncertain"


def test_models_that_cannot_be_are_refused():
    with pytest.raises(ModelError, match="ascend"):
        KlModel((feature("a", 1.0),), (0.0, 1.0, 1.0, 2.0))
    with pytest.raises(ModelError, match="each once"):
        KlModel((feature("a", 1.0), feature("a", 2.0)), MODEL.thresholds)
    with pytest.raises(ModelError, match="not finite"):
        feature("a", math.nan)
    with pytest.raises(ModelError, match="ranges"):
        KlFeature("a", 1.0, 0.5, 0.0, 0.0, 1.0, 0.0, 1.0)
