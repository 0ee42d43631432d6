"""What the entries of an audit log say together: which files stand, what is excluded or locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kneeimg.core.audit import Entry

RUN_START, RUN_END = "run.start", "run.end"
EXCLUDED, INCLUDED = "scan.excluded", "scan.included"
LOCKED, UNLOCKED = "results.locked", "results.unlocked"

#: participant, visit, side, kind.
ScanKey = tuple[str, str, str, str]
_SCAN = ("participant", "visit", "side", "kind")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the log says of one file: its hash, None when it was removed, and which entry."""

    sha256: str | None
    seq: int


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A scan that must not be used, and why."""

    scan: ScanKey
    reason: str
    seq: int


def recorded_files(entries: Sequence[Entry]) -> dict[str, Recorded]:
    """Path below the results folder to what the newest entry about it says."""
    return {
        path: Recorded(digest, entry.seq)
        for entry in entries
        for path, digest in entry.outputs.items()
    }


def exclusions(entries: Sequence[Entry]) -> dict[ScanKey, Exclusion]:
    """Scans that are excluded after the last entry, in the order of their exclusion."""
    standing: dict[ScanKey, Exclusion] = {}
    for entry in entries:
        if entry.what == EXCLUDED:
            key = scan_key(entry.subject)
            standing[key] = Exclusion(key, entry.why, entry.seq)
        elif entry.what == INCLUDED:
            standing.pop(scan_key(entry.subject), None)
    return standing


def ever_excluded(entries: Sequence[Entry]) -> frozenset[ScanKey]:
    """Every scan that an entry excludes, whether or not it was included again."""
    return frozenset(scan_key(entry.subject) for entry in entries if entry.what == EXCLUDED)


def scan_key(subject: Mapping[str, str]) -> ScanKey:
    """The scan that an entry is about; parts that it does not name are empty.

    >>> scan_key({"participant": "P01", "visit": "M06", "side": "left", "kind": "mri"})
    ('P01', 'M06', 'left', 'mri')
    """
    participant, visit, side, kind = (str(subject.get(name, "")) for name in _SCAN)
    return participant, visit, side, kind


def scan_subject(key: ScanKey) -> dict[str, str]:
    """The inverse of :func:`scan_key`."""
    return dict(zip(_SCAN, key, strict=True))


def last_of(entries: Sequence[Entry], *what: str) -> Entry | None:
    """The newest entry of these kinds."""
    return next((entry for entry in reversed(entries) if entry.what in what), None)


def unended_run(entries: Sequence[Entry]) -> Entry | None:
    """The start of the newest run, if that run did not come to its end."""
    newest = last_of(entries, RUN_START, RUN_END)
    return newest if newest is not None and newest.what == RUN_START else None


def standing_lock(entries: Sequence[Entry]) -> Entry | None:
    """The entry that locked the results, unless they were unlocked since."""
    newest = last_of(entries, LOCKED, UNLOCKED)
    return newest if newest is not None and newest.what == LOCKED else None


def stale_since(entries: Sequence[Entry], prefixes: Sequence[str]) -> tuple[list[str], int]:
    """Files below `prefixes` that were written before the newest exclusion or inclusion.

    Returns
    -------
    The paths, and the number of that entry (0 without one).
    """
    newest = last_of(entries, EXCLUDED, INCLUDED)
    if newest is None:
        return [], 0
    files = recorded_files(entries)
    old = [
        path
        for path, found in files.items()
        if found.sha256 and found.seq < newest.seq and path.startswith(tuple(prefixes))
    ]
    return sorted(old), newest.seq
