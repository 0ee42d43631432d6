"""What the page of one participant shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kneeimg.report.glossary import Labelled, kind_text, unit_text
from kneeimg.report.numbers import number_text
from kneeimg.report.overview import is_primary, visit_order
from kneeimg.report.results import Picture, Results

if TYPE_CHECKING:
    import pandas as pd

_ROLE_NAMES = {
    ("mri", "qc"): "Segmentation on slices",
    ("mri", "thickness"): "Cartilage thickness",
    ("film", "qc"): "Film with joint margins",
    ("film", "margins"): "Film with joint margins",
}
_ROLE_ALTS = {
    (
        "mri",
        "qc",
    ): "Contours of bone and cartilage on three sagittal, one coronal and one axial slice",
    ("mri", "thickness"): "Cartilage thickness in colour on femur, tibia and patella",
    (
        "film",
        "qc",
    ): "Knee film with femoral and tibial margins and the profile of joint-space width",
    ("film", "margins"): "Knee film with femoral and tibial margins",
}
_ROLE_ORDER = {"qc": 0, "margins": 1, "thickness": 2}
_SIDE_ORDER = {"right": 0, "left": 1}
_KIND_ORDER = {"mri": 0, "film": 1, "change": 2}


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as printed, or why there is none."""

    text: str
    measured: bool
    flags: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Line(Labelled):
    """One region and quantity at every visit."""

    cells: tuple[Cell | None, ...]
    first_of_region: bool


@dataclass(frozen=True, slots=True)
class LongRow:
    """One measurement with everything that stands beside it."""

    kind: str
    region: str
    quantity: str
    cell: Cell
    unit: str
    status: str
    tab_source: str
    aggregate: str
    method: str
    spacing_source: str


