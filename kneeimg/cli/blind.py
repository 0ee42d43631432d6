"""`kneeimg blind` and `kneeimg unblind`: quality control without knowing whose scan it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from kneeimg.cli.exclude import OneKind
from kneeimg.cli.frame import echo_json, refusals
from kneeimg.cli.options import AsJson, Results, User


def blind(
    out: Results,
    folder: Annotated[
        Path,
        typer.Option("-o", "--out", help="New folder for the reader, outside RESULTS."),
    ],
    kind: OneKind = None,
    user: User = "",
) -> None:
    """Copy the quality-control pictures under random codes, for a reader who must not know more.

    No participant, visit, date or arm: not in a name, a heading, the order, the PNG or its time.
    The reader fills QC/qc.csv (pass, fail, unsure). The key stays in RESULTS/blinding, readable
    by you alone; give the reader only the new folder.

    Example: kneeimg blind RESULTS -o QC

    What is burnt into the image itself, as a name on a film, is still on it. Nothing is measured.
    """
    from kneeimg.batch.blinding import blind_pictures

    with refusals():
        made = blind_pictures(out, folder, kind=kind.value if kind else "", user=user)
    typer.echo(f"{made.n_pictures} pictures in {folder}; fill {folder / 'qc.csv'}")
    typer.echo(f"key: {made.key}")


def unblind(
    qc: Annotated[
        Path,
        typer.Argument(help="The filled qc.csv.", metavar="QC_CSV", exists=True, dir_okay=False),
    ],
    out: Results,
    user: User = "",
    as_json: AsJson = False,
) -> None:
    """Bring the verdicts back: a scan that failed is excluded with the reader's reason.

    Every picture needs a verdict, and every fail a reason; otherwise nothing is brought back and
    the key stays sealed. All verdicts stand in the audit log.

    Example: kneeimg unblind QC/qc.csv RESULTS

    Exit status: 0 done, 1 the form is not complete, 3 a picture has changed, 4 locked. Nothing is
    deleted.
    """
    from kneeimg.batch.blinding import unblind as bring_back

    with refusals(as_json):
        result = bring_back(qc, out, user=user)
    if as_json:
        echo_json(
            {
                "verdicts": [verdict.as_dict() for verdict in result.verdicts],
                "excluded": [list(scan) for scan in result.excluded],
            }
        )
        return
    counts = Counter(verdict.verdict for verdict in result.verdicts)
    typer.echo(", ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    for scan in result.excluded:
        typer.echo(f"excluded: {' '.join(scan)}")
