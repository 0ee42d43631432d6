"""Training of the second opinion: what films become, what the loss asks, that a network learns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kneeimg.core.anatomy import Side
from kneeimg.core.kl_opinion import JointCrop
from kneeimg.core.margins import Compartment
from kneeimg.measure.film_level import level_joint
from kneeimg.measure.joint_space import joint_frame
from kneeimg.measure.kl_opinion import joint_crops, network_answer
from kneeimg.networks.film_grade import GradeNetworkSpec, grade_network
from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film
from kneeimg.settings.kl_cnn import KlCnnTraining
from kneeimg.training.kl_cnn import grade_loss, train_network
from kneeimg.training.kl_crops import SPACES, CropDraw, GradedCrops, film_arrays

CROP = JointCrop(40.0, 24, 20, 0.18, 0.0)
SPEC = GradeNetworkSpec(channels=(4, 4, 8, 8), stem_size=3)
STILL = KlCnnTraining(
    turn_deg=0, scale=0, aspect=0, shift=(0, 0), gain=0, offset=0, gamma=0, noise=0, blurred=0,
    hidden=0, dropout=0, epochs=6, films_per_step=10, rate=0.01, average=0.8,
)  # fmt: skip


def films(count: int = 60) -> GradedCrops:
    """Films whose grade is how bright a stripe is; the space is the same in all."""
    random = np.random.default_rng(0)
    grades = np.arange(count) % 5
    detail = random.normal(scale=0.3, size=(count, 2, 40, 30))
    detail[:, :, 18:22] += (grades - 2.0)[:, None, None, None]
    return GradedCrops(
        detail.astype(np.float16),
        np.linspace(-0.15, 0.50, 30),
        np.linspace(-0.45, 0.42, 40),
        np.full((count, 2, len(SPACES)), 0.05, dtype=np.float32),
        grades,
        np.array([f"P{n}" for n in range(count)]),
        np.array([f"F{n}" for n in range(count)]),
    )


def test_the_loss_is_the_log_probability_of_the_grade() -> None:
    log_odds = torch.tensor([[2.0, 0.5, -0.5, -2.0]])
    at_least = [1.0, *torch.sigmoid(log_odds[0]).tolist(), 0.0]
    for grade in range(5):
        wanted = -math.log(at_least[grade] - at_least[grade + 1])
        assert grade_loss(log_odds, torch.tensor([grade])).item() == pytest.approx(wanted, rel=1e-5)


def test_a_network_learns_what_tells_the_grades_apart_and_equal_seeds_learn_equally() -> None:
    seen = films()
    losses: list[float] = []
    learn = replace_settings(average=0.5)
    first = train_network(seen, SPEC, CROP, learn, seed=1, progress=lambda _, x: losses.append(x))
    second = train_network(seen, SPEC, CROP, learn, seed=1)
    assert losses[-1] < 0.75 * losses[0]
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    network = grade_network({f"0.{name}": value for name, value in first.items()}, 0, SPEC)
    draw = CropDraw(seen, CROP, STILL, 0)
    scores = []
    for film in range(20):
        crops = draw.plain(torch.tensor([film]))[:, 0].numpy()
        scores.append(network_answer(crops, network).maps.sum() - network.mean_map.sum())
    assert np.corrcoef(scores, seen.grades[:20])[0, 1] > 0.9


def replace_settings(**changes: float) -> KlCnnTraining:
    return STILL.model_copy(update=changes)


def test_the_mean_map_and_features_are_those_of_the_films() -> None:
    seen = films(20)
    arrays = train_network(seen, SPEC, CROP, replace_settings(epochs=1), seed=2)
    network = grade_network({f"0.{name}": value for name, value in arrays.items()}, 0, SPEC)
    draw = CropDraw(seen, CROP, STILL, 0)
    answers = [
        network_answer(draw.plain(torch.tensor([film]))[:, 0].numpy(), network)
        for film in range(20)
    ]
    maps = np.mean([answer.maps for answer in answers], axis=0)
    np.testing.assert_allclose(network.mean_map, maps, atol=1e-4)
    spread = np.std([answer.features for answer in answers], axis=0)
    np.testing.assert_allclose(network.feature_sd, spread, atol=1e-4)


@pytest.mark.parametrize("side", list(Side))
def test_training_sees_the_crop_that_measuring_cuts(side: Side) -> None:
    film = knee_film(FilmKnee(side=side, medial_jsw_mm=3.0), FilmSetup(pixel_mm=0.4))
    levels = level_joint(film.radiograph.image, film.margins, joint_frame(film.margins, (0.4, 0.4)))
    detail, spaces = film_arrays(levels)
    level = levels[Compartment.MEDIAL]
    one = GradedCrops(
        detail[None],
        level.s,
        level.v,
        spaces[None],
        np.array([2]),
        np.array(["P"]),
        np.array(["F"]),
    )
    crop = JointCrop(160.0, 96, 80, 0.18, 0.0)
    learned = CropDraw(one, crop, STILL, 0).plain(torch.tensor([0]))[:, 0].numpy()
    np.testing.assert_allclose(learned, joint_crops(levels, crop), atol=5e-3)  # half precision
    still, space = CropDraw(one, crop, STILL, 0).varied(torch.tensor([0]))
    np.testing.assert_allclose(still[:, 0].numpy(), learned, atol=1e-3)
    assert (0.02 * space[0, 0, 3] + 0.045).item() == pytest.approx(spaces[0, 3], abs=1e-6)


def test_a_film_drawn_larger_has_a_wider_space() -> None:
    seen = films(40)
    _, spaces = CropDraw(seen, CROP, replace_settings(scale=0.3), 5).varied(torch.arange(40))
    widths = 0.02 * spaces.numpy() + 0.045
    assert widths.min() >= 0.05 * math.exp(-0.3) - 1e-6
    assert widths.max() <= 0.05 * math.exp(0.3) + 1e-6
    assert widths.std() > 0.005
    # each compartment is drawn on its own, all places of one alike
    assert np.ptp(widths, axis=2).max() < 1e-6


def test_a_box_is_hidden_on_the_share_of_crops_that_is_asked_for() -> None:
    seen = films(60)
    bright = replace(seen, detail=np.ones_like(seen.detail))
    crops, _ = CropDraw(bright, CROP, replace_settings(hidden=0.5), 6).varied(torch.arange(60))
    hidden = (crops[:, 0] == 0).flatten(1).any(dim=1).float().mean().item()
    assert 0.35 < hidden < 0.65
    plain, _ = CropDraw(bright, CROP, STILL, 6).varied(torch.arange(60))
    assert not (plain == 0).any()
