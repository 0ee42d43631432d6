"""The columns of the tables under OUT, in their order: what `io` writes and `report` reads."""

from __future__ import annotations

MEASUREMENT_COLUMNS = (
    "participant", "side", "visit", "day", "scan", "dtype", "kind", "region", "quantity", "value",
    "unit", "status", "reason", "method", "tab_source", "aggregate", "femur_fraction",
    "spacing_source", "qc_flags", "series_uid_hash", "software_version", "model_sha256",
)  # fmt: skip
CHANGE_COLUMNS = (
    "participant", "side", "kind", "region", "quantity", "visit_from", "visit_to", "days",
    "dtype", "baseline", "followup", "change", "change_pct", "change_per_year", "unit", "status",
    "reason", "change_class", "sdc", "sdc_source", "progression", "tab_source",
    "registration_rms_mm", "drift", "method", "software_version",
)  # fmt: skip
DISPOSITION_COLUMNS = (
    "participant", "visit", "side", "kind", "source", "series_uid_hash", "status", "code",
    "message", "expected", "found", "action",
)  # fmt: skip

FLOAT_COLUMNS = frozenset(
    {
        "value", "femur_fraction", "baseline", "followup", "change", "change_pct",
        "change_per_year", "sdc", "registration_rms_mm",
    }
)  # fmt: skip
INTEGER_COLUMNS = frozenset({"day", "days"})

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def quoted(text: str) -> str:
    """Text as a CSV holds it: an apostrophe before what a spreadsheet would take for a formula.

    >>> quoted("=1+1"), quoted("P01")
    ("'=1+1", 'P01')
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def unquoted(cell: str) -> str:
    """The inverse of :func:`quoted`; an apostrophe of the text itself stays.

    >>> unquoted("'=1+1"), unquoted("'tis")
    ('=1+1', "'tis")
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell
