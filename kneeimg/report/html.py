"""The static report: a page for the study, for each participant and, once unblinded, by arm.

No network, no clock. Pages refer to the pictures of the scans by relative address, so the results
folder moves as one.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneeimg import __version__
from kneeimg.core.anatomy import Side
from kneeimg.errors import OutputError, ReasonCode
from kneeimg.report import arm_flow, flow, glossary, overview, person, summaries, trial_page
from kneeimg.report.methods import methods, methods_paragraph
from kneeimg.report.plots import FOLDER, Plot, group_plots, map_strip
from kneeimg.report.results import Results, read_results
from kneeimg.report.trial_plots import trial_plots

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).resolve().parent
_TEMPORARY_SUFFIX = ".kneeimg-tmp"  # cleared away with all others by the next run
_TRIAL_PAGE = "trial.html"


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
    old_pages = [*folder.glob("sub-*.html"), *folder.glob(_TRIAL_PAGE)]
    for old in [*old_pages, *folder.glob(f"{FOLDER}/*.png")]:
        if old not in written:  # of a participant or an analysis that is no longer in the tables
            old.unlink()
    with contextlib.suppress(OSError):
        (folder / FOLDER).rmdir()  # only when it is empty
    return folder / "index.html"


def render_report(results: Results) -> Iterator[tuple[str, bytes]]:
    """File name below OUT/report and content of every file, the index last.

    The index comes last so that it never names a page that is not there yet.
    """
    people = overview.participants(results)
    thumbs: list[Thumb] = []
    for number, participant in enumerate(people):
        knees = []
        for knee in person.knees(results, participant):
            drawn = list(_knee_pictures(results, participant, knee))
            yield from ((name, content) for _, name, content in drawn)
            names = {role: name for role, name, _ in drawn}
            knees.append(replace(knee, course=names.get("course", ""), strip=names.get("maps", "")))
            if "thumb" in names:
                thumbs.append(Thumb(participant, knee.side, names["thumb"]))
        yield f"sub-{participant}.html", _person_page(results, people, number, knees)
    plots = []
    for plot in group_plots(results):
        yield plot.name, plot.png
        plots.append(plot)
    if results.trial:
        yield from _trial_page(results)
    yield "index.html", _page("index.html.j2", _index(results, people, plots, thumbs))


@dataclass(frozen=True, slots=True)
class Thumb:
    """A small picture of the maps of one knee."""

    participant: str
    side: str
    name: str


def _knee_pictures(
    results: Results, participant: str, knee: person.Knee
) -> Iterator[tuple[str, str, bytes]]:
    """Role, name and content of what is drawn of one knee from tables and pictures."""
    from kneeimg.report.figures import thumbnail

    stem = f"{FOLDER}/sub-{participant}_{knee.side}"
    course = _course(results, participant, knee)
    if course is not None:
        yield "course", f"{stem}_course.png", course
    strip = map_strip(results, participant, knee.side) if knee.side else None
    if strip is not None:
        yield "maps", f"{stem}_maps.png", strip
        yield "thumb", f"{stem}_thumb.png", thumbnail(strip)


def _person_page(
    results: Results, people: list[str], number: int, knees: list[person.Knee]
) -> bytes:
    participant = people[number]
    refused = overview.refusals(results.disposition)
    return _page(
        "participant.html.j2",
        _shared(results)
        | {
            "participant": participant,
            "knees": knees,
            "refusals": [r for r in refused if r.participant == participant],
            "previous": "".join(people[:number][-1:]),
            "next": "".join(people[number + 1 :][:1]),
        },
    )


def _trial_page(results: Results) -> Iterator[tuple[str, bytes]]:
    """The page by arm and its plots."""
    plots: dict[str, list[Plot]] = {}
    for section, plot in trial_plots(results.trial):
        yield plot.name, plot.png
        plots.setdefault(section, []).append(plot)
    yield (
        _TRIAL_PAGE,
        _page(
            "trial.html.j2",
            _shared(results)
            | {
                "plots": plots,
                "sections": trial_page.sections(results.trial),
                "arms": trial_page.arms_of(results.trial),
                "visits": list(trial_page.analysed_visits(results.trial)),
                "flows": arm_flow.arm_flows(results.trial),
                "flow_texts": arm_flow.arm_flow_sentences(results.trial),
                "methods_text": methods_paragraph(results),
            },
        ),
    )


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


def _index(
    results: Results, people: list[str], plots: list[Plot], thumbs: list[Thumb]
) -> dict[str, Any]:
    """Values of the first page."""
    visits = overview.visit_order(
        results, [*results.disposition["visit"], *results.measurements["visit"]]
    )
    groups = overview.group_change(results)
    return _shared(results) | {
        "people": people,
        "plots": plots,
        "thumbs": thumbs,
        "flows": flow.flow_diagrams(results),
        "flow_texts": flow.flow_sentences(results),
        "progression": summaries.film_progression(results),
        "methods_text": methods_paragraph(results),
        "has_trial": bool(results.trial),
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
