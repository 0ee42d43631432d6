"""Kill -9 at random moments, resume, compare: are the results the same bytes, is the log intact?

python benchmarks/kill_resume.py --kills 20 [--people 2] [--keep FOLDER]
python benchmarks/kill_resume.py --kills 20 --trial FOLDER --longest 120

A small study (label maps of phantom knees, two visits each) is measured once without interruption.
Then it is measured again and killed at moments drawn from the whole length of a run, half of the
time with its workers, half of the time alone; whenever a run survives its moment, its results are
compared and a new folder begun. Every file but the audit log, which tells the time, must be the
same; the chain of the log must hold after every kill, and log and files agree in the end.

With --trial the study is what `trial_batch.py --keep FOLDER` left behind, 25 people at 5 visits,
and its results are what must come out again; --longest keeps the moments so short that one run is
killed many times on its way.
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
from kneeimg.errors import ExitStatus
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


def start(command: list[str], out: Path) -> subprocess.Popen[bytes]:
    """A run in a process group of its own."""
    command = [sys.executable, "-m", "kneeimg", "run", *command, "-o", str(out), "--workers", "2"]
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
    parser.add_argument("--trial", type=Path, help="folder kept by trial_batch.py")
    parser.add_argument("--longest", type=float, help="s, latest moment of a kill")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.keep or Path(temporary)
        if given.trial:
            source, reference = given.trial / "input", given.trial / "results"
            command = [str(source / "scans"), "--study", str(source / "study.toml")]
            length_s = given.longest or 600.0
        else:
            study, reference = work / "scans", work / "reference"
            make_study(study, given.people)
            command = [str(study)]
            begun = time.monotonic()
            if start(command, reference).wait():
                print("the uninterrupted run failed")
                return 1
            length_s = time.monotonic() - begun
            print(f"{length_s:.1f} s without interruption")
            length_s = min(length_s, given.longest or length_s)
        print(f"seed {given.seed}; killed at up to {length_s:.0f} s", flush=True)
        moments = random.Random(given.seed)
        return run(command, contents(reference), work / "out", given.kills, moments, length_s)


def run(
    command: list[str],
    reference: dict[str, bytes],
    out: Path,
    kills: int,
    rng: random.Random,
    longest_s: float,
) -> int:
    """Kill and resume until there were so many kills, then compare; 0 if all was the same."""
    print(f"{len(reference)} files, {sum(map(len, reference.values())) / 2**20:.0f} MiB")
    bad: list[str] = []
    tally: Counter[str] = Counter()
    while tally["kills"] < kills:
        moment_s, with_workers = rng.uniform(0.0, longest_s), rng.random() < 0.5
        process = start(command, out)
        try:
            process.wait(moment_s)
            bad += _finished(process, reference, out, tally)
        except subprocess.TimeoutExpired:
            kill(process, workers_too=with_workers)
            chain = AuditLog(out).read()
            bad += [str(fault) for fault in chain.faults]
            tally.update(kills=1, torn=int(chain.torn is not None))
            print(f"killed after {moment_s:6.1f} s, {len(chain.entries):3d} entries", flush=True)
    process = start(command, out)
    process.wait()
    bad += _finished(process, reference, out, tally)
    print(f"{tally['kills']} kills, {tally['finished']} finished runs, {len(bad)} differences")
    print("\n".join(bad))
    return 1 if bad else 0


def _finished(
    process: subprocess.Popen[bytes], reference: dict[str, bytes], out: Path, tally: Counter[str]
) -> list[str]:
    """Compare the results of a run that came to its end, and make room for a new one."""
    # the trial has scans that are refused on purpose; whatever else differs, the files show
    if process.returncode not in (ExitStatus.MEASURED, ExitStatus.SOME_REFUSED):
        return [f"a resumed run ended with {process.returncode}"]
    differing, problems = compare(reference, out)
    entries = AuditLog(out).entries()
    tally.update(finished=1, adopted=sum(entry.what == "results.adopted" for entry in entries))
    print(f"finished: {len(differing)} files differ, {len(problems)} problems", flush=True)
    shutil.rmtree(out)
    return differing + problems


if __name__ == "__main__":
    raise SystemExit(main())
