"""Graded films as the networks of the second opinion see them, varied anew at every step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from kneeimg.core.kl_opinion import JointCrop
from kneeimg.core.margins import Compartment
from kneeimg.measure.film_level import LevelCompartment
from kneeimg.settings.kl_cnn import KlCnnTraining

#: Places of the joint space that the second task asks for, femoral widths from the outer edge.
SPACES = (0.08, 0.12, 0.16, 0.20, 0.24, 0.28, 0.32)
_USUAL_SPACE, _SPACE_SD = 0.045, 0.02  # of the width; to bring the second task to unit size
_LARGEST_BOX = 0.28  # of the crop, rows and columns of what is hidden
_SMALLEST_BOX = 4  # samples


@dataclass(frozen=True, slots=True, eq=False)
class GradedCrops:
    """Level films with the grades of readers.

    Attributes
    ----------
    detail : (N, 2, R, C) of `LevelCompartment.detail`, medial first, 0 beyond the film.
    s, v : (C,), (R,) places of its samples, in femoral widths.
    spaces : (N, 2, len(SPACES)) joint space / femoral width; NaN where a margin is absent.
    grades : (N,) 0 to 4.
    people : (N,) who.
    names : (N,) files.
    """

    detail: NDArray[np.float16]
    s: NDArray[np.float64]
    v: NDArray[np.float64]
    spaces: NDArray[np.float32]
    grades: NDArray[np.int64]
    people: NDArray[np.str_]
    names: NDArray[np.str_]


def film_arrays(
    levels: dict[Compartment, LevelCompartment],
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Detail (2, R, C) and spaces (2, len(SPACES)) of one film, as `GradedCrops` holds them."""
    detail = np.array([levels[c].detail for c in Compartment], dtype=np.float16)
    columns = [int(np.abs(levels[Compartment.MEDIAL].s - place).argmin()) for place in SPACES]
    gaps = [(levels[c].tibia - levels[c].femur)[columns] for c in Compartment]
    return detail, np.array(gaps, dtype=np.float32)


class CropDraw:
    """Draws crops of films: as they are, or turned, shifted, scaled, brightened and half hidden.

    Parameters
    ----------
    films : All films; batches are indices into them.
    crop : What a network sees.
    settings : How far films are varied.
    seed : Of all random numbers.
    """

    def __init__(
        self, films: GradedCrops, crop: JointCrop, settings: KlCnnTraining, seed: int
    ) -> None:
        self._films, self._settings = films, settings
        self._random = torch.Generator().manual_seed(seed)
        down, across = np.meshgrid(crop.v - crop.middle_v, crop.s - crop.middle_s, indexing="ij")
        self._down, self._across = (torch.from_numpy(a).float() for a in (down, across))
        self._middle = (crop.middle_s, crop.middle_v)

    def order(self, films: Tensor) -> Tensor:
        """The films in a new order."""
        return films[torch.randperm(len(films), generator=self._random)]

    def plain(self, films: Tensor) -> Tensor:
        """(2n, 1, rows, columns) crops of films as they are."""
        none = torch.zeros(2 * len(films))
        return self._sampled(films, self._places(none, none, none, none, none))

    def varied(self, films: Tensor) -> tuple[Tensor, Tensor]:
        """Varied crops (2n, 1, rows, columns), and (n, 2, len(SPACES)) joint spaces in them.

        Spaces are in units of their usual spread and NaN where unknown.
        """
        known, count = self._settings, 2 * len(films)
        size, ratio = self._within(count, known.scale), self._within(count, known.aspect)
        turn = self._within(count, math.radians(known.turn_deg))
        shifts = [self._within(count, most) for most in known.shift]
        crops = self._sampled(films, self._places(turn, size, ratio, *shifts))
        spaces = torch.from_numpy(self._films.spaces[films.numpy()])
        # a film drawn larger by a factor shows its spaces larger by it
        seen = spaces / torch.exp(size - ratio).reshape(-1, 2, 1)
        return self._hidden(self._greyed(crops)), (seen - _USUAL_SPACE) / _SPACE_SD

    def _within(self, count: int, most: float) -> Tensor:
        return (torch.rand(count, generator=self._random) * 2 - 1) * most

    def _places(
        self, turn: Tensor, size: Tensor, ratio: Tensor, shift_s: Tensor, shift_v: Tensor
    ) -> tuple[Tensor, Tensor]:
        """s and v of every sample of every crop, each (2n, rows, columns)."""

        def each(values: Tensor) -> Tensor:
            return values[:, None, None]

        cosine, sine = each(torch.cos(turn)), each(torch.sin(turn))
        s = each(torch.exp(size + ratio)) * (cosine * self._across - sine * self._down)
        v = each(torch.exp(size - ratio)) * (sine * self._across + cosine * self._down)
        return s + each(shift_s) + self._middle[0], v + each(shift_v) + self._middle[1]

    def _sampled(self, films: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
        detail = torch.from_numpy(self._films.detail[films.numpy()]).float()
        axes = (self._films.s, self._films.v)
        unit = [
            (place - float(axis[0])) / float(axis[-1] - axis[0]) * 2 - 1
            for place, axis in zip(places, axes, strict=True)
        ]
        crops = grid_sample(
            detail.flatten(0, 1)[:, None], torch.stack(unit, dim=-1), align_corners=True
        )
        return crops.contiguous(memory_format=torch.channels_last)

    def _greyed(self, crops: Tensor) -> Tensor:
        """Grey values as another film or another processing would show them, film by film."""
        known, films = self._settings, len(crops) // 2

        def by_film(values: Tensor) -> Tensor:
            return values.repeat_interleave(2, 0)

        def normal(sd: float) -> Tensor:
            return by_film(torch.randn(films, 1, 1, 1, generator=self._random) * sd)

        def uniform() -> Tensor:
            return by_film(torch.rand(films, 1, 1, 1, generator=self._random))

        crops = crops.sign() * (crops.abs() + 1e-4).pow(torch.exp(normal(known.gamma)))
        crops = crops * torch.exp(normal(known.gain)) + normal(known.offset)
        crops = torch.where(uniform() < known.blurred, avg_pool2d(crops, 3, 1, 1), crops)
        noise = torch.randn(crops.shape, generator=self._random)
        return crops + noise * uniform() * known.noise

    def _hidden(self, crops: Tensor) -> Tensor:
        """A box of some crops set to 0 (DeVries 2017, arXiv:1708.04552)."""
        _, _, rows, columns = crops.shape
        for crop in crops:
            share, high, wide, top, left = torch.rand(5, generator=self._random).tolist()
            if share < self._settings.hidden:
                height = _SMALLEST_BOX + int(high * _LARGEST_BOX * rows)
                width = _SMALLEST_BOX + int(wide * _LARGEST_BOX * columns)
                row, column = int(top * (rows - height)), int(left * (columns - width))
                crop[:, row : row + height, column : column + width] = 0.0
        return crops.contiguous(memory_format=torch.channels_last)
