"""`kneeimg audit verify` and `audit show`: the log of a results folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from kneeimg.cli.frame import CommandGroup, echo_json, refusals, show_finding, table
from kneeimg.cli.options import AsJson, Results
from kneeimg.errors import ExitStatus

if TYPE_CHECKING:
    from kneeimg.core.audit import Entry

audit_app = typer.Typer(
    cls=CommandGroup,
    help="Who did what to a results folder, when and why; and whether it is still so.\n\n"
    "Nothing is written by these two commands.",
    no_args_is_help=True,
)


@audit_app.command("verify")
def verify(
    out: Results,
    head: Annotated[
        str, typer.Option(help="Hash of an entry noted earlier; it must still be in the log.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check the chain of the log, every file it names, and the lock if there is one.

    Each entry carries the hash of the one before, so a changed, removed or added entry is found
    and named. A log that was cut off or written anew as a whole is only found with --head: note
    the hash that this command prints where nobody who can write here can change it.

    Examples:

      kneeimg audit verify RESULTS

      kneeimg audit verify RESULTS --head 5f0c2a9be1d4

    Exit status: 0 all as recorded, 2 something is not, 3 no log. Nothing is written.
    """
    from kneeimg.io.audit_verify import verify_audit

    with refusals(as_json):
        result = verify_audit(out, head)
    if as_json:
        echo_json(result.to_json())
    else:
        for finding in (*result.problems, *result.notes):
            show_finding(finding)
        state = f"{len(result.problems)} problems" if result.problems else "all as recorded"
        typer.echo(f"{result.n_entries} entries, {result.n_files} files: {state}")
        typer.echo(f"head: {result.head}")
    if result.problems:
        raise typer.Exit(int(ExitStatus.SOME_REFUSED))


@audit_app.command("show")
def show(
    out: Results,
    last: Annotated[int, typer.Option(min=0, help="Only the newest entries; 0 = all.")] = 0,
    what: Annotated[str, typer.Option(help="Only events that begin so, e.g. scan.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print the log as a table, or entry by entry as JSON.

    Examples:

      kneeimg audit show RESULTS --last 20

      kneeimg audit show RESULTS --what scan.excluded --json

    Nothing is checked here; see `kneeimg audit verify`.
    """
    from kneeimg.io.audit_verify import require_log

    with refusals(as_json):
        log = require_log(out)
    entries = [e for e in log.read().entries if e.what.startswith(what)]
    shown = entries[-last:] if last else entries
    if as_json:
        echo_json([entry.as_dict() for entry in shown])
        return
    table(_COLUMNS, [_cells(entry) for entry in shown])


_COLUMNS = ("no.", "UTC", "who", "what", "subject", "why", "wrote", "hash")


def _cells(entry: Entry) -> tuple[str, ...]:
    who = entry.who.get("os", "")
    if entry.who.get("stated"):
        who = f"{entry.who['stated']} ({who})"
    return (
        str(entry.seq),
        entry.utc[:19].replace("T", " "),
        who,
        entry.what,
        " ".join(str(part) for part in entry.subject.values() if part),
        entry.why or _codes(entry.detail),
        f"{len(entry.outputs)} files" if entry.outputs else "",
        entry.hash[:12],
    )


def _codes(detail: Mapping[str, object]) -> str:
    codes = detail.get("codes")
    return ", ".join(str(code) for code in codes) if isinstance(codes, list) else ""
