"""Bland-Altman plots of repeated scans, one panel for each quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.precision import PrecisionRow
from kneeimg.report import palette
from kneeimg.report.figures.canvas import NOTICE, house_style, new_figure, png_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4
_PANEL_PX = (330, 270)
_TOP_PX, _FOOT_PX = 64, 34
_POINT, _LIMIT, _BAND = "#0072B2", "#D55E00", "#E9D3C4"


@dataclass(frozen=True, slots=True, eq=False)
class AgreementPanel:
    """One quantity: its row in the precision table and the pairs that it was made from.

    Attributes
    ----------
    row : Bias, limits of agreement and their intervals.
    first, second : (n,) values of the first and the second scan of every knee.
    """

    row: PrecisionRow
    first: NDArray[np.float64]
    second: NDArray[np.float64]


def agreement_grid(panels: Sequence[AgreementPanel], *, title: str = "") -> bytes:
    """Difference against mean of every knee, with bias and 95 % limits of agreement.

    Parameters
    ----------
    panels : At least one.
    title : Heading in study ids; must say "simulated" for a simulated study.

    Returns
    -------
    PNG, four panels in a row.
    """
    with house_style():
        return png_bytes(agreement_figure(panels, title=title))


def agreement_figure(panels: Sequence[AgreementPanel], *, title: str = "") -> Figure:
    """The figure that :func:`agreement_grid` writes."""
    if not panels:
        raise ValueError("a picture of agreement needs at least one quantity")
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    width = max(columns, 2) * _PANEL_PX[0]
    height = lines * _PANEL_PX[1] + _TOP_PX + _FOOT_PX
    figure = new_figure(width, height)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        left = (column + 0.21) * _PANEL_PX[0] / width
        bottom = (_FOOT_PX + (lines - 1 - row + 0.20) * _PANEL_PX[1]) / height
        size = (0.74 * _PANEL_PX[0] / width, 0.62 * _PANEL_PX[1] / height)
        _draw(figure.add_axes((left, bottom, *size)), panel)
    figure.text(0.012, 1 - 24 / height, title or "Repeated scans", fontsize=12, color=palette.INK)
    note = "second − first scan against their mean; line: bias, dashes: 95 % limits, bands: 95 % CI"
    figure.text(0.012, 1 - 44 / height, note, color=palette.QUIET_INK)
    figure.text(0.012, 10 / height, NOTICE, color=palette.QUIET_INK)
    return figure


def _draw(axes: Axes, panel: AgreementPanel) -> None:
    row = panel.row
    middle, difference = (panel.first + panel.second) / 2.0, panel.second - panel.first
    for value, low, high in (
        (row.bias, row.bias_low, row.bias_high),
        (row.loa_lower, row.loa_lower_low, row.loa_lower_high),
        (row.loa_upper, row.loa_upper_low, row.loa_upper_high),
    ):
        axes.axhspan(low, high, color=_BAND, alpha=0.55, linewidth=0)
        dashed = "-" if value == row.bias else (0, (5, 3))
        axes.axhline(value, color=_LIMIT, linewidth=1.1, linestyle=dashed)
    axes.axhline(0.0, color=palette.QUIET_INK, linewidth=0.6)
    axes.plot(middle, difference, "o", color=_POINT, markersize=4.5, markeredgewidth=0, alpha=0.85)
    reach = max(abs(row.loa_lower_low), abs(row.loa_upper_high), float(np.abs(difference).max()))
    if reach > 0:
        axes.set_ylim(-1.1 * reach, 1.1 * reach)
    axes.margins(x=0.08)
    axes.set_title(f"{row.region} {row.quantity}", loc="left", fontsize=9, color=palette.INK)
    text = f"n={row.n_people}  SDC95 {row.sdc95:.3g} {row.unit}"
    axes.set_title(text, loc="right", fontsize=7.5, color=palette.QUIET_INK)
    axes.set_xlabel(f"mean ({row.unit})", labelpad=1)
    axes.set_ylabel(f"difference ({row.unit})", labelpad=1)
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)
