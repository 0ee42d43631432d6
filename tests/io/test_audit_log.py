"""The log on disk: torn anywhere, written by two at once, locked, compared with its files."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kneeimg.core.audit import Fragment
from kneeimg.errors import InputError, OutputError, ReasonCode, StudyError
from kneeimg.io import audit_log
from kneeimg.io.atomic import sha256_file, write_json
from kneeimg.io.audit_log import AUDIT_FILE, AuditLog, account, who
from kneeimg.io.audit_verify import verify_audit
from kneeimg.io.freeze import LOCK_FILE, lock_results, require_unlocked, unlock_results
from kneeimg.io.results import DESCRIPTION


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    """A log of three entries in a results folder with one recorded file."""
    out = tmp_path / "out"
    write_json(out / DESCRIPTION, {"GeneratedBy": [{"Name": "kneeimg"}]})
    (out / "tables").mkdir()
    (out / "tables/a.csv").write_text("x\n1\n")
    made = AuditLog(out, "Dr B")
    made.append("run.start")
    made.append("case.measured", subject={"participant": "P01"}, detail={"n": 1})
    written = {name: sha256_file(out / name) for name in ("tables/a.csv", DESCRIPTION)}
    made.append("run.end", outputs=written)
    return made


def _codes(findings: tuple[object, ...]) -> list[str]:
    return [str(finding.code) for finding in findings]  # type: ignore[attr-defined]


def test_entries_follow_one_another_and_say_who(log: AuditLog) -> None:
    entries = log.entries()
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert all(dict(entry.who) == {"os": account(), "stated": "Dr B"} for entry in entries)
    assert all(entry.utc.endswith("Z") and len(entry.utc) == 27 for entry in entries)
    assert [entry.utc for entry in entries] == sorted(entry.utc for entry in entries)


def test_who_is_the_account_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    before = account()
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert account() == before
    assert who("  Eve\n\x1b[2J ") == {"os": before, "stated": "Eve [2J"}
    assert len(who("x" * 1000)["stated"]) == 64


def test_the_log_torn_at_any_byte_is_repaired_and_says_so(log: AuditLog) -> None:
    whole = log.path.read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    cuts = {*range(start, len(whole), 23), start + 1, len(whole) - 2, len(whole) - 1}
    for cut in sorted(cuts):
        log.path.write_bytes(whole[:cut])
        piece = whole[start:cut]
        complete = cut == len(whole) - 1  # only the line's end is missing
        if piece:
            problems = verify_audit(log.out).problems
            assert any("torn" in finding.message for finding in problems)
        log.append("run.start")
        chain = log.read()
        assert (chain.faults, chain.torn) == ((), None)
        assert log.path.read_bytes().startswith(whole[:cut])  # nothing was taken away
        kinds = [entry.what for entry in chain.entries[2:]]
        if not piece:
            assert kinds == ["run.start"]
        elif complete:
            assert kinds == ["run.end", "log.repaired", "run.start"]
        else:
            assert kinds == ["log.repaired", "run.start"]
            named = chain.repairs[0].detail["fragments"]
            assert named == [Fragment.of(3, piece).as_dict()]
        if piece:
            assert "AUDIT_NOTE" in _codes(verify_audit(log.out).notes)


def test_a_repair_that_was_torn_itself_is_repaired(log: AuditLog) -> None:
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"detail":{"torn\n{"de\n{"x')
    log.append("run.start")
    chain = log.read()
    assert chain.faults == ()
    assert [len(entry.detail["fragments"]) for entry in chain.repairs] == [3]


def test_a_log_that_is_one_torn_line_begins_anew_and_says_so(tmp_path: Path) -> None:
    (tmp_path / AUDIT_FILE).write_bytes(b'{"detail":')
    AuditLog(tmp_path).append("run.start")
    chain = AuditLog(tmp_path).read()
    assert [entry.what for entry in chain.entries] == ["log.repaired", "run.start"]
    assert chain.faults == ()


def test_long_entries_and_long_pieces_are_found_from_the_end(log: AuditLog) -> None:
    log.append("case.measured", detail={"text": "y" * 300_000})
    log.append("case.measured", detail={"text": "z" * 70_000})
    with log.path.open("ab") as stream:
        stream.write(b'{"detail":{"' + b"t" * 200_000)
    log.append("run.start")
    assert log.read().faults == ()
    assert [entry.seq for entry in log.entries()] == list(range(1, 8))


def test_nothing_is_written_after_an_entry_that_was_changed(log: AuditLog) -> None:
    data = log.path.read_bytes()
    log.path.write_bytes(data.replace(b'"run.end"', b'"run.and"'))
    before = log.path.read_bytes()
    with pytest.raises(OutputError) as caught:
        log.append("run.start")
    assert caught.value.code is ReasonCode.AUDIT_BROKEN
    assert log.path.read_bytes() == before
    log.path.write_bytes(data.replace(b'"n":1', b'"n":2'))
    with pytest.raises(OutputError, match="AUDIT_BROKEN"):
        log.entries()
    assert "AUDIT_BROKEN" in _codes(verify_audit(log.out).problems)


_WRITER = """
import sys
from pathlib import Path
from kneeimg.io.audit_log import AuditLog
log = AuditLog(Path(sys.argv[1]))
for k in range(60):
    log.append("case.measured", wait=False, detail={"by": sys.argv[2], "k": k, "x": "y" * 5000})
"""


def test_three_processes_at_once_make_one_chain(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    chain = AuditLog(tmp_path).read()
    assert (len(chain.entries), chain.faults, chain.repairs) == (180, (), ())
    for name in "abc":
        own = [e.detail["k"] for e in chain.entries if e.detail["by"] == name]
        assert own == list(range(60))


def test_a_full_disk_in_the_middle_of_a_line(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def full(handle: int, data: memoryview) -> int:
        real(handle, data[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(audit_log.os, "write", full)
    with pytest.raises(OutputError) as caught:
        log.append("run.start")
    assert caught.value.code is ReasonCode.OUTPUT_FULL
    monkeypatch.undo()
    log.append("run.start")
    assert [e.what for e in log.entries()][3:] == ["log.repaired", "run.start"]


def test_verify_is_content_with_what_was_recorded(log: AuditLog) -> None:
    result = verify_audit(log.out)
    assert (result.problems, result.notes) == ((), ())
    assert (result.n_entries, result.n_files) == (3, 2)
    assert verify_audit(log.out, head=result.head[:12]).problems == ()


def test_verify_names_changed_gone_and_unknown_files(log: AuditLog) -> None:
    (log.out / "tables/a.csv").write_text("x\n2\n")
    (log.out / DESCRIPTION).unlink()
    stranger = log.out / "sub-P09/ses-M00/mri/manifest.json"
    write_json(stranger, {"key": "x"})
    problems = verify_audit(log.out).problems
    assert set(_codes(problems)) == {"OUTPUT_CHANGED"}
    assert {finding.where for finding in problems} == {
        "tables/a.csv",
        DESCRIPTION,
        "sub-P09/ses-M00/mri/manifest.json",
    }
    assert "entry 3" in problems[0].message


def test_a_removed_file_that_comes_back_is_named(log: AuditLog) -> None:
    log.append("results.withdrawn", outputs={"tables/a.csv": None})
    assert "removed" in verify_audit(log.out).problems[0].message


def test_a_log_that_was_cut_off_or_written_anew_needs_the_noted_head(log: AuditLog) -> None:
    head = log.read().head
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:2]))
    assert log.read().faults == ()  # no chain can know
    assert any("cut off" in f.message for f in verify_audit(log.out, head).problems)
    assert verify_audit(log.out, head[:6]).problems  # too short to mean anything


def test_an_unended_run_and_a_clock_that_went_back_are_noted(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "utc_now", lambda: "2020-01-01T00:00:00.000000Z")
    log.append("run.start")
    notes = verify_audit(log.out).notes
    assert _codes(notes) == ["AUDIT_NOTE", "AUDIT_NOTE"]
    assert "did not come to its end" in notes[0].message
    assert "clock went back between entries 3 and 4" in notes[1].message


def test_no_log_is_no_verification(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        verify_audit(tmp_path)
    assert caught.value.code is ReasonCode.AUDIT_BROKEN


def test_lock_refuses_until_unlocked_and_both_are_recorded(log: AuditLog) -> None:
    lock_results(log.out, "database lock")
    with pytest.raises(OutputError) as caught:
        require_unlocked(log.out)
    assert caught.value.code is ReasonCode.LOCKED
    assert "database lock" in caught.value.finding.found
    with pytest.raises(OutputError, match="LOCKED"):
        lock_results(log.out, "once more")
    assert verify_audit(log.out).problems == ()
    unlock_results(log.out, "query 14")
    require_unlocked(log.out)
    assert verify_audit(log.out).problems == ()
    assert [(e.what, e.why) for e in log.entries()[3:]] == [
        ("results.locked", "database lock"),
        ("results.unlocked", "query 14"),
    ]
    with pytest.raises(InputError, match="not locked"):
        unlock_results(log.out, "again please")


@pytest.mark.parametrize("reason", ["", "  ", "x", "...---..."])
def test_lock_and_unlock_need_a_reason(log: AuditLog, reason: str) -> None:
    for change in (lock_results, unlock_results):
        with pytest.raises(StudyError) as caught:
            change(log.out, reason)
        assert caught.value.code is ReasonCode.REASON_MISSING


def test_the_lock_lists_every_file_and_verify_finds_each_change(log: AuditLog) -> None:
    lock_results(log.out, "database lock")
    lock = json.loads((log.out / LOCK_FILE).read_text())
    assert set(lock["files"]) == {DESCRIPTION, "tables/a.csv"}
    assert lock["versions"]["kneeimg"]
    assert lock["versions"]["numpy"]
    (log.out / "tables/a.csv").write_text("x\n9\n")
    (log.out / "tables/b.csv").write_text("new")
    messages = [finding.message for finding in verify_audit(log.out).problems]
    assert messages == [
        "the file is not what was recorded (entry 3)",
        "a locked file differs",
        "a file was added after the lock",
    ]


def test_a_lock_that_was_edited_taken_away_or_never_recorded(log: AuditLog) -> None:
    lock_results(log.out, "database lock")
    path = log.out / LOCK_FILE
    text = path.read_text()
    path.write_text(text.replace("database lock", "something else"))
    assert "lock is not what was written" in verify_audit(log.out).problems[0].message
    path.unlink()
    assert "the lock is gone" in verify_audit(log.out).problems[0].message
    path.write_text(text)
    assert verify_audit(log.out).problems == ()
    log.append("results.unlocked", outputs={LOCK_FILE: None})
    assert "does not know" in verify_audit(log.out).problems[0].message
    lock_results(log.out, "as after a kill between lock and entry")
    assert verify_audit(log.out).problems == ()


def test_a_log_cut_off_after_locking_is_found_by_the_lock(log: AuditLog) -> None:
    lock_results(log.out, "database lock")
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:2]))
    assert "does not know" in verify_audit(log.out).problems[0].message


def test_only_results_can_be_locked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results"):
        lock_results(tmp_path, "database lock")
