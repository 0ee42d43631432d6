"""Which scans the synthetic trial has, and what is wrong with some of them on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from kneeimg.demo.trial import TRIAL_VISITS, VISITS, DemoPerson, DemoVisit, demo_people
from kneeimg.phantoms.boundary_error import BoundaryError

#: Days from a baseline scan to its repeat: inside the window, further from the target.
REPEAT_AFTER_DAYS = 2


class Fault(StrEnum):
    """What can be planted in a trial."""

    DROP_OUT = "drop-out"
    SCANNER_CHANGE = "scanner change"
    WRONG_SIDE = "wrong side in the tags"
    MISSING_SLICE = "missing slice"
    REPEAT_BASELINE = "repeated baseline scan"


@dataclass(frozen=True)
class Planted:
    """One fault.

    Attributes
    ----------
    fault : What is wrong.
    participant : Whose scan.
    visit : Where; for a drop-out or a scanner change the first visit that it touches.
    """

    fault: Fault
    participant: str
    visit: str


@dataclass(frozen=True)
class DemoScan:
    """One visit of one person, as it is written to disk.

    Attributes
    ----------
    person, visit : Who and when.
    error : How far the mask is off; None draws it exactly.
    faults : What is wrong with it.
    repeat : A second MR scan a few days later, without a film and without a truth of its own.
    masked : Whether a mask is written; without one the shipped model segments the image.
    """

    person: DemoPerson
    visit: DemoVisit
    error: BoundaryError | None = None
    faults: tuple[Fault, ...] = ()
    repeat: bool = False
    masked: bool = True

    @property
    def day(self) -> int:
        """Days since baseline."""
        return self.person.scan_day(self.visit) + (REPEAT_AFTER_DAYS if self.repeat else 0)

    @property
    def folder(self) -> str:
        """Name of the visit's folder."""
        return f"{self.visit.name}-repeat" if self.repeat else self.visit.name

    def seed(self, purpose: int) -> list[int]:
        """Entropy of one random part of the scan; a repeat differs in all of them."""
        return [self.person.seed, self.day if self.repeat else self.visit.day, purpose]


@dataclass(frozen=True)
class DemoTrial:
    """Size of a synthetic trial and its faults.

    Attributes
    ----------
    people : Number of participants.
    visits : Planned visits of everybody.
    error : Boundary error of every mask; None for exact masks.
    planted : Faults.
    masked : Whether there are masks; without them the shipped model segments every scan.
    """

    people: int
    visits: tuple[DemoVisit, ...]
    error: BoundaryError | None = None
    planted: tuple[Planted, ...] = ()
    masked: bool = True

    def persons(self) -> tuple[DemoPerson, ...]:
        """The participants."""
        return demo_people(self.people)

    def from_visit(self, planted: Planted) -> tuple[str, ...]:
        """Names of the fault's visit and of all later ones."""
        names = [visit.name for visit in self.visits]
        return tuple(names[names.index(planted.visit) :])

    def touched(self, planted: Planted) -> tuple[str, ...]:
        """Names of the visits that a fault touches."""
        lasting = planted.fault in (Fault.DROP_OUT, Fault.SCANNER_CHANGE)
        return self.from_visit(planted) if lasting else (planted.visit,)

    def scans(self) -> tuple[DemoScan, ...]:
        """Every scan that takes place, by participant and visit."""
        return tuple(scan for person in self.persons() for scan in self._scans_of(person))

    def _scans_of(self, person: DemoPerson) -> Iterator[DemoScan]:
        for visit in self.visits:
            faults = tuple(
                planted.fault
                for planted in self.planted
                if planted.participant == person.participant and visit.name in self.touched(planted)
            )
            if Fault.DROP_OUT in faults:
                continue
            scan = DemoScan(person, visit, self.error, faults, masked=self.masked)
            yield scan
            if Fault.REPEAT_BASELINE in faults:
                yield replace(scan, repeat=True)


#: The first minute: exact masks, nothing wrong.
SMALL = DemoTrial(people=6, visits=VISITS)

#: A trial of the size and with the troubles of a real one. The errors of the masks make
#: femorotibial thickness (FTJ) repeat about as well as published for segmentations by readers.
FULL = DemoTrial(
    people=25,
    visits=TRIAL_VISITS,
    error=BoundaryError(),
    planted=(
        Planted(Fault.DROP_OUT, "P07", "M06"),
        Planted(Fault.SCANNER_CHANGE, "P11", "M06"),
        Planted(Fault.WRONG_SIDE, "P14", "M03"),
        Planted(Fault.MISSING_SLICE, "P18", "M06"),
        *(
            Planted(Fault.REPEAT_BASELINE, f"P{number:02d}", "BL")
            for number in (2, 5, 9, 12, 16, 21)
        ),
    ),
)
