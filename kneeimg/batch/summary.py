"""What a batch did, in numbers and refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kneeimg.errors import ExitStatus, Finding

#: done, total, what: called once per finished case.
Progress = Callable[[int, int, str], None]

STATUSES = ("measured", "refused", "missing", "skipped", "excluded")


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """What became of everything that was planned.

    Attributes
    ----------
    disposition : Rows of the disposition table.
    n_rows : Rows of the measurement table.
    n_cases : Cases that ran or were kept.
    n_change_rows : Rows of the change table.
    n_reused : Of the cases, those verified and kept from an earlier run.
    changed : Cases measured again because an output no longer matched its manifest.
    crashed : Cases that ended in a bug or a dead worker; see the logs.
    findings : What concerns the run as a whole, e.g. why no change was classed.
    """

    disposition: tuple[Mapping[str, str], ...]
    n_rows: int
    n_cases: int
    n_change_rows: int = 0
    n_reused: int = 0
    changed: tuple[str, ...] = ()
    crashed: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def counts(self) -> Counter[str]:
        """Number of scans by status."""
        return Counter(row["status"] for row in self.disposition)

    @property
    def refusals(self) -> tuple[Mapping[str, str], ...]:
        """Rows of refused scans and missing visits."""
        return tuple(row for row in self.disposition if row["status"] in ("refused", "missing"))

    @property
    def exit_status(self) -> ExitStatus:
        """0 all measured, 2 some refused, 3 all refused.

        A planned visit that has not come yet is reported, but no scan was refused for it.
        """
        counts = self.counts
        if not counts["measured"]:
            return ExitStatus.ALL_REFUSED
        return ExitStatus.SOME_REFUSED if counts["refused"] else ExitStatus.MEASURED

    def headline(self) -> str:
        """One line for a person."""
        counts = self.counts
        parts = [
            f"{counts[name]} {name}" for name in STATUSES if counts[name] or name == "measured"
        ]
        parts.append(f"{self.n_rows} rows, {self.n_change_rows} change rows")
        if self.n_reused:
            parts.append(f"{self.n_reused} of {self.n_cases} cases kept from before")
        if self.changed:
            parts.append(f"{len(self.changed)} measured again because outputs had changed")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "exit_status": int(self.exit_status),
            "counts": dict(self.counts),
            "rows": self.n_rows,
            "change_rows": self.n_change_rows,
            "cases": self.n_cases,
            "reused": self.n_reused,
            "changed": list(self.changed),
            "crashed": list(self.crashed),
            "findings": [finding.as_dict() for finding in self.findings],
            "disposition": [dict(row) for row in self.disposition],
        }
