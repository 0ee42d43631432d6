"""Joints in which bone meets bone: no dark line is left between the margins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment, MarginLine
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.refine import sampled

FloatArray = NDArray[np.float64]

_OPEN = 0.020  # of femoral width: a space this wide shows how dark an open one is
_BONE = 0.012  # how far into bone is looked for its brightness, of femoral width
_LEAST_DIP = 0.12  # share of the darkness of an open space
# Bones that touch are traced close together; a wider gap without a dark line is the grey space
# beside the bones, past the end of a plateau or condyle.
_CLOSE = 0.070  # of femoral width
_TOUCH, _FAINT_DIP = 0.006, 0.5  # so near, a faint line is the blur between two bright edges
# Of 43 closed places on 28 films the margins were traced 0.023 apart or less in the middle, but for
# one, 0.046 apart: an open joint seen past the end of its plateau.
_NEAR = 0.03
_LEAST_RUN = 0.015  # of femoral width; a shorter place without a dark line, or with one, is noise
_LEAST_BONE = 0.4  # of an open space's darkness: how much brighter than it bone must be


def close_joint(
    image: FloatArray,
    pose: Pose,
    femur: Mapping[Compartment, MarginLine],
    tibia: Mapping[Compartment, MarginLine],
) -> tuple[dict[Compartment, MarginLine], dict[Compartment, MarginLine]]:
    """Bring both margins together where no dark line runs between them.

    Returns
    -------
    femur, tibia : The margins; where bone meets bone both follow the surer of the two.
    """
    lines = {c: (pose.frame(femur[c].points), pose.frame(tibia[c].points)) for c in Compartment}
    dips = {c: _dips(image, pose, *pair) for c, pair in lines.items()}
    open_dips = np.concatenate([dip[gap > _OPEN] for dip, _, gap, _ in dips.values()])
    usual = float(np.percentile(open_dips, 75)) if len(open_dips) else np.inf
    spaces = np.concatenate([(bone - dip)[gap > _OPEN] for dip, bone, gap, _ in dips.values()])
    bright = float(np.median(spaces)) + _LEAST_BONE * usual if len(spaces) else -np.inf
    out: tuple[dict[Compartment, MarginLine], dict[Compartment, MarginLine]] = ({}, {})
    for compartment, (dip, bone, gap, x) in dips.items():
        no_line = (dip < _LEAST_DIP * usual) & (gap < _CLOSE)
        touching = (dip < _FAINT_DIP * usual) & (gap < _TOUCH)
        runs = _long_runs((no_line | touching) & (bone > bright), x[1] - x[0])
        shut = x[_near_runs(runs, gap)]
        margins = (femur[compartment], tibia[compartment])
        sure = _surer(margins, lines[compartment], shut)
        for k, margin in enumerate(margins):
            follow = len(shut) > 0 and k != sure
            out[k][compartment] = (
                _following(pose, margin, margins[sure], shut, x[1] - x[0]) if follow else margin
            )
    return out


def _long_runs(mask: NDArray[np.bool_], step: float) -> NDArray[np.bool_]:
    """Only the runs of a mask that are long enough, joined where little lies between."""
    from scipy.ndimage import binary_closing, binary_opening

    least = np.ones(max(1, round(_LEAST_RUN / step)), dtype=np.bool_)
    joined = binary_closing(np.pad(mask, len(least)), least)[len(least) : -len(least)]
    opened: NDArray[np.bool_] = binary_opening(joined, least)
    return opened


def _near_runs(mask: NDArray[np.bool_], gap: FloatArray) -> NDArray[np.bool_]:
    """Only the runs of a mask along which the margins were traced close together."""
    from scipy.ndimage import label

    labels, count = label(mask)
    wide = [k for k in range(1, count + 1) if np.median(gap[labels == k]) > _NEAR]
    near: NDArray[np.bool_] = mask & ~np.isin(labels, wide)
    return near


def _height(line: FloatArray, x: FloatArray) -> FloatArray:
    order = np.argsort(line[:, 0])
    height: FloatArray = np.interp(x, line[order, 0], line[order, 1])
    return height


def _surer(
    margins: tuple[MarginLine, MarginLine], lines: tuple[FloatArray, FloatArray], shut: FloatArray
) -> int:
    """Number of the margin with the higher confidence over the closed x."""
    if not len(shut):
        return 0
    means = []
    for margin, line in zip(margins, lines, strict=True):
        near = (line[:, 0] >= shut[0]) & (line[:, 0] <= shut[-1])
        means.append(float(margin.confidence[near].mean()) if near.any() else 0.0)
    return int(np.argmax(means))


def _following(
    pose: Pose, margin: MarginLine, other: MarginLine, shut: FloatArray, step: float
) -> MarginLine:
    """A margin that runs along the other one at the closed x."""
    own, guide = pose.frame(margin.points), pose.frame(other.points)
    keep = np.abs(own[:, :1] - shut).min(axis=1) > step
    order = np.argsort(guide[:, 0])
    confidence = np.interp(shut, guide[order, 0], other.confidence[order])
    points = np.concatenate([own[keep], np.column_stack([shut, _height(guide, shut)])])
    sure = np.concatenate([margin.confidence[keep], confidence])
    order = np.argsort(points[:, 0], kind="stable")
    return MarginLine(pose.pixels(points[order]), sure[order])


def _dips(
    image: FloatArray, pose: Pose, femur: FloatArray, tibia: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Darkness of the space below the paler bone, that bone's brightness, the width of the space
    and x, at each x both lines reach."""
    low = max(femur[:, 0].min(), tibia[:, 0].min())
    high = min(femur[:, 0].max(), tibia[:, 0].max())
    x = np.linspace(low, high, 160)
    top, bottom = _height(femur, x), _height(tibia, x)
    share = np.linspace(0.0, 1.0, 33)
    start, stop = np.minimum(top, bottom) - _BONE, np.maximum(top, bottom) + _BONE
    v = start[:, None] + share * (stop - start)[:, None]
    grey = sampled(image, pose.pixels(np.stack([np.broadcast_to(x[:, None], v.shape), v], -1)))
    within = (v >= top[:, None]) & (v <= bottom[:, None])
    within[:, 16] = True  # the middle counts even when the lines have crossed
    above = np.where(v <= top[:, None], grey, -np.inf).max(axis=1)
    below = np.where(v >= bottom[:, None], grey, -np.inf).max(axis=1)
    inner = np.where(within, grey, np.inf).min(axis=1)
    bone = np.minimum(above, below)
    return bone - inner, bone, bottom - top, x
