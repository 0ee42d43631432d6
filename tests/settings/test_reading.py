"""Reading settings and series rules: an unknown key or a bad value is an error."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kneeimg.settings.reading import ReadingSettings, SeriesRule


def test_defaults() -> None:
    assert ReadingSettings().spacing_tolerance == 0.01
    assert SeriesRule().model_dump(exclude_none=True) == {}


@pytest.mark.parametrize(
    "values",
    [
        {"descripton": "DESS"},
        {"description": "(DESS"},
        {"kind": "xray"},
        {"echo_number": 0},
        {"orientation": "saggital"},
        {"side": "medial"},
    ],
)
def test_rule_mistakes(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SeriesRule.model_validate(values)


@pytest.mark.parametrize(
    "values", [{"min_slices": 1}, {"spacing_tolerance": 0}, {"max_image_bytes": -1}, {"typo": 1}]
)
def test_setting_mistakes(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReadingSettings.model_validate(values)
