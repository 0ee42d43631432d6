"""Forest plots: means or differences with their intervals, one line for each region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kneeimg.report import palette
from kneeimg.report.figures.canvas import house_style, new_figure, png_bytes, write_heading
from kneeimg.report.figures.plots import UNITS, empty_axes, in_brackets, quiet_axes, zero_line
from kneeimg.report.numbers import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_PX = 1380
_ROW_PX = 30
_FRAME_PX = 150
_MAX_PANELS = 4


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One line of a panel.

    Attributes
    ----------
    label : Region, or outcome.
    n : What stands at the right, e.g. "25" or "13 / 12".
    value, low, high : Estimate and interval; NaN where there is none.
    sdc : Half width of the grey band behind the line: SDC of one knee; NaN for none.
    note : What stands in place of an estimate that there is none of, e.g. a reason code.
    """

    label: str
    n: str
    value: float
    low: float
    high: float
    sdc: float = math.nan
    note: str = ""


@dataclass(frozen=True, slots=True)
class ForestPanel:
    """One visit."""

    title: str
    rows: tuple[ForestRow, ...]


def forest_plot(
    panels: Sequence[ForestPanel],
    *,
    title: str,
    subtitle: str,
    label: str,
    unit: str,
    sdc_kind: str = "",
) -> bytes:
    """Panels side by side on one scale, as a PNG; see :func:`forest_figure`."""
    with house_style():
        return png_bytes(
            forest_figure(
                panels, title=title, subtitle=subtitle, label=label, unit=unit, sdc_kind=sdc_kind
            )
        )


def forest_figure(
    panels: Sequence[ForestPanel],
    *,
    title: str,
    subtitle: str,
    label: str,
    unit: str,
    sdc_kind: str = "",
) -> Figure:
    """One panel for each visit, at most four, all with the same axis.

    Parameters
    ----------
    panels : Each with the same labels in the same order; the last ones are drawn if there are more.
    title, subtitle : Heading.
    label : Of the horizontal axis, without the unit.
    unit : mm, mm^2, ...; "" for none.
    sdc_kind : "simulated" when the bands do not come from repeated scans.
    """
    panels = panels[-_MAX_PANELS:]
    lines = max((len(panel.rows) for panel in panels), default=1)
    height = lines * _ROW_PX + _FRAME_PX
    figure = new_figure(_WIDTH_PX, height)
    if not panels:
        empty_axes(figure.add_subplot(), "nothing to show")
        write_heading(figure, title, subtitle)
        return figure
    layout = figure.add_gridspec(
        1, len(panels), left=0.075, right=0.99, top=1 - 68 / height, bottom=72 / height, wspace=0.06
    )
    first: Axes | None = None
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(layout[0, number], sharex=first)
        first = first or axes
        _draw(axes, panel, unit, with_labels=number == 0)
        axes.set_xlabel(f"{label} ({UNITS.get(unit, unit)})" if unit else label, fontsize=8.5)
    _widen(first, panels)
    write_heading(figure, title, subtitle)
    if any(math.isfinite(row.sdc) for panel in panels for row in panel.rows):
        text = f"grey: within the smallest detectable change of one knee{in_brackets(sdc_kind)}"
        figure.text(0.075, 7 / height, text, fontsize=8.5, color=palette.QUIET_INK)
    return figure


def _draw(axes: Axes, panel: ForestPanel, unit: str, *, with_labels: bool) -> None:
    count = len(panel.rows)
    axes.set_title(panel.title, fontsize=9.5, color=palette.INK, loc="left", pad=6)
    axes.set_ylim(count - 0.4, -0.6)
    for line, row in enumerate(panel.rows):
        _draw_row(axes, line, row, unit)
    zero_line(axes, vertical=True)
    names = [row.label for row in panel.rows] if with_labels else [""] * count
    axes.set_yticks(range(count), names, fontsize=9)
    axes.tick_params(axis="y", length=0)
    quiet_axes(axes, grid="x")


def _draw_row(axes: Axes, line: int, row: ForestRow, unit: str) -> None:
    from matplotlib.patches import Rectangle

    if math.isfinite(row.sdc):
        axes.add_patch(Rectangle((-row.sdc, line - 0.36), 2 * row.sdc, 0.72, linewidth=0,
                                 facecolor=palette.SDC_BAND, zorder=0.5))  # fmt: skip
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": 7.5}
    if not math.isfinite(row.value):
        axes.text(0.985, line, row.note or "no value", ha="right", va="center",
                  color=palette.QUIET_INK, **place)  # fmt: skip
        return
    colour = _colour(row)
    if math.isfinite(row.low) and math.isfinite(row.high):
        axes.plot([row.low, row.high], [line, line], color=colour, linewidth=1.8, zorder=3)
    axes.plot([row.value], [line], marker="s", color=colour, markersize=5.5, zorder=4,
              linestyle="none")  # fmt: skip
    text = f"{number_text(row.value, unit, sign=True)}  n {row.n}"
    axes.text(0.985, line - 0.27, text, ha="right", va="center", color=palette.INK, **place)


def _colour(row: ForestRow) -> str:
    """Loss or gain where the interval excludes 0, dark where it does not."""
    if row.high < 0:
        return palette.CLASS_COLOURS["loss"]
    return palette.CLASS_COLOURS["gain"] if row.low > 0 else palette.INK


def _widen(axes: Axes | None, panels: Sequence[ForestPanel]) -> None:
    """Limits that hold every interval and band, 0 included, with room for the text at the right."""
    if axes is None:
        return
    ends = [0.0]
    for row in (row for panel in panels for row in panel.rows):
        ends += [x for x in (row.value, row.low, row.high) if math.isfinite(x)]
        ends += [-row.sdc, row.sdc] if math.isfinite(row.sdc) else []
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    axes.set_xlim(low - 0.06 * span, high + 0.30 * span)
