"""Did the pipeline find every planted fault, name it, leave the rest alone, and cover the truth?"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneeimg.demo.compare import Comparison, Coverage, DemoTables, coverage
from kneeimg.demo.plan import DemoTrial, Fault, Planted
from kneeimg.errors import ReasonCode

if TYPE_CHECKING:
    import pandas as pd

#: Share of the regions and visits whose interval must hold the truth. At 95 % nominal coverage the
#: regions of one knee are not independent, so the share itself scatters.
LEAST_COVERED = 0.90

#: What each fault must be called, for each kind of scan that it touches.
_NAMES: Mapping[Fault, tuple[ReasonCode, tuple[str, ...]]] = {
    Fault.DROP_OUT: (ReasonCode.VISIT_MISSING, ("mri", "film")),
    Fault.WRONG_SIDE: (ReasonCode.LATERALITY_CONFLICT, ("mri",)),
    Fault.MISSING_SLICE: (ReasonCode.MISSING_SLICES, ("mri",)),
    Fault.REPEAT_BASELINE: (ReasonCode.DUPLICATE_SCAN, ("mri",)),
}
_DRIFT = "protocol drift"
#: A scan that shows the other knee leaves the planned one without a scan.
_CONSEQUENCES: Mapping[Fault, frozenset[str]] = {
    Fault.WRONG_SIDE: frozenset({ReasonCode.VISIT_MISSING.value}),
}

#: (code, region or quantity): what no phantom can show. It has no menisci, its bones end at the
#: border of the picture, its films have no rim of the plateau, and its bones look like those of no
#: film that KL support learned from.
_NOT_DRAWN = frozenset(
    {
        (ReasonCode.TISSUE_MISSING.value, "MM"),
        (ReasonCode.TISSUE_MISSING.value, "LM"),
        (ReasonCode.BONE_CUT_BY_VIEW.value, "bone_volume"),
        (ReasonCode.BONE_CUT_BY_VIEW.value, "bone_area"),
        (ReasonCode.BONE_CUT_BY_VIEW.value, "TPA"),
        (ReasonCode.BONE_CUT_BY_VIEW.value, "FTA"),
        (ReasonCode.MARGIN_UNCERTAIN.value, "rim_distance"),
    }
)
#: The same wherever it is said, of scan or value.
_UNLIKE_ANY_FILM = frozenset({ReasonCode.KL_OUT_OF_RANGE.value, ReasonCode.KL_UNCERTAIN.value})


@dataclass(frozen=True, order=True)
class Flag:
    """Something that the pipeline remarked on.

    Attributes
    ----------
    participant, visit, kind : Which scan.
    code : Reason code, or "protocol drift".
    where : The table that says so.
    detail : What it says there.
    """

    participant: str
    visit: str
    kind: str
    code: str
    where: str
    detail: str = ""

    @property
    def scan(self) -> tuple[str, str, str]:
        """Participant, visit and kind."""
        return self.participant, self.visit, self.kind


@dataclass(frozen=True)
class Verdict:
    """One line of the table `demo-check`."""

    what: str
    planned: str
    found: str
    ok: bool


@dataclass(frozen=True)
class DemoCheck:
    """Result of the check.

    Attributes
    ----------
    verdicts : One per planted fault, one for what else was flagged, one for coverage.
    cells : Every interval that was judged.
    """

    verdicts: tuple[Verdict, ...]
    cells: tuple[Coverage, ...]

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return all(verdict.ok for verdict in self.verdicts)

    def table(self) -> Comparison:
        """As printed and written."""
        rows = tuple((v.what, v.planned, v.found, "yes" if v.ok else "NO") for v in self.verdicts)
        return Comparison("demo-check", ("what", "planned", "found", "ok"), rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"ok": self.ok, "verdicts": self.table().to_json()}


def check_demo(trial: DemoTrial, tables: DemoTables) -> DemoCheck:
    """Judge a finished demo.

    Parameters
    ----------
    trial : What was planted.
    tables : What was found.
    """
    flags = [*scan_flags(tables.disposition), *value_flags(tables), *change_flags(tables.change)]
    verdicts = [_fault_verdict(trial, planted, flags) for planted in trial.planted]
    cells = coverage(tables.joined())
    verdicts += [_nothing_else(trial, flags), *_coverage_verdicts(cells)]
    return DemoCheck(tuple(verdicts), cells)


def scan_flags(disposition: pd.DataFrame) -> Iterator[Flag]:
    """Scans that were not simply measured."""
    for row in disposition.to_dict("records"):
        remark = "" if row["code"] in _UNLIKE_ANY_FILM else row["code"]
        if row["status"] != "measured" or remark:
            code = row["code"] or row["status"]
            detail = row["message"] if row["found"] in ("", "none") else row["found"]
            yield Flag(row["participant"], row["visit"], row["kind"], code, "disposition", detail)


def value_flags(tables: DemoTables) -> Iterator[Flag]:
    """Planned values without a number, and flags on values, once for each scan and code."""
    seen = dict.fromkeys(
        Flag(row["participant"], row["visit"], row["kind"], code, "measurements")
        for row in _remarked(tables.measured, ("reason", "qc_flags"))
        for column in ("reason", "qc_flags")
        for code in str(row[column] or "").split(";")
        if code and not _not_drawn(code, row)
    )
    yield from seen


def change_flags(change: pd.DataFrame) -> Iterator[Flag]:
    """Changes that could not be given, and protocol drift, once for each scan and code."""
    seen: dict[Flag, None] = {}
    for row in _remarked(change, ("reason", "drift")):
        scan = row["participant"], row["visit_to"], row["kind"]
        code = str(row["reason"] or "")
        if code and not _not_drawn(code, row):
            seen[Flag(*scan, code, "change")] = None
        if row["drift"]:
            seen[Flag(*scan, _DRIFT, "change", str(row["drift"]))] = None
    yield from seen


def _remarked(table: pd.DataFrame, columns: tuple[str, str]) -> list[dict[Any, Any]]:
    first, second = (table[name].fillna("") != "" for name in columns)
    chosen = table[first | second].fillna(dict.fromkeys(columns, ""))
    return chosen.to_dict("records")


def _not_drawn(code: str, row: Mapping[Any, Any]) -> bool:
    if code in _UNLIKE_ANY_FILM:
        return True
    return bool({(code, row["region"]), (code, row["quantity"])} & _NOT_DRAWN)


def _fault_verdict(trial: DemoTrial, planted: Planted, flags: Iterable[Flag]) -> Verdict:
    if planted.fault is Fault.SCANNER_CHANGE:
        return _drift_verdict(trial, planted, flags)
    code, kinds = _NAMES[planted.fault]
    wanted = {(planted.participant, visit, kind)
              for visit in trial.touched(planted) for kind in kinds}  # fmt: skip
    named = [f for f in flags if f.where == "disposition" and f.code == code and f.scan in wanted]
    missed = sorted(wanted - {flag.scan for flag in named})
    return Verdict(
        _what(trial, planted),
        f"{code.value} on {len(wanted)} scan{'s' if len(wanted) > 1 else ''}",
        _missed(missed) or f"{code.value}: {named[0].detail}",
        not missed,
    )


def _drift_verdict(trial: DemoTrial, planted: Planted, flags: Iterable[Flag]) -> Verdict:
    wanted = {(planted.participant, visit, "mri") for visit in trial.touched(planted)}
    named = [f for f in flags if f.code == _DRIFT and f.scan in wanted]
    told = [flag for flag in named if "model" in flag.detail]
    missed = sorted(wanted - {flag.scan for flag in told})
    planned = f"drift of the model on {len(wanted)} follow-ups"
    return Verdict(_what(trial, planted), planned, _missed(missed) or told[0].detail, not missed)


def _what(trial: DemoTrial, planted: Planted) -> str:
    since = " on" if len(trial.touched(planted)) > 1 else ""
    return f"{planted.fault.value}: {planted.participant} {planted.visit}{since}"


def _missed(scans: Iterable[tuple[str, str, str]]) -> str:
    names = "; ".join(" ".join(scan) for scan in scans)
    return f"MISSED: {names}" if names else ""


def _nothing_else(trial: DemoTrial, flags: Iterable[Flag]) -> Verdict:
    """Flags that no planted fault explains."""
    explained = _explained(trial)
    others = sorted(
        flag for flag in flags if flag.code not in explained.get(flag.scan, frozenset())
    )
    named = [f"{f.participant} {f.visit} {f.kind} {f.code} ({f.where})" for f in others]
    return Verdict("anything else flagged", "nothing", "; ".join(named) or "nothing", not named)


def _explained(trial: DemoTrial) -> dict[tuple[str, str, str], frozenset[str]]:
    """Codes that a planted fault may leave on each scan, in any table."""
    explained: dict[tuple[str, str, str], frozenset[str]] = {}
    follow_ups = [visit.name for visit in trial.visits[1:]]
    for planted in trial.planted:
        drift = planted.fault is Fault.SCANNER_CHANGE
        code, kinds = (None, ("mri",)) if drift else _NAMES[planted.fault]
        codes = frozenset({_DRIFT if code is None else code.value})
        codes |= _CONSEQUENCES.get(planted.fault, frozenset())
        visits = set(trial.touched(planted))
        # without its baseline no follow-up can be compared
        lost_baseline = planted.fault in (Fault.WRONG_SIDE, Fault.MISSING_SLICE)
        if lost_baseline and planted.visit == trial.visits[0].name:
            visits |= set(follow_ups)
        for visit in visits:
            for kind in kinds:
                scan = planted.participant, visit, kind
                explained[scan] = explained.get(scan, frozenset()) | codes
    if not trial.masked:  # the model says of itself how far it is to be trusted
        for made in trial.scans():
            scan = made.person.participant, made.visit.name, "mri"
            told = frozenset({ReasonCode.MODEL_PREVIEW.value})
            explained[scan] = explained.get(scan, frozenset()) | told
    return explained


def _coverage_verdicts(cells: tuple[Coverage, ...]) -> Iterator[Verdict]:
    share = _share(sum(cell.covered for cell in cells), len(cells))
    worst = max(cells, key=_miss_mm, default=None)
    note = ""
    if worst is not None and not worst.covered:
        note = (
            f"; worst {worst.arm} {worst.visit} {worst.region}: {1000 * _miss_mm(worst):.0f} µm out"
        )
    yield Verdict(
        "true mean change inside its 95 % interval (arm × visit × region)",
        f"at least {100 * LEAST_COVERED:.0f} %",
        f"{100 * share:.1f} % of {len(cells)}{note}" if cells else "nothing to judge",
        bool(cells) and share >= LEAST_COVERED,
    )
    judged = [cell for cell in cells if cell.within_sdc is not None]
    if judged:
        within = _share(sum(cell.within_sdc or 0 for cell in judged), sum(c.n for c in judged))
        yield Verdict(
            "true change of single knees within the SDC of the measured one",
            f"at least {100 * LEAST_COVERED:.0f} %",
            f"{100 * within:.1f} % of {sum(c.n for c in judged)}",
            within >= LEAST_COVERED,
        )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _miss_mm(cell: Coverage) -> float:
    """How far the truth lies outside the interval; 0 inside."""
    return max(cell.low_mm - cell.true_mm, cell.true_mm - cell.high_mm, 0.0)


def write_check(check: DemoCheck, out: Path) -> None:
    """Write OUT/demo-check.csv and OUT/demo-coverage.csv."""
    table = check.table()
    _write(out / "demo-check.csv", table.columns, table.rows)
    columns = ("arm", "visit", "kind", "region", "quantity", "n", "true_change_mm",
               "mean_change_mm", "ci_low_mm", "ci_high_mm", "covered", "within_sdc")  # fmt: skip
    rows = (
        (c.arm, c.visit, c.kind, c.region, c.quantity, str(c.n), f"{c.true_mm:.6f}",
         f"{c.found_mm:.6f}", f"{c.low_mm:.6f}", f"{c.high_mm:.6f}", "yes" if c.covered else "no",
         "" if c.within_sdc is None else str(c.within_sdc))
        for c in check.cells
    )  # fmt: skip
    _write(out / "demo-coverage.csv", columns, rows)


def _write(path: Path, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
