"""A femoral edge in soft tissue is flagged; the model that says so is checked as it is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.errors import ModelError, ReasonCode
from kneeimg.phantoms.film import FilmKnee, FilmSetup, exact_margins, knee_film
from kneeimg.segment.film import find_margins
from kneeimg.segment.film.frame_check import (
    MOST_INSIDE,
    MOST_OUTSIDE,
    check_frame,
    edge_features,
    feature_count,
    pose_of,
    read_edge_model,
    shipped_edge_model,
    write_edge_model,
)
from kneeimg.segment.film.rectify import Leveller, level

SETUP = FilmSetup(pixel_mm=0.4, texture=0.02)
KNEE = FilmKnee(side=Side.LEFT)
MEDIAL, LATERAL = Compartment.MEDIAL, Compartment.LATERAL


@pytest.fixture(scope="module")
def film() -> tuple[np.ndarray, JointMargins]:
    return knee_film(KNEE, SETUP).radiograph.image.astype(float), exact_margins(KNEE, SETUP)


def moved_edge(margins: JointMargins, compartment: Compartment, outward: float) -> JointMargins:
    """Margins of which one femoral edge lies farther outside by a share of the width."""
    width = KNEE.femoral_width_mm / SETUP.knee_pixel_mm
    sign = -1 if compartment is MEDIAL else 1
    line = margins.femoral_edges[compartment]
    points = line.points + (sign * outward * width, 0.0)
    edges = {**margins.femoral_edges, compartment: MarginLine(points, line.confidence)}
    return replace(margins, femoral_edges=edges)


def test_true_edges_are_not_doubted(film):
    image, margins = film
    assert check_frame(Leveller(image), margins) == []


@pytest.mark.parametrize("compartment", [MEDIAL, LATERAL])
@pytest.mark.parametrize("outward", [0.09, -0.13])
def test_an_edge_beside_the_bone_is_flagged(film, compartment, outward):
    image, margins = film
    flagged = check_frame(Leveller(image), moved_edge(margins, compartment, outward))
    assert [(f.code, f.where) for f in flagged] == [(ReasonCode.WIDTH_UNCERTAIN, compartment.value)]
    assert flagged[0].found.endswith("outside" if outward > 0 else "inside")


def test_an_edge_a_little_inside_is_left_alone(film):
    image, margins = film
    assert MOST_OUTSIDE < 0.055 < MOST_INSIDE
    assert check_frame(Leveller(image), moved_edge(margins, MEDIAL, -0.055)) == []


def test_expected_edges_follow_the_film(film):
    image, margins = film
    pose = pose_of(margins)
    wide = replace(pose, width=1.06 * pose.width)
    expected = shipped_edge_model().expected(level(image, wide))
    assert expected[MEDIAL] == pytest.approx(0.5 - 0.5 / 1.06, abs=0.02)
    assert expected[LATERAL] == pytest.approx(0.5 + 0.5 / 1.06, abs=0.02)


def test_contrast_and_exposure_change_nothing(film):
    image, margins = film
    features = [edge_features(level(grey, pose_of(margins))) for grey in (image, 3 * image + 7)]
    assert features[0].shape == (feature_count(),)
    assert np.allclose(*features, atol=1e-3)


def test_a_mirrored_film_of_the_other_side_is_judged_alike():
    own = knee_film(KNEE, SETUP).radiograph
    other = replace(own, image=own.image[:, ::-1].copy(), side=Side.RIGHT)
    flags = [find_margins(film).findings for film in (own, other)]
    assert [[f.code for f in these] for these in flags] == [[], []]


@pytest.mark.parametrize("damage", ["absent", "text", "layout", "shape", "nan"])
def test_a_damaged_model_is_refused(tmp_path, damage):
    path = tmp_path / "model.npz"
    mean, weights, edges = np.zeros(feature_count()), np.zeros((feature_count(), 2)), np.zeros(2)
    if damage == "text":
        path.write_text("no model")
    elif damage == "layout":
        np.savez(path, format=np.array(99), mean=mean, weights=weights, edges=edges)
    elif damage == "shape":
        write_edge_model(path, mean[1:], weights, edges)
    elif damage == "nan":
        write_edge_model(path, mean, weights * np.nan, edges)
    with pytest.raises(ModelError) as refused:
        read_edge_model(path)
    assert refused.value.code is ReasonCode.MODEL_REFUSED


def test_a_model_is_stored_finely_enough(tmp_path):
    rng = np.random.default_rng(0)
    weights, features = rng.normal(0, 0.01, (feature_count(), 2)), rng.random(feature_count())
    write_edge_model(tmp_path / "m.npz", np.zeros(feature_count()), weights, np.array([0.0, 1.0]))
    stored = read_edge_model(tmp_path / "m.npz")
    assert np.allclose(features @ stored.weights, features @ weights, atol=1e-3)
    assert len(stored.sha256) == 64
