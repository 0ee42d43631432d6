"""Arguments and options that several commands take, so that they are named and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from kneeimg.core.anatomy import Side

Results = Annotated[
    Path,
    typer.Argument(
        help="Results folder that `kneeimg run` wrote.",
        metavar="RESULTS",
        exists=True,
        file_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AlsoWrite = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Also write maps, pictures or records here."),
]
NamedSide = Annotated[Side, typer.Option(help="Which knee. Never guessed.")]
SideIfUnsaid = Annotated[
    Side | None, typer.Option(help="Which knee, for scans that do not say it themselves.")
]
Scheme = Annotated[
    str, typer.Option(help="How label values name tissues: a shipped scheme or a TOML file.")
]
StudyPath = Annotated[
    Path | None,
    typer.Option(
        help="study.toml, or its folder: participants, visits, rules, settings.", exists=True
    ),
]
DeviceName = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where the network runs.")
]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes side by side; 0 = as the machine and memory allow.")
]
User = Annotated[
    str, typer.Option("--user", help="Who does this, for the audit log; your account is noted too.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; stands in the audit log.")]


def study_file(path: Path | None) -> Path | None:
    """The study file itself, where its folder may have been given."""
    if path is None or not path.is_dir():
        return path
    found = path / "study.toml"
    if not found.is_file():
        raise typer.BadParameter(f"{path} holds no study.toml; `kneeimg study init` drafts one")
    return found
