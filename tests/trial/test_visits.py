"""Visit windows, worked by hand on the default schedule 0/30/91/182/365, ±14/14/14/21/28."""

from __future__ import annotations

import pytest

from kneeimg.settings.study import DEFAULT_VISITS, VisitWindow
from kneeimg.trial.visits import Placing, backwards, place_scans, window_of


@pytest.mark.parametrize(
    "day, visit",
    [
        (0, "BL"), (14, "BL"), (15, None), (-14, "BL"), (-15, None),
        (16, "M01"), (44, "M01"), (45, None), (77, "M03"), (105, "M03"), (106, None),
        (160, None), (161, "M06"), (203, "M06"), (204, None),
        (336, None), (337, "M12"), (393, "M12"), (394, None),
    ],
)  # fmt: skip
def test_window_edges(day: int, visit: str | None) -> None:
    window = window_of(day, DEFAULT_VISITS)
    assert (window.name if window else None) == visit


def test_overlapping_windows_take_the_nearer_target_and_at_a_tie_the_earlier() -> None:
    windows = (
        VisitWindow(name="A", target_day=0, window_days=20),
        VisitWindow(name="B", target_day=30, window_days=20),
    )
    days = {14: "A", 15: "A", 16: "B"}
    for day, visit in days.items():
        for order in (windows, windows[::-1]):
            window = window_of(day, order)
            assert window is not None
            assert window.name == visit


def test_of_two_scans_in_a_window_the_nearest_to_target_is_kept() -> None:
    placed = place_scans({"early": 170, "near": 184, "late": 200}, DEFAULT_VISITS)
    assert placed["near"].placing is Placing.PLANNED
    assert {placed[k].placing for k in ("early", "late")} == {Placing.DUPLICATE}
    assert {p.visit for p in placed.values()} == {"M06"}
    assert placed["late"].chosen == "near"


def test_equal_distance_takes_the_earlier_whatever_the_order() -> None:
    for days in ({"a": 180, "b": 184}, {"b": 184, "a": 180}):
        placed = place_scans(days, DEFAULT_VISITS)
        assert placed["a"].placing is Placing.PLANNED
        assert placed["b"].placing is Placing.DUPLICATE


def test_scans_outside_every_window_are_unscheduled_and_named_by_day() -> None:
    placed = place_scans({"x": 250, "y": -40, "z": 250}, DEFAULT_VISITS)
    assert placed["x"].visit == "U250"
    assert placed["x"].placing is Placing.UNSCHEDULED
    assert placed["y"].visit == "U-40"
    assert placed["z"].placing is Placing.DUPLICATE


def test_repeats_lie_near_the_nearest_scan_and_duplicates_further_off() -> None:
    placed = place_scans({"a": -12, "b": 2, "c": 13}, DEFAULT_VISITS[:1], repeat_within=11)
    assert {key: place.placing for key, place in placed.items()} == {
        "a": Placing.DUPLICATE,  # 14 days from b
        "b": Placing.PLANNED,
        "c": Placing.REPEAT,
    }
    assert placed["c"].chosen == "b"


@pytest.mark.parametrize(
    "placed, found",
    [
        ({"a": ("BL", 0), "b": ("M06", 180), "c": ("M12", 360)}, {}),
        ({"a": ("BL", 0), "b": ("M06", -3)}, {"b": "BL"}),
        ({"b": ("M06", -3)}, {}),  # nothing to contradict
        ({"b": ("M06", 400), "c": ("M12", 365)}, {"b": "M12"}),  # M06 left its window
        ({"b": ("M06", 700), "c": ("M12", 600)}, {"b": "M12", "c": "M06"}),
        ({"a": ("BL", 0), "a2": ("BL", 10), "b": ("other", -50)}, {}),
    ],
)
def test_dates_that_contradict_the_order_of_visits(
    placed: dict[str, tuple[str, int]], found: dict[str, str]
) -> None:
    windows = [w for w in DEFAULT_VISITS if w.name in ("BL", "M06", "M12")]
    assert backwards(placed, windows) == found
