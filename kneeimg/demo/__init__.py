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
    from kneeimg.demo.compare import Comparison

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class DemoResult:
    """What `kneeimg demo` made.

    Attributes
    ----------
    results : Folder of the pipeline's output.
    summary : Of the batch.
    comparisons : True against measured.
    """

    results: Path
    summary: BatchSummary
    comparisons: tuple[Comparison, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "summary": self.summary.to_json(),
            "comparisons": {c.title: c.to_json() for c in self.comparisons},
        }


def run_demo(
    out: Path, *, people: int = 6, workers: int = 0, progress: Progress | None = None
) -> DemoResult:
    """Write the trial to OUT/input, measure it into OUT/results, compare with the truth.

    Parameters
    ----------
    out : Folder; finished parts of an earlier run in it are kept.
    people : Number of participants.
    workers : Processes side by side; 0 = as the machine allows.

    Raises
    ------
    OutputError
        If `out` cannot be written.
    """
    from kneeimg.batch import run_study
    from kneeimg.demo.compare import read_tables
    from kneeimg.demo.disk import write_trial

    source, results = out / "input", out / "results"
    try:
        source.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "the demo folder cannot be made", where=str(out), found=str(error)
        ) from error
    write_trial(source, people=people, workers=workers, progress=progress)
    summary = run_study(
        source / "scans",
        results,
        study_file=source / "study.toml",
        workers=workers,
        progress=progress,
    )
    comparisons = read_tables(source / "truth.csv", source / "arms.csv", results)
    return DemoResult(results, summary, comparisons)
