"""Locking results: `lock.json` lists every file with its hash, and while it stands nothing writes.

The file comes first and the entry of the log second, so that a kill in between leaves the results
locked; unlocking goes the other way round, for the same reason.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from kneeimg import __version__
from kneeimg.core.audit import Entry
from kneeimg.core.audit_history import LOCKED, UNLOCKED, standing_lock
from kneeimg.errors import Finding, InputError, OutputError, ReasonCode, StudyError
from kneeimg.io.atomic import (
    STAGING,
    TEMPORARY_SUFFIX,
    output_errors,
    sha256_file,
    write_json,
)
from kneeimg.io.audit_log import AUDIT_FILE, AuditLog, utc_now, who
from kneeimg.io.exclusive import only_writer
from kneeimg.io.results import is_results_folder, read_json

LOCK_FILE = "lock.json"
FORMAT = 1

_LIBRARIES = (
    "numpy", "scipy", "pandas", "pyarrow", "pydicom", "nibabel", "SimpleITK", "vtk",
    "connected-components-3d", "matplotlib", "torch", "monai", "statsmodels",
)  # fmt: skip
_SHORTEST_REASON = 3


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that stands.

    Attributes
    ----------
    files : Path below the results folder to SHA-256.
    head : Hash of the newest entry of the log when the results were locked.
    """

    utc: str
    reason: str
    files: Mapping[str, str]
    head: str


def require_reason(reason: str, what: str) -> str:
    """The reason without surrounding space.

    Raises
    ------
    StudyError
        REASON_MISSING unless it says something.
    """
    text = " ".join(reason.split())
    if sum(c.isalnum() for c in text) < _SHORTEST_REASON:
        raise StudyError(
            f"{what} needs a reason",
            code=ReasonCode.REASON_MISSING,
            expected="a few words that another person understands in ten years",
            found=repr(reason),
        )
    return text


def require_unlocked(out: Path) -> None:
    """Raise OutputError LOCKED while the results are locked."""
    if (out / LOCK_FILE).exists():
        raise OutputError(
            "the results are locked",
            code=ReasonCode.LOCKED,
            where=out.name,
            found=_shown(out),
            action=f'if it must change: kneeimg unlock {out.name} --reason "..."',
        )


def _shown(out: Path) -> str:
    try:
        lock = read_lock(out)
    except InputError:
        return f"{LOCK_FILE}, which cannot be read"
    return f"locked {lock.utc}: {lock.reason}"


