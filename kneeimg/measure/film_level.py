"""A knee film resampled into its tangent frame, so that all knees lie level and equally large.

Each compartment is seen from its outer side: `s` is the distance inward from the outer edge of
the femur and `v` the distance below the condylar tangent, both as fractions of the femoral width.
A medial and a lateral compartment, a left and a right knee then look alike, and a film without
millimetres gives the same numbers as one with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, median_filter, uniform_filter

from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.errors import ReasonCode
from kneeimg.measure.joint_space import JointFrame

FloatArray = NDArray[np.float64]

SAMPLES_PER_WIDTH = 200  # samples per femoral width, 0.4 mm on a knee of 80 mm
S_RANGE, V_RANGE = (-0.15, 0.50), (-0.45, 0.42)
_SHADING = 0.15  # of the width: wider changes of grey are shading (scatter, soft tissue)
_CLIP = 4.0  # spreads; metal and burnt-in letters decide nothing
_END_SPIKES = 0.03  # of the width, window of the median along a margin
_AXIS = (
    np.arange(round(S_RANGE[0] * SAMPLES_PER_WIDTH), round(S_RANGE[1] * SAMPLES_PER_WIDTH) + 1)
    / SAMPLES_PER_WIDTH,
    np.arange(round(V_RANGE[0] * SAMPLES_PER_WIDTH), round(V_RANGE[1] * SAMPLES_PER_WIDTH) + 1)
    / SAMPLES_PER_WIDTH,
)


@dataclass(frozen=True, slots=True, eq=False)
class LevelCompartment:
    """One compartment of a film in its frame.

    Attributes
    ----------
    compartment : Which.
    s : (C,) place of the columns, 0 at the outer edge of the femur, growing inward.
    v : (R,) place of the rows, 0 at the condylar tangent, growing towards the foot.
    grey : (R, C) grey values, bright where dense, in the film's own unit.
    detail : (R, C) grey values without slow shading, in spreads of the joint's surroundings.
    inside : (R, C) whether the film reaches there.
    femur, tibia : (C,) v of the femoral margin and of the tibial floor at each s; NaN where the
        margin does not reach.
    """

    compartment: Compartment
    s: FloatArray
    v: FloatArray
    grey: FloatArray
    detail: FloatArray
    inside: NDArray[np.bool_]
    femur: FloatArray
    tibia: FloatArray

    def sampled(self, values: FloatArray, s: FloatArray, v: FloatArray) -> FloatArray:
        """Values of an (R, C) array at places s, v of any one shape; linear, NaN outside."""
        rows = (v - self.v[0]) * SAMPLES_PER_WIDTH
        columns = (s - self.s[0]) * SAMPLES_PER_WIDTH
        found: FloatArray = map_coordinates(
            values, [rows, columns], order=1, mode="constant", cval=np.nan
        )
        return found


def level_joint(
    image: NDArray[np.floating], margins: JointMargins, frame: JointFrame
) -> dict[Compartment, LevelCompartment]:
    """Both compartments of a knee, level and equally large.

    Parameters
    ----------
    image : (rows, columns) film on which the margins lie. Where the margins carry
        INVERTED_POLARITY the film is dark where dense and is turned here.
    margins : Margins in pixels of the film.
    frame : Tangent frame of the same margins, in mm or pixels.

    Notes
    -----
    The film is smoothed before it is sampled where its pixels are finer than the samples, so that
    noise and texture of a fine film do not fold into the coarse one.
    """
    grey = np.asarray(image, dtype=np.float64)
    grey = np.where(np.isfinite(grey), grey, np.nanmin(grey))
    if ReasonCode.INVERTED_POLARITY in margins.flags:
        grey = grey.max() - grey
    pixels = np.abs(frame.width / frame.pixel / SAMPLES_PER_WIDTH)[
        ::-1
    ]  # per sample: rows, columns
    smooth = gaussian_filter(grey, np.where(pixels > 1, 0.45 * pixels, 0.0), mode="nearest")
    return {c: _compartment(smooth, margins, frame, c) for c in Compartment}


def _compartment(
    image: FloatArray, margins: JointMargins, frame: JointFrame, compartment: Compartment
) -> LevelCompartment:
    s, v = _AXIS
    across, down = np.meshgrid(s, v)
    x = across if compartment is Compartment.MEDIAL else 1.0 - across
    places = np.column_stack([x.ravel(), down.ravel()]) * frame.width
    points = frame.pixels(places).reshape(*x.shape, 2)
    column, row = points[..., 0], points[..., 1]
    rows, columns = image.shape
    inside = (row > -0.5) & (row < rows - 0.5) & (column > -0.5) & (column < columns - 0.5)
    grey: FloatArray = map_coordinates(image, [row, column], order=1, mode="nearest")
    lines = (margins.femur[compartment], margins.tibia[compartment])
    femur, tibia = (_heights(line, frame, compartment, s) for line in lines)
    return LevelCompartment(compartment, s, v, grey, _detail(grey, inside), inside, femur, tibia)


def wide_mean(values: FloatArray, sd: float) -> FloatArray:
    """Values smoothed with a standard deviation in femoral widths, nearly a Gaussian.

    Three running means in a row cost a tenth of a Gaussian of 30 samples.
    """
    window = round((4 * (sd * SAMPLES_PER_WIDTH) ** 2 + 1) ** 0.5)
    window += 1 - window % 2  # odd, so that nothing moves
    smooth = values
    for _ in range(3):
        smooth = np.asarray(uniform_filter(smooth, window, mode="nearest"), dtype=np.float64)
    return smooth


def _detail(grey: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Grey values less their wide mean over the film, in units of their spread."""
    weight = inside.astype(np.float64)
    mean = wide_mean(grey * weight, _SHADING) / np.maximum(wide_mean(weight, _SHADING), 1e-6)
    detail = np.where(inside, grey - mean, 0.0)
    spread = float(np.std(detail[inside])) if inside.any() else 0.0
    clipped: FloatArray = np.clip(detail / (spread + 1e-12), -_CLIP, _CLIP)
    return clipped


def _heights(
    line: MarginLine, frame: JointFrame, compartment: Compartment, s: FloatArray
) -> FloatArray:
    """v of a margin at each s: the median of its points near there, NaN beyond its ends."""
    placed = frame.place(line.points) / frame.width
    across = placed[:, 0] if compartment is Compartment.MEDIAL else 1.0 - placed[:, 0]
    order = np.argsort(across, kind="stable")
    heights: FloatArray = np.interp(s, across[order], placed[order, 1], left=np.nan, right=np.nan)
    reached = np.isfinite(heights)
    window = 2 * round(_END_SPIKES * SAMPLES_PER_WIDTH / 2) + 1
    heights[reached] = median_filter(heights[reached], size=window, mode="nearest")
    return heights
