"""The chain: whatever is changed, removed, moved or added is found where it is."""

from __future__ import annotations

import json

import pytest

from kneeimg.core.audit import (
    GENESIS,
    REPAIRED,
    Entry,
    Fragment,
    canonical,
    check_chain,
    holds,
    parse_line,
    seal,
    sha256,
)
from kneeimg.core.audit_history import (
    exclusions,
    recorded_files,
    stale_since,
    standing_lock,
    unended_run,
)


def _entries(n: int = 5) -> list[Entry]:
    entries: list[Entry] = []
    for k in range(n):
        last = entries[-1] if entries else None
        stamp = f"2026-01-01T00:00:{k:02}.000000Z"
        entries.append(
            seal(last, "case.measured", utc=stamp, who={"os": "ada"}, why=f"é {k}", detail={"k": k})
        )
    return entries


def _log(entries: list[Entry]) -> bytes:
    return b"".join(entry.line() + b"\n" for entry in entries)


def test_an_intact_chain_has_no_fault_and_reads_back() -> None:
    entries = _entries()
    chain = check_chain(_log(entries))
    assert chain.entries == tuple(entries)
    assert (chain.faults, chain.torn, chain.head) == ((), None, entries[-1].hash)
    assert entries[0].previous == GENESIS
    assert check_chain(b"").head == GENESIS


def test_the_hash_is_that_of_the_line_without_it() -> None:
    """Worked by hand with the standard library alone, as another program would."""
    line = json.loads(_entries(2)[1].line())
    claimed = line.pop("hash")
    text = json.dumps(line, sort_keys=True, separators=(",", ":"))
    assert sha256(text.encode("ascii")) == claimed


@pytest.mark.parametrize(
    "field", ["utc", "who", "what", "why", "detail", "seq", "previous", "hash"]
)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_any_changed_field_of_any_entry_is_found(field: str, place: int) -> None:
    lines = [entry.as_dict() for entry in _entries()]
    other = {"who": {"os": "eve"}, "detail": {"k": 99}, "seq": 77}.get(field, "1" * 64)
    lines[place][field] = other
    data = b"".join(canonical(line) + b"\n" for line in lines)
    faults = check_chain(data).faults
    assert faults
    assert faults[0].line == place + 1
    assert faults[0].problem == "the entry is not what was written"


def test_an_entry_that_is_sealed_anew_breaks_the_next() -> None:
    entries = _entries()
    forged = seal(entries[1], "case.refused", utc=entries[2].utc, who={"os": "ada"})
    faults = check_chain(_log([*entries[:2], forged, *entries[3:]])).faults
    assert [(fault.line, fault.seq) for fault in faults] == [(4, 4)]
    assert "does not follow" in faults[0].problem


@pytest.mark.parametrize("order", [[0, 1, 3, 4], [0, 2, 1, 3, 4], [1, 2, 3], [0, 1, 1, 2]])
def test_removed_moved_and_doubled_entries_are_found(order: list[int]) -> None:
    entries = _entries()
    assert check_chain(_log([entries[k] for k in order])).faults


def test_other_spacing_or_a_second_key_is_not_what_was_written() -> None:
    entry = _entries(1)[0]
    spaced = json.dumps(entry.as_dict(), sort_keys=True).encode()
    assert not holds(parse_line(spaced), spaced)
    doubled = entry.line()[:-1] + b',"why":"' + entry.why.encode() + b'"}'
    assert check_chain(doubled + b"\n").faults


def test_no_beginning_of_a_line_is_an_entry() -> None:
    line = _entries(1)[0].line()
    for n in range(len(line)):
        with pytest.raises(ValueError, match="not"):
            parse_line(line[:n])


@pytest.mark.parametrize("line", [b"[]", b"1", b"{}", b'{"format":2}', b"[" * 5000, b"\xff\x00"])
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_line(line)


def test_a_torn_line_is_a_fault_until_a_repair_names_it() -> None:
    first, second = _entries(2)
    piece = second.line()[:40]
    assert check_chain(_log([first]) + piece).torn == Fragment.of(2, piece)
    assert check_chain(_log([first]) + piece + b"\n").faults[0].line == 2
    named = {"fragments": [Fragment.of(2, piece).as_dict()], "line_ended": True}
    repair = seal(first, REPAIRED, utc="", who={}, detail=named)
    healed = check_chain(_log([first]) + piece + b"\n" + _log([repair]))
    assert (healed.faults, healed.repairs) == ((), (repair,))
    other = seal(first, REPAIRED, utc="", who={}, detail={"fragments": []})
    assert check_chain(_log([first]) + piece + b"\n" + _log([other])).faults
    not_a_repair = seal(first, "run.start", utc="", who={}, detail=named)
    assert check_chain(_log([first]) + piece + b"\n" + _log([not_a_repair])).faults


def test_history_is_what_the_newest_entries_say() -> None:
    scan = {"participant": "P01", "visit": "M06", "side": "left", "kind": "mri"}
    steps = [
        ("run.start", {}),
        ("case.measured", {"outputs": {"a": "1", "tables/t.csv": "7"}}),
        ("scan.excluded", {"subject": scan, "why": "motion"}),
        ("scan.excluded", {"subject": scan | {"kind": "film"}, "why": "tilt"}),
        ("case.overwritten", {"outputs": {"a": None, "b": "2"}}),
        ("scan.included", {"subject": scan | {"kind": "film"}, "why": "was right"}),
    ]
    entries: list[Entry] = []
    for what, parts in steps:
        last = entries[-1] if entries else None
        entries.append(seal(last, what, utc="", who={}, **parts))  # type: ignore[arg-type]
    files = {name: found.sha256 for name, found in recorded_files(entries).items()}
    assert files == {"a": None, "b": "2", "tables/t.csv": "7"}
    standing = exclusions(entries)
    assert {key: item.reason for key, item in standing.items()} == {
        ("P01", "M06", "left", "mri"): "motion"
    }
    assert stale_since(entries, ("tables/",)) == (["tables/t.csv"], 6)
    start = unended_run(entries)
    assert start is not None
    assert start.seq == 1
    assert unended_run([*entries, seal(entries[-1], "run.end", utc="", who={})]) is None
    assert standing_lock(entries) is None
