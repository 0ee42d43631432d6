"""Rows of ADKNEE: one measured row at a time, then averages and change."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from kneeimg.core.dataset import TEXT_LENGTH, Parameter
from kneeimg.trial.adam_variables import DIFFERENCE, OTHER, PAIRED
from kneeimg.trial.visits import Window

Row = Mapping[str, Any]
Record = dict[str, Any]

#: `tab_source` of change rows whose values lie over the baseline's bone area at both visits.
CARRIED = "baseline carried over"
#: DTYPE of the mean over the scans of one visit.
AVERAGE = "AVERAGE"

_UNSCHEDULED = re.compile(r"U(-?\d+)")
_UNTARGETED = 9001
#: Relative difference that two roundings of one subtraction may show.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class AdamStudy:
    """What ADKNEE needs to know beside the measurements.

    Attributes
    ----------
    study : Name of the study.
    windows : Planned visits.
    baselines : Participant to the id of the baseline visit; the first window for those left out.
    index_knees : Participant to "left", "right" or "" when not said.
    sites : Participant to site; the empty id stands for all others.
    baseline_dates : Participant to the date of day 0; without it a row has no date.
    """

    study: str
    windows: Sequence[Window]
    baselines: Mapping[str, str] = field(default_factory=dict)
    index_knees: Mapping[str, str] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)
    baseline_dates: Mapping[str, date] = field(default_factory=dict, repr=False)

    def baseline_of(self, participant: str) -> str:
        """Id of the participant's baseline visit."""
        return self.baselines.get(participant) or self.windows[0].name


@dataclass(frozen=True, slots=True)
class Timing:
    """Numbers and windows of visit ids."""

    windows: Mapping[str, Window]
    untargeted: Mapping[str, int]

    @classmethod
    def of(cls, windows: Iterable[Window], visits: Iterable[str]) -> Timing:
        """Timing of the visits that occur, in their order."""
        planned = {window.name: window for window in windows}
        odd = [v for v in dict.fromkeys(visits) if v not in planned and not is_unscheduled(v)]
        return cls(planned, {visit: _UNTARGETED + n for n, visit in enumerate(odd)})

    def planned(self, visit: str) -> bool:
        """Whether the study knows the visit: it is not an unscheduled scan."""
        return visit in self.windows or visit in self.untargeted

    def number(self, visit: str) -> int:
        """AVISITN: target day, day of an unscheduled visit, or a number from 9001 on."""
        if visit in self.windows:
            return self.windows[visit].target_day
        found = _UNSCHEDULED.fullmatch(visit)
        return int(found[1]) if found else self.untargeted[visit]

    def columns(self, visit: str, day: float) -> Record:
        """AVISIT to AWU of one row, but ADT."""
        window = self.windows.get(visit)
        row: Record = {
            "AVISIT": visit,
            "AVISITN": self.number(visit),
            "ADY": relative_day(day),
            **dict.fromkeys(("AWTARGET", "AWTDIFF", "AWLO", "AWHI"), math.nan),
            "AWU": "",
        }
        if window is not None:
            target, half = window.target_day, window.window_days
            row |= {
                "AWTARGET": relative_day(target),
                "AWTDIFF": abs(day - target),
                "AWLO": relative_day(target - half),
                "AWHI": relative_day(target + half),
                "AWU": "DAYS",
            }
        return row


def is_unscheduled(visit: str) -> bool:
    """Whether a visit id was made from a day: a scan outside every window.

    >>> is_unscheduled("U250"), is_unscheduled("M06")
    (True, False)
    """
    return _UNSCHEDULED.fullmatch(visit) is not None


def relative_day(day: float) -> float:
    """Day as CDISC counts it: baseline is day 1, the day before it −1; NaN stays NaN.

    >>> relative_day(0), relative_day(182), relative_day(-3)
    (1, 183, -3)
    """
    return day + 1 if day >= 0 else day


def number(value: Any) -> float:
    """A number; NaN for None and for what is missing in a table.

    >>> number(None), number(3)
    (nan, 3.0)
    """
    return math.nan if value is None or value != value else float(value)


def text(value: Any) -> str:
    """Text that fits a transport file: at most 200 bytes, the cut shown by dots; "" for None.

    >>> text(None), len(text("x" * 300)), text("x" * 300)[-4:]
    ('', 200, 'x...')
    """
    if value is None or value != value:
        return ""
    whole = str(value).encode("utf-8")
    if len(whole) <= TEXT_LENGTH:
        return str(value)
    return whole[: TEXT_LENGTH - 3].decode("utf-8", errors="ignore") + "..."


def scan_row(row: Row, parameter: Parameter, study: AdamStudy, timing: Timing) -> Record:
    """The ADKNEE row of one row of the measurements, without baseline and change."""
    day, codes = number(row["day"]), text(row["qc_flags"])
    return {
        **identity(row, parameter, study),
        **timing.columns(row["visit"], day),
        "ADT": analysis_date(row["participant"], day, study),
        "AVAL": number(row["value"]),
        "AVALRSN": text(row["reason"]),
        "SCAN": text(row.get("scan")),
        "DTYPE": text(row.get("dtype")),
        **empty_change(),
        "METHOD": text(row["method"]),
        "TABSRC": text(row["tab_source"]),
        "AGGREG": text(row["aggregate"]),
        "FEMFRAC": number(row["femur_fraction"]),
        "SPACSRC": text(row["spacing_source"]),
        "QCFL": "Y" if codes else "",
        "QCCODES": codes,
        "SRCUID": text(row["series_uid_hash"]),
        "SWVER": text(row["software_version"]),
        "MODEL": text(row["model_sha256"]),
    }