def read_lock(out: Path) -> Lock:
    """The lock of a folder; InputError OUTPUT_CHANGED if its file is not one."""
    value = read_json(out / LOCK_FILE)
    try:
        files = {str(path): str(digest) for path, digest in dict(value["files"]).items()}
        return Lock(str(value["utc"]), str(value["reason"]), files, str(value["audit_head"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "the file is not a lock", code=ReasonCode.OUTPUT_CHANGED, where=LOCK_FILE
        ) from error


def lock_results(out: Path, reason: str, user: str = "") -> Entry:
    """Freeze a results folder; the entry of the log that says so.

    Raises
    ------
    StudyError
        REASON_MISSING.
    InputError
        OUTPUT_CHANGED if the folder is not of kneeimg.
    OutputError
        LOCKED if it is locked already, AUDIT_BROKEN, or the file cannot be written.
    """
    why = require_reason(reason, "locking")
    require_results(out)
    with only_writer(out):
        log = AuditLog(out, user)
        entries = log.entries()
        path = out / LOCK_FILE
        if path.exists() and standing_lock(entries) is not None:
            require_unlocked(out)
        if not path.exists():
            write_json(path, _manifest(out, why, log, entries))
        lock = read_lock(out)  # of a lock command that was killed before its entry, too
        return log.append(
            LOCKED,
            why=lock.reason,
            outputs={LOCK_FILE: sha256_file(path)},
            detail={"files": len(lock.files), "head": lock.head},
        )


def _manifest(out: Path, why: str, log: AuditLog, entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "utc": utc_now(),
        "who": who(log.user),
        "reason": why,
        "versions": versions(),
        "audit_head": entries[-1].hash if entries else "",
        "audit_entries": len(entries),
        "files": {name: sha256_file(out / name) for name in files_below(out)},
    }


def unlock_results(out: Path, reason: str, user: str = "") -> Entry:
    """Let commands write again; recorded before it takes effect.

    Raises
    ------
    StudyError
        REASON_MISSING.
    InputError
        OUTPUT_CHANGED if the folder is not locked.
    """
    why = require_reason(reason, "unlocking")
    path = out / LOCK_FILE
    if not path.exists():
        raise InputError(
            "the results are not locked",
            code=ReasonCode.OUTPUT_CHANGED,
            where=out.name,
            expected=LOCK_FILE,
            action="nothing to do",
        )
    with only_writer(out):
        log = AuditLog(out, user)
        log.entries()
        entry = log.append(UNLOCKED, why=why, outputs={LOCK_FILE: None})
        with output_errors(path):
            path.unlink(missing_ok=True)
    return entry


def require_results(out: Path) -> None:
    """Raise InputError unless kneeimg wrote its results into this folder."""
    if not is_results_folder(out):
        raise InputError(
            "the folder holds no results of kneeimg",
            code=ReasonCode.OUTPUT_CHANGED,
            where=out.name,
            expected="a folder that `kneeimg run` wrote",
            action="give the folder that was named with -o",
        )


def files_below(out: Path) -> Iterator[str]:
    """Every file that a lock covers, relative to `out`, in order.

    Not the log, which goes on and has its own hashes, nor the lock itself, nor leftovers.
    """
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        leftover = name.startswith(STAGING) or name.endswith(TEMPORARY_SUFFIX)
        if path.is_file() and name not in (AUDIT_FILE, LOCK_FILE) and not leftover:
            yield name


def check_lock(out: Path, entries: Sequence[Entry]) -> list[Finding]:
    """What does not agree between a lock, its entry in the log and the files; empty if all does."""
    standing, path = standing_lock(entries), out / LOCK_FILE
    if not path.exists():
        gone = "the log says that the results are locked, but the lock is gone"
        return [] if standing is None else [changed(gone, LOCK_FILE, f"entry {standing.seq}")]
    if standing is None:
        return [changed("a lock stands that the log does not know", LOCK_FILE, "an entry for it")]
    try:
        lock = read_lock(out)
    except InputError as error:
        return [error.finding]
    findings = []
    if standing.outputs.get(LOCK_FILE) != sha256_file(path):
        findings.append(changed("the lock is not what was written", LOCK_FILE, standing.hash))
    if lock.head and lock.head not in {entry.hash for entry in entries}:
        gone = "the entry that was the newest when the results were locked is gone from the log"
        findings.append(changed(gone, AUDIT_FILE, lock.head))
    return findings + _against_lock(out, lock)


def _against_lock(out: Path, lock: Lock) -> list[Finding]:
    found = set(files_below(out))
    missing = [
        changed("a locked file is gone", n, h) for n, h in lock.files.items() if n not in found
    ]
    added = [changed("a file was added after the lock", n) for n in sorted(found - set(lock.files))]
    differing = []
    for name in sorted(found & set(lock.files)):
        digest = sha256_file(out / name)
        if digest != lock.files[name]:
            differing.append(changed("a locked file differs", name, lock.files[name], digest))
    return missing + differing + added


def changed(message: str, where: str, expected: str = "", found: str = "") -> Finding:
    """A finding about a file that is not what was recorded."""
    return Finding(
        ReasonCode.OUTPUT_CHANGED,
        message,
        where=where,
        expected=expected,
        found=found,
        action="restore it from a backup, or find out who changed it and why",
    )


def versions() -> dict[str, str]:
    """What computed here: kneeimg, Python, the system and the libraries that are installed."""
    found = {"kneeimg": __version__, "python": platform.python_version()}
    found["system"] = f"{platform.system()} {platform.machine()}"
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
