"""`kneeimg demo`: a synthetic trial with known answers, through the real pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kneeimg.cli.frame import echo_json, refusals, table
from kneeimg.cli.options import AsJson, Workers
from kneeimg.cli.run import progress_bar, show_summary
from kneeimg.errors import ExitStatus


def demo(
    out: Annotated[
        Path,
        typer.Argument(help="Folder for the synthetic trial and its results.", metavar="OUT"),
    ],
    trial: Annotated[
        bool,
        typer.Option("--trial", help="The whole trial: 25 people, 5 visits, planted faults."),
    ] = False,
    segment: Annotated[
        bool,
        typer.Option("--segment", help="No masks: the shipped model segments every MR scan."),
    ] = False,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Make a synthetic trial as DICOM, run kneeimg on it, compare with the truth.

    Six participants in two arms, three visits each (baseline, 6 and 12 months), MR and film, in two
    minutes. With --trial 25 participants, five visits, masks with a segmenter's errors, a drop-out,
    a scanner change, a wrong side, a missing slice and repeated baselines. Every thickness, joint
    space and change is known exactly. No patient is in it.

    The masks are exact, so what is compared is the measurement. With --segment there are none and
    the model that ships draws the anatomy; what is compared is then mostly the model, on a phantom
    that looks little like the knees it learned from.

    Examples:

      kneeimg demo demo-out

      kneeimg demo demo-trial --trial

      kneeimg demo demo-model --segment

    Writes OUT/input (DICOM, masks, study.toml, clinical.csv, arms.csv, truth.csv), OUT/results
    (tables, maps, report), OUT/demo-check.csv and OUT/demo-coverage.csv.

    Exit status: 0 all checks held, 2 a planted fault was missed, something else was flagged or the
    truth was not covered, 4 environment.
    """
    from kneeimg.demo import expected_minutes, run_demo
    from kneeimg.demo.plan import FULL, SMALL

    size = replace(FULL if trial else SMALL, masked=not segment)
    if not as_json:
        minutes = expected_minutes(size, workers)
        typer.echo(f"{len(size.scans())} visits; about {minutes} min here", err=True)
    with refusals(as_json), progress_bar(quiet=as_json) as progress:
        result = run_demo(out, trial=size, workers=workers, progress=progress)
    if as_json:
        echo_json(result.to_json())
    else:
        for comparison in (*result.comparisons, result.check.table()):
            table(comparison.columns, comparison.rows, comparison.title)
            typer.echo("")
        show_summary(result.summary, result.results, as_json)
    raise typer.Exit(int(ExitStatus.MEASURED if result.check.ok else ExitStatus.SOME_REFUSED))
