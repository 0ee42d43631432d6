"""Bone beside the joint space: sclerosis of the subchondral band, and attrition of its shape.

Lengths are fractions of the femoral width. Sclerosis is counted in spreads of the film's own grey
values, so exposure, gain and equalisation of the whole film cancel.

References
----------
.. [1] Kellgren & Lawrence 1957, doi:10.1136/ard.16.4.494: sclerosis and altered shape of the bone
   ends belong to the grades 3 and 4.
.. [2] Altman & Gold 2007, doi:10.1016/j.joca.2006.11.009: attrition, loss of bone height.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone
from kneeimg.measure.film_level import LevelCompartment

FloatArray = NDArray[np.float64]

_ACROSS = (0.10, 0.32)  # s of the band: the middle of the compartment
_BAND = (0.006, 0.030)  # depth of the subchondral band below the margin, 0.5 to 2.4 mm of 80
_BENEATH = (0.070, 0.140)  # depth of the bone it is compared with
_CHORD = (0.08, 0.34)  # s of the ends of the chord
_LEAST_INSIDE = 0.8
_STEPS = 9


def sclerosis(level: LevelCompartment, bone: Bone) -> float:
    """Brightness of the subchondral band above that of the bone beneath, in spreads of the film.

    The spread is the SD of the grey values around the joint after slow shading is removed. The
    mean over s 0.10-0.32 of depth 0.006-0.030 less that of depth 0.070-0.140, in fractions of the
    femoral width. NaN where the margin or the film does not reach.
    """
    band, beneath = (_mean_at(level, bone, depth) for depth in (_BAND, _BENEATH))
    return band - beneath


def _mean_at(level: LevelCompartment, bone: Bone, depth: tuple[float, float]) -> float:
    """Mean detail of a band along the margin; NaN when too much of it is not in view."""
    margin = level.femur if bone is Bone.FEMUR else level.tibia
    columns = (level.s >= _ACROSS[0]) & (level.s <= _ACROSS[1])
    into_bone = -1.0 if bone is Bone.FEMUR else 1.0
    v = margin[columns] + into_bone * np.linspace(*depth, _STEPS)[:, None]
    s = np.broadcast_to(level.s[columns], v.shape)
    seen = level.sampled(level.inside.astype(np.float64), s, np.nan_to_num(v, nan=9.0)) > 0.99
    if seen.mean() < _LEAST_INSIDE:
        return math.nan
    return float(level.sampled(level.detail, s, np.nan_to_num(v, nan=9.0))[seen].mean())


def sagitta(level: LevelCompartment, bone: Bone) -> float:
    """Greatest distance of a margin below the chord of its compartment, fraction of the width.

    The chord joins the margin at s 0.08 and 0.34. Of the tibia it is the depth of the plateau's
    floor: attrition wears a hollow into it. Of the femur it is how far the condyle bulges:
    attrition flattens it. NaN where the margin does not reach both ends.
    """
    margin = level.femur if bone is Bone.FEMUR else level.tibia
    inner = (level.s >= _CHORD[0] - 1e-9) & (level.s <= _CHORD[1] + 1e-9)
    s, v = level.s[inner], margin[inner]
    if not np.isfinite(v).all():
        return math.nan
    chord = v[0] + (v[-1] - v[0]) * (s - s[0]) / (s[-1] - s[0])
    return float((v - chord).max())
