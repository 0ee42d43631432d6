"""The audit chain: entries that each carry the hash of the entry before. Text in, verdict out.

An entry is one line of canonical JSON. Its `hash` is the SHA-256 of the line without the hash, and
`previous` is the hash of the entry before, so that nothing can be changed, removed or put in
between without every later hash being wrong. What a chain alone cannot show is that its newest
entries were cut off, or that all of it was written anew: for that, a hash kept elsewhere is
compared (`kneeimg audit verify --head`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1
#: `previous` of the first entry.
GENESIS = "0" * 64
#: What an entry says that names the pieces of lines which a kill left behind.
REPAIRED = "log.repaired"

_EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log.

    Attributes
    ----------
    seq : Number of the entry, from 1.
    utc : When, ISO 8601 with microseconds, UTC.
    who : `os`, the account that ran the command; `stated`, who it was said to be, if anybody.
    what : Kind of event, such as "case.measured"; `docs/audit.md` lists them.
    why : Reason in words; empty where none is asked for.
    subject : Study ids of what it concerns.
    inputs : Name to SHA-256 of what was read.
    outputs : Path below the results folder to SHA-256 of what was written; None when removed.
    detail : Anything else, plain JSON values.
    previous, hash : The chain.
    """

    seq: int
    utc: str
    who: Mapping[str, str]
    what: str
    why: str = ""
    subject: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str | None] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)
    previous: str = GENESIS
    hash: str = ""

    def content(self) -> dict[str, Any]:
        """Plain values of everything but the hash."""
        return {
            "format": FORMAT,
            "seq": self.seq,
            "utc": self.utc,
            "who": dict(self.who),
            "what": self.what,
            "why": self.why,
            "subject": dict(self.subject),
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "detail": dict(self.detail),
            "previous": self.previous,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in the log."""
        return self.content() | {"hash": self.hash}

    def line(self) -> bytes:
        """The line of the log, without its end."""
        return canonical(self.as_dict())


def canonical(value: Any) -> bytes:
    """JSON that is the same for equal values: sorted keys, no spaces, ASCII, no NaN.

    >>> canonical({"b": "é", "a": [1, None]})
    b'{"a":[1,null],"b":"\\\\u00e9"}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """Hex SHA-256.

    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def seal(
    last: Entry | None,
    what: str,
    *,
    utc: str,
    who: Mapping[str, str],
    why: str = "",
    subject: Mapping[str, str] = _EMPTY,
    inputs: Mapping[str, str] = _EMPTY,
    outputs: Mapping[str, str | None] = _EMPTY,
    detail: Mapping[str, Any] = _EMPTY,
) -> Entry:
    """The entry that follows `last` (None: the first), with its hash.

    >>> first = seal(None, "run.start", utc="2026-01-01T00:00:00.000000Z", who={"os": "ada"})
    >>> second = seal(first, "run.end", utc="2026-01-01T00:01:00.000000Z", who={"os": "ada"})
    >>> second.seq, second.previous == first.hash
    (2, True)
    """
    fields: dict[str, Any] = {
        "seq": last.seq + 1 if last else 1,
        "utc": utc,
        "who": dict(who),
        "what": what,
        "why": why,
        "subject": dict(subject),
        "inputs": dict(inputs),
        "outputs": dict(outputs),
        "detail": dict(detail),
        "previous": last.hash if last else GENESIS,
    }
    return Entry(**fields, hash=sha256(canonical(Entry(**fields).content())))


def parse_line(line: bytes) -> Entry:
    """The entry of a line, whether or not its hash holds.

    Raises
    ------
    ValueError
        If the line is not an entry, as when it is torn: no beginning of a JSON object is one.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("not JSON") from error
    if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
        raise ValueError("not an entry of this format")
    if set(value) != _KEYS or not all(isinstance(value[k], t) for k, t in _TYPES.items()):
        raise ValueError("not the parts of an entry")
    return Entry(**value)


_TYPES: Mapping[str, type] = {
    "seq": int,
    **dict.fromkeys(("utc", "what", "why", "previous", "hash"), str),
    **dict.fromkeys(("who", "subject", "inputs", "outputs", "detail"), dict),
}
_KEYS = frozenset(_TYPES)


def holds(entry: Entry, line: bytes) -> bool:
    """Whether a line is exactly its entry, and the entry is what was hashed."""
    return entry.hash == sha256(canonical(entry.content())) and line == entry.line()


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the chain: the line, its entry if it can be read, and what is wrong."""

    line: int
    seq: int | None
    problem: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a line that could not be read, by its line, size and content hash."""

    line: int
    n_bytes: int
    sha256: str

    @classmethod
    def of(cls, line: int, data: bytes) -> Fragment:
        """The fragment of some bytes."""
        return cls(line, len(data), sha256(data))

    def as_dict(self) -> dict[str, int | str]:
        """Plain values, as a repair entry lists them (line numbers can be counted)."""
        return {"bytes": self.n_bytes, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Chain:
    """A log that was read and checked.

    Attributes
    ----------
    entries : Every line that is an entry, in order.
    faults : What breaks the chain; empty when it is intact.
    torn : A last line without end that no entry accounts for yet.
    repairs : Entries that account for torn lines.
    """

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...] = ()
    torn: Fragment | None = None
    repairs: tuple[Entry, ...] = ()

    @property
    def head(self) -> str:
        """Hash of the newest entry."""
        return self.entries[-1].hash if self.entries else GENESIS


def check_chain(data: bytes) -> Chain:
    """Read a log and check that every entry is unchanged and follows the one before.

    A line that cannot be read is a fault unless the entry after it is a repair that names it by
    size and hash.

    >>> first = seal(None, "run.start", utc="", who={}).line()
    >>> check_chain(first + b"\\n").faults
    ()
    >>> check_chain(first.replace(b"start", b"stare") + b"\\n").faults[0].problem
    'the entry is not what was written'
    """
    lines = data.split(b"\n")
    open_line = lines.pop()  # empty when the last line has its end
    entries: list[Entry] = []
    faults: list[Fault] = []
    repairs: list[Entry] = []
    pending: list[Fragment] = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_line(line)
        except ValueError:
            pending.append(Fragment.of(number, line))
            continue
        faults += _problems(entry, line, number, entries)
        faults += _unexplained(pending, entry)
        repairs += [entry] if entry.what == REPAIRED else []
        pending = []
        entries.append(entry)
    faults += _unexplained(pending, None)
    torn = Fragment.of(len(lines) + 1, open_line) if open_line else None
    return Chain(tuple(entries), tuple(faults), torn, tuple(repairs))


def _problems(entry: Entry, line: bytes, number: int, before: Sequence[Entry]) -> list[Fault]:
    """What is wrong with one entry, itself or its place."""
    last = before[-1] if before else None
    if not holds(entry, line):
        return [Fault(number, entry.seq, "the entry is not what was written")]
    if entry.previous != (last.hash if last else GENESIS):
        problem = "the entry does not follow the one before: entries are missing, moved or added"
        return [Fault(number, entry.seq, problem)]
    if entry.seq != (last.seq + 1 if last else 1):
        return [Fault(number, entry.seq, "the number of the entry is out of order")]
    return []


def _unexplained(pending: Iterable[Fragment], entry: Entry | None) -> list[Fault]:
    """Unreadable lines that the entry after them does not name."""
    named = entry.detail.get("fragments") if entry and entry.what == REPAIRED else None
    known = [dict(item) for item in named] if isinstance(named, list) else []
    return [
        Fault(fragment.line, None, "the line is not an entry, and no repair names it")
        for fragment in pending
        if fragment.as_dict() not in known
    ]
