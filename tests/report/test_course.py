"""The course over visits: days, order, absent values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kneeimg.report.figures.course import (
    joint_space_quantity,
    visit_figure,
    visit_plot,
    visit_positions,
)


def rows_of(values: dict[str, float], days: dict[str, float], quantity="ThCtAB_aMe", region="MT"):
    return pd.DataFrame(
        [
            {"visit": v, "day": days[v], "region": region, "quantity": quantity, "value": x}
            for v, x in values.items()
        ]
    )


DAYS = {"M12": 365.0, "BL": 0.0, "M06": 183.0}


def test_visits_lie_at_their_day_in_order():
    frame = rows_of({"M12": 1.0, "BL": 1.2, "M06": 1.1}, DAYS)
    assert visit_positions(frame) == ({"BL": 0.0, "M06": 183.0, "M12": 365.0}, True)


def test_without_days_visits_are_ordered_by_name():
    frame = rows_of({"M12": 1.0, "BL": 1.2}, {"M12": np.nan, "BL": np.nan})
    assert visit_positions(frame) == ({"BL": 0.0, "M12": 1.0}, False)
    labels = [tick.get_text() for tick in visit_figure(frame).axes[0].get_xticklabels()]
    assert labels == ["BL", "M12"]


def test_an_absent_value_breaks_the_line_and_is_marked_not_drawn_as_zero():
    frame = rows_of({"BL": 1.2, "M06": np.nan, "M12": 1.0}, DAYS)
    axes = visit_figure(frame).axes[0]
    line = axes.lines[0].get_ydata()
    assert np.array_equal(line, [1.2, np.nan, 1.0], equal_nan=True)
    cross = axes.lines[1]
    assert cross.get_marker() == "x"
    assert list(cross.get_xdata()) == [183.0]
    assert axes.get_ylim()[0] > 0.5


def test_a_measured_zero_is_drawn():
    frame = rows_of({"BL": 2.0, "M12": 0.0}, DAYS, "mJSW", "medial")
    axes = visit_figure(frame).axes[1]
    assert list(axes.lines[0].get_ydata()) == [2.0, 0.0]


def test_ratios_take_the_place_of_millimetres_that_are_unknown():
    ratio = rows_of({"BL": 0.04}, DAYS, "nmJSW", "medial")
    unknown = rows_of({"BL": np.nan}, DAYS, "mJSW", "medial")
    assert joint_space_quantity(pd.concat([ratio, unknown]))[0] == "nmJSW"
    assert joint_space_quantity(unknown)[0] == "mJSW"


@pytest.mark.parametrize("values", [{"BL": 1.2}, {"BL": np.nan}])
def test_one_visit_is_enough_for_a_picture(values):
    frame = rows_of(values, DAYS)
    first = visit_plot(frame)
    assert first == visit_plot(frame)
    assert int.from_bytes(first[16:20], "big") == 1380


def test_what_was_not_planned_has_no_axes():
    thickness, space = visit_figure(rows_of({"BL": 1.2, "M12": 1.1}, DAYS)).axes
    assert thickness.axison
    assert not space.axison
