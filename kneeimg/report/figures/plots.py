"""What the plots of change share: axes, bands of the smallest detectable change, legends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kneeimg.report import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = {"mm": "mm", "mm^2": "mm²", "mm^3": "mm³"}


def quiet_axes(axes: Axes, *, grid: str = "y") -> None:
    """No frame on the right and top, light lines behind the data."""
    axes.grid(axis=grid, color=palette.GRID_LINE, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)


def zero_line(axes: Axes, *, vertical: bool = False) -> None:
    """Where nothing has changed."""
    draw = axes.axvline if vertical else axes.axhline
    draw(0.0, color=palette.QUIET_INK, linewidth=0.9, zorder=1.5)


def sdc_band(axes: Axes, sdc: float, *, lines: bool = False) -> bool:
    """Band of changes of one knee that are within measurement error; False without an SDC."""
    if not math.isfinite(sdc):
        return False
    axes.axhspan(-sdc, sdc, color=palette.SDC_BAND, zorder=0.5, linewidth=0)
    if lines:
        for y in (-sdc, sdc):
            axes.axhline(y, color=palette.QUIET_INK, linewidth=1.0, linestyle=(0, (5, 3)))
    return True


def empty_axes(axes: Axes, text: str) -> None:
    """Axes that say why they are empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center",
              color=palette.QUIET_INK, fontsize=9)  # fmt: skip


def foot_legend(figure: Figure, handles: Sequence[Any]) -> None:
    """One legend for all panels, at the foot on the left."""
    if handles:
        figure.legend(handles=list(handles), loc="lower left", bbox_to_anchor=(0.008, 0.0),
                      frameon=False, ncols=6, fontsize=8.5, labelcolor=palette.INK)  # fmt: skip


def band_handle(sdc_kind: str = "") -> Any:
    """Legend entry of :func:`sdc_band`."""
    from matplotlib.patches import Patch

    label = f"within the SDC of a single knee{in_brackets(sdc_kind)}"
    return Patch(facecolor=palette.SDC_BAND, label=label)


def in_brackets(sdc_kind: str) -> str:
    """What follows SDC: " (simulated)" when it does not come from repeated scans.

    >>> in_brackets("simulated"), in_brackets("")
    (' (simulated)', '')
    """
    return f" ({sdc_kind})" if sdc_kind else ""
