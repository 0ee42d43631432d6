"""What all tables share: comparisons of arms, rows that say why they are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kneeimg.errors import AnalysisError, ReasonCode
from kneeimg.trial.dataset import Sample

Row = dict[str, Any]

EVERYBODY = "all"


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm and the one it is compared with; an empty reference means there is none."""

    arm: str
    reference: str

    def as_row(self) -> Row:
        """The columns that say which arms a row is about."""
        return {"arm": self.arm, "reference_arm": self.reference}


def comparisons(arms: Sequence[str]) -> tuple[Comparison, ...]:
    """Every other arm against the first; with one arm a comparison that cannot be made.

    >>> comparisons(["control", "drug"])
    (Comparison(arm='drug', reference='control'),)
    """
    if len(arms) == 1:
        return (Comparison(arms[0], ""),)
    return tuple(Comparison(arm, arms[0]) for arm in arms[1:])


def require_comparison(comparison: Comparison) -> None:
    """AnalysisError ONE_ARM without a reference."""
    if not comparison.reference:
        raise AnalysisError(
            "only one arm has participants",
            code=ReasonCode.ONE_ARM,
            expected="at least 2 arms",
            found=comparison.arm,
        )


def require_outcome(sample: Sample) -> None:
    """AnalysisError when nobody has a value of this outcome at this visit."""
    if not sample.outcome.known:
        raise AnalysisError(
            "the change table has no such outcome",
            code=ReasonCode.UNKNOWN_OUTCOME,
            expected="a name of the wide table",
            found=sample.outcome.endpoint,
        )
    if all(row["status"] != "ok" for row in sample.rows):
        raise AnalysisError(
            "nobody has a change from baseline to this visit",
            code=ReasonCode.VISIT_MISSING,
            expected=f"values at {sample.visit}",
            found="none",
        )


def estimated(row: Row, estimate: Callable[[Row], None]) -> Row:
    """Fill a row; what the data do not allow becomes its status, reason and message.

    Parameters
    ----------
    row : What is known beforehand.
    estimate : Adds numbers to the row; may raise AnalysisError.
    """
    row |= {"status": "ok", "reason": "", "message": ""}
    try:
        estimate(row)
    except AnalysisError as error:
        row |= {"status": "not_measurable"} | explained(error)
    return row


@contextmanager
def part_of(row: Row) -> Iterator[None]:
    """A part of a row that may fail alone: its reason is kept, the row stays `ok`."""
    try:
        yield
    except AnalysisError as error:
        if not row["reason"]:
            row |= explained(error)


def explained(error: AnalysisError) -> Row:
    """Reason and message of an error, for a row."""
    finding = error.finding
    detail = f" (expected {finding.expected}, found {finding.found})" if finding.expected else ""
    return {"reason": finding.code.value, "message": f"{finding.message}{detail}"}


def adjust_families(rows: Sequence[Row], p: str, family: str | None, prefix: str = "") -> None:
    """Add Holm and Benjamini-Hochberg p-values and the number of tests to rows, in place.

    Parameters
    ----------
    rows : Rows of one table; those without a p are no test.
    p : Column of the p-values.
    family : Column whose values part the rows into families; None for one family.
    prefix : Put before the names of the new columns.
    """
    import numpy as np

    from kneeimg.trial.statistics.multiplicity import benjamini_hochberg, holm

    for name in dict.fromkeys(row[family] if family else "" for row in rows):
        own = [row for row in rows if not family or row[family] == name]
        values = [row.get(p, np.nan) for row in own]
        tests = int(np.isfinite(np.array(values, dtype=np.float64)).sum())
        for row, by_holm, by_bh in zip(own, holm(values), benjamini_hochberg(values), strict=True):
            row |= {f"{prefix}n_tests": tests}
            row |= {f"{prefix}p_holm": float(by_holm), f"{prefix}p_bh": float(by_bh)}
