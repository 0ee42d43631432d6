"""The course of one knee over its visits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kneeimg.report import palette
from kneeimg.report.figures.canvas import house_style, new_figure, png_bytes, write_heading

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_PX, _HEIGHT_PX = 1380, 430
THICKNESS = "ThCtAB_aMe"
THICKNESS_REGIONS = ("MT", "cMF", "LT", "cLF")


def visit_plot(frame: pd.DataFrame, *, title: str = "") -> bytes:
    """Mean cartilage thickness and minimum joint-space width at every visit of one knee.

    Parameters
    ----------
    frame : Rows of the measurements table of one participant and side. Columns used: visit, day,
        region, quantity, value, unit. A row without a value is drawn as a cross at the foot.
    title : Heading in study ids.

    Returns
    -------
    PNG, 1380 × 430 pixels.
    """
    with house_style():
        return png_bytes(visit_figure(frame, title=title))


def visit_figure(frame: pd.DataFrame, *, title: str = "") -> Figure:
    """The figure that :func:`visit_plot` writes."""
    figure = new_figure(_WIDTH_PX, _HEIGHT_PX)
    visits, in_days = visit_positions(frame)
    left = figure.add_axes((0.055, 0.17, 0.42, 0.62))
    right = figure.add_axes((0.555, 0.17, 0.42, 0.62))
    quantity, label = joint_space_quantity(frame)
    panels = (
        (left, THICKNESS_REGIONS, THICKNESS, "Mean cartilage thickness ThCtAB (mm)"),
        (right, ("medial", "lateral"), quantity, label),
    )
    for axes, regions, name, text in panels:
        if _draw_lines(axes, frame, visits, regions, name):
            _dress(axes, visits, text, in_days=in_days)
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, f"{text}\nnot part of these visits", transform=axes.transAxes,
                      ha="center", color=palette.QUIET_INK)  # fmt: skip
    write_heading(figure, title or "Course", "× planned but not measured")
    return figure


def visit_positions(frame: pd.DataFrame) -> tuple[dict[str, float], bool]:
    """Place of every visit on the time axis, and whether the places are days.

    Days where every visit has one, else the order of the names. MR and film of one visit may
    differ by days; the earlier one places the visit.
    """
    days = frame.groupby("visit", sort=False)["day"].min().astype("float64")
    if days.notna().all():
        ordered = days.sort_values(kind="stable")
        return {str(visit): float(day) for visit, day in ordered.items()}, True
    names = sorted(map(str, days.index))
    return {visit: float(n) for n, visit in enumerate(names)}, False


def joint_space_quantity(frame: pd.DataFrame) -> tuple[str, str]:
    """mJSW in mm where any was measured, else its ratio to femoral width; with the axis label."""
    has_mm = frame.loc[frame["quantity"] == "mJSW", "value"].notna().any()
    has_ratio = frame.loc[frame["quantity"] == "nmJSW", "value"].notna().any()
    if has_ratio and not has_mm:
        return "nmJSW", "Minimum joint-space width / femoral width"
    return "mJSW", "Minimum joint-space width (mm)"


def _draw_lines(
    axes: Axes,
    frame: pd.DataFrame,
    visits: dict[str, float],
    regions: Sequence[str],
    quantity: str,
) -> bool:
    """One line for each region, broken where a visit has no value; False if nothing was planned."""
    drawn = False
    missing: list[tuple[float, str]] = []
    for region in regions:
        rows = frame[(frame["region"] == region) & (frame["quantity"] == quantity)]
        colour, marker = palette.SERIES_STYLES[region]
        values = {str(v): float(x) for v, x in zip(rows["visit"], rows["value"], strict=True)}
        y = [values.get(visit, np.nan) for visit in visits]
        missing += [(visits[visit], colour) for visit, x in values.items() if np.isnan(x)]
        if values:
            drawn = True
            axes.plot(list(visits.values()), y, color=colour, marker=marker, markersize=5.5,
                      linewidth=1.5, label=region)  # fmt: skip
    if not drawn:
        return False
    for number, (x, colour) in enumerate(missing):
        axes.plot([x], [0.03 + 0.045 * (number % 4)], marker="x", color=colour, markersize=6,
                  transform=axes.get_xaxis_transform(), linestyle="none")  # fmt: skip
    axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9)
    return True


def _dress(axes: Axes, visits: dict[str, float], label: str, *, in_days: bool) -> None:
    """Ticks named by visit, a quiet grid, room above and below the values."""
    positions = list(visits.values())
    labels = [f"{visit}\nday {x:g}" if in_days else visit for visit, x in visits.items()]
    axes.set_ylabel(label)
    axes.set_xticks(positions, labels)
    axes.margins(x=0.06, y=0.18)
    axes.grid(axis="y", color="#E3E6E8", linewidth=0.6)
    axes.set_axisbelow(True)
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)
    axes.ticklabel_format(axis="y", useOffset=False)
