"""Bland-Altman plots show what the table says."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.precision import PrecisionRow
from kneeimg.report.figures.repeats import AgreementPanel, agreement_figure, agreement_grid


def panel(region: str) -> AgreementPanel:
    row = PrecisionRow(
        kind="mri", method="ray/hard", procedure="paired", region=region, quantity="ThCtAB_aMe",
        unit="mm", sample="s", n_people=3, n_knees=3, n_scans=6, sdc95=0.3, bias=0.1, bias_low=0.0,
        bias_high=0.2, loa_lower=-0.1, loa_lower_low=-0.3, loa_lower_high=0.1, loa_upper=0.3,
        loa_upper_low=0.1, loa_upper_high=0.5,
    )  # fmt: skip
    return AgreementPanel(row, np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.2, 3.1]))


def test_points_lines_and_heading() -> None:
    figure = agreement_figure([panel(r) for r in ("MT", "LT", "cMF", "cLF", "FTJ")], title="RT1")
    assert len(figure.axes) == 5
    axes = figure.axes[0]
    x, y = axes.lines[-1].get_data()
    np.testing.assert_allclose(x, [1.0, 2.1, 3.05])
    np.testing.assert_allclose(y, [0.0, 0.2, 0.1])
    assert {line.get_ydata()[0] for line in axes.lines[:3]} == {0.1, -0.1, 0.3}
    assert axes.get_title(loc="left") == "MT ThCtAB_aMe"
    assert figure.texts[0].get_text() == "RT1"


def test_equal_input_gives_equal_bytes_and_nothing_is_refused() -> None:
    assert agreement_grid([panel("MT")]) == agreement_grid([panel("MT")])
    with pytest.raises(ValueError, match="at least one"):
        agreement_grid([])
