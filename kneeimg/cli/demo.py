"""`kneeimg demo`: a synthetic trial with known answers, through the real pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kneeimg.cli.frame import echo_json, refusals, table
from kneeimg.cli.run import progress_bar, show_summary


def demo(
    out: Annotated[Path, typer.Argument(help="Folder for the synthetic trial and its results.")],
    workers: Annotated[int, typer.Option(min=0, help="Processes side by side; 0 = automatic.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a synthetic trial as DICOM, run kneeimg on it, compare with the truth.

    Six participants in two arms, three visits each (baseline, 6 and 12 months), MR and film. Every
    thickness, joint space and change is known exactly. No patient is in it.

    Example: kneeimg demo demo-out

    Writes OUT/input (DICOM, masks, study.toml, truth.csv) and OUT/results (tables, maps, report).
    """
    from kneeimg.demo import run_demo

    with refusals(as_json), progress_bar(quiet=as_json) as progress:
        result = run_demo(out, workers=workers, progress=progress)
    if as_json:
        echo_json(result.to_json())
    else:
        for comparison in result.comparisons:
            table(comparison.columns, comparison.rows, comparison.title)
            typer.echo("")
        show_summary(result.summary, result.results, as_json)
    raise typer.Exit(result.summary.exit_status)
