"""Kill -9 at random moments, resume, compare: are the results the same bytes, is the log intact?

python benchmarks/kill_resume.py --kills 20 [--people 2] [--keep FOLDER]

A small study (label maps of phantom knees, two visits each) is measured once without interruption.
Then it is measured again and killed at moments drawn from the whole length of a run, half of the
time with its workers, half of the time alone; whenever a run survives its moment, its results are
compared and a new folder begun. Every file but the audit log, which tells the time, must be the
same; the chain of the log must hold after every kill, and log and files agree in the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kneeimg.core.anatomy import Side
from kneeimg.io.audit_log import AUDIT_FILE, AuditLog
from kneeimg.io.audit_verify import verify_audit
from kneeimg.io.label_maps import write_label_map
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom


def make_study(folder: Path, people: int) -> None:
    """Label maps of `people` knees at two visits, named so that no study file is needed."""
    folder.mkdir(parents=True)
    grid = slice_grid("sagittal", (2.0, 1.1, 1.1), (48, 102, 102))
    for number in range(people):
        side = list(Side)[number % 2]
        labels = KneePhantom(side).label_map(grid)
        for visit in ("M00", "M12"):
            letter = side.value[0].upper()
            write_label_map(
                labels, folder / f"sub-P{number:02}_ses-{visit}_side-{letter}_dseg.nii.gz"
            )


def start(study: Path, out: Path) -> subprocess.Popen[bytes]:
    """A run in a process group of its own."""
    command = [sys.executable, "-m", "kneeimg", "run", str(study), "-o", str(out), "--workers", "2"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)


def kill(process: subprocess.Popen[bytes], *, workers_too: bool) -> None:
    """SIGKILL for a run of our own, and wait until its workers are gone as well."""
    group = process.pid  # it leads its session
    with contextlib.suppress(ProcessLookupError):
        if workers_too:
            os.killpg(group, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)  # orphans of a run that was killed alone


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the audit log."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != AUDIT_FILE
    }


def compare(reference: dict[str, bytes], out: Path) -> tuple[list[str], list[str]]:
    """Files that differ, and what `kneeimg audit verify` finds wrong."""
    found = contents(out)
    differing = [n for n in sorted({*reference, *found}) if reference.get(n) != found.get(n)]
    return differing, [str(problem) for problem in verify_audit(out).problems]


def main() -> int:
    """Print what happened; 0 if everything was the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--keep", type=Path, help="work here and leave the files")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return run(given.keep or Path(temporary), given.kills, given.people, given.seed)


def run(work: Path, kills: int, people: int, seed: int) -> int:
    """Kill and resume below a folder."""
    rng = random.Random(seed)
    study, out = work / "scans", work / "out"
    make_study(study, people)
    begun = time.monotonic()
    if start(study, work / "reference").wait():
        print("the uninterrupted run failed")
        return 1
    length_s = time.monotonic() - begun
    reference = contents(work / "reference")
    print(f"seed {seed}; {len(reference)} files, {length_s:.1f} s without interruption", flush=True)
    bad: list[str] = []
    tally: Counter[str] = Counter()
    while tally["kills"] < kills:
        moment_s, with_workers = rng.uniform(0.0, length_s), rng.random() < 0.5
        process = start(study, out)
        try:
            process.wait(moment_s)
            bad += _finished(process, reference, out, tally)
        except subprocess.TimeoutExpired:
            kill(process, workers_too=with_workers)
            chain = AuditLog(out).read()
            bad += [str(fault) for fault in chain.faults]
            tally.update(kills=1, torn=int(chain.torn is not None))
            print(f"killed after {moment_s:6.1f} s, {len(chain.entries):3d} entries", flush=True)
    process = start(study, out)
    process.wait()
    bad += _finished(process, reference, out, tally)
    print(f"{tally['kills']} kills, {tally['finished']} finished runs, {len(bad)} differences")
    print("\n".join(bad))
    return 1 if bad else 0


def _finished(
    process: subprocess.Popen[bytes], reference: dict[str, bytes], out: Path, tally: Counter[str]
) -> list[str]:
    """Compare the results of a run that came to its end, and make room for a new one."""
    if process.returncode:
        return [f"a resumed run ended with {process.returncode}"]
    differing, problems = compare(reference, out)
    entries = AuditLog(out).entries()
    tally.update(finished=1, adopted=sum(entry.what == "results.adopted" for entry in entries))
    print(f"finished: {len(differing)} files differ, {len(problems)} problems", flush=True)
    shutil.rmtree(out)
    return differing + problems


if __name__ == "__main__":
    raise SystemExit(main())
