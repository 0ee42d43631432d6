"""`kneeimg measure mr`, `measure film` and `measure t2`: one mask, one film, one T2 scan."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kneeimg.cli.frame import (
    CommandGroup,
    echo_json,
    number,
    refusals,
    show_finding,
    table,
)
from kneeimg.cli.options import AlsoWrite, AsJson, NamedSide, Scheme, SideIfUnsaid
from kneeimg.errors import ExitStatus

if TYPE_CHECKING:
    from kneeimg.core.kl_opinion import KlOpinion
    from kneeimg.core.kl_support import KlSupport
    from kneeimg.core.measurement import Measurement
    from kneeimg.errors import Finding

measure_app = typer.Typer(
    cls=CommandGroup,
    help="Measure one mask, one film or one T2 scan.\n\nFor research. Not for diagnosis.",
    no_args_is_help=True,
)


@measure_app.command("mr")
def measure_mr(
    labels: Annotated[
        Path,
        typer.Argument(
            help="Label map: NIfTI, NRRD, MHA or DICOM SEG.",
            metavar="LABELS",
            exists=True,
            dir_okay=False,
        ),
    ],
    side: NamedSide,
    scheme: Scheme = "knee-v1",
    out: AlsoWrite = None,
    as_json: AsJson = False,
) -> None:
    """Cartilage morphometry of one segmented knee.

    Gives VC, tAB, cAB, dAB, ThCtAB and ThCcAB of every plate. ThCtAB counts denuded bone as 0 mm;
    a value that could not be measured says why and is never 0.

    Example: kneeimg measure mr knee_dseg.nii.gz --side right --scheme oai-zib

    Exit status: 0 measured, 1 usage, 3 refused, or nothing could be measured, 4 environment.

    For research. Not for diagnosis.
    """
    # two bones are measured at once: threads inside products of matrices only stand in the way
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from kneeimg.pipeline.single import measure_mask, write_knee

    with refusals(as_json):
        knee = measure_mask(labels, side, scheme)
        if out is not None:
            write_knee(knee, labels, out)
        show_measurements(knee.morphometry.measurements, knee.morphometry.findings, as_json)


@measure_app.command("film")
def measure_film(
    film: Annotated[
        Path,
        typer.Argument(
            help="DICOM (CR, DX), PNG or TIFF.", metavar="FILM", exists=True, dir_okay=False
        ),
    ],
    side: SideIfUnsaid = None,
    pixel_spacing: Annotated[
        float | None,
        typer.Option("--pixel-spacing", min=1e-6, help="Pixel size in mm, where you know it."),
    ] = None,
    out: AlsoWrite = None,
    as_json: AsJson = False,
) -> None:
    """Joint-space width of one film (mJSW, fJSW(x), joint-space area, alignment) and KL support.

    KL support: features of osteoarthritis, and how probable each Kellgren-Lawrence grade is by a
    model, with what drove it. Support, not a diagnosis.

    Without a pixel size only ratios are given. A bilateral film gives both knees unless --side
    picks one.

    Example: kneeimg measure film visit1.dcm --side left

    Exit status: 0 measured, 1 usage, 3 refused, or nothing could be measured, 4 environment.

    For research. Not for diagnosis.
    """
    from kneeimg.pipeline.single import measure_film_file, write_film

    with refusals(as_json):
        knees = measure_film_file(film, side, pixel_spacing)
        for knee in knees:
            if out is not None:
                write_film(knee, film, out)
            title = f"{knee.side} knee" if len(knees) > 1 else ""
            more = {"kl_support": knee.kl_as_dict()}
            if not as_json:
                show_kl_support(knee.support)
                if knee.opinion is not None:
                    show_kl_opinion(knee.support, knee.opinion)
            show_measurements(knee.measurements, knee.findings, as_json, title, more)


@measure_app.command("t2")
def measure_t2(
    series: Annotated[
        Path,
        typer.Argument(
            help="Folder with one multi-echo DICOM scan.", metavar="SERIES", exists=True
        ),
    ],
    mask: Annotated[
        Path,
        typer.Option(help="Label map on the grid of the scan.", exists=True, dir_okay=False),
    ],
    side: NamedSide,
    scheme: Scheme = "knee-v1",
    skip_echoes: Annotated[
        int, typer.Option(min=0, help="Echoes left out at the start of a spin-echo train.")
    ] = 1,
    noise_sd: Annotated[
        float | None,
        typer.Option(min=1e-6, help="SD of the noise in each channel, if known: fits Rice noise."),
    ] = None,
    out: AlsoWrite = None,
    as_json: AsJson = False,
) -> None:
    """T2 of cartilage and menisci from a multi-echo scan.

    Three echoes or more are fitted with a mono-exponential decay; the two echoes of a dual-echo
    steady state (qDESS) go through its closed form; the title of the table says which. Plates and
    layers need the bones in the mask.

    Example: kneeimg measure t2 scans/t2map --mask t2map_dseg.nii.gz --side right

    Exit status: 0 measured, 1 usage, 3 refused, or nothing could be measured, 4 environment.

    For research. Not for diagnosis.
    """
    from kneeimg.pipeline.relaxometry import measure_t2_series, write_t2
    from kneeimg.settings.relaxometry import RelaxometrySettings

    with refusals(as_json):
        settings = RelaxometrySettings(skip_echoes=skip_echoes, noise_sd=noise_sd)
        result = measure_t2_series(series, mask, side, scheme, settings)
        if out is not None:
            write_t2(result, series, out)
        show_measurements(result.measurements, result.findings, as_json, result.map.method)


def show_kl_support(support: KlSupport) -> None:
    """Probabilities, suggestion and the strongest contributions, in a few lines."""
    chances = "  ".join(f"KL{g} {100 * p:.0f} %" for g, p in enumerate(support.probabilities))
    grade = "uncertain" if support.grade is None else f"KL {support.grade}"
    typer.echo(f"KL support, not a diagnosis: {chances}; suggested: {grade}")
    parts = [f"{name} {part:+.2f}" for name, part in list(support.contributions.items())[:5]]
    typer.echo(f"log odds against the mean training film: {', '.join(parts)}")


def show_kl_opinion(support: KlSupport, opinion: KlOpinion) -> None:
    """What the networks say, and whether the features say the same."""
    from kneeimg.measure.kl_opinion import comparison_text

    chances = "  ".join(f"KL{g} {100 * p:.0f} %" for g, p in enumerate(opinion.probabilities))
    grade = "uncertain" if opinion.grade is None else f"KL {opinion.grade}"
    typer.echo(f"second opinion (networks), not a diagnosis: {chances}; suggested: {grade}")
    typer.echo(comparison_text(support, opinion))


def show_measurements(
    rows: Iterable[Measurement],
    findings: Iterable[Finding],
    as_json: bool,
    title: str = "",
    more: Mapping[str, object] | None = None,
) -> None:
    """Rows and findings as a table or JSON; exits with 3 when nothing was measured."""
    rows = tuple(rows)
    measured = [row for row in rows if row.reason is None]
    if as_json:
        echo_json(
            {
                "knee": title,
                "notice": "For research. Not for diagnosis.",
                "measurements": [_fields(row) for row in rows],
                "findings": [finding.as_dict() for finding in findings],
                **(more or {}),
            }
        )
    else:
        columns = ("region", "quantity", "value", "unit", "note")
        table(columns, [_cells(row) for row in rows], title)
        for finding in findings:
            show_finding(finding)
        typer.echo("For research. Not for diagnosis.")
    if not measured:
        raise typer.Exit(int(ExitStatus.ALL_REFUSED))


def _fields(row: Measurement) -> dict[str, object]:
    return {
        "region": row.region,
        "quantity": row.quantity,
        "value": row.value,
        "unit": row.unit,
        "status": str(row.status),
        "reason": str(row.reason or ""),
        "method": row.method,
        "tab_source": row.tab_source,
        "aggregate": row.aggregate,
        "flags": [str(flag) for flag in row.flags],
    }


def _cells(row: Measurement) -> tuple[str, ...]:
    notes = [str(row.reason or ""), row.aggregate, *map(str, row.flags)]
    note = " ".join(part for part in notes if part)
    return (row.region, row.quantity, number(row.value), row.unit, note)
