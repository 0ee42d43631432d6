"""`kneeimg change`: two masks of the same knee."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kneeimg.cli.frame import echo_json, number, refusals, show_finding, table
from kneeimg.cli.options import AlsoWrite, AsJson, NamedSide, Scheme, User
from kneeimg.errors import ExitStatus

if TYPE_CHECKING:
    from kneeimg.longitudinal.rows import ChangeRow


def change(
    baseline: Annotated[
        Path,
        typer.Argument(
            help="Label map of the first visit.", metavar="BASELINE", exists=True, dir_okay=False
        ),
    ],
    followup: Annotated[
        Path,
        typer.Argument(
            help="Label map of the later visit.", metavar="FOLLOWUP", exists=True, dir_okay=False
        ),
    ],
    side: NamedSide,
    days: Annotated[
        float | None, typer.Option(help="Days between the scans, for change per year.")
    ] = None,
    scheme: Scheme = "knee-v1",
    out: AlsoWrite = None,
    as_json: AsJson = False,
    user: User = "",
) -> None:
    """Change of cartilage between two visits of one knee.

    Each bone is registered rigidly on its own; the subchondral bone area (tAB) of the baseline is
    carried to the follow-up, so that both visits are measured over the same bone.

    Example: kneeimg change P01_M00.nii.gz P01_M12.nii.gz --side right --days 365

    Exit status: 0 compared, 1 usage, 3 refused, or nothing could be compared, 4 environment.

    For research. Not for diagnosis.
    """
    from kneeimg.pipeline.single import change_between, write_change

    with refusals(as_json):
        result = change_between(baseline, followup, side, days, scheme)
        if out is not None:
            from kneeimg.batch.derived import recorded

            with recorded(out, "change.measured", user=user, inputs=(baseline, followup)):
                write_change(result, followup, out)
    change = result.change
    if as_json:
        echo_json(
            {
                "notice": "For research. Not for diagnosis.",
                "change": [asdict(row) for row in change.rows],
                "findings": [finding.as_dict() for finding in change.findings],
            }
        )
    else:
        table(_COLUMNS, [_cells(row) for row in change.rows])
        for finding in change.findings:
            show_finding(finding)
        typer.echo("For research. Not for diagnosis.")
    if all(row.reason for row in change.rows):
        raise typer.Exit(int(ExitStatus.ALL_REFUSED))


_COLUMNS = ("region", "quantity", "baseline", "follow-up", "change", "change %", "unit", "note")


def _cells(row: ChangeRow) -> tuple[str, ...]:
    values = (row.baseline, row.followup, row.change)
    percent = "" if math.isnan(row.change_pct) else f"{row.change_pct:+.1f}"
    note = str(row.reason or row.change_class)
    if row.sdc_source and not row.reason:
        # whoever reads "loss" must see whether real repeats or a simulation stand behind it
        note = f"{note} ({row.sdc_source.split(':')[0]} SDC)"
    return (row.region, row.quantity, *map(number, values), percent, row.unit, note)