@dataclass(frozen=True, slots=True)
class ChangeRow(Labelled):
    """One change between two visits, as text."""

    pair: str
    days: str
    baseline: str
    followup: str
    change: str
    percent: str
    per_year: str
    change_class: str
    sdc: str
    reason: str
    drift: str
    registration: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture with its caption and a text for those who cannot see it."""

    picture: Picture
    caption: str
    alt: str


@dataclass(frozen=True, slots=True)
class VisitPart:
    """Pictures and all rows of one visit of one knee."""

    visit: str
    day: str
    pictures: tuple[Shown, ...]
    rows: tuple[LongRow, ...]


@dataclass(frozen=True, slots=True)
class Knee:
    """One side of one participant."""

    side: str
    visits: tuple[str, ...]
    lines: tuple[Line, ...]
    changes: tuple[ChangeRow, ...]
    parts: tuple[VisitPart, ...]
    change_pictures: tuple[Shown, ...]
    course: str = ""
    strip: str = ""


def knees(results: Results, participant: str) -> list[Knee]:
    """Right and left knee, and what has no side, of one participant."""
    measured = _of(results.measurements, participant)
    changed = _of(results.change, participant)
    pictures = [p for p in results.pictures if p.participant == participant]
    sides = {*measured["side"], *changed["side"], *(p.side for p in pictures)}
    ordered = sorted(sides, key=lambda side: (_SIDE_ORDER.get(side, 2), side))
    return [
        _knee(
            results,
            side,
            measured[measured["side"] == side],
            changed[changed["side"] == side],
            [p for p in pictures if p.side == side],
        )
        for side in ordered
    ]


def _of(frame: pd.DataFrame, participant: str) -> pd.DataFrame:
    return frame[frame["participant"] == participant]


def _knee(
    results: Results,
    side: str,
    measured: pd.DataFrame,
    changed: pd.DataFrame,
    pictures: Sequence[Picture],
) -> Knee:
    visits = visit_order(results, [*measured["visit"], *(p.visit for p in pictures)])
    in_time = sorted(pictures, key=lambda p: visits.index(p.visit) if p.visit in visits else -1)
    return Knee(
        side=side,
        visits=tuple(visits),
        lines=tuple(_lines(measured, visits)),
        changes=tuple(_change_row(row) for row in changed.to_dict("records")),
        parts=tuple(_visit_part(measured, visit, pictures) for visit in visits),
        change_pictures=tuple(_shown(p, p.visit) for p in in_time if p.kind == "change"),
    )


def cell_of(row: Mapping[Any, Any]) -> Cell:
    """The value of a measurements row, or the reason why there is none; never blank or nan."""
    flags = tuple(code for code in row["qc_flags"].split(";") if code)
    value = float(row["value"])
    if row["status"] != "ok" or math.isnan(value):
        return Cell("not measured", False, flags, row["reason"] or "no reason given")
    return Cell(number_text(value, row["unit"]), True, flags)


def _lines(measured: pd.DataFrame, visits: Sequence[str]) -> list[Line]:
    """Short table: primary quantities, one column for each visit."""
    cells: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for row in measured.to_dict("records"):
        if is_primary(row["kind"], row["region"], row["quantity"]):
            key = (row["region"], row["quantity"], row["unit"])
            cells.setdefault(key, {})[row["visit"]] = cell_of(row)
    lines: list[Line] = []
    for (region, quantity, unit), by_visit in cells.items():
        lines.append(
            Line(
                region=region,
                quantity=quantity,
                unit=unit_text(unit),
                cells=tuple(by_visit.get(visit) for visit in visits),
                first_of_region=not lines or lines[-1].region != region,
            )
        )
    return lines


def _visit_part(measured: pd.DataFrame, visit: str, pictures: Sequence[Picture]) -> VisitPart:
    rows = measured[measured["visit"] == visit]
    days = sorted({int(day) for day in rows["day"] if day == day})
    shown = sorted(
        (p for p in pictures if p.visit == visit and p.kind != "change"),
        key=lambda p: (_KIND_ORDER[p.kind], _ROLE_ORDER.get(p.role, 9), p.href),
    )
    return VisitPart(
        visit=visit,
        day=" and ".join(f"day {day}" for day in days),
        pictures=tuple(_shown(p, visit) for p in shown),
        rows=tuple(_long_row(row) for row in rows.to_dict("records")),
    )


def _long_row(row: Mapping[Any, Any]) -> LongRow:
    return LongRow(
        kind=kind_text(row["kind"]),
        region=row["region"],
        quantity=row["quantity"],
        cell=cell_of(row),
        unit=unit_text(row["unit"]),
        status=row["status"].replace("_", " "),
        tab_source=row["tab_source"],
        aggregate=row["aggregate"],
        method=row["method"],
        spacing_source=row["spacing_source"],
    )


def _shown(picture: Picture, visit: str) -> Shown:
    key = (picture.kind, picture.role)
    side = f"{picture.side} knee" if picture.side else "side unknown"
    if picture.kind == "change":
        name, alt = (
            f"Change of cartilage thickness, baseline to {visit}"
            if visit
            else "Change of cartilage thickness",
            "Loss and gain of cartilage thickness in colour",
        )
    else:
        name = _ROLE_NAMES.get(key, picture.role)
        alt = _ROLE_ALTS.get(key, picture.role)
    where = ", ".join(filter(None, (side, f"visit {visit}" if visit else "")))
    return Shown(picture, name, f"{alt}; participant {picture.participant}, {where}")


def _change_row(row: Mapping[Any, Any]) -> ChangeRow:
    unit = row["unit"]
    measured = row["status"] == "ok" and not math.isnan(row["change"])
    reason = "" if measured else row["reason"] or "no reason given"
    sdc = number_text(row["sdc"], unit)
    return ChangeRow(
        region=row["region"],
        quantity=row["quantity"],
        unit=unit_text(unit),
        pair=f"{row['visit_from']} → {row['visit_to']}",
        days=number_text(row["days"], "d"),
        baseline=number_text(row["baseline"], unit),
        followup=number_text(row["followup"], unit),
        change=number_text(row["change"], unit, sign=True) if measured else "not measured",
        percent=number_text(row["change_pct"], "%", sign=True),
        per_year=number_text(row["change_per_year"], unit, sign=True),
        change_class=row["change_class"],
        sdc=f"{sdc} ({row['sdc_source']})" if row["sdc_source"] else sdc,
        reason=reason,
        drift=row["drift"],
        registration=number_text(row["registration_rms_mm"], "mm"),
        primary=is_primary(row["kind"], row["region"], row["quantity"]),
    )
