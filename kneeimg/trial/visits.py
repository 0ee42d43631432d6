"""Which planned visit a scan belongs to."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Protocol, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Window(Protocol):
    """A planned visit: its name, target and half width in days since baseline."""

    @property
    def name(self) -> str: ...
    @property
    def target_day(self) -> int: ...
    @property
    def window_days(self) -> int: ...


class Placing(StrEnum):
    """How a scan relates to the planned visits."""

    PLANNED = "planned"
    REPEAT = "repeat"  # of the scan that is nearer to the target day; measured with it
    DUPLICATE = "duplicate"  # another scan is nearer to the target day
    UNSCHEDULED = "unscheduled"  # outside every window


@dataclass(frozen=True, slots=True)
class Placement:
    """Visit id of a scan and how it got it; `chosen` names the scan that was nearer, if any."""

    visit: str
    placing: Placing
    chosen: Hashable | None = None


def window_of(day: int, windows: Sequence[Window]) -> Window | None:
    """The planned visit whose window holds the day; nearest target where windows overlap.

    At equal distance the earlier visit wins, so that the answer does not depend on the order in
    which visits are listed.
    """
    holding = [w for w in windows if abs(day - w.target_day) <= w.window_days]
    return min(holding, key=lambda w: (abs(day - w.target_day), w.target_day), default=None)


def unscheduled_visit(day: int) -> str:
    """Visit id of a scan outside every window.

    >>> unscheduled_visit(250)
    'U250'
    """
    return f"U{day}"


def place_scans(
    days: Mapping[Key, int], windows: Sequence[Window], repeat_within: int | None = None
) -> dict[Key, Placement]:
    """Give every scan of one knee, kind and participant its visit.

    Parameters
    ----------
    days : Scan to days since baseline. Of scans at equal distance from the target the earlier
        wins, then the one listed first.
    windows : Planned visits.
    repeat_within : Other scans of the visit are repeats up to this many days from the nearest;
        None where each is a duplicate.

    Returns
    -------
    Scan to placement, in the order given. Exactly one scan per visit id is neither a duplicate
    nor a repeat.
    """
    visits: dict[str, list[Key]] = {}
    placed = {key: window_of(day, windows) for key, day in days.items()}
    for key, window in placed.items():
        visits.setdefault(window.name if window else unscheduled_visit(days[key]), []).append(key)
    placements: dict[Key, Placement] = {}
    for visit, keys in visits.items():
        window = placed[keys[0]]
        target = window.target_day if window else None
        nearest, repeats = choose_scans({key: days[key] for key in keys}, target, repeat_within)
        for key in keys:
            if key == nearest:
                placing = Placing.PLANNED if window else Placing.UNSCHEDULED
                placements[key] = Placement(visit, placing)
            else:
                placing = Placing.REPEAT if key in repeats else Placing.DUPLICATE
                placements[key] = Placement(visit, placing, nearest)
    return {key: placements[key] for key in days}


def choose_scans(
    days: Mapping[Key, int | None], target: int | None, repeat_within: int | None
) -> tuple[Key, frozenset[Key]]:
    """The scan of a visit that is nearest to its target day, and the repeats of that scan.

    Scans of an unknown day come after all others, in the order given, and are repeats of any.

    >>> choose_scans({"a": -9, "b": 1, "c": 40}, 0, repeat_within=14)
    ('b', frozenset({'a'}))
    """
    order = {key: n for n, key in enumerate(days)}

    def rank(key: Key) -> tuple[float, float, int]:
        day = days[key]
        if day is None:
            return math.inf, math.inf, order[key]
        return abs(day - (day if target is None else target)), day, order[key]

    nearest = min(days, key=rank)
    if repeat_within is None:
        return nearest, frozenset()
    start = days[nearest]
    repeats = {
        key
        for key, day in days.items()
        if day is None or start is None or abs(day - start) <= repeat_within
    }
    return nearest, frozenset(repeats - {nearest})


def backwards(placed: Mapping[Key, tuple[str, int]], windows: Sequence[Window]) -> dict[Key, str]:
    """Scans of one participant that are dated before a visit that they must follow.

    Parameters
    ----------
    placed : Scan to the visit that it is said to be of, and its day.
    windows : Planned visits; the first is the baseline. Scans of other visits are not judged.

    Returns
    -------
    Scan to the visit that it contradicts. Before the baseline it is the follow-up that is named;
    of two follow-ups in the wrong order the one outside its window, or else both.

    >>> from collections import namedtuple
    >>> At = namedtuple("At", "name target_day window_days")
    >>> plan = [At("BL", 0, 14), At("M06", 182, 21), At("M12", 365, 28)]
    >>> backwards({"a": ("BL", 0), "b": ("M06", -180), "c": ("M12", 370)}, plan)
    {'b': 'BL'}
    """
    known = {window.name: window for window in windows}
    of = {key: known[visit] for key, (visit, _) in placed.items() if visit in known}
    day = {key: placed[key][1] for key in of}
    first = windows[0]
    starts = [day[key] for key in of if of[key].name == first.name]
    found = {
        key: first.name
        for key in of
        if starts and of[key].target_day > first.target_day and day[key] < min(starts)
    }
    rest = [key for key in of if key not in found and of[key].name != first.name]
    for one, other in combinations(sorted(rest, key=lambda key: of[key].target_day), 2):
        if of[one].target_day < of[other].target_day and day[other] < day[one]:
            outside = [
                key
                for key in (one, other)
                if abs(day[key] - of[key].target_day) > of[key].window_days
            ]
            for key in outside or (one, other):
                found[key] = of[other if key == one else one].name
    return found