def change_only_row(
    row: Row, parameter: Parameter, study: AdamStudy, timing: Timing, day: float
) -> Record:
    """The row of a quantity that exists only as change, such as an ordered value: AVAL is it."""
    return {
        **identity(row, parameter, study),
        **timing.columns(row["visit_to"], day),
        "ADT": analysis_date(row["participant"], day, study),
        "AVAL": number(row["change"]),
        "AVALRSN": text(row["reason"]),
        "SCAN": "",
        "DTYPE": text(row.get("dtype")),
        **empty_change(),
        **_precision(row),
        "METHOD": text(row["method"]),
        "TABSRC": text(row["tab_source"]),
        **dict.fromkeys(("AGGREG", "SPACSRC", "QCFL", "QCCODES", "SRCUID", "MODEL"), ""),
        "FEMFRAC": math.nan,
        "SWVER": text(row["software_version"]),
    }


def identity(row: Row, parameter: Parameter, study: AdamStudy) -> Record:
    """Who, which knee, which parameter."""
    participant, side = row["participant"], text(row["side"])
    index = study.index_knees.get(participant, "")
    return {
        "STUDYID": study.study,
        "USUBJID": f"{study.study}-{participant}",
        "SUBJID": participant,
        "SITEID": study.sites.get(participant) or study.sites.get("", ""),
        "LAT": side.upper(),
        "INDEXFL": ("Y" if side == index else "N") if side and index else "",
        "PARAMCD": parameter.paramcd,
        "PARAM": parameter.param,
        "PARAMN": parameter.paramn,
        "PARCAT1": parameter.parcat1,
        "REGION": parameter.region,
        "QUANTITY": parameter.quantity,
        "MODALITY": row["kind"].upper(),
        "AVALU": parameter.unit,
        **dict.fromkeys(("ABLFL", "ANL01FL"), ""),
    }


def analysis_date(participant: str, day: float, study: AdamStudy) -> date | None:
    """Date of a scan; None when its day or the date of day 0 is not known."""
    start = study.baseline_dates.get(participant)
    return None if start is None or math.isnan(day) else start + timedelta(days=int(day))


def empty_change() -> Record:
    """Baseline and change columns before they are known."""
    return {
        **dict.fromkeys(("BASE", "CHG", "PCHG", "CHGDIFF", "PAVAL", "PBASE", "SDC"), math.nan),
        **dict.fromkeys(("CHGMTHD", "CHGRSN", "CHGCAT1", "SDCSRC", "DRIFTFL"), ""),
    }


def average_row(rows: Sequence[Record]) -> Record:
    """The mean of several measured scans of one visit, DTYPE AVERAGE.

    The day is that of the last of them, the day on which the average was known.
    """
    last = max(rows, key=lambda row: (number(row["ADY"]), str(row["SRCUID"])))
    joined = {
        name: text(";".join(_distinct(part for row in rows for part in row[name].split(";"))))
        for name in ("QCCODES", "SRCUID", "METHOD", "TABSRC", "SPACSRC", "SWVER", "MODEL")
    }
    fractions = {row["FEMFRAC"] for row in rows}
    return {
        **last,
        **joined,
        "AVAL": math.fsum(row["AVAL"] for row in rows) / len(rows),
        "FEMFRAC": last["FEMFRAC"] if len(fractions) == 1 else math.nan,
        "QCFL": "Y" if joined["QCCODES"] else "",
        "SCAN": "",
        "DTYPE": AVERAGE,
    }


def _distinct(parts: Iterable[str]) -> list[str]:
    return [part for part in dict.fromkeys(parts) if part]


def add_change(row: Record, changes: Sequence[Row]) -> None:
    """Fill the change columns of a row from its rows of the change table.

    Of several (one per repeated scan) the average counts; where the table has none it is made here
    of those that have a change.
    """
    changes = [change for change in changes if change.get("dtype") == AVERAGE] or changes
    compared = [change for change in changes if not math.isnan(number(change["change"]))]
    if not compared:
        row["CHGRSN"] = text(changes[0]["reason"])
        return
    row |= {
        "CHG": _mean(compared, "change"),
        "PCHG": _mean(compared, "change_pct"),
        "PAVAL": _mean(compared, "followup"),
        "PBASE": _mean(compared, "baseline"),
        **_precision(*compared),
    }
    row["CHGDIFF"] = row["CHG"] - (row["AVAL"] - row["BASE"])
    row["CHGMTHD"] = _method(row, compared)


def _method(row: Record, compared: Sequence[Row]) -> str:
    """What CHG is the difference of; decided by the numbers where nothing was carried over."""
    if any(str(change["tab_source"]).startswith(CARRIED) for change in compared):
        return PAIRED
    allowed = _ROUNDING * max(abs(row["AVAL"]), abs(row["BASE"]), 1.0)
    return DIFFERENCE if abs(row["CHGDIFF"]) <= allowed else OTHER


def _precision(*changes: Row) -> Record:
    """Columns about what a change means; a class only where all pairs agree on it."""
    classes = {text(change["change_class"]).upper() for change in changes}
    sources = {text(change["sdc_source"]) for change in changes}
    return {
        "SDC": _mean(changes, "sdc"),
        "SDCSRC": sources.pop() if len(sources) == 1 else "",
        "CHGCAT1": classes.pop() if len(classes) == 1 else "",
        "DRIFTFL": "Y" if any(text(change["drift"]) for change in changes) else "",
    }


def _mean(rows: Sequence[Row], name: str) -> float:
    """Mean of a column; a single value stays as it is, and NaN makes NaN."""
    values = [number(row[name]) for row in rows]
    return values[0] if len(values) == 1 else math.fsum(values) / len(values)
