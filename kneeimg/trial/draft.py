"""The text of a drafted study: study.toml that teaches, and its tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kneeimg.settings.study import DEFAULT_VISITS, VisitWindow

#: Visits that dates are matched with: the default schedule and what longer studies add to it.
SCHEDULE: tuple[VisitWindow, ...] = (
    *DEFAULT_VISITS,
    VisitWindow(name="M18", target_day=548, window_days=28),
    VisitWindow(name="M24", target_day=731, window_days=42),
    VisitWindow(name="M36", target_day=1096, window_days=60),
    VisitWindow(name="M48", target_day=1461, window_days=60),
    VisitWindow(name="M60", target_day=1826, window_days=60),
    VisitWindow(name="M72", target_day=2192, window_days=60),
    VisitWindow(name="M84", target_day=2557, window_days=60),
    VisitWindow(name="M96", target_day=2922, window_days=60),
)


@dataclass(frozen=True, slots=True)
class DraftRule:
    """A proposed `[[series]]` table.

    Attributes
    ----------
    values : Keys and values of the rule.
    comment : What it takes, and how often.
    used : False for a rule that is shown as a comment only.
    """

    values: Mapping[str, object]
    comment: str
    used: bool = True


def study_toml(
    *,
    visits: Sequence[tuple[VisitWindow, int]],
    rules: Sequence[DraftRule],
    key: bool,
    scans: bool,
    repeats: bool,
) -> str:
    """Text of study.toml.

    Parameters
    ----------
    visits : Windows and how many scans fall into each; those with none become comments.
    rules : Proposed series rules, in order.
    key : Whether key.csv says whose PatientID is whose.
    scans : Whether scans.csv lists the scans.
    repeats : Whether scans of one visit were repeated.
    """
    seen = [(window, n) for window, n in visits if n]
    parts = [_head(key=key, scans=scans, repeats=repeats)]
    if seen:
        parts.append(_VISITS)
        last = seen[-1][0].target_day
        shown = [(w, n) for w, n in visits if n or w in DEFAULT_VISITS or w.target_day <= last]
        parts += [_visit(window, n) for window, n in shown]
    else:
        parts.append(_NO_VISITS)
    parts.append(_RULES if rules else _NO_RULES)
    parts += [_rule(rule) for rule in rules]
    parts.append(_SETTINGS)
    return "\n".join(parts)


def _head(*, key: bool, scans: bool, repeats: bool) -> str:
    sealed = 'key = "key.csv"' if key else '# key = "key.csv"'
    listed = 'scans = "scans.csv"' if scans else '# scans = "scans.csv"'
    average = 'repeats = "average"' if repeats else '# repeats = "average"'
    return f"""\
# Draft made by `kneeimg study init` from DICOM headers. Read it, correct it, then:
#   kneeimg study check STUDY SCANS        what is missing, late, doubled, of another scanner
#   kneeimg run SCANS -o RESULTS --study STUDY/study.toml
# Lines that begin with # are comments; an unknown key is an error that names the nearest key.

[study]
id = "STUDY1"                       # letters, digits, hyphens; stands in every table
participants = "participants.csv"   # participant, index_knee, baseline_date; never the arm

# Which PatientID is whose. Keep the file sealed, apart from the results: it is only compared,
# and no number of it is ever written out.
{sealed}

# List every scan by path instead of finding it by PatientID and date.
{listed}

# Every scan shows the index knee of its participant: then the study is a source of the side, for
# files that do not say it, and a file that says otherwise is refused.
# only_index_knee = true

# Several scans of one knee within one visit: "nearest" measures the one nearest to the target day
# and lists the others; "average" measures all up to repeat_days apart and analyses their mean.
{average}
# repeat_days = 14
"""


_VISITS = """\
# Visits: a scan belongs to one up to window_days before or after target_day (days since the
# participant's first scan, or since baseline_date). Scans outside every window are measured as
# unscheduled visits, U and the day. `kinds = ["mri"]` plans only MRI at a visit.
"""
_NO_VISITS = """\
# No scan has a date, so no visit could be proposed: without [[visits]] of your own the schedule is
# BL, M01, M03, M06, M12 (days 0, 30, 91, 182, 365).
#
# [[visits]]
# name = "BL"
# target_day = 0
# window_days = 14
"""
_RULES = """\
# Which series is measured: the first rule that fits any series of a scan decides; every key given
# must hold. `kneeimg inspect SCANS` shows every series.
"""
_NO_RULES = """\
# Each scan is a single series, so no rule is needed. A rule would read:
#
# [[series]]
# kind = "mri"
# description = "DESS"              # a regular expression, case ignored
"""
_SETTINGS = """\
# Settings of the measurement, with their defaults; they stand in every result.
#
# [morphometry]
# femur_fraction = 0.75
"""


def _visit(window: VisitWindow, n: int) -> str:
    lines = [
        f"[[visits]]                          # scans: {n}" if n else "[[visits]]",
        f'name = "{window.name}"',
        f"target_day = {window.target_day}",
        f"window_days = {window.window_days}",
    ]
    if n:
        return "\n".join(lines) + "\n"
    return "\n".join(["# no scan yet:", *(f"# {line}" for line in lines)]) + "\n"


def _rule(rule: DraftRule) -> str:
    lines = ["[[series]]", *(f"{key} = {_toml(value)}" for key, value in rule.values.items())]
    if not rule.used:
        lines = [f"# {line}" for line in lines]
    return "\n".join([f"# {rule.comment}", *lines]) + "\n"


def _toml(value: object) -> str:
    """A TOML value; a pattern with backslashes as a literal string where it can be one."""
    if isinstance(value, str) and "\\" in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False)


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    r"""CSV text of a table that the user is to edit.

    >>> table_text(("participant", "index_knee"), [{"participant": "P01"}])
    'participant,index_knee\nP01,\n'
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(name, "") for name in columns] for row in rows)
    return buffer.getvalue()
