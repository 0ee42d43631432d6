"""Who, which knee and when, in study ids only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kneeimg.core.anatomy import Side
from kneeimg.errors import ReasonCode, StudyError

STUDY_ID = re.compile(r"[A-Za-z0-9-]{1,32}")
SCAN_ID = re.compile(r"run-[1-9][0-9]?")


def require_study_id(value: str, what: str) -> str:
    """The id itself; StudyError unless it may stand in a file name.

    >>> require_study_id("P01", "participant")
    'P01'
    """
    if not STUDY_ID.fullmatch(value):
        raise StudyError(
            f"{what} id cannot be used in file names",
            code=ReasonCode.BAD_STUDY_ID,
            expected="1 to 32 letters, digits or hyphens",
            found=repr(value),
            action="give the participant a study id in participants.csv",
        )
    return value


@dataclass(frozen=True, slots=True, order=True)
class Visit:
    """One knee of one participant at one time point.

    Attributes
    ----------
    participant : Study id, never a name or a hospital number.
    visit : Visit id, e.g. "BL", "M06", "M12".
    side : Which knee.
    day : Days since the participant's baseline; None when the dates are unknown.
    scan : "run-1", "run-2", ... of repeated scans of one visit; empty for the only scan, and for
        what was averaged over the repeats.
    """

    participant: str
    visit: str
    side: Side | None
    day: int | None = None
    scan: str = ""

    def __post_init__(self) -> None:
        require_study_id(self.participant, "participant")
        require_study_id(self.visit, "visit")
        if self.scan and not SCAN_ID.fullmatch(self.scan):
            raise ValueError(f"a repeated scan is called run-1, run-2, ..., got {self.scan!r}")

    @property
    def label(self) -> str:
        """Visit, and which of its scans, for titles: "BL", "BL run-2"."""
        return f"{self.visit} {self.scan}".rstrip()
