"""Whether a results folder is what its audit log says, entry by entry and file by file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from kneeimg.core.audit import Chain, Entry, Fault
from kneeimg.core.audit_history import Recorded, recorded_files, stale_since, unended_run
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.io.atomic import sha256_file
from kneeimg.io.audit_log import AUDIT_FILE, AuditLog
from kneeimg.io.freeze import LOCK_FILE, changed, check_lock

#: Folders whose files are made from the measurements and exclusions.
DERIVED = ("tables/", "report/")


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes
    ----------
    n_entries, head : Of the log; the head is the hash to keep elsewhere.
    n_files : Files that were compared.
    problems : The log or a file is not what was written.
    notes : What a reader should know; nothing is wrong.
    """

    n_entries: int
    head: str
    n_files: int
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "intact": not self.problems,
            "entries": self.n_entries,
            "head": self.head,
            "files": self.n_files,
            "problems": [finding.as_dict() for finding in self.problems],
            "notes": [finding.as_dict() for finding in self.notes],
        }


def require_log(out: Path) -> AuditLog:
    """The audit log of a results folder.

    Raises
    ------
    InputError
        AUDIT_BROKEN when there is none.
    """
    log = AuditLog(out)
    if not log.path.is_file():
        raise InputError(
            "the folder has no audit log",
            code=ReasonCode.AUDIT_BROKEN,
            where=out.name,
            expected=AUDIT_FILE,
            found="none",
            action="give a results folder; one of an older kneeimg gets a log with its next run",
        )
    return log


def verify_audit(out: Path, head: str = "") -> Verification:
    """Check chain, files and lock of a results folder; nothing is written.

    Parameters
    ----------
    out : Results folder.
    head : Hash of an entry that was noted earlier, or its first 12 digits or more; it must still
        be in the log. This finds a log that was cut off or written anew, which no chain can.

    Raises
    ------
    InputError
        There is no log.
    """
    log = require_log(out)
    chain = log.read()
    files = recorded_files(chain.entries)
    files.pop(LOCK_FILE, None)
    problems = (
        *(_chain_problem(fault) for fault in chain.faults),
        *_torn(chain),
        *_head_problem(chain, head),
        *check_files(out, files),
        *_unrecorded(out, files),
        *check_lock(out, chain.entries),
    )
    notes = (
        *_repairs(chain),
        *_runs(chain.entries),
        *_clock(chain.entries),
        *_stale(chain.entries),
    )
    return Verification(len(chain.entries), chain.head, len(files), problems, notes)


def check_files(out: Path, files: Mapping[str, Recorded]) -> list[Finding]:
    """A finding for each file that is not as recorded."""
    findings = []
    for name, recorded in sorted(files.items()):
        path, entry = out / name, f" (entry {recorded.seq})"
        if recorded.sha256 is None:
            if path.is_file():
                gone = f"the log says that this file was removed{entry}"
                findings.append(changed(gone, name, "no file", sha256_file(path)))
        elif not path.is_file():
            findings.append(changed(f"a recorded file is gone{entry}", name, recorded.sha256))
        elif (digest := sha256_file(path)) != recorded.sha256:
            differs = f"the file is not what was recorded{entry}"
            findings.append(changed(differs, name, recorded.sha256, digest))
    return findings


def _unrecorded(out: Path, files: Mapping[str, Recorded]) -> list[Finding]:
    """Manifests, the sign-off of a case, that no entry knows."""
    names = (path.relative_to(out).as_posix() for path in out.glob("sub-*/**/manifest*.json"))
    message = "results stand here that the log does not know"
    return [
        changed(message, name, "an entry for it") for name in sorted(names) if name not in files
    ]


def _chain_problem(fault: Fault) -> Finding:
    entry = f", entry {fault.seq}" if fault.seq else ""
    return Finding(
        ReasonCode.AUDIT_BROKEN, fault.problem, f"{AUDIT_FILE}, line {fault.line}{entry}"
    )


def _torn(chain: Chain) -> list[Finding]:
    if chain.torn is None:
        return []
    torn = chain.torn
    return [
        Finding(
            ReasonCode.AUDIT_BROKEN,
            "the last line is torn, as by a kill or a power cut",
            where=f"{AUDIT_FILE}, line {torn.line}",
            found=f"{torn.n_bytes} bytes, sha256 {torn.sha256}",
            action="run again: the next entry names and repairs it",
        )
    ]


def _head_problem(chain: Chain, head: str) -> list[Finding]:
    wanted = head.strip().lower()
    if not wanted or (
        len(wanted) >= 12 and any(entry.hash.startswith(wanted) for entry in chain.entries)
    ):
        return []
    return [
        Finding(
            ReasonCode.AUDIT_BROKEN,
            "the log has no entry with the noted hash: it was cut off or written anew",
            where=AUDIT_FILE,
            expected=wanted,
            found=f"{len(chain.entries)} entries, the newest {chain.head[:12]}",
        )
    ]


def _repairs(chain: Chain) -> list[Finding]:
    return [
        _note(f"entry {entry.seq} of {entry.utc} repaired a torn line", found=_pieces(entry))
        for entry in chain.repairs
    ]


def _pieces(entry: Entry) -> str:
    pieces = entry.detail.get("fragments") or []
    return "; ".join(f"{p['bytes']} bytes, sha256 {p['sha256']}" for p in pieces) or "only its end"


def _runs(entries: Sequence[Entry]) -> list[Finding]:
    start = unended_run(entries)
    if start is None:
        return []
    text = f"the run of entry {start.seq} ({start.utc}) did not come to its end"
    return [_note(text, action="run again: finished cases are kept")]


def _clock(entries: Sequence[Entry]) -> list[Finding]:
    return [
        _note(f"the clock went back between entries {a.seq} and {b.seq}", found=f"{a.utc}, {b.utc}")
        for a, b in pairwise(entries)
        if b.utc < a.utc
    ]


def _stale(entries: Sequence[Entry]) -> list[Finding]:
    paths, seq = stale_since(entries, DERIVED)
    if not paths:
        return []
    text = f"{len(paths)} files are older than the exclusion or inclusion of entry {seq}"
    shown = ", ".join(paths[:4]) + (", …" if len(paths) > 4 else "")
    return [_note(text, found=shown, action="run again, then whatever was made from the tables")]


def _note(message: str, *, found: str = "", action: str = "") -> Finding:
    return Finding(ReasonCode.AUDIT_NOTE, message, AUDIT_FILE, found=found, action=action)
