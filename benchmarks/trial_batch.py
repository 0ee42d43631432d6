"""A whole trial with masks, 25 people at 5 visits: minutes and memory of `kneeimg run`.

python benchmarks/trial_batch.py [--keep FOLDER] [--workers N]

The synthetic trial of `kneeimg demo --trial` is written first (not timed), then measured by the
command that a user types. Memory is the proportional set size of the command and its workers, so
pages that they share count once; it is read twice a second.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from kneeimg.demo.disk import write_trial
from kneeimg.demo.plan import FULL

#: Seconds between two looks at the memory.
STEP_S = 0.5
MEMORY_LIMIT_GIB = 4.0


def memory_bytes(process: psutil.Process) -> int:
    """Of a process and everything it started; one that ends meanwhile counts nothing."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += each.memory_full_info().pss
    return total


def cpu_seconds() -> float:
    """Of everything that was started and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(command: list[str]) -> tuple[int, float, float, int]:
    """Exit code, wall and processor seconds, peak bytes of a command."""
    start, cpu, peak = time.perf_counter(), cpu_seconds(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                peak = max(peak, memory_bytes(process))
            time.sleep(STEP_S)
    return running.returncode, time.perf_counter() - start, cpu_seconds() - cpu, peak


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="folder of the trial; made if missing and kept")
    parser.add_argument("--workers", type=int, default=0, help="0: as many as the machine allows")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp())
    source, results = folder / "input", folder / "results"
    source.mkdir(parents=True, exist_ok=True)
    write_trial(source, FULL)
    shutil.rmtree(results, ignore_errors=True)
    command = [sys.executable, "-m", "kneeimg", "run", str(source / "scans"), "-o", str(results)]
    command += ["--study", str(source / "study.toml"), "--workers", str(given.workers)]
    print(
        f"{'what':28s} {'code':>4s} {'minutes':>8s} {'CPU min':>8s} {'peak GiB':>8s} {'limit':>6s}"
    )
    for what in ("25 people, 5 visits", "the same again, all done"):
        code, wall_s, cpu_s, peak = measured(command)
        gib = peak / 2**30
        row = f"{what:28s} {code:4d} {wall_s / 60:8.1f} {cpu_s / 60:8.1f} {gib:8.2f}"
        print(f"{row} {MEMORY_LIMIT_GIB:6.1f}", flush=True)
    if given.keep is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
