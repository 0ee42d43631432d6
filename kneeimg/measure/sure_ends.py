"""Where the margins of a compartment are sure enough to be searched for the least joint space.

Past the outer end of a plateau its margin follows whatever line comes next, often one that climbs
towards the femur, with a confidence that falls to 0. The least space of the whole margin would be
found there, on no joint.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment
from kneeimg.settings.film import JointSpaceSettings

FloatArray = NDArray[np.float64]

Range = tuple[float, float]

_STEP = 0.001  # of the femoral width


def area_range(compartment: Compartment, settings: JointSpaceSettings) -> Range:
    """Range of x of the joint-space area."""
    return settings.medial_area if compartment is Compartment.MEDIAL else settings.lateral_area


def searched_ranges(
    margins: Sequence[tuple[FloatArray, FloatArray]],
    compartment: Compartment,
    settings: JointSpaceSettings,
) -> tuple[Range, Range]:
    """Ranges of x in which the least space is looked for, and in which bone may meet bone.

    Parameters
    ----------
    margins : (N,) x and (N,) confidence of each margin of the compartment.
    compartment : Which.
    settings : The full range, and what is sure.

    Notes
    -----
    The first is the range of the settings without an unsure outer end. Bones that touch have no
    clear margins: the second holds the range of the area, however unsure it is.
    """
    medial = compartment is Compartment.MEDIAL
    low, high = settings.medial_search if medial else settings.lateral_search
    area = area_range(compartment, settings)
    outermost, needed, end = (
        (low, area[0], high) if medial else (1.0 - high, 1.0 - area[1], 1.0 - low)
    )
    innermost = min(max(outermost, settings.always_searched), end)
    needed = min(max(needed, outermost), innermost)
    lines = []
    for x, confidence in margins:
        inward = x if medial else 1.0 - x
        order = np.argsort(inward, kind="stable")
        lines.append((inward[order], confidence[order]))
    start = first_sure(lines, outermost, needed, innermost, settings.sure_confidence)
    touching = min(start, needed)
    if medial:
        return (start, high), (touching, high)
    return (low, 1.0 - start), (low, 1.0 - touching)


def first_sure(
    margins: Sequence[tuple[FloatArray, FloatArray]],
    outermost: float,
    needed: float,
    innermost: float,
    least: float,
) -> float:
    """Place from which inward all margins of a compartment are sure.

    Parameters
    ----------
    margins : (N,) ascending distances inward from the outer edge of the femur, as fractions of its
        width, and (N,) confidence, of each margin.
    outermost, needed, innermost : Places, ascending. Where all margins are sure at `needed`, the
        answer is the end of the sure piece around it, not beyond `outermost`; otherwise the first
        sure place inward of it, at most `innermost`.
    least : Confidence of a sure place. Where a margin does not reach it has none.

    Returns
    -------
    float
        Between `outermost` and `innermost`.

    Examples
    --------
    >>> s = np.linspace(0.0, 0.4, 401)
    >>> fading = (s, np.clip((s - 0.05) / 0.05, 0.0, 1.0))
    >>> first_sure([fading, (s, np.ones(401))], 0.05, 0.10, 0.15, 0.3)
    0.065
    """
    s = np.arange(round(outermost / _STEP), round(innermost / _STEP) + 1) * _STEP
    confidence = [np.interp(s, at, sure, left=0.0, right=0.0) for at, sure in margins]
    unsure = np.min(confidence, axis=0) < least
    here = int(np.argmin(np.abs(s - needed)))
    if unsure[here]:
        sure = np.flatnonzero(~unsure[here:])
        return round(float(s[here + sure[0]] if len(sure) else s[-1]), 3)
    outside = np.flatnonzero(unsure[:here])
    return round(float(s[outside[-1] + 1] if len(outside) else s[0]), 3)
