"""Table `ae`: adverse events by arm, as counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kneeimg.errors import AnalysisError, ReasonCode
from kneeimg.settings.trial import TrialSettings
from kneeimg.trial.analysis.rows import Row, estimated
from kneeimg.trial.clinical import ADVERSE_EVENTS, Clinical
from kneeimg.trial.statistics.proportions import fisher, newcombe, wilson


def adverse_rows(
    clinical: Clinical, of: Mapping[str, str], arms: Sequence[str], settings: TrialSettings
) -> list[Row]:
    """One row per arm; none when no clinical CSV has the column `ae_count`.

    Counts of all visits are added up. A participant without any count is not reported, which is
    not the same as no event.
    """
    if ADVERSE_EVENTS not in clinical.units:
        return []
    events: dict[str, float] = {}
    for (person, _, column), value in clinical.values.items():
        if column == ADVERSE_EVENTS and person in of:
            events[person] = events.get(person, 0.0) + value
    by_arm = {
        arm: [events[person] for person, own in of.items() if own == arm and person in events]
        for arm in arms
    }
    size = {arm: sum(own == arm for own in of.values()) for arm in arms}
    return [_row(arm, arms[0], by_arm, size[arm], settings.confidence) for arm in arms]


def _row(
    arm: str, first: str, by_arm: Mapping[str, Sequence[float]], size: int, confidence: float
) -> Row:
    reference = "" if arm == first else first
    counts = by_arm[arm]
    row: Row = {"arm": arm, "reference_arm": reference, "n_participants": size}
    row |= {"n_reported": len(counts), "with_event": sum(count > 0 for count in counts)}
    row["events"] = round(sum(counts))

    def estimate(row: Row) -> None:
        if not counts:
            raise AnalysisError(
                "nobody in the arm has a count of adverse events",
                code=ReasonCode.TOO_FEW_PARTICIPANTS,
                expected="at least 1 participant",
                found="0",
            )
        row["events_per_participant"] = sum(counts) / len(counts)
        share = wilson(row["with_event"], len(counts), confidence)
        row |= {"share": share.value, "ci_low": share.low, "ci_high": share.high}
        other = by_arm[reference] if reference else ()
        if other:
            four = (row["with_event"], len(counts), sum(c > 0 for c in other), len(other))
            difference = newcombe(*four, confidence)
            row["share_difference"] = difference.value
            row |= {"difference_low": difference.low, "difference_high": difference.high}
            row["p_fisher"] = fisher(*four, confidence).p

    return estimated(row, estimate)
