"""`kneeimg exclude` and `kneeimg include`: scans that must not be used, with a reason."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kneeimg.cli.frame import refusals
from kneeimg.cli.options import Reason, Results, User
from kneeimg.core.anatomy import Side

if TYPE_CHECKING:
    from kneeimg.core.audit import Entry


class ScanKind(StrEnum):
    """Kinds of scans."""

    MRI = "mri"
    FILM = "film"


Participant = Annotated[str, typer.Option(help="Study id of the participant.")]
VisitId = Annotated[str, typer.Option(help="Visit id, e.g. M06.")]
OneSide = Annotated[Side | None, typer.Option(help="Only this knee; both if left out.")]
OneKind = Annotated[ScanKind | None, typer.Option(help="Only mri or film; both if left out.")]


def exclude(
    out: Results,
    participant: Participant,
    visit: VisitId,
    reason: Reason = "",
    side: OneSide = None,
    kind: OneKind = None,
    user: User = "",
) -> None:
    """Take a measured scan out of the tables, with a reason. Its files stay.

    Its rows stay too, without values: status not_measurable, reason EXCLUDED; disposition.csv says
    why. Every change that the scan took part in loses its values. Run again afterwards: the visits
    that are left are then compared anew.

    Example: kneeimg exclude RESULTS --participant P07 --visit M06 --kind mri
    --reason "motion, reader A"

    Exit status: 0 done, 1 no reason or no such scan, 4 locked. Nothing is deleted.
    """
    from kneeimg.batch.exclusions import ScanChoice, exclude_scans

    choice = ScanChoice(participant, visit, side.value if side else "", kind.value if kind else "")
    with refusals():
        _show("excluded", exclude_scans(out, choice, reason, user))
    typer.echo("run again to compare the visits that are left")


def include(
    out: Results,
    participant: Participant,
    visit: VisitId,
    reason: Reason = "",
    side: OneSide = None,
    kind: OneKind = None,
    user: User = "",
) -> None:
    """Take back an exclusion, with a reason. The values come back with the next run.

    Example: kneeimg include RESULTS --participant P07 --visit M06 --reason "wrong visit excluded"

    Exit status: 0 done, 1 no reason or no such exclusion, 4 locked. Nothing is measured here.
    """
    from kneeimg.batch.exclusions import ScanChoice, include_scans

    choice = ScanChoice(participant, visit, side.value if side else "", kind.value if kind else "")
    with refusals():
        _show("included", include_scans(out, choice, reason, user))
    typer.echo("run again to bring the values back into the tables")


def _show(verb: str, entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        typer.echo(f"{verb}: {' '.join(entry.subject.values())} (entry {entry.seq})")
