"""The outer side of femur and tibia beside the joint, traced on the level film.

Below its widest part the femur, and below its plateau the tibia, end at a line where soft tissue
meets bone. Osteophytes grow out of that line at the margin of the joint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from kneeimg.core.anatomy import Bone
from kneeimg.measure.film_level import SAMPLES_PER_WIDTH, LevelCompartment, wide_mean

FloatArray = NDArray[np.float64]

#: Rows of each side line: v of the femur, depth below the edge of the plateau of the tibia.
SIDE_ROWS = {Bone.FEMUR: (-0.32, -0.03), Bone.TIBIA: (-0.04, 0.26)}
_EDGE_AT = (0.06, 0.12)  # s where the height of the plateau's edge is read
_BAND = (-0.10, 0.22)  # s searched
# Typical side lines, (rows), (s): by eye on twenty films, mildly preferred
_TYPICAL = {
    Bone.FEMUR: ((-0.32, -0.20, -0.10, -0.03), (0.010, 0.025, 0.045, 0.075)),
    Bone.TIBIA: ((-0.04, 0.02, 0.10, 0.18, 0.26), (0.055, 0.055, 0.070, 0.100, 0.140)),
}
_PRIOR = 0.6  # cost at 0.10 of the width from the typical line, against an edge strength of 1
_STEP = 2  # samples a line may move per row
_BEND = 0.15  # cost per sample moved
_BLUR = (2.0, 1.5)  # samples, along and across the line
_AROUND = 0.10  # of the width, surroundings that an edge is compared with
_FLOOR = 0.3  # of the film's mean slope: what counts as an edge where nothing is in view
_CAP = 2.0  # a letter or an implant is no better than a clear edge
_REGION = 0.08  # gain per sample of soft tissue outside and of bone inside the line
_INNER = (0.10, 0.22)  # s whose grey is that of bone
_SOFT = 25  # percentile of the grey further out that is that of soft tissue
JOINT_S = (0.12, 0.18)  # s of the joint margin where the smooth contour of the side ends
_OUTSIDE = 2  # samples outside the line that must be on the film
_RIM = 4  # samples along the edge of the film that show no bone edge
_LEAST_INSIDE = 0.75  # share of the line that must lie on the film


@dataclass(frozen=True, slots=True, eq=False)
class SideLine:
    """The outer side of one bone in one compartment.

    Attributes
    ----------
    depth : (N,) rows: v for the femur, v below the edge of the plateau for the tibia, fractions of
        the femoral width.
    s : (N,) place of the line, fraction of the femoral width inward from the femur's outer edge.
    strength : (N,) strength of the edge there, about 1 for a clear one.
    inside : Share of the line with film outside it.
    joint : s, depth and slope (depth per s) of the joint margin inward of the line, where its
        smooth contour ends; NaN where the margin is not known.
    """

    depth: FloatArray
    s: FloatArray
    strength: FloatArray
    inside: float
    joint: tuple[float, float, float]

    @property
    def usable(self) -> bool:
        """Whether enough of the line is on the film, and the joint beside it is known."""
        return self.inside >= _LEAST_INSIDE and bool(np.isfinite(self.joint).all())


def plateau_edge(level: LevelCompartment) -> float:
    """v of the tibial floor near the outer edge of the plateau; NaN where it was not found."""
    near = (level.s >= _EDGE_AT[0]) & (level.s <= _EDGE_AT[1]) & np.isfinite(level.tibia)
    return float(np.median(level.tibia[near])) if near.any() else float("nan")


def trace_sides(level: LevelCompartment) -> dict[Bone, SideLine | None]:
    """The outer side of femur and tibia in one compartment, at sub-sample precision.

    The tibia has none where the edge of its plateau is not known.

    Notes
    -----
    Dynamic programming on the slope of grey across the line, from soft tissue (dark) into bone,
    with a mild preference for the typical outline; then a parabola through the steepest sample
    and its neighbours.
    """
    edges = _edges(level)
    whole = binary_erosion(level.inside, iterations=_RIM).astype(np.float64)
    origin = {Bone.FEMUR: 0.0, Bone.TIBIA: plateau_edge(level)}
    return {
        bone: _trace(level, edges, whole, bone, start) if np.isfinite(start) else None
        for bone, start in origin.items()
    }


def _trace(
    level: LevelCompartment, edges: FloatArray, whole: FloatArray, bone: Bone, origin: float
) -> SideLine:
    """Best path of one bone; `whole` is 1 where the film is, away from its own edge."""
    depth = np.arange(*SIDE_ROWS[bone], 1 / SAMPLES_PER_WIDTH)
    s = np.arange(*_BAND, 1 / SAMPLES_PER_WIDTH)
    across, down = np.meshgrid(s, depth + origin)
    edge = np.nan_to_num(level.sampled(edges, across, down), nan=0.0)
    on_film = np.nan_to_num(level.sampled(whole, across, down), nan=0.0) > 0.99
    prior = _PRIOR * ((s - np.interp(depth, *_TYPICAL[bone])[:, None]) / 0.10) ** 2
    likeness = np.where(on_film, _likeness(level, across, down), 0.0)
    gain = np.where(on_film, np.clip(edge, -1.0, _CAP), -0.5) + _REGION * _parted(likeness)
    path = best_path(gain - prior)
    rows = np.arange(len(depth))
    outside = np.maximum(path - _OUTSIDE, 0)
    return SideLine(
        depth,
        s[path] + _peak_offset(edge, path) / SAMPLES_PER_WIDTH,
        np.clip(edge[rows, path], 0.0, _CAP),
        float(on_film[rows, outside].mean()),
        _joint_end(level, bone, origin),
    )


def _joint_end(level: LevelCompartment, bone: Bone, origin: float) -> tuple[float, float, float]:
    """s, depth and slope of the joint margin at its outer part, by a straight line through it."""
    margin = level.femur if bone is Bone.FEMUR else level.tibia
    near = (level.s >= JOINT_S[0] - 1e-9) & (level.s <= JOINT_S[1] + 1e-9)
    if not np.isfinite(margin[near]).all():
        return (float("nan"),) * 3
    middle = (JOINT_S[0] + JOINT_S[1]) / 2
    slope, height = np.polyfit(level.s[near] - middle, margin[near] - origin, 1)
    return middle, float(height), float(slope)


def _likeness(level: LevelCompartment, across: FloatArray, down: FloatArray) -> FloatArray:
    """How much each place looks like the bone further in (1) and not like soft tissue (0)."""
    grey = level.sampled(level.grey, across, down)
    seen = np.isfinite(grey) & (level.sampled(level.inside.astype(float), across, down) > 0.99)
    inner, outer = seen & (across >= _INNER[0]), seen & (across < _INNER[0])
    if not inner.any() or not outer.any():
        return np.zeros_like(across)
    bone, soft = float(np.median(grey[inner])), float(np.percentile(grey[outer], _SOFT))
    likeness: FloatArray = np.clip((grey - soft) / max(bone - soft, 1e-9), 0.0, 1.0)
    return np.nan_to_num(likeness, nan=0.0)


def _parted(likeness: FloatArray) -> FloatArray:
    """Samples of soft tissue outside plus samples of bone inside each place of every row.

    An edge alone may be the cortex of the bone behind a lip, or a fold of skin before the bone;
    the line that parts soft tissue from bone is neither.
    """
    balance = np.cumsum(0.5 - likeness, axis=1)
    parted: FloatArray = 2 * balance - balance[:, -1:]
    deficit: FloatArray = parted - parted.max(axis=1, keepdims=True)
    return deficit


def _edges(level: LevelCompartment) -> FloatArray:
    """Slope of grey towards the middle of the knee, in units of the slopes around each sample."""
    slope = gaussian_filter(level.detail, _BLUR, order=(0, 1), mode="nearest")
    slope = np.where(binary_erosion(level.inside, iterations=2), slope, 0.0)
    around = np.sqrt(np.maximum(wide_mean(slope**2, _AROUND), 0.0))
    mean = float(np.sqrt((slope[level.inside] ** 2).mean())) if level.inside.any() else 0.0
    edges: FloatArray = slope / (around + _FLOOR * mean + 1e-9)
    return edges


def best_path(gain: FloatArray) -> NDArray[np.int64]:
    """Column in each row of the path with the greatest summed gain, less the cost of moving.

    Parameters
    ----------
    gain : (rows, columns).

    Examples
    --------
    >>> best_path(np.eye(4)).tolist()
    [0, 1, 2, 3]
    """
    rows, columns = gain.shape
    moves = np.arange(-_STEP, _STEP + 1)
    cost = (_BEND * np.abs(moves))[:, None]
    choice = np.zeros((rows, columns), dtype=np.int64)
    total = gain[0]
    for row in range(1, rows):
        padded = np.pad(total, _STEP, constant_values=-np.inf)
        options = np.stack([padded[_STEP + m : _STEP + m + columns] for m in moves]) - cost
        choice[row] = options.argmax(axis=0)
        total = gain[row] + options.max(axis=0)
    path = np.zeros(rows, dtype=np.int64)
    path[-1] = int(total.argmax())
    for row in range(rows - 1, 0, -1):
        path[row - 1] = path[row] + moves[choice[row, path[row]]]
    return path


def _peak_offset(edge: FloatArray, path: NDArray[np.int64]) -> FloatArray:
    """Where the slope is steepest beside each sample of the path, in samples, within 1."""
    rows = np.arange(len(path))
    middle = np.clip(path, 1, edge.shape[1] - 2)
    before, here, after = (edge[rows, middle + k] for k in (-1, 0, 1))
    bend = before - 2 * here + after
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = np.where(bend < 0, 0.5 * (before - after) / bend, 0.0)
    beside: FloatArray = np.clip(offset, -1.0, 1.0) + (middle - path)
    return beside
