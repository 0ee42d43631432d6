"""Shares of participants who improved, stayed or worsened, one bar for each arm and visit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kneeimg.report import palette
from kneeimg.report.figures.canvas import house_style, new_figure, png_bytes, write_heading
from kneeimg.report.figures.plots import empty_axes, quiet_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH_PX, _ROW_PX, _FRAME_PX = 1380, 34, 150
#: Outcome to colour, text colour and hatch, from the left to the right of a bar.
_OUTCOMES: Mapping[str, tuple[str, str, str]] = {
    "worsened": (palette.CLASS_COLOURS["loss"], "#FFFFFF", ""),
    "stable": ("#D3D9DC", palette.INK, ""),
    "improved": (palette.CLASS_COLOURS["gain"], "#FFFFFF", "////"),
}


@dataclass(frozen=True, slots=True)
class ShareBar:
    """One bar: counts of its participants by outcome."""

    label: str
    n: int
    counts: Mapping[str, int]
    shares: Mapping[str, float]


def shares_plot(bars: Sequence[ShareBar], *, title: str, subtitle: str) -> bytes:
    """Stacked bars as a PNG; see :func:`shares_figure`."""
    with house_style():
        return png_bytes(shares_figure(bars, title=title, subtitle=subtitle))


def shares_figure(bars: Sequence[ShareBar], *, title: str, subtitle: str) -> Figure:
    """One stacked bar for each arm and visit, worsened at the left, improved at the right."""
    height = max(len(bars), 1) * _ROW_PX + _FRAME_PX
    figure = new_figure(_WIDTH_PX, height)
    axes = figure.add_axes((0.19, 66 / height, 0.78, 1 - 140 / height))
    write_heading(figure, title, subtitle)
    if not bars:
        empty_axes(axes, "no participant has a class")
        return figure
    for line, bar in enumerate(bars):
        start = 0.0
        for outcome, (colour, ink, hatch) in _OUTCOMES.items():
            share = bar.shares.get(outcome, math.nan)
            if not share > 0:
                continue
            axes.barh([line], [share], left=start, height=0.72, color=colour, hatch=hatch,
                      edgecolor=palette.PAPER, linewidth=0.8)  # fmt: skip
            axes.text(
                start + share / 2,
                line,
                f"{bar.counts.get(outcome, 0)}",
                ha="center",
                va="center",
                color=ink,
                fontsize=9,
                fontweight="bold",
                bbox={"boxstyle": "round,pad=0.35", "facecolor": colour, "linewidth": 0},
            )
            start += share
    axes.set_yticks(range(len(bars)), [f"{bar.label}  (n {bar.n})" for bar in bars], fontsize=9)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    quiet_axes(axes, grid="x")
    figure.legend(handles=_handles(), loc="upper left", bbox_to_anchor=(0.185, 1 - 34 / height),
                  ncols=3, frameon=False, fontsize=8.5)  # fmt: skip
    return figure


def _handles() -> list[Any]:
    from matplotlib.patches import Patch

    return [
        Patch(facecolor=colour, hatch=hatch, edgecolor=palette.PAPER, label=outcome)
        for outcome, (colour, _, hatch) in _OUTCOMES.items()
    ]
