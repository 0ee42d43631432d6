"""Joint margins read several times in frames a little apart, and their mean.

Where a film shows two lines one beside the other, the rim of a plateau and its floor, which one a
search ends on hangs on how the film falls on the search's grid. Read again in frames moved, turned
and scaled by a little, the film itself answers how sure it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment, MarginLine
from kneeimg.segment.film.consistency import MEASURED_X, Limit
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.rectify import Leveller
from kneeimg.segment.film.refine import RefineScale, Shape, refine
from kneeimg.segment.film.trace import TracedPair, trace_pair

FloatArray = NDArray[np.float64]

#: Moves of a frame: x and v in femoral widths (fractions of a pixel of the level film), turn in
#: degrees, share of the width.
_MOVES = (
    (0.0012, 0.0018, 1.0, 0.012),
    (-0.0018, 0.0012, -1.0, 0.008),
    (0.0018, -0.0012, 0.6, -0.012),
    (-0.0012, -0.0018, -0.6, -0.008),
)
# Readings that differ tell of a wrong margin where the film shows it faintly too. Of 88
# compartments of landmarked films with an SD beyond the first 16 are off by 2 % of the width: 7
# of the 21 that are unsure over more than half of what is measured, 9 of the other 67.
_APART = 0.005  # of the femoral width; SD of five readings
_SURE, _UNSURE_SHARE = 0.3, 0.5  # confidence, and share of x without it, to flag such a margin

Pairs = Mapping[Compartment, TracedPair]


@dataclass(frozen=True, slots=True, eq=False)
class MeanLine:
    """The mean of several readings of one margin.

    Attributes
    ----------
    line : The mean of the middle readings, in pixels.
    x : (N,) of its points in the frame.
    spread : (N,) SD of the readings' heights at each x, in femoral widths.
    """

    line: MarginLine
    x: FloatArray
    spread: FloatArray

    def widest(self, low: float, high: float) -> float:
        """Greatest spread between two x; 0 where the margin does not reach."""
        within = (self.x >= low) & (self.x <= high)
        return float(self.spread[within].max()) if within.any() else 0.0

    def sure(self, x: FloatArray) -> NDArray[np.bool_]:
        """Whether the film shows the margin clearly at each x."""
        return np.interp(x, self.x, self.line.confidence) >= _SURE


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """The mean margins of both compartments."""

    femur: dict[Compartment, MeanLine]
    tibia: dict[Compartment, MeanLine]

    def limits(self) -> Iterator[Limit]:
        """How far the readings of each margin lie apart where it is measured; a doubt where that
        compartment is faint."""
        for bone, lines in (("condyle", self.femur), ("plateau", self.tibia)):
            for c, line in lines.items():
                x = MEASURED_X[c]
                name = f"distance of repeated readings of the {c} {bone}"
                apart = line.widest(float(x[0]), float(x[-1]))
                doubt = _APART if self.unsure(c) > _UNSURE_SHARE else math.inf
                yield Limit(name, apart, math.inf, doubt, c.value)

    def unsure(self, compartment: Compartment) -> float:
        """Share of the measured range in which one of the two margins is not sure."""
        x = MEASURED_X[compartment]
        sure = self.femur[compartment].sure(x) & self.tibia[compartment].sure(x)
        return float(1.0 - sure.mean())


def read_margins(
    image: FloatArray, leveller: Leveller, pose: Pose, pairs: Pairs, scale: RefineScale
) -> Readings:
    """Both margins of both compartments, each the mean of five readings.

    Parameters
    ----------
    image : (rows, columns) film, bright where dense, medial on the left.
    leveller : Of the same film.
    pose : Its frame.
    pairs : What was traced there; the first reading.
    scale : Lengths of the refinement.
    """
    films = [leveller.at(beside) for beside in frames_beside(pose)]
    again = [{c: trace_pair(film, c) for c in Compartment} for film in films]
    reads = [_on_film(image, pose, pairs, scale)]
    reads += [_on_film(image, film.pose, p, scale) for film, p in zip(films, again, strict=True)]
    femur = {c: mean_line(pose, [lines[c][0] for lines in reads]) for c in Compartment}
    tibia = {c: mean_line(pose, [lines[c][1] for lines in reads]) for c in Compartment}
    return Readings(femur, tibia)


def _on_film(
    image: FloatArray, pose: Pose, pairs: Pairs, scale: RefineScale
) -> dict[Compartment, tuple[MarginLine, MarginLine]]:
    """Femoral and tibial margin of each compartment on the film itself."""
    down = pose.matrix[:, 1] / pose.width
    return {
        c: (
            refine(image, pose.pixels(pair.femur), -down, scale, Shape.ROUND),
            refine(image, pose.pixels(pair.tibia), down, scale, Shape.FLOOR),
        )
        for c, pair in pairs.items()
    }


def frames_beside(pose: Pose) -> tuple[Pose, ...]:
    """Frames a little beside that of a knee."""
    return tuple(_moved(pose, *move) for move in _MOVES)


def _moved(pose: Pose, x: float, v: float, turn_deg: float, share: float) -> Pose:
    column, row = pose.pixels((0.5 + x, v))
    return replace(
        pose,
        column=float(column),
        row=float(row),
        width=pose.width * (1 + share),
        turn_deg=pose.turn_deg + turn_deg,
    )


def mean_line(pose: Pose, readings: Sequence[MarginLine]) -> MeanLine:
    """Mean of at least three readings at each x, without the highest and the lowest.

    A single reading that follows another line has no say; where readings are divided the mean lies
    between them and moves only a little when one more changes sides.

    Parameters
    ----------
    pose : Frame in which heights are averaged.
    readings : The same margin, read several times, in pixels.
    """
    placed = [_by_x(pose, line) for line in readings]
    low = max(float(x[0]) for x, _, _ in placed)
    high = min(float(x[-1]) for x, _, _ in placed)
    x = np.linspace(low, high, len(readings[0].points))
    heights = np.sort([np.interp(x, *line[:2]) for line in placed], axis=0)
    confidence = np.median([np.interp(x, line[0], line[2]) for line in placed], axis=0)
    points = pose.pixels(np.column_stack([x, heights[1:-1].mean(axis=0)]))
    return MeanLine(MarginLine(points, confidence), x, heights.std(axis=0))


def _by_x(pose: Pose, line: MarginLine) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x, v and confidence of a margin, ordered by x."""
    placed = pose.frame(line.points)
    order = np.argsort(placed[:, 0], kind="stable")
    return placed[order, 0], placed[order, 1], line.confidence[order]
