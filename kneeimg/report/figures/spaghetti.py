"""Spaghetti plot: the change of every knee over the visits, and the mean of each group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kneeimg.report import palette
from kneeimg.report.figures.canvas import house_style, new_figure, png_bytes, write_heading
from kneeimg.report.figures.plots import (
    UNITS,
    band_handle,
    empty_axes,
    foot_legend,
    quiet_axes,
    sdc_band,
    zero_line,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4
_PANEL_PX = (345, 270)
_FRAME_PX = 92  # heading and foot


@dataclass(frozen=True, slots=True)
class Strand:
    """The course of one knee: (day, change) of every visit with a value, without the baseline."""

    name: str
    group: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class GroupMean:
    """Mean change of a group with its interval at every visit: (day, mean, low, high)."""

    group: str
    points: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class SpaghettiPanel:
    """One region and quantity.

    Attributes
    ----------
    title, unit : What is shown; mm, mm^2, ...
    strands : One for each knee.
    means : One for each group; a single group is drawn dark, several in the styles of the arms.
    sdc : Smallest detectable change of one knee; NaN without.
    """

    title: str
    unit: str
    strands: tuple[Strand, ...]
    means: tuple[GroupMean, ...]
    sdc: float


def spaghetti_plot(
    panels: Sequence[SpaghettiPanel],
    visits: Mapping[str, float],
    *,
    title: str,
    sdc_kind: str = "",
) -> bytes:
    """Change since baseline of every knee, as a PNG; see :func:`spaghetti_figure`."""
    with house_style():
        return png_bytes(spaghetti_figure(panels, visits, title=title, sdc_kind=sdc_kind))


def spaghetti_figure(
    panels: Sequence[SpaghettiPanel],
    visits: Mapping[str, float],
    *,
    title: str,
    sdc_kind: str = "",
) -> Figure:
    """One panel for each region, one thin line for each knee, one thick line for each group.

    Parameters
    ----------
    panels : What to draw.
    visits : Visit to its place in days, the baseline included: the ticks.
    title : Heading.
    sdc_kind : "simulated" when the bands do not come from repeated scans.
    """
    rows = -(-len(panels) // _COLUMNS) or 1
    height = rows * _PANEL_PX[1] + _FRAME_PX
    figure = new_figure(_COLUMNS * _PANEL_PX[0], height)
    layout = figure.add_gridspec(
        rows, _COLUMNS, left=0.05, right=0.99, top=1 - 72 / height, bottom=72 / height,
        wspace=0.31, hspace=0.32,
    )  # fmt: skip
    groups = list(dict.fromkeys(mean.group for panel in panels for mean in panel.means))
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(layout[number // _COLUMNS, number % _COLUMNS])
        _draw(axes, panel, visits, groups)
    write_heading(figure, title, "change since baseline, one thin line per knee")
    foot_legend(figure, _handles(panels, groups, sdc_kind))
    return figure


def group_style(groups: Sequence[str], group: str) -> tuple[str, str, str]:
    """Colour, marker and line style of a group; a single one is dark."""
    if len(groups) < 2 or group not in groups:
        return palette.INK, "o", "-"
    return palette.ARM_STYLES[list(groups).index(group) % len(palette.ARM_STYLES)]


def tick_names(visits: Mapping[str, float]) -> list[str]:
    """Names of the visits; one that would touch the name before it stands a line lower.

    >>> tick_names({"BL": 0, "M01": 30, "M06": 182, "M12": 365})
    ['BL', '\\nM01', 'M06', 'M12']
    """
    span = max(visits.values()) - min(visits.values()) if visits else 0.0
    names: list[str] = []
    last = -math.inf
    for visit, place in visits.items():
        crowded = place - last < 0.12 * span and not names[-1].startswith("\n")
        names.append(f"\n{visit}" if crowded else visit)
        last = place
    return names


def _draw(
    axes: Axes, panel: SpaghettiPanel, visits: Mapping[str, float], groups: Sequence[str]
) -> None:
    axes.set_title(panel.title, fontsize=9.5, color=palette.INK, loc="left", pad=4)
    if not panel.strands:
        empty_axes(axes, "no change measured")
        return
    sdc_band(axes, panel.sdc)
    zero_line(axes)
    for strand in panel.strands:
        colour = group_style(groups, strand.group)[0] if len(groups) > 1 else palette.SERIES
        days, change = zip((0.0, 0.0), *strand.points, strict=True)
        axes.plot(days, change, color=colour, linewidth=0.8, alpha=0.45, gid=strand.name)
    for mean in panel.means:
        _draw_mean(axes, mean, groups)
    axes.set_xticks(list(visits.values()), tick_names(visits), fontsize=8)
    axes.set_ylabel(f"change ({UNITS.get(panel.unit, panel.unit)})", fontsize=8.5)
    quiet_axes(axes)


def _draw_mean(axes: Axes, mean: GroupMean, groups: Sequence[str]) -> None:
    colour, marker, style = group_style(groups, mean.group)
    # intervals of several groups at one visit stand beside each other
    shift = 5.0 * (list(groups).index(mean.group) - (len(groups) - 1) / 2.0)
    days = [day + shift for day, *_ in mean.points]
    values = [value for _, value, *_ in mean.points]
    below = [value - low for _, value, low, _ in mean.points]
    above = [high - value for _, value, _, high in mean.points]
    axes.plot([0.0, *days], [0.0, *values], color=colour, linestyle=style, linewidth=2.0, zorder=4)
    axes.errorbar(days, values, yerr=[below, above], fmt=marker, color=colour, markersize=5,
                  capsize=3, elinewidth=1.4, zorder=5, label=mean.group)  # fmt: skip


def _handles(panels: Sequence[SpaghettiPanel], groups: Sequence[str], sdc_kind: str) -> list[Any]:
    from matplotlib.lines import Line2D

    handles: list[Any] = [Line2D([], [], color=palette.SERIES, linewidth=0.8, label="one knee")]
    for group in groups:
        colour, marker, style = group_style(groups, group)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle=style, linewidth=2,
                              label=f"{group}: mean, 95 % interval"))  # fmt: skip
    if any(panel.sdc == panel.sdc for panel in panels):
        handles.append(band_handle(sdc_kind))
    return handles[1:] if len(groups) > 1 else handles
