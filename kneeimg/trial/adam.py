"""ADKNEE: the measurements and changes of a study as a basic data structure of ADaM.

One row per subject, knee, parameter and visit, measured or not. `AVAL` is always the visit's own
measurement. `CHG` is always the change of the change table and nothing else: cartilage of two
visits is compared over the bone area of the baseline, so there `CHG` is not `AVAL − BASE`. The row
then says so (`CHGMTHD` PAIRED), gives both paired values (`CHG = PAVAL − PBASE`) and the difference
(`CHGDIFF`). Where no pair was compared `CHG` is missing and `CHGRSN` says why.

Nothing is carried forward or filled. Several scans of one visit stay rows of their own, and their
mean is one more row (`DTYPE` AVERAGE), the one to analyse (`ANL01FL`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kneeimg.core.dataset import Parameter, Variable
from kneeimg.trial.adam_rows import (
    AVERAGE,
    AdamStudy,
    Record,
    Row,
    Timing,
    add_change,
    average_row,
    change_only_row,
    number,
    scan_row,
)
from kneeimg.trial.adam_variables import adam_variables
from kneeimg.trial.parameters import parameter_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AdamStudy", "adknee", "parameters_of", "variables_of"]

_Knee = tuple[str, str, str, str, str]  # participant, side, kind, region, quantity
_KEYS = ("participant", "side", "kind", "region", "quantity")


def adknee(
    measurements: Sequence[Row],
    changes: Sequence[Row],
    study: AdamStudy,
    arms: Mapping[str, str] | None = None,
    arm_order: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The analysis dataset of a study.

    Parameters
    ----------
    measurements : Rows of the measurements table, columns `MEASUREMENT_COLUMNS`. Several rows of
        one participant, side, visit, region and quantity are repeated scans of one visit; the
        table may bring their average (`dtype` AVERAGE), otherwise it is made here.
    changes : Rows of the change table, columns `CHANGE_COLUMNS`.
    study : Visits, index knees, sites and, if dates are wanted, dates of day 0.
    arms : Participant to treatment arm; only the unblinded analysis has it. A participant without
        an arm gets none.
    arm_order : The arms as TRTPN counts them from 1; None for the alphabet.

    Returns
    -------
    Data frame with the columns of `adam_variables`, sorted by subject, knee, parameter and visit.
    Text is `str` with "" for none, integers `Int64`, floats `float64`, dates `datetime.date`.

    Raises
    ------
    StudyError
        INTERNAL_ERROR for a quantity that the published table of parameters does not know.
    """
    visits = [row["visit"] for row in measurements] + [row["visit_to"] for row in changes]
    timing = Timing.of(study.windows, visits)
    paired = _paired(changes)
    scans = _scans(measurements)
    records: list[Record] = []
    for knee, by_visit in scans.items():
        records += _knee_records(by_visit, paired.get(knee, {}), study, timing)
    days = _days(measurements)
    for knee, by_visit in paired.items():
        if knee not in scans:
            records += _change_only(by_visit, study, timing, days)
    _sort(records, [row["participant"] for row in (*measurements, *changes)])
    return _frame(records, arms, arm_order)


def variables_of(frame: pd.DataFrame) -> tuple[Variable, ...]:
    """The columns of a frame of :func:`adknee` with their metadata."""
    return adam_variables(with_arms="TRTP" in frame)


def parameters_of(frame: pd.DataFrame) -> tuple[Parameter, ...]:
    """The parameters that occur in a frame of :func:`adknee`, by PARAMN."""
    seen = frame.drop_duplicates("PARAMCD").sort_values("PARAMN")
    columns = (seen["REGION"], seen["QUANTITY"], seen["AVALU"])
    return tuple(parameter_of(*names) for names in zip(*columns, strict=True))


def _knee_of(row: Row) -> _Knee:
    participant, side, kind, region, quantity = (str(row[name] or "") for name in _KEYS)
    return participant, side, kind, region, quantity


def _scans(measurements: Iterable[Row]) -> dict[_Knee, dict[str, list[Row]]]:
    """Rows by knee and quantity, then by visit, in the order of the table."""
    found: dict[_Knee, dict[str, list[Row]]] = {}
    for row in measurements:
        found.setdefault(_knee_of(row), {}).setdefault(row["visit"], []).append(row)
    return found


def _paired(changes: Iterable[Row]) -> dict[_Knee, dict[str, list[Row]]]:
    found: dict[_Knee, dict[str, list[Row]]] = {}
    for row in changes:
        found.setdefault(_knee_of(row), {}).setdefault(row["visit_to"], []).append(row)
    return found


