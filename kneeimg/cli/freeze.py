"""`kneeimg lock` and `kneeimg unlock`: results that nothing may change."""

from __future__ import annotations

import typer

from kneeimg.cli.frame import refusals
from kneeimg.cli.options import Reason, Results, User


def lock(out: Results, reason: Reason = "", user: User = "") -> None:
    """Freeze the results: RESULTS/lock.json lists every file with its SHA-256, and the versions.

    From then on run, report, exclude, include, blind and unblind refuse with LOCKED, and `kneeimg
    audit verify` compares every file with the lock. Copy the hash it prints to a safe place.

    Example: kneeimg lock RESULTS --reason "database lock, statistical analysis plan 1.2"

    Exit status: 0 locked, 1 no reason, 4 locked already. Nothing is measured.
    """
    from kneeimg.io.freeze import lock_results

    with refusals():
        entry = lock_results(out, reason, user)
    typer.echo(f"locked {entry.detail['files']} files (entry {entry.seq})")
    typer.echo(f"head: {entry.hash}")


def unlock(out: Results, reason: Reason = "", user: User = "") -> None:
    """Let commands write again; the log keeps both the lock and the unlocking.

    Example: kneeimg unlock RESULTS --reason "query 14: P03 M12 was scanned twice"

    Exit status: 0 unlocked, 1 no reason, 3 not locked. Nothing is measured.
    """
    from kneeimg.io.freeze import unlock_results

    with refusals():
        entry = unlock_results(out, reason, user)
    typer.echo(f"unlocked (entry {entry.seq})")
