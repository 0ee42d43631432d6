"""Change at single points of a joint surface against what two scans of one day differ by."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Plate
from kneeimg.core.surface import Surface
from kneeimg.longitudinal.rows import PrecisionTable

#: Quantity under which a precision table holds the repeatability at single points of a plate.
VERTEX_QUANTITY = "ThCtAB_vertex"


class ChangeState(IntEnum):
    """What the change at a vertex says, as coded in the field `change_state`."""

    NO_STATEMENT = 0  # outside tAB, no value at one visit, or no repeatability data
    WITHIN = 1  # within the smallest detectable change
    THINNING = 2  # beyond it
    THICKENING = 3


def with_change_state(surface: Surface, sdc: PrecisionTable | None) -> Surface:
    """The surface with the vertex fields `sdc_mm` and `change_state`.

    Parameters
    ----------
    surface : With the fields `change_mm` and `plate`.
    sdc : Holds `ThCtAB_vertex` for the plates that can be judged.

    Notes
    -----
    Of the points of an unchanged joint about 5 in 100 lie beyond the SDC95 by chance. A patch says
    more than a point, and the rows of the change table more than the map.
    """
    change = np.asarray(surface.fields["change_mm"], dtype=np.float64)
    limit = np.full(len(change), np.nan)
    for plate in Plate:
        known = sdc.get(plate.name, VERTEX_QUANTITY) if sdc is not None else None
        if known is not None:
            limit[np.asarray(surface.fields["plate"]) == int(plate)] = known.sdc
    state = np.full(len(change), int(ChangeState.NO_STATEMENT), dtype=np.uint8)
    state[np.abs(change) <= limit] = int(ChangeState.WITHIN)
    state[change < -limit] = int(ChangeState.THINNING)
    state[change > limit] = int(ChangeState.THICKENING)
    return surface.with_fields(sdc_mm=limit, change_state=state)


def vertex_spread_mm(surfaces: Iterable[Surface]) -> dict[str, float]:
    """Plate to the root mean square of the change over its points, weighted by area, mm.

    Parameters
    ----------
    surfaces : Change maps with the fields `change_mm`, `plate` and `area_mm2`.
    """
    spread: dict[str, float] = {}
    for surface in surfaces:
        change = np.asarray(surface.fields["change_mm"], dtype=np.float64)
        for plate in Plate:
            own = (np.asarray(surface.fields["plate"]) == int(plate)) & np.isfinite(change)
            if plate is not Plate.NONE and own.any():
                spread[plate.name] = _rms(change[own], surface.fields["area_mm2"][own])
    return spread


def _rms(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.average(values**2, weights=weights)))
