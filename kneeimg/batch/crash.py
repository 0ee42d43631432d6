"""A bug or a dead worker in one case: a log without private data, a row, and on with the rest."""

from __future__ import annotations

import contextlib
import traceback
from dataclasses import dataclass
from pathlib import Path

from kneeimg.errors import Finding, ReasonCode
from kneeimg.io.atomic import write_text

LOGS = "logs"
_MARK = b"kneeimg failed on this case"
_SOURCES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Crash:
    """An unexpected exception as plain text, fit to cross between processes.

    Attributes
    ----------
    kind : Name of the exception's class. Its text stays out: it may quote a path or a DICOM value.
    trace : File, line and function of every frame.
    """

    kind: str
    trace: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: BaseException) -> Crash:
        """Where an exception came from, without any value."""
        frames = traceback.extract_tb(error.__traceback__)
        trace = (f"{_shown(frame.filename)}:{frame.lineno} in {frame.name}" for frame in frames)
        return cls(type(error).__qualname__, tuple(trace))

    def finding(self, name: str) -> Finding:
        """The refusal that stands in the tables for this case."""
        return Finding(
            ReasonCode.INTERNAL_ERROR,
            "kneeimg failed on this case",
            found=self.kind,
            action=f"please report {LOGS}/{name}.log; after a BrokenProcessPool or MemoryError "
            "try fewer workers",
        )

    def write_log(self, out: Path, name: str) -> None:
        """Write the trace below OUT/logs."""
        lines = (_MARK.decode(), f"{self.kind} (its text is left out)", *self.trace)
        write_text(out / LOGS / f"{name}.log", "\n".join(lines) + "\n")


def clear_logs(out: Path) -> None:
    """Remove the logs of an earlier run; what still fails is logged again.

    Only files that a run writes: OUT may be a folder with other things in it.
    """
    folder = out / LOGS
    for log in folder.glob("*.log"):
        if log.read_bytes().startswith(_MARK):
            log.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()  # only when it is empty


def _shown(filename: str) -> str:
    """Path of a source file without the machine's folders."""
    path = Path(filename)
    if path.is_relative_to(_SOURCES):
        return path.relative_to(_SOURCES).as_posix()
    parts = path.parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return path.name
