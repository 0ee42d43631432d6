"""The audit log of a results folder: `audit.jsonl`, one entry a line, only ever appended to.

An append takes the lock of the file, reads the last entry, writes one line in one call and, unless
told otherwise, waits for the disk. A kill or a power cut can leave a torn last line. It is never
removed: the next append ends it and writes a `log.repaired` entry that names it by size and hash.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kneeimg.core.audit import (
    REPAIRED,
    Chain,
    Entry,
    Fragment,
    check_chain,
    holds,
    parse_line,
    seal,
)
from kneeimg.errors import OutputError, ReasonCode
from kneeimg.io.atomic import output_errors, sync_folder

AUDIT_FILE = "audit.jsonl"

_TAIL_BYTES = 1 << 16
#: Entries that may wait for the disk do so at most this long; a kill does not lose them.
_SYNC_INTERVAL_S = 10.0
_LONGEST_USER = 64


@dataclass(slots=True)
class AuditLog:
    """The log of one results folder.

    Attributes
    ----------
    out : Results folder; the log is made with its first entry.
    user : Who is said to run the command (`--user`); not verified. The account is recorded anyway.
    """

    out: Path
    user: str = ""
    _synced_s: float = field(default=0.0, init=False, repr=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self.out / AUDIT_FILE

    def append(self, what: str, *, wait: bool = True, **parts: Any) -> Entry:
        """Write one entry after the last.

        Parameters
        ----------
        what : Kind of event.
        wait : Have it on the disk before returning. Without it a power cut, never a kill, may
            lose the entries of the last seconds.
        parts : `why`, `subject`, `inputs`, `outputs` and `detail` of the entry.

        Raises
        ------
        OutputError
            AUDIT_BROKEN if the last entry was changed; OUTPUT_FULL or OUTPUT_NOT_WRITABLE.
        """
        with output_errors(self.path), _exclusive(self.path) as handle:
            tail = _read_tail(handle)
            entries = [] if tail.clean else [self._repair(tail)]
            last = entries[-1] if entries else tail.last
            entry = seal(last, what, utc=utc_now(), who=who(self.user), **parts)
            text = b"".join(e.line() + b"\n" for e in (*entries, entry))
            _write_all(handle, text if tail.ended else b"\n" + text)
            if wait or time.monotonic() - self._synced_s > _SYNC_INTERVAL_S:
                os.fsync(handle)
                self._synced_s = time.monotonic()
        return entry

    def _repair(self, tail: _Tail) -> Entry:
        """The entry that accounts for what a kill left at the end of the log."""
        return seal(
            tail.last,
            REPAIRED,
            utc=utc_now(),
            who=who(self.user),
            why="the end of the log was torn, as by a kill or a power cut",
            detail={
                "fragments": [Fragment.of(0, data).as_dict() for data in tail.fragments],
                "line_ended": not tail.ended,
            },
        )

    def read(self) -> Chain:
        """Every entry, checked; an absent log is an empty chain."""
        try:
            return check_chain(self.path.read_bytes())
        except FileNotFoundError:
            return Chain(())

    def entries(self) -> tuple[Entry, ...]:
        """The entries of an intact log.

        Raises
        ------
        OutputError
            AUDIT_BROKEN: an entry after a broken one would vouch for it.
        """
        chain = self.read()
        if chain.faults:
            fault = chain.faults[0]
            number = f"line {fault.line}" + (f", entry {fault.seq}" if fault.seq else "")
            raise broken(fault.problem, f"{AUDIT_FILE}, {number}")
        return chain.entries


def broken(problem: str, where: str = AUDIT_FILE) -> OutputError:
    """The refusal to write after a log that is not what was written."""
    return OutputError(problem, code=ReasonCode.AUDIT_BROKEN, where=where)


def utc_now() -> str:
    """The time now, UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def who(user: str = "") -> dict[str, str]:
    """The account that runs this process, and who it is said to be."""
    stated = " ".join("".join(c if c.isprintable() else " " for c in user).split())
    return {"os": account()} | ({"stated": stated[:_LONGEST_USER]} if stated else {})


def account() -> str:
    """Name of the account by its number; environment variables, which anybody sets, have no say."""
    try:
        import pwd
    except ImportError:  # not on this system
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class _Tail:
    """The end of a log: its last entry, torn pieces after it, and whether the last line ended."""

    last: Entry | None
    fragments: tuple[bytes, ...]
    ended: bool

    @property
    def clean(self) -> bool:
        return self.ended and not self.fragments


def _read_tail(handle: int) -> _Tail:
    size, block = os.fstat(handle).st_size, _TAIL_BYTES
    while True:
        start = max(0, size - block)
        os.lseek(handle, start, os.SEEK_SET)  # where we read; appending goes to the end anyway
        tail = _tail_of(os.read(handle, size - start), whole=start == 0)
        if tail is not None:
            return tail
        block *= 8


def _tail_of(data: bytes, *, whole: bool) -> _Tail | None:
    """The tail in the last bytes of a log; None if they hold no entry and are not the whole log."""
    ended = not data or data.endswith(b"\n")
    lines = data.split(b"\n")
    if ended:
        lines.pop()
    known = lines if whole else lines[1:]  # the first is cut by where we began to read
    fragments: list[bytes] = []
    for line in reversed(known):
        try:
            entry = parse_line(line)
        except ValueError:
            fragments.insert(0, line)
            continue
        if not holds(entry, line):
            raise broken("the last entry is not what was written", f"{AUDIT_FILE}, {entry.seq}")
        return _Tail(entry, tuple(fragments), ended)
    return _Tail(None, tuple(fragments), ended) if whole else None


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[int]:
    """The file, open for appending, while no other process has it so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    binary = getattr(os, "O_BINARY", 0)  # where line ends are translated
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | binary, 0o644)
    try:
        with contextlib.suppress(ImportError):  # no such locks on this system
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
        if new:
            sync_folder(path.parent)
    finally:
        os.close(handle)  # also gives the lock back
