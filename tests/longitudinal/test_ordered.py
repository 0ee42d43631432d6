"""Rows that exist in the change table only, and the states of single points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kneeimg.core.anatomy import AGGREGATE_SUMS, Plate
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.longitudinal.change import compare_films
from kneeimg.longitudinal.ordered import FEMOROTIBIAL, ordered_rows, planned_ordered
from kneeimg.longitudinal.progression import progression
from kneeimg.longitudinal.rows import (
    ChangeClass,
    ChangeRow,
    PrecisionTable,
    Repeatability,
    change_row,
)
from kneeimg.longitudinal.vertices import (
    VERTEX_QUANTITY,
    ChangeState,
    vertex_spread_mm,
    with_change_state,
)


def rows_of(changes: dict[str, float]) -> list[ChangeRow]:
    """Change rows of the 16 subregions and of a plate that does not count."""
    rows = []
    for region in (*FEMOROTIBIAL, "MT"):
        before = Measurement(region, "ThCtAB_aMe", 2.0, "mm", method="ray/hard")
        after = Measurement(region, "ThCtAB_aMe", 2.0 + changes.get(region, 0.0), "mm")
        rows.append(change_row(before, after, 365.25, kind="mri", registration_rms_mm=0.1))
    return rows


def test_the_sixteen_subregions() -> None:
    assert len(FEMOROTIBIAL) == 16
    assert set(AGGREGATE_SUMS["cMFTC"] + AGGREGATE_SUMS["cLFTC"]) < set(FEMOROTIBIAL)
    names = [quantity for _, quantity, _ in planned_ordered()]
    assert names[0] == "OV1"
    assert names[15:] == ["OV16", "thinning_score", "thickening_score"]


def test_values_are_ordered_and_scored() -> None:
    rows = rows_of({"cMT": -0.3, "ecLF": 0.2, "ccMF": -0.1, "MT": -9.0})
    found = {row.quantity: row for row in ordered_rows(rows, 730.5)}
    assert found["OV1"].change == pytest.approx(-0.3)
    assert found["OV2"].change == pytest.approx(-0.1)
    assert found["OV16"].change == pytest.approx(0.2)
    assert found["thinning_score"].change == pytest.approx(-0.4)
    assert found["thickening_score"].change == pytest.approx(0.2)
    assert found["OV1"].change_per_year == pytest.approx(-0.15)
    assert math.isnan(found["OV1"].baseline)
    assert (found["OV1"].method, found["OV1"].registration_rms_mm) == ("ray/hard", 0.1)
    assert found["OV1"].change_class is ChangeClass.NO_DATA


def test_ordered_values_are_classed_against_their_own_error() -> None:
    sdc = PrecisionTable({("FTJ", "OV1"): Repeatability(0.2, "simulated")})
    first, second, *_ = ordered_rows(rows_of({"cMT": -0.3, "ccMF": -0.25}), None, sdc)
    assert (first.change_class, first.sdc_source) == (ChangeClass.LOSS, "simulated")
    assert second.change_class is ChangeClass.NO_DATA


def test_one_missing_subregion_leaves_all_without_a_value() -> None:
    rows = rows_of({})
    gone = Measurement.missing("eLT", "ThCtAB_aMe", "mm", ReasonCode.TISSUE_MISSING)
    place = next(n for n, row in enumerate(rows) if row.region == "eLT")
    rows[place] = change_row(gone, gone, None)
    found = ordered_rows(rows, None)
    assert [(r.region, r.quantity, r.unit) for r in found] == list(planned_ordered())
    assert {(r.status, r.reason) for r in found} == {
        (Status.NOT_MEASURABLE, ReasonCode.TISSUE_MISSING)
    }


@pytest.mark.parametrize(
    "quantity, before, after, days, expected",
    [
        ("mJSW", 3.4, 2.7, 100, "progression"),  # 0.7 in decimals, a little less in binary
        ("mJSW", 3.4, 2.71, 100, "none"),
        ("mJSW", 3.4, 2.7, None, "progression"),
        ("fJSW_0250", 4.0, 2.9, 365.25, "strict"),
        ("fJSW_0250", 4.0, 2.95, 365.25, "lenient"),  # exactly 1.05 is not more
        ("fJSW_0250", 4.0, 3.75, 365.25, "none"),
        ("fJSW_0250", 4.0, 3.8, 182.625, "lenient"),
        ("fJSW_0250", 4.0, 2.0, None, ""),  # a rate needs a time
        ("fJSW_0225", 4.0, 2.0, 365.25, ""),
    ],
)
def test_published_cut_offs(
    quantity: str, before: float, after: float, days: float | None, expected: str
) -> None:
    first, second = (Measurement("medial", quantity, v, "mm") for v in (before, after))
    (row,) = compare_films([first], [second], days, True)
    assert row.progression == expected


def test_no_cut_off_for_the_lateral_side_or_what_was_not_measured() -> None:
    side = [Measurement("lateral", "mJSW", v, "mm") for v in (4.0, 2.0)]
    assert progression(change_row(*side, 365)) == ""
    gone = Measurement.missing("medial", "mJSW", "mm", ReasonCode.MARGIN_UNCERTAIN)
    assert progression(change_row(gone, gone, 365)) == ""


def map_of(change: list[float], plates: list[Plate], area: list[float] | None = None) -> Surface:
    count = len(change)
    return Surface(
        np.zeros((count, 3)),
        np.zeros((0, 3), dtype=np.int64),
        {
            "change_mm": np.array(change),
            "plate": np.array([int(p) for p in plates], dtype=np.uint8),
            "area_mm2": np.array(area or [1.0] * count),
        },
    )


def test_states_of_single_points() -> None:
    sdc = PrecisionTable({("MT", VERTEX_QUANTITY): Repeatability(0.3, "simulated")})
    change = [-0.4, 0.4, -0.3, math.nan, -0.4, -0.4]
    plates = [Plate.MT] * 4 + [Plate.NONE, Plate.LT]
    found = with_change_state(map_of(change, plates), sdc).fields
    assert found["change_state"].tolist() == [
        ChangeState.THINNING,
        ChangeState.THICKENING,
        ChangeState.WITHIN,
        ChangeState.NO_STATEMENT,
        ChangeState.NO_STATEMENT,  # outside every plate
        ChangeState.NO_STATEMENT,  # no repeatability data for LT
    ]
    np.testing.assert_array_equal(found["sdc_mm"], [0.3] * 4 + [math.nan] * 2)
    without = with_change_state(map_of(change, plates), None).fields["change_state"]
    assert not without.any()


def test_spread_over_points_is_weighted_by_area() -> None:
    surface = map_of([0.1, 0.3, math.nan, 5.0], [Plate.MT] * 3 + [Plate.NONE], [3.0, 1.0, 9.0, 9.0])
    assert vertex_spread_mm([surface]) == {"MT": pytest.approx(math.sqrt((3 * 0.01 + 0.09) / 4))}
