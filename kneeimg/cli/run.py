"""`kneeimg run`: the batch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kneeimg.cli.frame import echo_json, refusals, show_finding, table
from kneeimg.cli.options import AsJson, Reason, SideIfUnsaid, StudyPath, User, Workers, study_file

if TYPE_CHECKING:
    from kneeimg.batch import BatchSummary, Progress


def run(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of DICOM, with or without masks.", metavar="SCANS", exists=True
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Results folder; made if missing."),
    ],
    study: StudyPath = None,
    side: SideIfUnsaid = None,
    workers: Workers = 0,
    model: Annotated[
        str | None,
        typer.Option(help="Segments scans without a mask: a model's name or folder, or none."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of masks named after their case, as nnU-Net writes them."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", "--redo", help="Measure again what is done; needs --reason."),
    ] = False,
    reason: Reason = "",
    user: User = "",
    as_json: AsJson = False,
) -> None:
    """Measure every knee below SCANS: tables, maps, change between visits and a report.

    A scan with a mask beside it is measured on its mask; the others are segmented first.

    Stop it at any time and start it again: finished cases are verified and kept. One refused scan
    never stops the others; disposition.csv lists each with a reason code. What is done stands in
    RESULTS/audit.jsonl (`kneeimg audit show RESULTS`); locked results refuse.

    Examples:

      kneeimg run SCANS -o RESULTS

      kneeimg run SCANS -o RESULTS --study study.toml --workers 4

      kneeimg run SCANS -o RESULTS --redo --reason "masks of P07 were redrawn"

    Exit status: 0 all measured, 2 some cases refused, 3 all refused, 4 environment.

    For research. Not for diagnosis.
    """
    from kneeimg.batch import run_study

    with refusals(as_json), progress_bar(quiet=as_json) as progress:
        summary = run_study(
            source,
            out,
            study_file=study_file(study),
            side=side,
            workers=workers,
            force=force,
            progress=progress,
            reason=reason,
            user=user,
            model=model,
            masks=masks,
        )
    show_summary(summary, out, as_json)
    raise typer.Exit(summary.exit_status)


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Progress]:
    """A bar on a terminal, one line per case otherwise, nothing when quiet."""
    if quiet:
        yield lambda done, total, what: None
    elif not sys.stderr.isatty():
        yield lambda done, total, what: typer.echo(f"[{done}/{total}] {what}", err=True)
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("reading headers", total=None)
            yield lambda done, total, what: bar.update(
                task, completed=done, total=total, description=what
            )


def show_summary(summary: BatchSummary, out: Path, as_json: bool) -> None:
    """Counts, the refusals first, and where the report lies."""
    if as_json:
        echo_json(summary.to_json())
        return
    if summary.refusals:
        columns = ("participant", "visit", "side", "source", "code", "found", "action")
        table(
            columns,
            [[str(row.get(c) or "") for c in columns] for row in summary.refusals],
            "Refused",
        )
    for finding in summary.findings:
        show_finding(finding)
    typer.echo(summary.headline())
    typer.echo(f"report: {out / 'report' / 'index.html'}")
    typer.echo("For research. Not for diagnosis.")
