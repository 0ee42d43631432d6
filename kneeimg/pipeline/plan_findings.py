"""What is said of scans that a plan does not measure, or measures with a remark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kneeimg.errors import Finding, ReasonCode
from kneeimg.settings.study import VisitWindow

if TYPE_CHECKING:
    from kneeimg.io.dicom import SeriesRecord


def out_of_window(day: int | None, window: VisitWindow | None) -> tuple[Finding, ...]:
    """A finding when the day is known and lies outside the visit's window."""
    if day is None or window is None or window.holds(day):
        return ()
    low, high = window.target_day - window.window_days, window.target_day + window.window_days
    finding = Finding(
        ReasonCode.VISIT_OUT_OF_WINDOW,
        f"the scan is dated outside the window of visit {window.name}",
        expected=f"day {low} to {high}",
        found=f"day {day}",
        action="check date and baseline; the scan is measured and flagged",
    )
    return (finding,)


def dates_backwards(visit: str, before: str, day: int | None) -> Finding:
    """The refusal of a scan that is dated before a visit that it must follow."""
    return Finding(
        ReasonCode.DATES_BACKWARDS,
        f"the scan of visit {visit} contradicts the date of visit {before}",
        expected="dates in the order of the planned visits",
        found=f"day {day}",
        action="correct the date or the visit, here or at the other visit, and run again",
    )


def not_measured(record: SeriesRecord) -> Finding:
    """A series of a modality that nothing is measured on."""
    return Finding(
        ReasonCode.UNSUPPORTED_IMAGE,
        "an image of a kind that is not measured",
        where=record.folder,
        found=record.modality,
    )


def stranger() -> Finding:
    """A scan of somebody whom the study does not know."""
    return Finding(
        ReasonCode.SUBJECT_MISMATCH,
        "the person in the file is not in the participants table",
        expected="a patient_id of participants.csv",
        found="another PatientID, or none",
        action="give the patient_id in participants.csv; scans without one go into a folder named "
        "after the participant",
    )


def undated() -> Finding:
    """A scan that neither a date nor a folder puts at a visit."""
    return Finding(
        ReasonCode.VISIT_OUT_OF_WINDOW,
        "the scan has no date, so its visit is unknown",
        expected="a study date, or a folder named after the visit",
        found="neither",
        action="list the scan in scans.csv",
    )


def unplanned_day(day: int | None) -> Finding:
    """A scan outside every window, measured as a visit of its own."""
    return Finding(
        ReasonCode.VISIT_OUT_OF_WINDOW,
        "the scan is dated before the baseline, outside every visit window"
        if day is not None and day < 0
        else "the scan date lies outside every visit window",
        found=f"day {day}",
        action="the scan is measured as an unscheduled visit; check date and baseline",
    )


def farther_from_target(visit: str) -> Finding:
    """A found scan beside another one of its visit."""
    return Finding(
        ReasonCode.DUPLICATE_SCAN,
        f"another scan of visit {visit} is nearer to its target day",
        action="none needed; to measure this scan instead, list the scans in scans.csv",
    )


def refused_with(finding: Finding) -> Finding:
    """A series of a scan that was refused because of another series."""
    return Finding(
        finding.code,
        "part of a scan that was refused",
        action="see the refused series of this visit",
    )


def not_chosen(series: SeriesRecord) -> Finding:
    """A series of a scan that is measured on another series."""
    return Finding(
        ReasonCode.NO_RULE_MATCHES,
        "another series of this scan was chosen",
        found=series.uid_hash,
        action="change the [[series]] rules of the study file if this one was meant",
    )


def unknown_side_among_others() -> Finding:
    """A scan that may show either knee, at a visit with more scans."""
    return Finding(
        ReasonCode.NO_LATERALITY,
        "several scans of this visit, and nothing says which knee this one shows",
        expected="left or right",
        found="no source",
        action="list the scans with their sides in scans.csv",
    )


def second_scan(visit: str) -> Finding:
    """A scan of a knee that has one at this visit already."""
    return Finding(
        ReasonCode.DUPLICATE_SCAN,
        f"this knee has another scan at visit {visit}",
        action="list the scan that is meant in scans.csv",
    )


def not_nearest(visit: str) -> Finding:
    """A listed scan beside another one of its visit."""
    return Finding(
        ReasonCode.DUPLICATE_SCAN,
        f"another scan of visit {visit} is nearer to its target day, or stands first",
        action="none needed; to measure both, name them run-1 and run-2 in the column `scan`",
    )


def no_scan(kind: str, visit: str) -> Finding:
    """A planned scan that is not there."""
    return Finding(
        ReasonCode.VISIT_MISSING,
        "no scan was found for a planned visit",
        expected=f"{kind} of visit {visit}",
        found="none",
        action="add the scan, or leave the gap as it is: it stays in the tables",
    )


def unused_mask() -> Finding:
    """A DICOM mask whose own series is measured without it, or not at all."""
    return Finding(
        ReasonCode.NO_RULE_MATCHES,
        "the mask of a series that is not measured with it",
        action="see the series itself",
    )


def mask_of_nothing(named: tuple[str, ...]) -> Finding:
    """A DICOM mask of series that were not found."""
    return Finding(
        ReasonCode.MASK_SERIES_MISMATCH,
        "the series on which the segmentation was drawn is not there",
        expected=", ".join(named) or "a series named in the file",
        found="other series",
    )
