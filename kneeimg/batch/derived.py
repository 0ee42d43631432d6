"""Files that a command makes from results: tables, report, settings. Which did it write?

For commands other than `run`, which records each case by itself: :func:`recorded`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kneeimg.core.audit_history import Recorded
from kneeimg.io.atomic import STAGING, TEMPORARY_SUFFIX, sha256_file
from kneeimg.io.audit_log import AUDIT_FILE, AuditLog
from kneeimg.io.audit_verify import check_files
from kneeimg.io.exclusive import only_writer
from kneeimg.io.freeze import LOCK_FILE, require_unlocked

#: Cases have manifests; logs, keys and the log itself are no results.
_NOT_DERIVED = ("logs", "blinding", STAGING, AUDIT_FILE, LOCK_FILE)

Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DerivedFiles:
    """The derived files of a results folder as they stood when a command began.

    A file counts as written when it is another file (inode) or was changed later: equal bytes
    written anew are still what this command vouches for, and a file that it did not touch is not.
    """

    out: Path
    stamps: Mapping[str, Stamp]

    @classmethod
    def of(cls, out: Path) -> DerivedFiles:
        """How they stand now."""
        return cls(out, dict(_stamps(out)))

    def differing(self, known: Mapping[str, Recorded]) -> list[str]:
        """Of the recorded files those that are not as recorded."""
        own = {n: r for n, r in known.items() if not n.startswith("sub-") and n != LOCK_FILE}
        return [finding.where for finding in check_files(self.out, own)]

    def written(self) -> dict[str, str | None]:
        """Hashes of what was written since, and None for what was removed."""
        now = dict(_stamps(self.out))
        new = {n: sha256_file(self.out / n) for n, s in now.items() if self.stamps.get(n) != s}
        return new | dict.fromkeys((name for name in self.stamps if name not in now), None)


def _stamps(out: Path) -> Iterator[tuple[str, Stamp]]:
    top = (path for path in out.iterdir() if path.name not in _NOT_DERIVED) if out.exists() else ()
    folders = [path for path in top if not (path.is_dir() and path.name.startswith("sub-"))]
    for path in (found for item in folders for found in (item, *item.rglob("*"))):
        if path.is_file() and not path.name.endswith(TEMPORARY_SUFFIX):
            stat = path.stat()
            yield path.relative_to(out).as_posix(), (stat.st_mtime_ns, stat.st_ino)


@contextlib.contextmanager
def recorded(
    out: Path, what: str, *, why: str = "", user: str = "", inputs: Sequence[Path] = ()
) -> Iterator[dict[str, Any]]:
    """Record what the block writes below OUT, outside the folders of the cases.

    Parameters
    ----------
    out : Results folder, or any folder that a command writes to.
    what : Kind of event, such as "report.written".
    why, user : As in an entry.
    inputs : Files that were read; recorded by name and hash.

    Yields
    ------
    dict
        `detail` of the entry, to be filled by the block. A block that fails records nothing:
        what it may have changed by then is found by `kneeimg audit verify`.

    Raises
    ------
    OutputError
        LOCKED; AUDIT_BROKEN; another command is writing.
    """
    require_unlocked(out)
    log = AuditLog(out, user)
    log.entries()
    out.mkdir(parents=True, exist_ok=True)
    detail: dict[str, Any] = {}
    with only_writer(out):
        derived = DerivedFiles.of(out)
        hashes = {path.name: sha256_file(path) for path in inputs if path.is_file()}
        yield detail
        log.append(what, why=why, inputs=hashes, outputs=derived.written(), detail=detail)


def record_table(
    out: Path, what: str, files: Sequence[Path], *, user: str = "", inputs: Sequence[Path] = ()
) -> None:
    """Record a table that was made from results and may lie anywhere.

    Parameters
    ----------
    out : Results folder that it was made from. While that is locked, so is its log: the entry then
        goes into a log beside the table.
    what : Kind of event, such as "precision.written".
    files : What was written. Below the folder of the log they are outputs, which `audit verify`
        compares from now on; elsewhere they stand in `detail` with their hashes.
    user, inputs : As in :func:`recorded`.

    Raises
    ------
    OutputError
        AUDIT_BROKEN, or the log cannot be written.
    """
    home = files[0].parent if (out / LOCK_FILE).exists() else out
    log = AuditLog(home, user)
    log.entries()
    hashes = {path: sha256_file(path) for path in files}
    inside = {path: _below(path, home) for path in files}
    log.append(
        what,
        inputs={path.name: sha256_file(path) for path in inputs if path.is_file()},
        outputs={name: hashes[path] for path, name in inside.items() if name},
        detail={
            "results": out.name,
            "elsewhere": {path.name: hashes[path] for path, name in inside.items() if not name},
        },
    )


def _below(path: Path, folder: Path) -> str:
    """Path below a folder, with slashes; empty when it lies elsewhere."""
    full, root = path.resolve(), folder.resolve()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else ""
