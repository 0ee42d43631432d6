"""The values that are analysed: one row per participant, outcome and follow-up visit."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.errors import ReasonCode
from kneeimg.settings.trial import TrialSettings
from kneeimg.trial.clinical import Clinical
from kneeimg.trial.exclusions import RESULTS, Exclusion
from kneeimg.trial.outcomes import Outcome

Row = dict[str, Any]
_UNSCHEDULED = re.compile(r"^U-?\d+$")  # as trial.visits names them
_SIDES = ("left", "right")


@dataclass(frozen=True, slots=True)
class Sample:
    """Everybody's values of one outcome at one visit.

    Attributes
    ----------
    outcome, visit : What it is.
    rows : One per participant, in the columns of the table `values`.
    """

    outcome: Outcome
    visit: str
    rows: tuple[Row, ...]

    def measured(self, *arms: str) -> tuple[Row, ...]:
        """Rows with a change, of participants in these arms."""
        return tuple(r for r in self.rows if r["status"] == "ok" and r["arm"] in arms)

    def numbers(self, column: str, *arms: str) -> NDArray[np.float64]:
        """A column of :meth:`measured`."""
        return np.array([row[column] for row in self.measured(*arms)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class People:
    """The participants of the results, their index knees and arms."""

    index_knees: Mapping[str, str]
    arms: Mapping[str, str]


def baseline_visit(change: Sequence[Mapping[str, Any]], settings: TrialSettings) -> str:
    """The visit that changes count from: the setting, or the commonest of the table."""
    if settings.baseline is not None:
        return settings.baseline
    counted = Counter(row["visit_from"] for row in change)
    return counted.most_common(1)[0][0] if counted else ""


def follow_ups(
    change: Sequence[Mapping[str, Any]], baseline: str, settings: TrialSettings
) -> tuple[str, ...]:
    """Follow-up visits to analyse, in order of time."""
    if not settings.all_visits:
        return settings.visits
    days: dict[str, list[float]] = defaultdict(list)
    for row in change:
        visit = row["visit_to"]
        if row["visit_from"] == baseline and not _UNSCHEDULED.match(visit):
            days[visit].append(row["days"])
    return tuple(sorted(days, key=lambda v: (_middle(days[v]), v))) or settings.visits


def build_samples(
    change: Sequence[Mapping[str, Any]],
    people: People,
    outcomes: Sequence[Outcome],
    clinical: Clinical,
    settings: TrialSettings,
) -> tuple[tuple[Sample, ...], tuple[Exclusion, ...]]:
    """Values of every outcome at every visit, and the participants left out.

    Parameters
    ----------
    change : Rows of the change table, of both knees of anybody.
    people : Participants of the results.
    outcomes : In the order wanted.
    clinical : Clinical values.
    settings : Visits and baseline.

    Returns
    -------
    samples : Outcome by outcome, its visits in order. Every participant has one row in each.
    exclusions : AMBIGUOUS_KNEE for participants without a knee to count.

    Notes
    -----
    One knee per participant counts: the index knee, or the only one with results.
    """
    start = baseline_visit(change, settings)
    visits = follow_ups(change, start, settings)
    knees, exclusions = choose_knees(change, people.index_knees)
    undecided = {exclusion.participant for exclusion in exclusions}
    table = {
        (row["participant"], row["visit_to"], row["kind"], row["region"], row["quantity"]): row
        for row in change
        if row["visit_from"] == start and row["side"] == knees.get(row["participant"])
    }
    samples = []
    for outcome in outcomes:
        for visit in visits:
            rows = []
            for person in people.index_knees:
                own = {"participant": person, "arm": people.arms.get(person, "")}
                own |= {"side": knees.get(person, "")} | outcome.as_row(visit)
                if outcome.role == "clinical":
                    own |= _clinical_values(clinical, person, outcome.quantity, start, visit)
                else:
                    key = (person, visit, outcome.kind, outcome.region, outcome.quantity)
                    own |= _values(table.get(key), outcome, person in undecided)
                rows.append(own)
            samples.append(Sample(outcome, visit, tuple(rows)))
    return tuple(samples), exclusions


def choose_knees(
    change: Iterable[Mapping[str, Any]], index_knees: Mapping[str, str]
) -> tuple[dict[str, str], tuple[Exclusion, ...]]:
    """Participant to the knee that counts."""
    sides: dict[str, set[str]] = defaultdict(set)
    for row in change:
        if row["side"] in _SIDES:
            sides[row["participant"]].add(row["side"])
    knees, exclusions = {}, []
    for person, index in index_knees.items():
        if index in _SIDES:
            knees[person] = index
        elif len(sides[person]) == 1:
            knees[person] = next(iter(sides[person]))
        elif sides[person]:
            exclusions.append(
                Exclusion(
                    ReasonCode.AMBIGUOUS_KNEE,
                    "both knees have results and none is the index knee",
                    RESULTS,
                    participant=person,
                    expected="an index knee",
                    found="left and right",
                )
            )
    return knees, tuple(exclusions)


def _values(row: Mapping[str, Any] | None, outcome: Outcome, undecided: bool) -> Row:
    if not outcome.known:
        return _nothing(ReasonCode.UNKNOWN_OUTCOME, "the change table has no such outcome")
    if undecided:
        return _nothing(
            ReasonCode.AMBIGUOUS_KNEE, "both knees have results, none is the index knee"
        )
    if row is None:
        return _nothing(ReasonCode.VISIT_MISSING, "no change from baseline to this visit")
    names = ("days", "baseline", "followup", "change", "change_pct", "change_class", "sdc")
    values = {name: row[name] for name in (*names, "sdc_source", "drift")}
    values["days"] = None if _absent(row["days"]) else round(float(row["days"]))
    usable = row["status"] == "ok" and not _absent(row["change"])
    values |= {
        "status": "ok" if usable else "not_measurable",
        "reason": "" if usable else row["reason"] or ReasonCode.VISIT_MISSING.value,
        "message": "" if usable else "not measured at one of the visits",
    }
    return values


def _clinical_values(clinical: Clinical, person: str, column: str, start: str, visit: str) -> Row:
    first = clinical.values.get((person, start, column))
    second = clinical.values.get((person, visit, column))
    if first is None or second is None:
        code = ReasonCode.NO_BASELINE if first is None else ReasonCode.VISIT_MISSING
        missing = start if first is None else visit
        return _nothing(code, f"no usable clinical value at {missing}") | {
            "baseline": math.nan if first is None else first,
            "followup": math.nan if second is None else second,
        }
    percent = 100 * (second - first) / first if first > 0 else math.nan
    return _nothing(ReasonCode.VISIT_MISSING, "") | {
        "baseline": first,
        "followup": second,
        "change": second - first,
        "change_pct": percent,
        "status": "ok",
        "reason": "",
    }


def _nothing(code: ReasonCode, message: str) -> Row:
    numbers = ("baseline", "followup", "change", "change_pct", "sdc")
    texts = ("change_class", "sdc_source", "drift")
    return (
        {"days": None}
        | dict.fromkeys(numbers, math.nan)
        | dict.fromkeys(texts, "")
        | {"status": "not_measurable", "reason": code.value, "message": message}
    )


def _absent(value: Any) -> bool:
    return value is None or math.isnan(value)


def _middle(days: Sequence[float]) -> float:
    known = sorted(day for day in days if not _absent(day))
    return known[len(known) // 2] if known else math.inf
