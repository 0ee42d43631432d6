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


Moment = tuple[str, int]


def dying(at: Moment, counter: Path, work: Callable[[], None]) -> Callable[[], None]:
    """The work, ended without a word at the disk call, or in the log line, of this number."""

    def run() -> None:
        reached = {"call": 0, "line": 0}

        def watched(real: Callable[..., Any], line: bool = False) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                reached["call"] += 1
                reached["line"] += line
                if line and at == ("line", reached["line"]):
                    # the power goes in the middle of a line
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    os._exit(KILLED)
                if at == ("call", reached["call"]):
                    os._exit(KILLED)
                return real(*arguments, **options)

            return call

        os.fsync, os.replace, os.unlink = map(watched, (os.fsync, os.replace, os.unlink))
        os.write = watched(os.write, line=True)
        work()
        with counter.open("w") as stream:
            json.dump(reached, stream)

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
    assert in_child(dying(("", 0), counter, lambda: measure(study, reference))) == 0
    counted = json.loads(counter.read_text())
    n_calls, wanted = counted["call"], contents(reference)
    wrong: list[str] = []
    repaired = adopted = 0
    # the last calls may not come in a quicker run: syncs of the log are shared by the clock
    spread = {round(1 + k * (0.95 * n_calls - 1) / (rounds - 1)) for k in range(rounds)}
    moments: list[Moment] = [("call", n) for n in sorted(spread)]
    moments += [("line", n + 1) for n in range(counted["line"])]
    for at in moments:
        out = work / f"out-{at[0]}-{at[1]}"

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
