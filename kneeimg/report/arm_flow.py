"""How many participants of each arm the analysis has at each visit (in the manner of CONSORT)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kneeimg.report.flow import FlowDiagram, Step, in_words, laid_out, tally
from kneeimg.report.trial_page import analysed_visits
from kneeimg.report.trial_tables import TrialTables

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = ("participant", "arm", "role", "endpoint", "visit", "status", "reason")


def arm_flows(trial: TrialTables) -> list[FlowDiagram]:
    """A diagram for each arm; none without the table `values`."""
    return [laid_out(arm, steps, "participants by visit") for arm, steps in arm_steps(trial)]


def arm_flow_sentences(trial: TrialTables) -> list[str]:
    """The diagrams in words."""
    return [in_words(arm, steps) for arm, steps in arm_steps(trial)]


def arm_steps(trial: TrialTables) -> list[tuple[str, tuple[Step, ...]]]:
    """Arm and its boxes: everybody in it, then who has a change at each visit.

    Counted for the first primary outcome, that of the first rows of `values`. Every visit is
    counted from the whole arm: who misses one visit may come to the next.
    """
    values = trial.rows("values", *_NEEDED)
    if values is None:
        return []
    primary = values[(values["role"] == "primary") & (values["arm"] != "")]
    own = primary[primary["endpoint"].isin(primary["endpoint"].head(1))]
    visits = [visit for visit in analysed_visits(trial) if visit in set(own["visit"])]
    return [
        (str(arm), _steps(rows, visits)) for arm, rows in own.groupby("arm", sort=True) if visits
    ]


def _steps(rows: pd.DataFrame, visits: list[str]) -> tuple[Step, ...]:
    people = int(rows["participant"].nunique())
    titles = ["In the arm", *(f"Analysed at {visit}" for visit in visits)]
    lines = [(f"{rows['endpoint'].iloc[0]}",), *((f"of {people}",) for _ in visits)]
    present = [rows[rows["visit"] == visit] for visit in visits]
    counts = [people, *(int((own["status"] == "ok").sum()) for own in present)]
    absent = [[str(code) for code in own.loc[own["status"] != "ok", "reason"]] for own in present]
    last = len(visits)
    return tuple(
        Step(title, count, line)
        if number == last
        else Step(
            title,
            count,
            line,
            f"Without a value at {visits[number]}",
            people - counts[number + 1],
            tuple(tally(absent[number])),
        )
        for number, (title, count, line) in enumerate(zip(titles, counts, lines, strict=True))
    )
