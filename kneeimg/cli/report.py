"""`kneeimg report`: draw the report of a results folder again."""

from __future__ import annotations

import typer

from kneeimg.cli.frame import refusals
from kneeimg.cli.options import Results, User


def report(
    out: Results,
    user: User = "",
) -> None:
    """Write report/index.html again from the tables and pictures of a results folder.

    Nothing is measured again. Locked results refuse.

    Example: kneeimg report RESULTS

    Exit status: 0 written, 1 usage, 3 no results, 4 locked or not writable.

    For research. Not for diagnosis.
    """
    from kneeimg.batch.derived import recorded
    from kneeimg.io.freeze import require_results
    from kneeimg.report.html import write_report

    with refusals():
        require_results(out)
        with recorded(out, "report.written", user=user):
            written = write_report(out)
    typer.echo(f"wrote {written}")
