"""A synthetic trial with known answers: written as DICOM, run through the real pipeline, compared.

Nothing here is special-cased by the pipeline: it reads the same files as any study.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneeimg.errors import OutputError

if TYPE_CHECKING:
    from kneeimg.batch import BatchSummary
    from kneeimg.demo.check import DemoCheck
    from kneeimg.demo.compare import Comparison
    from kneeimg.demo.plan import DemoTrial

Progress = Callable[[int, int, str], None]

#: Seconds that one process takes for one visit (written, measured, compared) of either size, on the
#: machine of docs/accuracy.md; a mask with errors is drawn a second time.
_SECONDS_PER_VISIT = 13.5
_SECONDS_PER_ERROR = 1.5
#: Seconds that the shipped model takes for one scan, with one process.
_SECONDS_PER_SEGMENTATION = 40.0


@dataclass(frozen=True)
class DemoResult:
    """What `kneeimg demo` made.

    Attributes
    ----------
    results : Folder of the pipeline's output.
    summary : Of the batch.
    comparisons : True against measured.
    check : Whether the planted faults were found, nothing else was, and the truth was covered.
    """

    results: Path
    summary: BatchSummary
    comparisons: tuple[Comparison, ...]
    check: DemoCheck

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "summary": self.summary.to_json(),
            "comparisons": {c.title: c.to_json() for c in self.comparisons},
            "check": self.check.to_json(),
        }


def expected_minutes(trial: DemoTrial, workers: int = 0) -> int:
    """About how long a trial takes from an empty folder, in whole minutes."""
    from kneeimg.batch.workers import default_workers

    seconds = _SECONDS_PER_VISIT
    if not trial.masked:
        seconds += _SECONDS_PER_SEGMENTATION
    elif trial.error:
        seconds += _SECONDS_PER_ERROR
    return max(1, round(len(trial.scans()) * seconds / (workers or default_workers()) / 60.0))


def run_demo(
    out: Path,
    *,
    trial: DemoTrial | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> DemoResult:
    """Write the trial to OUT/input, measure it into OUT/results, compare with the truth.

    Parameters
    ----------
    out : Folder; finished parts of an earlier run in it are kept.
    trial : Size and faults; None for `plan.SMALL`.
    workers : Processes side by side; 0 = as the machine allows.

    Returns
    -------
    DemoResult. OUT/demo-check.csv and OUT/demo-coverage.csv hold what was checked.

    Raises
    ------
    OutputError
        If `out` cannot be written.
    """
    from kneeimg.batch import run_study
    from kneeimg.demo.check import check_demo, write_check
    from kneeimg.demo.compare import read_tables
    from kneeimg.demo.disk import write_trial
    from kneeimg.demo.plan import SMALL

    trial = trial or SMALL
    source, results = out / "input", out / "results"
    try:
        source.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "the demo folder cannot be made", where=str(out), found=str(error)
        ) from error
    write_trial(source, trial, workers=workers, progress=progress)
    summary = run_study(
        source / "scans",
        results,
        study_file=source / "study.toml",
        workers=workers,
        progress=progress,
    )
    tables = read_tables(source, results)
    check = check_demo(trial, tables)
    write_check(check, out)
    return DemoResult(results, summary, tables.comparisons(), check)
