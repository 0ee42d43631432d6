"""The static report: one page for the study, one for each participant, no network, no clock.

Pages refer to the pictures of the scans by relative address, so the results folder moves as one.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneeimg import __version__
from kneeimg.core.anatomy import Side
from kneeimg.errors import OutputError, ReasonCode
from kneeimg.report import glossary, overview, person
from kneeimg.report.overview import distinct
from kneeimg.report.results import Results, read_results

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).resolve().parent
_TEMPORARY_SUFFIX = ".kneeimg-tmp"  # cleared away with all others by the next run
_COURSES = "pictures"


def write_report(out: Path) -> Path:
    """Write OUT/report from the tables and pictures in OUT; nothing is measured again.

    Parameters
    ----------
    out : Results folder that `kneeimg run` wrote.

    Returns
    -------
    Path of `report/index.html`. Equal results give equal bytes.

    Raises
    ------
    InputError
        If the folder holds no results, or a table cannot be read.
    OutputError
        If the report cannot be written.
    """
    folder = out / "report"
    written = set()
    for name, content in render_report(read_results(out)):
        _write(folder / name, content)
        written.add(folder / name)
    for old in [*folder.glob("sub-*.html"), *folder.glob(f"{_COURSES}/*.png")]:
        if old not in written:  # of a participant who is no longer in the tables
            old.unlink()
    with contextlib.suppress(OSError):
        (folder / _COURSES).rmdir()  # only when it is empty
    return folder / "index.html"


def render_report(results: Results) -> Iterator[tuple[str, bytes]]:
    """File name below OUT/report and content of every file, the index last.

    The index comes last so that it never names a page that is not there yet.
    """
    people = overview.participants(results)
    for number, participant in enumerate(people):
        knees = []
        for knee in person.knees(results, participant):
            name = f"{_COURSES}/sub-{participant}_{knee.side}_course.png"
            picture = _course(results, participant, knee)
            if picture is not None:
                yield name, picture
                knee = replace(knee, course=name)
            knees.append(knee)
        before, after = people[:number][-1:], people[number + 1 :][:1]
        page = _page(
            "participant.html.j2",
            _shared(results)
            | {
                "participant": participant,
                "knees": knees,
                "refusals": [
                    r
                    for r in overview.refusals(results.disposition)
                    if r.participant == participant
                ],
                "previous": "".join(before),
                "next": "".join(after),
            },
        )
        yield f"sub-{participant}.html", page
    yield "index.html", _page("index.html.j2", _index(results, people))


def _course(results: Results, participant: str, knee: person.Knee) -> bytes | None:
    """Course of one knee; None with fewer than two visits that have a value."""
    from kneeimg.report.figures import visit_plot

    table = results.measurements
    rows = table[(table["participant"] == participant) & (table["side"] == knee.side)]
    if knee.side not in set(Side) or rows.loc[rows["value"].notna(), "visit"].nunique() < 2:
        return None
    return visit_plot(rows, title=f"{participant} · {knee.side} knee")


def _shared(results: Results) -> dict[str, Any]:
    """What every page needs."""
    return {
        "study": results.study,
        "style": _style(),
        "version": __version__,
        "meaning": overview.reason_meaning,
        "quantity_meaning": glossary.quantity_meaning,
    }


def _index(results: Results, people: list[str]) -> dict[str, Any]:
    """Values of the first page."""
    visits = overview.visit_order(
        results, [*results.disposition["visit"], *results.measurements["visit"]]
    )
    groups = overview.group_change(results)
    return _shared(results) | {
        "people": people,
        "counts": overview.counts(results),
        "refusals": overview.refusals(results.disposition),
        "skipped": overview.skipped_codes(results),
        "unmeasured": overview.unmeasured_codes(results),
        "flags": overview.flag_codes(results),
        "visits": visits,
        "matrix": overview.scan_matrix(results, people, visits),
        "groups": [g for g in groups if g.primary],
        "other_groups": [g for g in groups if not g.primary],
        "methods": methods(results),
        "configurations": results.configurations,
        "regions": glossary.REGIONS,
        "quantities": glossary.QUANTITIES,
        "terms": glossary.TERMS,
    }


def methods(results: Results) -> list[tuple[str, str]]:
    """Name and value of everything that a methods section has to state."""
    table = results.measurements
    fractions = sorted({float(f) for f in table["femur_fraction"] if f == f})
    listed = {
        "Measured with": [f"kneeimg {v}" for v in distinct(table["software_version"])],
        "Report written with": [f"kneeimg {__version__}"],
        "Segmentation (sha256 of the model)": distinct(table["model_sha256"]),
        "Methods": distinct(table["method"]),
        "Source of the total subchondral bone area": distinct(table["tab_source"]),
        "Central part of the femoral condyles": [f"{f:g} of their length" for f in fractions],
        "Source of the pixel size of films": distinct(table["spacing_source"]),
        "Smallest detectable change from": distinct(results.change["sdc_source"]),
        "Runs": [name for name, _ in results.configurations],
    }
    return [(name, ", ".join(values) or "not stated") for name, values in listed.items()]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _style() -> str:
    return (_HERE / "style.css").read_text(encoding="utf-8")


def page_text(template: str, values: dict[str, Any]) -> str:
    """A page of its own in the style of the report."""
    return _environment().get_template(template).render({"style": _style(), **values})


def _page(template: str, values: dict[str, Any]) -> bytes:
    return _environment().get_template(template).render(values).encode("utf-8")


def _write(path: Path, content: bytes) -> None:
    """Write whole or not at all."""
    temporary = path.with_name(f".{path.name}{_TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            "no space left for the report" if full else "the report cannot be written",
            code=ReasonCode.OUTPUT_FULL if full else ReasonCode.OUTPUT_NOT_WRITABLE,
            where=path.name,
            found=os.strerror(error.errno) if error.errno else type(error).__name__,
            action="make room, or make the folder writable, and call `kneeimg report` again",
        ) from error
