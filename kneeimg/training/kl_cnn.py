"""Training one network of the second opinion on KL grades."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from kneeimg.core.kl_opinion import JointCrop
from kneeimg.networks.film_grade import GradeNetworkSpec, build_body
from kneeimg.settings.kl_cnn import KlCnnTraining
from kneeimg.training.kl_crops import SPACES, CropDraw, GradedCrops

Arrays = dict[str, NDArray[np.float32]]
Progress = Callable[[int, float], None]

_WARM = 0.15  # share of the steps in which the rate rises
_STEEPEST = 5.0  # longest gradient
_LEAST = 1e-4  # smallest probability whose logarithm counts
_AT_ONCE = 64  # films


class TwoCompartments(nn.Module):
    """The body on both compartments, and two heads: the grade, and the joint space.

    The grade is one score for the film before four ascending thresholds (proportional odds).
    """

    def __init__(self, spec: GradeNetworkSpec, dropout: float) -> None:
        super().__init__()
        channels = spec.channels[-1]
        self.body = build_body(spec)
        self.grade = nn.Linear(2 * channels, 1, bias=False)
        self.space = nn.Linear(channels, len(SPACES))
        self.thresholds = nn.Parameter(torch.tensor([-2.0, -0.9, 0.9, 2.0]))
        self.dropout = nn.Dropout(dropout)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Crops (2n, 1, R, C) to log odds (n, 4) of each grade or more, and spaces (n, 2, ...)."""
        features = self.body(crops).float()
        films = features.reshape(len(crops) // 2, -1)
        score = self.grade(self.dropout(films))
        spaces = self.space(features).reshape(len(films), 2, -1)
        return score - self.thresholds.sort().values, spaces


def grade_loss(log_odds: Tensor, grades: Tensor) -> Tensor:
    """Mean negative log probability of the readers' grades.

    >>> grade_loss(torch.tensor([[9.0, 9.0, -9.0, -9.0]]), torch.tensor([2])).item() < 0.001
    True
    """
    one, none = torch.ones(len(grades), 1), torch.zeros(len(grades), 1)
    at_least = torch.cat([one, torch.sigmoid(log_odds.float()), none], dim=1)
    chances = (at_least[:, :-1] - at_least[:, 1:]).clamp_min(_LEAST)
    return -chances.gather(1, grades[:, None]).log().mean()


def train_network(
    films: GradedCrops,
    spec: GradeNetworkSpec,
    crop: JointCrop,
    settings: KlCnnTraining,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Arrays:
    """Train one network; its arrays as `networks.film_grade.grade_network` reads them.

    Parameters
    ----------
    films : To learn from, all of them.
    spec, crop, settings : The network, what it sees, how it learns.
    seed : Of weights and of every random draw; equal seeds on one machine, equal networks.
    progress : Called with the epoch, from 1, and its mean loss.
    """
    torch.manual_seed(seed)
    model = TwoCompartments(spec, settings.dropout)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    draw = CropDraw(films, crop, settings, seed)
    average = _learn(model, draw, films, settings, progress)
    model.load_state_dict(average)
    return _arrays(model.eval(), draw, len(films.grades))


def _learn(
    model: TwoCompartments,
    draw: CropDraw,
    films: GradedCrops,
    settings: KlCnnTraining,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """Train in place; the running average of the weights."""
    grades, every = torch.from_numpy(films.grades), torch.arange(len(films.grades))
    steps = max(len(every) // settings.films_per_step, 1)
    optimiser = _optimiser(model, settings)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=settings.epochs * steps, pct_start=_WARM
    )
    average = {name: value.clone() for name, value in model.state_dict().items()}
    done = 0
    for epoch in range(settings.epochs):
        model.train()
        order, total = draw.order(every), 0.0
        for step in range(steps):
            batch = order[step * settings.films_per_step :][: settings.films_per_step]
            optimiser.zero_grad()
            loss, of_grade = _loss(model, draw, batch, grades[batch], settings)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), _STEEPEST)
            optimiser.step()
            schedule.step()
            done += 1
            _follow(average, model, min(settings.average, (1 + done) / (10 + done)))
            total += of_grade
        if progress is not None:
            progress(epoch + 1, total / steps)
    return average


def _optimiser(model: nn.Module, settings: KlCnnTraining) -> torch.optim.AdamW:
    """Weights decay; biases, normalisation and thresholds do not."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.rate)


def _loss(
    model: TwoCompartments,
    draw: CropDraw,
    batch: Tensor,
    grades: Tensor,
    settings: KlCnnTraining,
) -> tuple[Tensor, float]:
    """Loss of both tasks, and that of the grade alone."""
    crops, spaces = draw.varied(batch)
    with torch.autocast("cpu", torch.bfloat16):
        log_odds, found = model(crops)
    of_grade = grade_loss(log_odds, grades)
    known = torch.isfinite(spaces)
    of_space = smooth_l1_loss(found.float()[known], spaces[known]) if known.any() else 0.0
    return of_grade + settings.joint_space_weight * of_space, float(of_grade.detach())


@torch.no_grad()
def _follow(average: dict[str, Tensor], model: nn.Module, past: float) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - past)
        else:
            average[name] = value.clone()


@torch.no_grad()
def _arrays(model: TwoCompartments, draw: CropDraw, count: int) -> Arrays:
    """Weights, and how the training films spread: mean map, mean and SD of the features."""
    weight = model.grade.weight.reshape(2, -1)
    maps, features = [], []
    for batch in torch.split(torch.arange(count), _AT_ONCE):
        cells = _cells(model, draw.plain(batch))
        cells = cells.reshape(len(batch), 2, *cells.shape[1:])
        maps.append(torch.einsum("kc,nkcij->nkij", weight, cells) / cells[0, 0, 0].numel())
        features.append(cells.mean(dim=(-2, -1)))
    seen = torch.cat(features)
    head = {
        "weight": weight,
        "mean_map": torch.cat(maps).mean(0),
        "feature_mean": seen.mean(0),
        "feature_sd": seen.std(0, correction=0),
    }
    body = {
        f"body.{name}": value
        for name, value in model.body.state_dict().items()
        if value.is_floating_point()
    }
    named = body | {f"head.{name}": value for name, value in head.items()}
    return {name: value.float().numpy().copy() for name, value in named.items()}


def _cells(model: TwoCompartments, crops: Tensor) -> Tensor:
    """Features before their mean, (2n, channels, rows, columns)."""
    body = model.body
    found: Tensor = body.act(body.bn1(body.conv1(crops)))
    for layer in (body.layer1, body.layer2, body.layer3, body.layer4):
        found = layer(found)
    return found