def _knee_records(
    by_visit: Mapping[str, Sequence[Row]],
    changes: Mapping[str, Sequence[Row]],
    study: AdamStudy,
    timing: Timing,
) -> list[Record]:
    """All rows of one quantity of one knee, with baseline and change."""
    first = next(iter(by_visit.values()))[0]
    parameter = parameter_of(first["region"], first["quantity"], first["unit"])
    start = study.baseline_of(first["participant"])
    records: list[Record] = []
    chosen: dict[str, Record] = {}
    for visit, rows in by_visit.items():
        own = [scan_row(row, parameter, study, timing) for row in rows]
        chosen[visit] = _representative(own)
        records += own
        _flag(chosen[visit], timing)
    base = _mark_baseline(chosen.get(start))
    for record in records:
        record["BASE"] = base
    for visit, pairs in changes.items():
        if visit in chosen and visit != start:
            add_change(chosen[visit], pairs)
    return records


def _representative(own: list[Record]) -> Record:
    """The row that stands for a visit: its average, which is added if need be, or its one scan."""
    averages = [record for record in own if record["DTYPE"] == AVERAGE]
    if averages:
        return averages[0]
    measured = [record for record in own if not math.isnan(record["AVAL"])]
    if len(measured) > 1:
        own.append(average_row(measured))
        return own[-1]
    return measured[0] if measured else own[0]


def _flag(record: Record, timing: Timing) -> None:
    if not math.isnan(record["AVAL"]) and timing.planned(record["AVISIT"]):
        record["ANL01FL"] = "Y"


def _mark_baseline(record: Record | None) -> float:
    """Flag the baseline row; its value, NaN without one."""
    if record is None or math.isnan(record["AVAL"]):
        return math.nan
    record["ABLFL"] = "Y"
    return float(record["AVAL"])


def _days(measurements: Iterable[Row]) -> dict[tuple[str, str, str, str], float]:
    """Day of each knee's visit, by participant, side, kind and visit."""
    return {
        (row["participant"], str(row["side"] or ""), row["kind"], row["visit"]): number(row["day"])
        for row in measurements
    }


def _change_only(
    by_visit: Mapping[str, Sequence[Row]],
    study: AdamStudy,
    timing: Timing,
    days: Mapping[tuple[str, str, str, str], float],
) -> list[Record]:
    """Rows of a quantity that no single visit has."""
    records = []
    for visit, rows in by_visit.items():
        own = []
        for row in rows:
            parameter = parameter_of(row["region"], row["quantity"], row["unit"])
            knee = (row["participant"], str(row["side"] or ""), row["kind"], visit)
            day = days.get(knee, math.nan)
            own.append(change_only_row(row, parameter, study, timing, day))
        _flag(_representative(own), timing)
        records += own
    return records


def _sort(records: list[Record], participants: Iterable[str]) -> None:
    """By participant as listed, knee, parameter and visit; then number each subject's rows."""
    order = {name: n for n, name in enumerate(dict.fromkeys(participants))}
    records.sort(key=lambda r: (order[r["SUBJID"]], r["LAT"], r["PARAMN"], r["AVISITN"]))
    counts: Counter[str] = Counter()
    for record in records:
        counts[record["USUBJID"]] += 1
        record["ASEQ"] = counts[record["USUBJID"]]


def _frame(
    records: Sequence[Record], arms: Mapping[str, str] | None, arm_order: Sequence[str] | None
) -> pd.DataFrame:
    """Typed columns in their order."""
    import pandas as pd

    if arms is not None:
        order = arm_order or sorted(set(arms.values()))
        numbers = {arm: n for n, arm in enumerate(order, start=1)}
        for record in records:
            arm = arms.get(record["SUBJID"], "")
            record |= {"TRTP": arm, "TRTPN": numbers.get(arm, math.nan)}
    columns: dict[str, Any] = {}
    for variable in adam_variables(with_arms=arms is not None):
        values = [record[variable.name] for record in records]
        columns[variable.name] = _series(values, variable)
    return pd.DataFrame(columns)


def _series(values: list[Any], variable: Variable) -> pd.Series[Any]:
    import pandas as pd

    if variable.data_type == "float":
        return pd.Series(values, dtype="float64")
    if variable.data_type == "integer":
        return pd.Series(values, dtype="float64").astype("Int64")
    return pd.Series(values, dtype=object)
