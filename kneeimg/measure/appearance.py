"""How the bones look around the joint: histograms of edge directions on the level film.

Sizes in single features miss what a trained eye sees at once: lips, steps, double contours,
spiked spines. Histograms of oriented gradients [1]_ over a grid of cells describe that without a
model of it; a ridge regression on the grades of readers turns them into five scores for each
compartment, one for each part of the joint, so that an answer can still say where it comes from.

References
----------
.. [1] Dalal & Triggs 2005, doi:10.1109/CVPR.2005.177.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.kl_support import KlAppearance
from kneeimg.core.margins import Compartment
from kneeimg.measure.edge_histograms import ANGLES, CELL, LEAST_SEEN, edge_histograms
from kneeimg.measure.film_level import S_RANGE, SAMPLES_PER_WIDTH, V_RANGE, LevelCompartment

FloatArray = NDArray[np.float64]

_OUTER, _INNER = 0.14, 0.36  # s: the margins lie outside, the spines inside


class Part(StrEnum):
    """Parts of a compartment whose look is scored."""

    FEMORAL_MARGIN = "femoral_margin"
    TIBIAL_MARGIN = "tibial_margin"
    FEMUR = "femur"
    TIBIA = "tibia"
    CENTRE = "centre"


def grid_shape() -> tuple[int, int]:
    """(rows, columns) of cells in a compartment."""
    return tuple(  # type: ignore[return-value]
        (round((high - low) * SAMPLES_PER_WIDTH) + 1) // CELL for low, high in (V_RANGE, S_RANGE)
    )


@cache
def cell_parts() -> dict[Part, NDArray[np.bool_]]:
    """(rows, columns) cells of each part; every cell belongs to one part.

    >>> sum(cells.sum() for cells in cell_parts().values()) == np.prod(grid_shape())
    np.True_
    """
    rows, columns = grid_shape()
    v = (V_RANGE[0] + (np.arange(rows) + 0.5) * CELL / SAMPLES_PER_WIDTH)[:, None]
    s = (S_RANGE[0] + (np.arange(columns) + 0.5) * CELL / SAMPLES_PER_WIDTH)[None, :]
    above, outer, inner = v < 0.02, s < _OUTER, s >= _INNER
    return {
        Part.FEMORAL_MARGIN: above & outer,
        Part.TIBIAL_MARGIN: ~above & outer,
        Part.FEMUR: above & ~outer & ~inner,
        Part.TIBIA: ~above & ~outer & ~inner,
        Part.CENTRE: np.broadcast_to(inner, (rows, columns)),
    }


def look_vector(levels: Mapping[Compartment, LevelCompartment]) -> FloatArray:
    """(2 · rows · columns · 8,) histograms of both compartments, medial first."""
    shape, parts = grid_shape(), (levels[c] for c in Compartment)
    return np.concatenate([edge_histograms(p.detail, p.inside, shape).ravel() for p in parts])


def look_names() -> tuple[str, ...]:
    """Names of the ten scores, e.g. `medial_look_tibial_margin`."""
    return tuple(f"{c.value}_look_{part.value}" for c in Compartment for part in Part)


def look_scores(vector: FloatArray, appearance: KlAppearance) -> dict[str, float]:
    """Score of each part of the joint, in grades above or below the mean training film.

    Parameters
    ----------
    vector : Of :func:`look_vector`; NaN counts as the mean. A part that is mostly off the film
        has no score (NaN).
    appearance : Mean and weight of every value.
    """
    rows, columns = grid_shape()
    shape = (len(Compartment), rows, columns, ANGLES)
    known = np.isfinite(vector).reshape(shape)[..., 0]
    parts = np.nan_to_num((vector - appearance.mean) * appearance.weight, nan=0.0)
    by_cell = parts.reshape(shape).sum(axis=3)
    scores: dict[str, float] = {}
    for number, compartment in enumerate(Compartment):
        for part, cells in cell_parts().items():
            enough = known[number][cells].mean() >= LEAST_SEEN
            score = float(by_cell[number][cells].sum()) if enough else math.nan
            scores[f"{compartment.value}_look_{part.value}"] = score
    return scores
