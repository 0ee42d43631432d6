"""`kneeimg codes`: what every reason code means."""

from __future__ import annotations

from typing import Annotated

import typer

from kneeimg.cli.frame import echo_json, table
from kneeimg.cli.options import AsJson


def codes(
    code: Annotated[
        str,
        typer.Argument(help="One code, e.g. MISSING_SLICES; all if left out.", metavar="CODE"),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Explain the reason codes with which kneeimg refuses, flags and notes.

    Example: kneeimg codes MISSING_SLICES
    """
    from kneeimg.errors import REASONS

    chosen = {key: value for key, value in REASONS.items() if not code or key == code.upper()}
    if not chosen:
        raise typer.BadParameter(f"{code!r} is no reason code; `kneeimg codes` lists them all")
    if as_json:
        echo_json({k: {"behaviour": b, "meaning": m} for k, (b, m) in chosen.items()})
        return
    table(("code", "behaviour", "meaning"), [(k, b, m) for k, (b, m) in chosen.items()])
