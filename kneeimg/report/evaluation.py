"""The page of an evaluation: how well segmentations agree with their references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kneeimg.report.html import page_text


def evaluation_page(
    tissues: Sequence[dict[str, Any]],
    plates: Sequence[dict[str, Any]],
    refused: Sequence[dict[str, Any]],
    pictures: Sequence[str],
    cases: int,
    version: str,
) -> str:
    """HTML of an evaluation from its tables; pictures lie in `pictures/`."""
    return page_text(
        "evaluation.html.j2",
        {
            "tissues": tissues,
            "plates": plates,
            "refused": refused,
            "pictures": pictures,
            "cases": cases,
            "version": version,
        },
    )
