"""The second opinion on KL grades: where it comes from, when it is withheld, what it is beside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.kl_opinion import GradeEnsemble, JointCrop, KlOpinion
from kneeimg.core.kl_support import KlSupport
from kneeimg.core.margins import Compartment
from kneeimg.core.measurement import Status
from kneeimg.errors import Finding, ModelError, ReasonCode
from kneeimg.io.kl_cnn import shipped_ensemble
from kneeimg.measure.film_level import level_joint
from kneeimg.measure.joint_space import joint_frame
from kneeimg.measure.kl_model import grade_probabilities
from kneeimg.measure.kl_opinion import (
    OPINION_ROWS,
    comparison_text,
    film_opinion,
    joint_crops,
    kl_opinion,
    network_answer,
    opinion_rows,
)
from kneeimg.phantoms.film import FilmKnee, FilmPhantom, FilmSetup, knee_film
from kneeimg.settings.kl_support import KlSupportSettings

EASY = KlSupportSettings(least_probability=0.2, most_far=1.0)


@pytest.fixture(scope="module")
def ensemble() -> GradeEnsemble:
    return shipped_ensemble()


def phantom(side: Side = Side.LEFT, **changes: float) -> FilmPhantom:
    return knee_film(FilmKnee(side=side, **changes), FilmSetup(pixel_mm=0.4))


def opinion_of(film: FilmPhantom, ensemble: GradeEnsemble) -> KlOpinion:
    return film_opinion(film.radiograph.image, film.margins, (0.4, 0.4), ensemble, EASY)


def test_the_parts_of_the_map_add_up_to_the_score(ensemble: GradeEnsemble) -> None:
    opinion = opinion_of(phantom(medial_jsw_mm=2.0), ensemble)
    score = sum(float(values.sum()) for values in opinion.maps.values())
    chances = grade_probabilities(score, ensemble.thresholds)
    np.testing.assert_allclose(opinion.probabilities, chances, atol=1e-9)
    assert sum(opinion.probabilities) == pytest.approx(1.0)


def test_the_mean_training_film_has_no_part_in_the_map(ensemble: GradeEnsemble) -> None:
    crops = np.zeros((2, ensemble.crop.rows, ensemble.crop.columns), dtype=np.float32)
    usual = [replace(n, mean_map=network_answer(crops, n).maps) for n in ensemble.networks]
    opinion = kl_opinion(crops, replace(ensemble, networks=tuple(usual)), EASY)
    for values in opinion.maps.values():
        np.testing.assert_allclose(values, 0.0, atol=1e-9)
    np.testing.assert_allclose(
        opinion.probabilities, grade_probabilities(0.0, ensemble.thresholds), atol=1e-12
    )
    assert opinion.spread == pytest.approx(0.0, abs=1e-9)


def test_a_mirrored_film_of_the_other_side_says_the_same(ensemble: GradeEnsemble) -> None:
    film = phantom(Side.LEFT, medial_jsw_mm=2.0)
    one = film_opinion(film.radiograph.image, film.margins, (0.4, 0.4), ensemble)
    other = film_opinion(
        film.radiograph.image[:, ::-1], film.margins.mirrored(), (0.4, 0.4), ensemble
    )
    np.testing.assert_allclose(other.probabilities, one.probabilities, atol=1e-6)
    for compartment in Compartment:
        np.testing.assert_allclose(other.maps[compartment], one.maps[compartment], atol=1e-5)


def test_the_crop_shows_the_film_where_it_says(ensemble: GradeEnsemble) -> None:
    film = phantom()
    levels = level_joint(film.radiograph.image, film.margins, joint_frame(film.margins, (0.4, 0.4)))
    crop = JointCrop(200.0, 21, 11, 0.20, 0.05)
    crops = joint_crops(levels, crop)
    assert crops.shape == (2, 21, 11)
    level = levels[Compartment.LATERAL]
    row, column = np.abs(level.v - 0.05).argmin(), np.abs(level.s - 0.20).argmin()
    assert crops[1, 10, 5] == pytest.approx(level.detail[row, column], abs=1e-5)
    beyond = joint_crops(levels, replace(crop, middle_s=0.99))
    np.testing.assert_array_equal(beyond, 0.0)


def test_a_film_unlike_the_training_films_gets_no_grade(ensemble: GradeEnsemble) -> None:
    crops = np.full((2, ensemble.crop.rows, ensemble.crop.columns), -4.0, dtype=np.float32)
    crops[:, 41:] = 4.0  # one step and nothing else, as strong as the level film can be
    opinion = kl_opinion(crops, ensemble, EASY)
    assert opinion.unlikeness > ensemble.most_unlike
    assert opinion.grade is None
    assert [finding.code for finding in opinion.findings] == [ReasonCode.KL_OUT_OF_RANGE]


def test_uncertain_margins_and_flat_probabilities_withhold_the_grade(
    ensemble: GradeEnsemble,
) -> None:
    crops = np.zeros((2, ensemble.crop.rows, ensemble.crop.columns), dtype=np.float32)
    wide = replace(ensemble, most_unlike=1e6)
    assert kl_opinion(crops, wide, EASY).certain
    unsure = kl_opinion(crops, wide, EASY, (ReasonCode.MARGIN_UNCERTAIN,))
    assert unsure.grade is None
    assert unsure.probabilities == kl_opinion(crops, wide, EASY).probabilities
    strict = kl_opinion(crops, wide, KlSupportSettings(least_probability=1.0, most_far=1.0))
    assert [finding.code for finding in strict.findings] == [ReasonCode.KL_UNCERTAIN]


def plain(chances: tuple[float, float, float, float, float], grade: int | None) -> KlOpinion:
    doubts = () if grade is not None else (Finding(ReasonCode.KL_UNCERTAIN, "no grade"),)
    return KlOpinion(chances, grade, {}, JointCrop(160, 96, 80, 0.2, 0.0), 0.1, 1.0, doubts)


def test_rows_say_what_the_networks_say_and_why_not() -> None:
    chances = (0.1, 0.2, 0.5, 0.1, 0.1)
    rows = list(opinion_rows(plain(chances, 2), (ReasonCode.BONE_CUT_BY_VIEW,)))
    assert [(row.region, row.quantity, row.unit) for row in rows] == list(OPINION_ROWS)
    assert [row.value for row in rows] == [*chances, 2.0]
    assert all(row.flags == (ReasonCode.BONE_CUT_BY_VIEW,) for row in rows)
    unsure = list(opinion_rows(plain(chances, None)))
    assert [row.value for row in unsure[:-1]] == list(chances)
    assert unsure[-1].status is Status.NOT_MEASURABLE
    assert unsure[-1].reason is ReasonCode.KL_UNCERTAIN
    assert ReasonCode.KL_UNCERTAIN in unsure[0].flags


LOW, MIDDLE, HIGH = (0.7, 0.2, 0.1, 0.0, 0.0), (0.1, 0.2, 0.5, 0.1, 0.1), (0.0, 0.0, 0.1, 0.2, 0.7)


@pytest.mark.parametrize(
    "features, networks, text",
    [
        ((MIDDLE, 2), (MIDDLE, 2), "Features and networks agree on KL 2."),
        (
            (LOW, 0),
            (HIGH, 4),
            "Features and networks disagree by 4 grades: KL 0 against KL 4. "
            "Let a reader grade the film.",
        ),
        (
            (LOW, None),
            (MIDDLE, 2),
            "Features and networks disagree by 2 grades: KL 0 against KL 2; the features are "
            "uncertain. Let a reader grade the film.",
        ),
        (
            (HIGH, None),
            (HIGH, None),
            "Features and networks agree on KL 4; the features and the networks are uncertain. "
            "Let a reader grade the film.",
        ),
    ],
)
def test_one_sentence_says_whether_both_agree(features, networks, text) -> None:  # type: ignore[no-untyped-def]
    assert comparison_text(KlSupport(*features, {}), plain(*networks)) == text


def test_an_ensemble_that_cannot_be_is_refused(ensemble: GradeEnsemble) -> None:
    with pytest.raises(ModelError, match="ascend"):
        replace(ensemble, thresholds=(0.0, 1.0, 1.0, 2.0))
    with pytest.raises(ModelError, match="without networks"):
        replace(ensemble, networks=())
    with pytest.raises(ModelError, match="positive"):
        replace(ensemble, slope=0.0)
