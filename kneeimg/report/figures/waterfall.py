"""Waterfall: the change of every knee at one visit, sorted, against the smallest detectable one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kneeimg.report import palette
from kneeimg.report.figures.canvas import house_style, new_figure, png_bytes, write_heading
from kneeimg.report.figures.plots import (
    UNITS,
    empty_axes,
    in_brackets,
    quiet_axes,
    sdc_band,
    zero_line,
)
from kneeimg.report.summaries import Single

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_PX, _HEIGHT_PX = 1380, 400


def waterfall_plot(
    bars: Sequence[Single],
    *,
    title: str,
    unit: str,
    groups: dict[str, str] | None = None,
    limits: Sequence[tuple[float, str]] = (),
    sdc_kind: str = "",
) -> bytes:
    """Bars as a PNG; see :func:`waterfall_figure`."""
    with house_style():
        return png_bytes(
            waterfall_figure(
                bars, title=title, unit=unit, groups=groups, limits=limits, sdc_kind=sdc_kind
            )
        )


def waterfall_figure(
    bars: Sequence[Single],
    *,
    title: str,
    unit: str,
    groups: dict[str, str] | None = None,
    limits: Sequence[tuple[float, str]] = (),
    sdc_kind: str = "",
) -> Figure:
    """One bar for each knee, most loss at the left, coloured by its class in the change table.

    Parameters
    ----------
    bars : In the order in which they are drawn.
    title : Heading.
    unit : Of the change.
    groups : Participant to arm: a marker under each bar; None before unblinding.
    limits : (value, name) of further horizontal lines, such as a published threshold.
    sdc_kind : "simulated" when the SDC does not come from repeated scans.
    """
    figure = new_figure(_WIDTH_PX, _HEIGHT_PX)
    axes = figure.add_axes((0.06, 0.21, 0.80, 0.62))
    write_heading(figure, title, "one bar per knee")
    if not bars:
        empty_axes(axes, "no change measured")
        return figure
    sdc = max((bar.sdc for bar in bars if math.isfinite(bar.sdc)), default=math.nan)
    has_band = sdc_band(axes, sdc, lines=True)
    for place, bar in enumerate(bars):
        axes.bar([place], [bar.change], width=0.8, color=_colour(bar), zorder=3,
                 hatch=palette.CLASS_HATCHES.get(bar.change_class), edgecolor=palette.QUIET_INK,
                 linewidth=0.5)  # fmt: skip
    zero_line(axes)
    for value, name in limits:
        axes.axhline(value, color=palette.NARROWEST, linewidth=1.2, linestyle=(0, (2, 2)))
        axes.text(len(bars) - 0.45, value, name, fontsize=8, va="bottom", ha="right",
                  color=palette.INK)  # fmt: skip
    axes.set_xlim(-0.7, len(bars) - 0.3)
    axes.margins(y=0.12)
    axes.set_ylabel(f"change ({UNITS.get(unit, unit)})")
    axes.set_xticks(range(len(bars)), [bar.participant for bar in bars], fontsize=7.5,
                    rotation=90 if len(bars) > 14 else 0)  # fmt: skip
    quiet_axes(axes)
    arms = _mark_groups(axes, bars, groups or {})
    # below the number: beside it the line would reach into the bars
    after = f"\n{in_brackets(sdc_kind).strip()}" if sdc_kind else ""
    figure.legend(handles=_handles(bars, arms, sdc if has_band else math.nan, unit, after),
                  loc="upper right", bbox_to_anchor=(0.998, 0.84), frameon=False, fontsize=8.0,
                  labelcolor=palette.INK)  # fmt: skip
    return figure


def _colour(bar: Single) -> str:
    return palette.CLASS_COLOURS.get(bar.change_class, palette.SERIES)


def _mark_groups(axes: Axes, bars: Sequence[Single], groups: dict[str, str]) -> list[str]:
    """A marker in the style of the arm above each bar's name; the arms in order."""
    arms = sorted({groups[bar.participant] for bar in bars if bar.participant in groups})
    for place, bar in enumerate(bars):
        arm = groups.get(bar.participant)
        if arm is not None:
            colour, marker, _ = palette.ARM_STYLES[arms.index(arm) % len(palette.ARM_STYLES)]
            axes.plot([place], [0.025], marker=marker, color=colour, markersize=6, zorder=6,
                      transform=axes.get_xaxis_transform(), clip_on=False)  # fmt: skip
    return arms


def _handles(
    bars: Sequence[Single], arms: Sequence[str], sdc: float, unit: str, after: str
) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    present = {bar.change_class for bar in bars}
    handles: list[Any] = [
        Patch(facecolor=colour, hatch=palette.CLASS_HATCHES.get(name), label=name,
              edgecolor=palette.QUIET_INK, linewidth=0.5)
        for name, colour in palette.CLASS_COLOURS.items() if name in present
    ]  # fmt: skip
    if math.isfinite(sdc):
        label = f"± SDC, {sdc:.3f} {UNITS.get(unit, unit)}{after}"
        handles.append(Line2D([], [], color=palette.QUIET_INK, linestyle=(0, (5, 3)), label=label))
    for number, arm in enumerate(arms):
        colour, marker, _ = palette.ARM_STYLES[number % len(palette.ARM_STYLES)]
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=arm))
    return handles
