"""Whether margins agree with a second search and could be those of a knee; refusals otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.outline import femur_v, tibia_v
from kneeimg.segment.film.trace import TracedPair

FloatArray = NDArray[np.float64]

#: Where margins are compared: the part of each compartment that is measured.
MEASURED_X = {
    Compartment.MEDIAL: np.arange(0.11, 0.31, 0.01),
    Compartment.LATERAL: np.arange(0.69, 0.90, 0.01),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A quantity that must be at most `most` for margins to be believed; above `doubt` they are
    flagged with `code`."""

    name: str
    value: float
    most: float
    doubt: float = math.inf
    where: str = ""
    code: ReasonCode = ReasonCode.MARGIN_UNCERTAIN

    @property
    def kept(self) -> bool:
        """Whether the value is known and within its bound."""
        return bool(self.value <= self.most)


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Paths that another search found, in the frame of its own pose."""

    pairs: Mapping[Compartment, TracedPair]
    pose: Pose


# Bounds in femoral widths (angle in degrees). Set on the half of the landmarked films that was
# used for tuning; `benchmarks/film_real.py` shows what they let through on the other half.
_DISAGREEMENT = 0.050
_DOUBT = 0.022  # searches this far apart flag the compartment
# Of 397 landmarked films 18 lie above the first, on eight of them the margin or the least space is
# off by more than 2 % of the width; of 19 between 0.0095 and it, four.
_RAGGED, _TORN = 0.012, 0.045
_WIDEST = {Compartment.MEDIAL: 0.125, Compartment.LATERAL: 0.130}  # median over x
_TILT_DEG = 17.0
# Where a condyle touches the tangent, from its edge of the femur: of 814 films 1 % each lie below
# 0.07 and above 0.26. A search that took two screws for a joint ended at 0.35.
_CONTACT, _CONTACT_DOUBT, _CONTACT_MOST = 0.165, 0.105, 0.165
_MOVED, _MOVED_DOUBT = 0.14, 0.11  # of 57 films the farthest that was right had moved by 0.10
_FEMUR_SHAPE = 0.060
_TIBIA_SHAPE = 0.060


def check_consistent(
    pose: Pose,
    femur: Mapping[Compartment, MarginLine],
    tibia: Mapping[Compartment, MarginLine],
    others: Sequence[Search],
    frame: Sequence[Limit] = (),
) -> list[Finding]:
    """Refuse margins that another search did not find, or that no knee has; flag doubtful ones.

    Parameters
    ----------
    pose : The tangent frame.
    femur, tibia : Final margins in pixels.
    others : What the other searches found.
    frame : What else is checked, from :func:`frame_limits`.

    Raises
    ------
    InputError
        MARGINS_DISAGREE.
    """
    checked = (*limits(pose, femur, tibia, others), *frame)
    for limit in checked:
        if not limit.kept:
            raise InputError(
                f"the margins found are not believable: {limit.name}",
                code=ReasonCode.MARGINS_DISAGREE,
                expected=f"at most {limit.most:g}",
                found=f"{limit.value:.3f}",
                action="look at the film; measure it by hand or leave it out",
            )
    doubtful = [limit for limit in checked if limit.value > limit.doubt]
    return [
        Finding(
            limit.code,
            limit.name,
            where=limit.where,
            expected=f"at most {limit.doubt:g} femoral widths",
            found=f"{limit.value:.3f}",
            action="look at the margins drawn on the film",
        )
        for limit in doubtful
    ]


def limits(
    pose: Pose,
    femur: Mapping[Compartment, MarginLine],
    tibia: Mapping[Compartment, MarginLine],
    others: Sequence[Search],
) -> tuple[Limit, ...]:
    """Every quantity that is checked, with its bound."""
    tops = {c: _height(pose.frame(femur[c].points), MEASURED_X[c]) for c in Compartment}
    floors = {c: _height(pose.frame(tibia[c].points), MEASURED_X[c]) for c in Compartment}
    found: list[Limit] = []
    for c in Compartment:
        gap = floors[c] - tops[c]
        found.append(Limit(f"{c} space in femoral widths", float(np.median(gap)), _WIDEST[c]))
        found += _shapes(c, tops[c], floors[c])
        found += _raggedness(c, tops[c], floors[c])
    found.append(Limit("angle between the bones in degrees", _tilt_deg(floors), _TILT_DEG))
    for other in others:
        found += _agreement(pose, tops, floors, other)
    return tuple(found)


def frame_limits(margins: JointMargins, located: Pose) -> tuple[Limit, ...]:
    """What is checked of the frame of margins that have medial on the left.

    Parameters
    ----------
    margins : The margins.
    located : Where the outline of a knee fitted the film, before anything was traced.
    """
    along = margins.tangent[1] - margins.tangent[0]
    along = along / np.linalg.norm(along)
    start = float((margins.femoral_edges[Compartment.MEDIAL].points @ along).min())
    stop = float((margins.femoral_edges[Compartment.LATERAL].points @ along).max())
    touch = margins.tangent @ along
    places = (float(touch[0]) - start, stop - float(touch[1]))
    found = [
        Limit(
            f"place of the {c} condyle between the femoral edges",
            abs(place / (stop - start) - _CONTACT),
            _CONTACT_MOST,
            _CONTACT_DOUBT,
            c.value,
            ReasonCode.WIDTH_UNCERTAIN,  # of such compartments no more are off than of all
        )
        for c, place in zip(Compartment, places, strict=True)
    ]
    away = float(np.abs(located.frame(margins.tangent)[:, 1]).max())
    return (*found, Limit("distance from where a knee was located", away, _MOVED, _MOVED_DOUBT))


def _shapes(c: Compartment, top: FloatArray, floor: FloatArray) -> Iterator[Limit]:
    """Distance from the typical condyle and plateau, each turned and moved to fit."""
    for bone, line, typical, most in (
        ("condyle", top, femur_v(MEASURED_X[c]), _FEMUR_SHAPE),
        ("plateau", floor, tibia_v(MEASURED_X[c]), _TIBIA_SHAPE),
    ):
        rest = line - typical
        rest = rest - np.polyval(np.polyfit(MEASURED_X[c], rest, 1), MEASURED_X[c])
        yield Limit(f"shape of the {c} {bone} in femoral widths", float(np.abs(rest).max()), most)


def _raggedness(c: Compartment, top: FloatArray, floor: FloatArray) -> Iterator[Limit]:
    """Distance from a cubic: a margin that jumps between two lines on the film is not smooth."""
    x = MEASURED_X[c] - MEASURED_X[c].mean()
    for bone, line in (("condyle", top), ("plateau", floor)):
        rest = float(np.abs(line - np.polyval(np.polyfit(x, line, 3), x)).max())
        yield Limit(f"raggedness of the {c} {bone}", rest, _TORN, _RAGGED, c.value)


def _tilt_deg(floors: Mapping[Compartment, FloatArray]) -> float:
    fall = float(floors[Compartment.LATERAL].mean() - floors[Compartment.MEDIAL].mean())
    run = float(MEASURED_X[Compartment.LATERAL].mean() - MEASURED_X[Compartment.MEDIAL].mean())
    return abs(float(np.degrees(np.arctan2(fall, run))))


def _agreement(
    pose: Pose,
    tops: Mapping[Compartment, FloatArray],
    floors: Mapping[Compartment, FloatArray],
    other: Search,
) -> Iterator[Limit]:
    for c in Compartment:
        pair = other.pairs[c]
        for bone, own, path in (
            ("femur", tops[c], pair.femur),
            ("tibia", floors[c], pair.tibia),
        ):
            again = _height(pose.frame(other.pose.pixels(path)), MEASURED_X[c])
            apart = float(np.percentile(np.abs(own - again), 75))
            yield Limit(
                f"distance of two searches, {c} {bone}", apart, _DISAGREEMENT, _DOUBT, c.value
            )


def _height(line: FloatArray, x: FloatArray) -> FloatArray:
    order = np.argsort(line[:, 0])
    height: FloatArray = np.interp(x, line[order, 0], line[order, 1])
    return height
