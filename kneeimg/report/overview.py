"""What the first page shows: refusals, counts, who has which scan, group change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kneeimg.core.anatomy import Subregion
from kneeimg.core.visit import STUDY_ID
from kneeimg.errors import REASONS, ReasonCode
from kneeimg.report.glossary import Labelled, kind_text, unit_text
from kneeimg.report.numbers import ABSENT, number_text
from kneeimg.report.results import Results

if TYPE_CHECKING:
    import pandas as pd

PRIMARY_FILM = ("mJSW", "nmJSW", "JSA")
PRIMARY_MR = ("ThCtAB_aMe",)
_CLASSES = ("loss", "within measurement error", "gain", "no repeatability data")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One scan, or planned scan, that gave no number."""

    participant: str
    visit: str
    side: str
    kind: str
    source: str
    status: str
    code: str
    message: str
    expected: str
    found: str
    action: str
    has_page: bool


@dataclass(frozen=True, slots=True)
class Count:
    """A number and what it counts."""

    label: str
    value: int
    tone: str = ""


@dataclass(frozen=True, slots=True)
class CodeCount:
    """How often a reason code occurs, and what it means."""

    code: str
    meaning: str
    count: int


@dataclass(frozen=True, slots=True)
class Scan:
    """One entry of the matrix of participants and visits."""

    text: str
    status: str
    code: str


@dataclass(frozen=True, slots=True)
class GroupChange(Labelled):
    """Change of one quantity over all knees with a value, as text."""

    kind: str
    pair: str
    count: str
    baseline: str
    change: str
    spread: str
    percent: str
    classes: tuple[str, ...]
    primary: bool


def visit_key(visit: str) -> tuple[int, int, str]:
    """Order of visits by name: a baseline first, then by the number in the name.

    >>> sorted(["M12", "M06", "BL"], key=visit_key)
    ['BL', 'M06', 'M12']
    """
    number = re.search(r"\d+", visit)
    if visit.upper() in ("BL", "BASELINE"):
        return (0, 0, visit)
    return (1, int(number[0]), visit) if number else (2, 0, visit)


def visit_order(results: Results, visits: Iterable[str]) -> list[str]:
    """Visits by their median day where every day is known, else by name."""
    names = sorted({v for v in visits if v}, key=visit_key)
    days = results.measurements.groupby("visit")["day"].median()
    known = {str(visit): float(day) for visit, day in days.items() if day == day}
    if all(name in known for name in names):
        return sorted(names, key=lambda name: (known[name], visit_key(name)))
    return names


def participants(results: Results) -> list[str]:
    """Everybody who has a page: study ids in any table or folder."""
    found = {
        *results.measurements["participant"],
        *results.change["participant"],
        *results.disposition["participant"],
        *(picture.participant for picture in results.pictures),
    }
    return sorted(name for name in found if STUDY_ID.fullmatch(name))


def reason_meaning(code: str) -> str:
    """What a reason code means, "" for an unknown one."""
    try:
        return REASONS[ReasonCode(code)][1]
    except ValueError:
        return ""


def refusals(disposition: pd.DataFrame) -> list[Refusal]:
    """Refused scans, then planned scans that never came, in the order of the table."""
    rows = []
    for status in ("refused", "missing"):
        for row in disposition[disposition["status"] == status].to_dict("records"):
            rows.append(
                Refusal(
                    participant=row["participant"],
                    visit=row["visit"],
                    side=row["side"],
                    kind=kind_text(row["kind"]),
                    source=row["source"],
                    status=status,
                    code=row["code"],
                    message=row["message"] or reason_meaning(row["code"]),
                    expected=row["expected"],
                    found=row["found"],
                    action=row["action"],
                    has_page=bool(STUDY_ID.fullmatch(row["participant"])),
                )
            )
    return rows


def counts(results: Results) -> list[Count]:
    """Counts at the head of the page."""
    measurements, disposition = results.measurements, results.disposition
    status = disposition["status"].value_counts().to_dict()
    measured = measurements["status"] == "ok"
    return [
        Count("participants", len(participants(results))),
        Count("scans measured", int(status.get("measured", 0))),
        Count("scans refused", int(status.get("refused", 0)), "bad"),
        Count("scans missing", int(status.get("missing", 0)), "warn"),
        Count("files or series skipped", int(status.get("skipped", 0))),
        Count("values measured", int(measured.sum())),
        Count("values not measured", int((~measured).sum()), "warn"),
        Count("values with a flag", int((measured & (measurements["qc_flags"] != "")).sum())),
    ]


