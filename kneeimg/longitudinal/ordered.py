"""Ordered values and scores of the 16 femorotibial subregions, as rows of the change table.

They describe how much thins and thickens wherever it happens, and need no choice of a region in
advance (Buck 2009, Arthritis Rheum 61:917; Wirth 2011, PMID 21338702).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kneeimg.core.anatomy import SUBREGIONS_OF, Plate
from kneeimg.core.measurement import Status
from kneeimg.longitudinal.precision import ordered_values, thickening_score, thinning_score
from kneeimg.longitudinal.rows import DAYS_PER_YEAR, ChangeRow, PrecisionTable, classify

#: Region of every ordered value: the whole femorotibial joint.
REGION = "FTJ"
#: The subregions that are put in order.
FEMOROTIBIAL: tuple[str, ...] = tuple(
    part.name
    for plate in (Plate.MT, Plate.LT, Plate.cMF, Plate.cLF)
    for part in SUBREGIONS_OF[plate]
)
_QUANTITY = "ThCtAB_aMe"


def planned_ordered() -> tuple[tuple[str, str, str], ...]:
    """(region, quantity, unit) of the rows that exist in the change table only.

    >>> planned_ordered()[0], len(planned_ordered())
    (('FTJ', 'OV1', 'mm'), 18)
    """
    names = [f"OV{n + 1}" for n in range(len(FEMOROTIBIAL))]
    return tuple((REGION, name, "mm") for name in (*names, "thinning_score", "thickening_score"))


def ordered_rows(
    rows: Sequence[ChangeRow], days: float | None, sdc: PrecisionTable | None = None
) -> tuple[ChangeRow, ...]:
    """OV1 (most loss) to OV16 and both scores, in the order of :func:`planned_ordered`.

    Parameters
    ----------
    rows : Change rows of one knee that hold `ThCtAB_aMe` of the 16 subregions.
    days : Between the visits; None when unknown.
    sdc : Repeatability of the ordered values themselves. Those of a knee that did not change are
        not 0: the first is the largest error, and SDC95 = 1.96 · RMS contains that.

    Returns
    -------
    All not measurable, with the reason of the first subregion that is missing, unless all 16 were
    compared. `baseline` and `followup` stay empty: an ordered value is a change.
    """
    own = {row.region: row for row in rows if row.quantity == _QUANTITY}
    parts = [own[name] for name in FEMOROTIBIAL]
    change = [part.change for part in parts]
    values = (*ordered_values(change), thinning_score(change), thickening_score(change))
    missing = next((part.reason for part in parts if part.reason), None)
    days = math.nan if days is None else float(days)
    made = []
    for (region, quantity, unit), found in zip(planned_ordered(), values, strict=True):
        value = math.nan if missing else float(found)
        known = None if sdc is None else sdc.get(region, quantity)
        made.append(
            ChangeRow(
                kind=parts[0].kind,
                region=region,
                quantity=quantity,
                days=days,
                change=value,
                change_per_year=value * DAYS_PER_YEAR / days if days > 0 else math.nan,
                unit=unit,
                status=Status.NOT_MEASURABLE if missing else Status.OK,
                reason=missing,
                change_class=classify(value, known),
                sdc=math.nan if known is None else known.sdc,
                sdc_source="" if known is None else known.source,
                tab_source=parts[0].tab_source,
                registration_rms_mm=_largest([part.registration_rms_mm for part in parts]),
                method=parts[0].method,
            )
        )
    return tuple(made)


def _largest(values: Sequence[float]) -> float:
    """Largest of the values; NaN when one of them is not known."""
    return math.nan if any(math.isnan(value) for value in values) else max(values)
