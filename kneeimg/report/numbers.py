"""Numbers as a reader sees them: rounded by unit, 0 as 0, and never "nan"."""

from __future__ import annotations

import math
from collections.abc import Mapping

MINUS = "−"
ABSENT = "–"

_DECIMALS: Mapping[str, int] = {
    "mm": 3, "mm^2": 1, "mm^3": 0, "%": 1, "deg": 1, "ratio": 4, "ms": 1, "d": 0,
}  # fmt: skip


def number_text(value: float | None, unit: str = "", *, sign: bool = False) -> str:
    """A number rounded for its unit; a dash where there is none.

    >>> number_text(0.0, "mm"), number_text(-0.01234, "mm", sign=True), number_text(None)
    ('0', '−0.012', '–')
    >>> number_text(float("nan"), "mm"), number_text(-0.0001, "mm")
    ('–', '0.000')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    text = f"{abs(value):.{_DECIMALS.get(unit, 3)}f}"
    rounded_to_zero = float(text) == 0
    if value < 0 and not rounded_to_zero:
        return MINUS + text
    return f"+{text}" if sign and not rounded_to_zero else text
