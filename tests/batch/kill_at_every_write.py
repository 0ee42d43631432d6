"""Helper program of test_killed: die at the n-th call that touches the disk, resume, compare.

Prints one JSON object. Children are forked before anything heavy has started threads, and leave
with `os._exit`, so that no `finally` tidies up: as with kill -9.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kneeimg.batch.run as batch_run
from kneeimg.io.audit_log import AuditLog
from kneeimg.io.audit_verify import verify_audit
from kneeimg.pipeline import runner
from kneeimg.pipeline.planning import plan_cases
from kneeimg.report import html
from kneeimg.trial.study import load_study

KILLED = 137


def measure(study: Path, out: Path) -> None:
    """A whole run with stages that cost nothing, in this process."""
    import conftest  # only as a program is the folder of this file on the path

    runner._STAGES["mri"] = conftest.cheap_stage  # type: ignore[index]
    html.write_report = lambda folder: folder
    batch_run.pairs_of = lambda plan, records: []  # type: ignore[attr-defined]
    plan = plan_cases(study, load_study(study / "study.toml"))
    with ThreadPoolExecutor(1) as executor:
        batch_run.run_batch(plan, out, executor=executor)


def in_child(work: Callable[[], None]) -> int:
    """Exit status of some work in a process of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying(at: int, counter: Path, work: Callable[[], None]) -> Callable[[], None]:
    """The work, ended without a word at the call of this number; the calls are counted."""

    def run() -> None:
        calls = 0
        lines: list[int] = []  # calls that write a line of the log

        def watched(real: Callable[..., Any], half: bool = False) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                lines.extend([calls] * half)
                if calls == at:
                    if half:  # the power goes in the middle of a line
                        real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    os._exit(KILLED)
                return real(*arguments, **options)

            return call

        os.fsync, os.replace, os.unlink = map(watched, (os.fsync, os.replace, os.unlink))
        os.write = watched(os.write, half=True)
        work()
        with counter.open("w") as stream:
            json.dump({"calls": calls, "lines": lines}, stream)

    return run


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the log."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != "audit.jsonl"
    }


def main(study: Path, work: Path, rounds: int) -> dict[str, Any]:
    """Kill at `rounds` calls spread over a run and in each line of the log; what went wrong."""
    counter = work / "calls"
    reference = work / "reference"
    assert in_child(dying(-1, counter, lambda: measure(study, reference))) == 0
    counted = json.loads(counter.read_text())
    n_calls, wanted = counted["calls"], contents(reference)
    wrong: list[str] = []
    repaired = adopted = 0
    spread = {round(1 + k * (n_calls - 1) / (rounds - 1)) for k in range(rounds)}
    moments = sorted(spread | set(counted["lines"]))
    for at in moments:
        out = work / f"out-{at}"

        def go(out: Path = out) -> None:
            measure(study, out)

        if in_child(dying(at, counter, go)) != KILLED:
            wrong.append(f"{at}: was not killed")
        if AuditLog(out).read().faults:
            wrong.append(f"{at}: the chain is broken after the kill")
        if in_child(go) != 0:
            wrong.append(f"{at}: the resumed run failed")
            continue
        if contents(out) != wanted:
            wrong.append(f"{at}: other results")
        wrong += [f"{at}: {problem}" for problem in verify_audit(out).problems]
        kinds = [entry.what for entry in AuditLog(out).entries()]
        repaired += "log.repaired" in kinds
        adopted += "results.adopted" in kinds
    return {
        "calls": n_calls,
        "kills": len(moments),
        "files": len(wanted),
        "wrong": wrong,
        "repaired": repaired,
        "adopted": adopted,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201
