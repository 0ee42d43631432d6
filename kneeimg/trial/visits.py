"""Which planned visit a scan belongs to."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
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


def place_scans(days: Mapping[Key, int], windows: Sequence[Window]) -> dict[Key, Placement]:
    """Give every scan of one knee, kind and participant its visit.

    Parameters
    ----------
    days : Scan to days since baseline. Of scans at equal distance from the target the earlier
        wins, then the one listed first.
    windows : Planned visits.

    Returns
    -------
    Scan to placement, in the order given. Exactly one scan per visit id is not a duplicate.
    """
    placed = {key: window_of(day, windows) for key, day in days.items()}
    order = {key: n for n, key in enumerate(days)}
    best: dict[str, Key] = {}
    for key, day in days.items():
        window = placed[key]
        visit = window.name if window else unscheduled_visit(day)
        target = window.target_day if window else day

        def rank(scan: Key, target: int = target) -> tuple[int, int, int]:
            return abs(days[scan] - target), days[scan], order[scan]

        if visit not in best or rank(key) < rank(best[visit]):
            best[visit] = key
    return {key: _placement(key, days[key], placed[key], best) for key in days}


def _placement(key: Key, day: int, window: Window | None, best: Mapping[str, Key]) -> Placement:
    visit = window.name if window else unscheduled_visit(day)
    if best[visit] != key:
        return Placement(visit, Placing.DUPLICATE, best[visit])
    return Placement(visit, Placing.PLANNED if window else Placing.UNSCHEDULED)
