"""The page by arm: the tables of `kneeimg trial` as text, after unblinding.

Every number stands in tables/trial; here it is only rounded and put beside its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kneeimg.report.glossary import unit_text
from kneeimg.report.numbers import ABSENT, MINUS, number_text
from kneeimg.report.trial_tables import TrialTables

if TYPE_CHECKING:
    import pandas as pd

#: How a column is printed: in the unit of its row, as a share, a p-value, a count, a plain number.
_UNIT, _SHARE, _P, _COUNT, _PLAIN, _TEXT = "unit", "share", "p", "count", "plain", "text"
_ROLES = {"primary": 0, "secondary": 1, "clinical": 2}


@dataclass(frozen=True, slots=True)
class Column:
    """One printed column: an estimate, with its interval when `low` and `high` name columns."""

    head: str
    name: str
    form: str
    low: str = ""
    high: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One printed row; `role` is "primary" and so on, `note` says why numbers are absent."""

    role: str
    cells: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the page.

    Attributes
    ----------
    key, title, text : Anchor, heading and what the table is.
    heads : (head, whether it is numeric) of the columns.
    lines : Primary outcomes first, as the table has them.
    """

    key: str
    title: str
    text: str
    heads: tuple[tuple[str, bool], ...]
    lines: tuple[Line, ...]


_OUTCOME = (Column("Outcome", "endpoint", _TEXT), Column("Visit", "visit", _TEXT))
_ARM = Column("Arm", "arm", _TEXT)
_AGAINST = Column("Against", "reference_arm", _TEXT)
_UNIT_COLUMN = Column("Unit", "unit", _TEXT)

_SECTIONS: Sequence[tuple[str, str, str, tuple[Column, ...]]] = (
    (
        "ancova",
        "Difference between arms",
        "Follow-up on arm and baseline (ANCOVA). Estimates and intervals come first: with few "
        "participants only large differences can be told from none. p is not adjusted; Holm's is.",
        (*_OUTCOME, _ARM, _AGAINST, Column("n", "n_arm", _COUNT),
         Column("n against", "n_reference", _COUNT),
         Column("Difference (95 %)", "difference", _UNIT, "ci_low", "ci_high"), _UNIT_COLUMN,
         Column("Mean change", "mean_change_arm", _UNIT),
         Column("… against", "mean_change_reference", _UNIT),
         Column("Effect size (95 %)", "effect_size", _PLAIN, "effect_size_low", "effect_size_high"),
         Column("p", "p", _P), Column("p permuted", "permutation_p", _P),
         Column("p Holm", "p_holm", _P), Column("With drift", "n_drift", _COUNT)),
    ),
    (
        "responders",
        "Responders",
        "Participants whose change exceeds the smallest detectable change (SDC) of one knee, and "
        "those within it.",
        (*_OUTCOME, _ARM, Column("Outcome class", "outcome", _TEXT),
         Column("Count", "count", _COUNT), Column("n", "n", _COUNT),
         Column("Share (95 %)", "share", _SHARE, "ci_low", "ci_high"),
         Column("Difference (95 %)", "share_difference", _SHARE, "difference_low",
                "difference_high"),
         Column("p Fisher", "p_fisher", _P), Column("SDC", "sdc", _UNIT),
         Column("SDC from", "sdc_source", _TEXT)),
    ),
    (
        "srm",
        "Responsiveness",
        "Standardised response mean: mean change over its SD, interval by resampling participants.",
        (*_OUTCOME, _ARM, Column("n", "n", _COUNT),
         Column("Mean change (95 %)", "mean_change", _UNIT, "change_low", "change_high"),
         _UNIT_COLUMN, Column("SD", "sd_change", _UNIT),
         Column("Mean %", "mean_change_pct", _PLAIN),
         Column("SRM (95 %)", "srm", _PLAIN, "ci_low", "ci_high"),
         Column("Interval", "ci_method", _TEXT)),
    ),
    (
        "sample_size",
        "Size of the next trial",
        "Participants per arm without drop-outs, for the effect as estimated and at the limits of "
        "its interval.",
        (*_OUTCOME, Column("Design", "design", _TEXT), _ARM, _AGAINST,
         Column("Slowing %", "slowing_pct", _PLAIN), Column("Power", "power", _SHARE),
         Column("Effect size (95 %)", "effect_size", _PLAIN, "effect_size_low", "effect_size_high"),
         Column("n per arm", "n_per_arm", _COUNT), Column("best", "n_per_arm_best", _COUNT),
         Column("worst", "n_per_arm_worst", _COUNT)),
    ),
    (
        "association",
        "Structure and symptoms",
        "Change in structure beside change in symptoms and markers: correlations, not causes.",
        (*_OUTCOME, Column("Marker", "marker", _TEXT), Column("Population", "population", _TEXT),
         Column("n", "n", _COUNT),
         Column("Spearman (95 %)", "spearman", _PLAIN, "spearman_low", "spearman_high"),
         Column("Pearson (95 %)", "pearson", _PLAIN, "pearson_low", "pearson_high"),
         Column("p", "p", _P), Column("p Holm", "p_holm", _P)),
    ),
    (
        "mixed",
        "Mixed model over all visits",
        "A large-sample method; with few participants its intervals are too narrow.",
        (*_OUTCOME, _ARM, _AGAINST, Column("Participants", "n_participants", _COUNT),
         Column("Difference (95 %)", "difference", _UNIT, "ci_low", "ci_high"), _UNIT_COLUMN,
         Column("p", "p", _P), Column("Method", "method", _TEXT)),
    ),
    (
        "ae",
        "Adverse events",
        "Counts as they were reported.",
        (_ARM, _AGAINST, Column("Participants", "n_participants", _COUNT),
         Column("Reported", "n_reported", _COUNT), Column("With an event", "with_event", _COUNT),
         Column("Events", "events", _COUNT),
         Column("Share (95 %)", "share", _SHARE, "ci_low", "ci_high"),
         Column("p Fisher", "p_fisher", _P)),
    ),
    (
        "excluded",
        "Left out of the analysis",
        "Every line, column and value that was not used, with its reason.",
        (Column("From", "source", _TEXT), Column("Line", "line", _COUNT),
         Column("Participant", "participant", _TEXT), Column("Visit", "visit", _TEXT),
         Column("What", "column", _TEXT), Column("Code", "code", _TEXT),
         Column("Why", "message", _TEXT), Column("Expected", "expected", _TEXT),
         Column("Found", "found", _TEXT), Column("What to do", "action", _TEXT)),
    ),
)  # fmt: skip


def sections(trial: TrialTables) -> list[Section]:
    """The tables that are there, in the order of the page."""
    return [
        _section(key, title, text, columns, table)
        for key, title, text, columns in _SECTIONS
        if (table := trial.rows(key)) is not None
    ]


def _section(
    key: str, title: str, text: str, columns: Sequence[Column], table: pd.DataFrame
) -> Section:
    known = [column for column in columns if column.name in table.columns]
    heads = tuple((column.head, column.form != _TEXT) for column in known)
    rows = table.to_dict("records")
    rows.sort(key=lambda row: _ROLES.get(row.get("role", ""), 3))  # stable: else as in the table
    lines = tuple(_line(row, known) for row in rows)
    return Section(key, title, text, heads, lines)


def _line(row: Mapping[Any, Any], columns: Sequence[Column]) -> Line:
    reason, message = str(row.get("reason", "")), str(row.get("message", ""))
    note = f"{reason}: {message}" if reason and message else reason or ""
    return Line(str(row.get("role", "")), tuple(cell_text(row, c) for c in columns), note)


def cell_text(row: Mapping[Any, Any], column: Column) -> str:
    """An estimate with its interval, or a text; a dash where there is none.

    >>> row = {"x": -0.1234, "low": -0.2, "high": 0.01, "unit": "mm"}
    >>> cell_text(row, Column("", "x", "unit", "low", "high"))
    '−0.123 (−0.200 to +0.010)'
    """
    if column.form == _TEXT:
        text = str(row.get(column.name, ""))
        return unit_text(text) if column.name == "unit" else text or ABSENT
    text = _number(row, column.name, column.form)
    low = _number(row, column.low, column.form) if column.low else ABSENT
    high = _number(row, column.high, column.form) if column.high else ABSENT
    if text == ABSENT or (low == ABSENT and high == ABSENT):
        return text
    return f"{text} ({low} to {high})"


def _number(row: Mapping[Any, Any], name: str, form: str) -> str:
    value = float(row.get(name, math.nan))
    if not math.isfinite(value):
        return ABSENT
    if form == _COUNT:
        return f"{value:.0f}"
    if form == _SHARE:
        return f"{100 * value:.0f} %".replace("-", MINUS)
    if form == _P:
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if form == _PLAIN:
        return f"{value:.2f}".replace("-", MINUS)
    size = name in ("sdc", "sd_change")  # a size has no sign
    return number_text(value, str(row.get("unit", "")), sign=not size)


def arms_of(trial: TrialTables) -> list[tuple[str, int]]:
    """Arms and their participants, as `values` has them."""
    arms = list(trial.arms().values())
    return [(arm, arms.count(arm)) for arm in sorted(set(arms))]


def analysed_visits(trial: TrialTables) -> Iterator[str]:
    """Follow-up visits that the analysis names, in its order."""
    seen: dict[str, None] = {}
    for name in ("ancova", "srm", "values"):
        table = trial.rows(name, "visit")
        if table is not None:
            seen |= dict.fromkeys(visit for visit in table["visit"] if visit)
    yield from seen
