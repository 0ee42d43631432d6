"""How the networks of the second opinion on KL grades are trained."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kneeimg.settings.base import Settings

Share = Annotated[float, Field(ge=0, le=1)]
Spread = Annotated[float, Field(ge=0, le=1)]


class KlCnnTraining(Settings):
    """One network: how long, how fast, and how films are varied for it.

    Attributes
    ----------
    epochs, films_per_step : Length and batch.
    rate, weight_decay, dropout : Of AdamW at its peak, and of the mean features.
    average : Greatest weight of the past in the running average of the weights, which is kept.
    joint_space_weight : Of the second task, the joint space at a few places of each compartment; it
        tells the layers early where bone ends.
    turn_deg, scale, aspect : Largest turn, and largest logarithm of size and of its ratio.
    shift : Largest shift along and across, in femoral widths: the finder's edges are not exact.
    gain, offset, gamma : SD of the logarithm of contrast, of brightness (spreads of the film), and
        of the logarithm of gamma.
    noise : Largest SD of white noise, in spreads of the film.
    blurred, hidden : Share of films that are blurred, and of crops of which a box is hidden.
    """

    epochs: Annotated[int, Field(ge=1, le=1000)] = 9
    films_per_step: Annotated[int, Field(ge=2, le=512)] = 16
    rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.05
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    average: Annotated[float, Field(ge=0, lt=1)] = 0.98
    joint_space_weight: Annotated[float, Field(ge=0)] = 0.5
    turn_deg: Annotated[float, Field(ge=0, le=45)] = 6.0
    scale: Spread = 0.07
    aspect: Spread = 0.04
    shift: tuple[Spread, Spread] = (0.035, 0.03)
    gain: Spread = 0.2
    offset: Spread = 0.15
    gamma: Spread = 0.15
    noise: Spread = 0.2
    blurred: Share = 0.2
    hidden: Share = 0.35
