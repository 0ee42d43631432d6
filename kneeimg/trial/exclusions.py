"""What the analysis by arm leaves out, and why: one row each, nothing dropped in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kneeimg.core.visit import STUDY_ID
from kneeimg.errors import USUAL_ACTIONS, ReasonCode

RESULTS = "results"  # the `source` of what the results folder itself lacks


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A row, cell or participant that is not analysed.

    Attributes
    ----------
    code, message : Why.
    source : File name, or "results".
    line : Line of the file; None for the results.
    participant, visit, column : What is left out; an empty column means the whole row.
    expected, found : What was needed and what was there.
    """

    code: ReasonCode
    message: str
    source: str
    line: int | None = None
    participant: str = ""
    visit: str = ""
    column: str = ""
    expected: str = ""
    found: str = ""

    def as_row(self) -> dict[str, Any]:
        """Values by the columns of the table `excluded`."""
        return {
            "source": self.source,
            "line": self.line,
            "participant": self.participant,
            "visit": self.visit,
            "column": self.column,
            "code": self.code.value,
            "message": self.message,
            "expected": self.expected,
            "found": self.found,
            "action": USUAL_ACTIONS.get(self.code, ""),
        }


def shown_id(value: str, known: Iterable[str]) -> str:
    """An unknown id, if it is written like the study's own; otherwise nothing.

    A hospital number that somebody put where the study id belongs must not reach an output.

    >>> shown_id("P26", ["P01", "P02"]), shown_id("4711-0815", ["P01"])
    ('P26', '')
    """
    shapes = {_shape(name) for name in known}
    return value if STUDY_ID.fullmatch(value) and _shape(value) in shapes else ""


def shown_cell(text: str) -> str:
    """A cell that is no number, without free text: what people write there may be a name.

    >>> shown_cell("<0.5"), shown_cell("see Dr House")
    ('<0.5', 'text without a digit')
    """
    return text[:16] if any(c.isdigit() for c in text) else "text without a digit"


def _shape(value: str) -> str:
    return re.sub(r"[A-Za-z]", "A", re.sub(r"[0-9]", "9", value))