def _count_codes(codes: Iterable[str]) -> list[CodeCount]:
    seen: dict[str, int] = {}
    for code in codes:
        seen[code] = seen.get(code, 0) + 1
    ordered = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    return [CodeCount(code, reason_meaning(code), n) for code, n in ordered if code]


def skipped_codes(results: Results) -> list[CodeCount]:
    """Why files and series were not inputs."""
    disposition = results.disposition
    return _count_codes(disposition.loc[disposition["status"] == "skipped", "code"])


def unmeasured_codes(results: Results) -> list[CodeCount]:
    """Why single values are absent."""
    measurements = results.measurements
    return _count_codes(measurements.loc[measurements["status"] != "ok", "reason"])


def flag_codes(results: Results) -> list[CodeCount]:
    """Flags on knees that were measured: counted once for each scan."""
    keys = ["participant", "side", "visit", "kind"]
    codes: list[str] = []
    for _, rows in results.measurements.groupby(keys, sort=True):
        codes += sorted({code for cell in rows["qc_flags"] for code in cell.split(";") if code})
    return _count_codes(codes)


def scan_matrix(
    results: Results, people: Sequence[str], visits: Sequence[str]
) -> list[tuple[str, list[list[Scan]]]]:
    """For each participant, for each visit, what became of its scans."""
    kept = results.disposition[results.disposition["status"] != "skipped"]
    cells: dict[tuple[str, str], list[Scan]] = {}
    for row in kept.to_dict("records"):
        kind = kind_text(row["kind"])
        scan = Scan(f"{kind} {row['side']}".strip(), row["status"], row["code"])
        cells.setdefault((row["participant"], row["visit"]), []).append(scan)
    return [(p, [cells.get((p, visit), []) for visit in visits]) for p in people]


def group_change(results: Results) -> list[GroupChange]:
    """Mean and spread of the change rows, per region, quantity and pair of visits.

    A description of the rows given, over knees and without arms; no inference.
    """
    keys = ["kind", "region", "quantity", "unit", "visit_from", "visit_to"]
    grouped = results.change.groupby(keys, sort=False)
    return [_group(tuple(map(str, key)), rows) for key, rows in grouped]


def _group(key: tuple[str, ...], rows: pd.DataFrame) -> GroupChange:
    kind, region, quantity, unit, visit_from, visit_to = key
    valid = rows[(rows["status"] == "ok") & rows["change"].notna()]
    spread = float(valid["change"].std(ddof=1)) if len(valid) > 1 else float("nan")
    classes = valid["change_class"].value_counts().to_dict()
    return GroupChange(
        kind=kind_text(kind),
        region=region,
        quantity=quantity,
        unit=unit_text(unit),
        pair=f"{visit_from} → {visit_to}",
        count=f"{len(valid)} of {len(rows)}",
        baseline=number_text(float(valid["baseline"].mean()), unit),
        change=number_text(float(valid["change"].mean()), unit, sign=True),
        spread=number_text(spread, unit),
        percent=number_text(float(valid["change_pct"].mean()), "%", sign=True),
        classes=tuple(
            str(int(classes.get(name, 0))) if len(valid) else ABSENT for name in _CLASSES
        ),
        primary=is_primary(kind, region, quantity),
    )


def is_primary(kind: str, region: str, quantity: str) -> bool:
    """Whether a row stands in the short tables.

    Subregions stand in the long tables only; their sums cMFTC and cLFTC are short.

    >>> is_primary("mri", "MT", "ThCtAB_aMe"), is_primary("film", "knee", "JLCA")
    (True, False)
    >>> is_primary("mri", "aMT", "ThCtAB_aMe"), is_primary("mri", "cMFTC", "ThCtAB_aMe")
    (False, True)
    """
    if kind == "film":
        return quantity in PRIMARY_FILM
    return quantity in PRIMARY_MR and region not in Subregion.__members__


def distinct(column: pd.Series) -> list[str]:
    """Different non-empty texts of a column, sorted."""
    return sorted({str(value) for value in column if str(value)})
