"""`kneeimg report`: draw the report of a results folder again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kneeimg.cli.frame import refusals


def report(
    out: Annotated[
        Path, typer.Argument(help="Results folder that `kneeimg run` wrote.", exists=True)
    ],
) -> None:
    """Write report/index.html again from the tables and pictures of a results folder.

    Nothing is measured again. Example: kneeimg report RESULTS

    For research. Not for diagnosis.
    """
    from kneeimg.report.html import write_report

    with refusals():
        typer.echo(f"wrote {write_report(out)}")
