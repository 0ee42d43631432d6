"""Radiographic progression by published cut-offs."""

from __future__ import annotations

import math

from kneeimg.longitudinal.rows import ChangeRow

#: Loss of medial minimum joint-space width that counts as progression, mm.
MJSW_LOSS_MM = 0.7
#: Loss of medial joint-space width at x = 0.25, mm per year: more than this.
FJSW_STRICT_MM_PER_YEAR = 1.05
FJSW_LENIENT_MM_PER_YEAR = 0.25
#: Far below any pixel; a difference of decimal fractions misses them by less.
_ROUNDING_MM = 1e-9

NONE, YES, LENIENT, STRICT = "none", "progression", "lenient", "strict"


def progression(row: ChangeRow) -> str:
    """Column `progression` of a row; empty where no published cut-off applies.

    Medial `mJSW`: "progression" at a loss of 0.7 mm or more, whatever the interval. Medial
    `fJSW_0250`: "strict" above a loss of 1.05 mm per year, "lenient" above 0.25 mm per year
    (PMC7137777; Driban 2016). Otherwise "none". The cut-offs are other people's: whether a change
    exceeds the error of this software says `change_class`.

    Examples
    --------
    >>> from kneeimg.core.measurement import Measurement
    >>> from kneeimg.longitudinal.rows import change_row
    >>> before, after = (Measurement("medial", "mJSW", v, "mm") for v in (4.0, 3.3))
    >>> progression(change_row(before, after, 365))
    'progression'
    """
    return progression_of(row.region, row.quantity, row.change, row.change_per_year)


def progression_of(region: str, quantity: str, change: float, change_per_year: float) -> str:
    """As :func:`progression`, from the values of a row (mm, mm per year; NaN when unknown).

    >>> progression_of("medial", "fJSW_0250", -0.3, -0.6)
    'lenient'
    """
    if region != "medial" or math.isnan(change):
        return ""
    if quantity == "mJSW":
        return YES if -change >= MJSW_LOSS_MM - _ROUNDING_MM else NONE
    if quantity == "fJSW_0250" and not math.isnan(change_per_year):
        loss = -change_per_year - _ROUNDING_MM
        if loss > FJSW_STRICT_MM_PER_YEAR:
            return STRICT
        return LENIENT if loss > FJSW_LENIENT_MM_PER_YEAR else NONE
    return ""
