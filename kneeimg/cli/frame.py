"""What every command shares: exit status, how an error is shown, what JSON looks like."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from kneeimg.errors import ExitStatus, Finding, KneeimgError, OutputError, StudyError


class CommandGroup(TyperGroup):
    """Commands whose usage errors exit with 1, so that 2 always means "some cases refused"."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        standalone = kwargs.get("standalone_mode", True)
        kwargs["standalone_mode"] = False
        if not standalone:
            return super().main(*args, **kwargs)
        try:
            status = super().main(*args, **kwargs)
        except Exception as error:
            if not (hasattr(error, "exit_code") and hasattr(error, "format_message")):
                raise
            error.show()  # type: ignore[attr-defined]
            sys.exit(ExitStatus.USAGE)
        sys.exit(status if isinstance(status, int) else ExitStatus.MEASURED)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every command with its whole first sentence; the parent would cut it to one line."""
        commands = [self.get_command(ctx, name) for name in self.list_commands(ctx)]
        shown = [command for command in commands if command is not None and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(str(each.name), each.get_short_help_str(200)) for each in shown])


@contextmanager
def refusals(as_json: bool = False) -> Iterator[None]:
    """Show a KneeimgError as its finding and exit; anything else is a bug and stays a traceback."""
    try:
        yield
    except KneeimgError as error:
        if as_json:
            echo_json({"status": "refused", "finding": error.finding.as_dict()})
        show_finding(error.finding)
        raise typer.Exit(int(_status_of(error))) from error


def _status_of(error: KneeimgError) -> ExitStatus:
    if isinstance(error, OutputError):
        return ExitStatus.ENVIRONMENT
    # a mistake in what the user wrote, not in a scan
    return ExitStatus.USAGE if isinstance(error, StudyError) else ExitStatus.ALL_REFUSED


def show_finding(finding: Finding) -> None:
    """One finding on standard error, one labelled line per part."""
    typer.echo(f"kneeimg: {finding}", err=True)


def json_ready(value: Any) -> Any:
    """NaN becomes null (JSON has no NaN); containers are walked."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return value


def echo_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(json_ready(value), indent=2, ensure_ascii=False, allow_nan=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table; text only, so that a file name with brackets stays a file name."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; do not fold to 80 columns
    console.print(drawn)


def number(value: float, digits: int = 3) -> str:
    """A value for a table; NaN is never shown as a number."""
    return "not measured" if math.isnan(value) else f"{value:.{digits}f}"
