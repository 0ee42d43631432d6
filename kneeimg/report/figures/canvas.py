"""What all figures share: style, PNG bytes, anatomical letters, scale bar, the notice."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kneeimg.core.anatomy import Side
from kneeimg.report import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

NOTICE = "Research use only, not for diagnosis"
DPI = 100
#: The heading lies in this many rows at the top of every figure, and nothing else does.
HEADING_BAND_PX = 34

_STYLE: Mapping[str, object] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs everywhere
    "font.size": 8.5,
    "axes.linewidth": 0.6,
    "lines.antialiased": True,
    "path.simplify": False,
}

_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's defaults plus ours, restored afterwards; a user's style file has no say."""
    import matplotlib.style

    with matplotlib.style.context(["default", dict(_STYLE)]):
        yield


def new_figure(width_px: int, height_px: int, *, dark: bool = False) -> Figure:
    """A figure of the given size that belongs to no global state."""
    from matplotlib.figure import Figure

    face = palette.DARK if dark else palette.PAPER
    return Figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, facecolor=face)


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG without program name or date, hence equal for equal input."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", dpi=DPI, facecolor=figure.get_facecolor(), metadata={"Software": None}
    )
    return buffer.getvalue()


def compartment(letter: str, side: Side) -> str:
    """ "medial" or "lateral" for the patient direction L or R of this knee, "" for others.

    >>> compartment("L", Side.RIGHT), compartment("L", Side.LEFT), compartment("A", Side.LEFT)
    ('medial', 'lateral', '')
    """
    if letter not in "LR":
        return ""
    outward = "R" if side is Side.RIGHT else "L"
    return "lateral" if letter == outward else "medial"


@dataclass(frozen=True, slots=True)
class Plane:
    """How patient directions lie on a picture.

    Attributes
    ----------
    right, up : Patient directions (L, R, A, P, S, I) that point to the right and up.
    """

    right: str
    up: str

    def edge_labels(self, side: Side) -> dict[str, str]:
        """Text for the left, right, top and bottom edge, medial and lateral spelled out.

        >>> Plane(right="L", up="S").edge_labels(Side.RIGHT)
        {'left': 'R\\nlateral', 'right': 'L\\nmedial', 'top': 'S', 'bottom': 'I'}
        """
        letters = {
            "left": _OPPOSITE[self.right],
            "right": self.right,
            "top": self.up,
            "bottom": _OPPOSITE[self.up],
        }
        return {
            edge: "\n".join(filter(None, (letter, compartment(letter, side))))
            for edge, letter in letters.items()
        }


#: Radiological display: the reader faces the patient, or stands at the feet.
SAGITTAL = Plane(right="P", up="S")
CORONAL = Plane(right="L", up="S")
AXIAL = Plane(right="L", up="A")

_PLACES = {
    "left": (0.015, 0.5, "left", "center"),
    "right": (0.985, 0.5, "right", "center"),
    "top": (0.5, 0.985, "center", "top"),
    "bottom": (0.5, 0.015, "center", "bottom"),
}


def text_width_px(text: str, size: float) -> float:
    """Width of a line of text in pixels, in the font of the house style."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family=str(_STYLE["font.family"]))
    # the measure is the outline in points; a blank at an end has none
    return float(TextPath((0, 0), f"{text}.", size=size, prop=font).get_extents().x1) * DPI / 72


def fitted_lines(text: str, width_px: float, size: float) -> list[str]:
    """Text broken between words into lines no wider than a width; a longer word stays whole.

    >>> fitted_lines("one two three", 60.0, 9.0)
    ['one two', 'three']
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width_px(longer, size) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def halo(colour: str) -> list[Any]:
    """Outline that keeps text readable on bone, image and line."""
    from matplotlib.patheffects import withStroke

    ground = palette.DARK if colour == palette.LIGHT_INK else palette.PAPER
    return [withStroke(linewidth=2.2, foreground=ground)]


def write_letters(axes: Axes, plane: Plane, side: Side, colour: str) -> None:
    """Anatomical letters at the four edges of a picture."""
    for edge, text in plane.edge_labels(side).items():
        x, y, horizontal, vertical = _PLACES[edge]
        axes.text(
            x,
            y,
            text,
            transform=axes.transAxes,
            ha=horizontal,
            va=vertical,
            color=colour,
            fontsize=8,
            fontweight="bold",
            linespacing=1.15,
            multialignment=horizontal,
            path_effects=halo(colour),
        )


def write_scale_bar(axes: Axes, colour: str, length_mm: float = 20.0) -> None:
    """A bar of `length_mm` in the lower left corner; the axes are in millimetres."""
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    toward_right, toward_up = (right > left) * 2 - 1, (high > low) * 2 - 1
    x = left + 0.03 * (right - left)
    y = low + 0.035 * (high - low)
    end = x + toward_right * length_mm
    tick = toward_up * 0.012 * abs(high - low)
    axes.plot(
        [x, x, x, end, end, end],
        [y - tick, y + tick, y, y, y + tick, y - tick],
        color=colour,
        linewidth=1.4,
        solid_capstyle="butt",
        scalex=False,
        scaley=False,
    )
    axes.text(
        (x + end) / 2,
        y + 1.2 * tick,
        f"{length_mm:g} mm",
        color=colour,
        ha="center",
        va="bottom",
        fontsize=7.5,
        path_effects=halo(colour),
    )


def write_scale_bar_px(
    axes: Axes, column_mm: float | None, otherwise: str, colour: str, length_mm: float = 20.0
) -> None:
    """Scale bar on axes in pixels of `column_mm`; without a pixel size the text `otherwise`."""
    left, right = axes.get_xlim()
    if column_mm is None:
        axes.text(0.02, 0.025, otherwise, transform=axes.transAxes, color=colour, fontsize=8.5,
                  path_effects=halo(colour))  # fmt: skip
        return
    share = length_mm / column_mm / abs(right - left)
    axes.plot([0.02, 0.02 + share], [0.03, 0.03], color=colour, linewidth=2.0, marker="|",
              markersize=7, transform=axes.transAxes, scalex=False, scaley=False)  # fmt: skip
    axes.text(0.02 + share / 2, 0.045, f"{length_mm:g} mm", transform=axes.transAxes, color=colour,
              ha="center", va="bottom", fontsize=8.5, path_effects=halo(colour))  # fmt: skip


def bare_axes(axes: Axes, title: str, colour: str) -> None:
    """Picture axes without ticks, in millimetres, one length in both directions."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    axes.set_title(title, color=colour, fontsize=9, pad=4)
    for spine in axes.spines.values():
        spine.set_visible(False)


def write_heading(
    figure: Figure | SubFigure, title: str, subtitle: str, *, dark: bool = False
) -> None:
    """Title and subtitle at the top, the notice at the foot."""
    ink = palette.LIGHT_INK if dark else palette.INK
    quiet = palette.QUIET_LIGHT_INK if dark else palette.QUIET_INK
    height = figure.bbox.height / DPI
    figure.text(
        0.012, 1 - 0.09 / height, title, color=ink, fontsize=12, fontweight="bold", va="top"
    )
    figure.text(0.988, 1 - 0.11 / height, subtitle, color=quiet, fontsize=9, ha="right", va="top")
    figure.text(0.988, 0.07 / height, NOTICE, color=quiet, fontsize=8, ha="right", va="bottom")
