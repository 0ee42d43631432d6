"""The sheet of views of a knee: five views to one scale, and a legend in the sixth place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.surface import Surface
from kneeimg.report import palette
from kneeimg.report.figures.bone_view import (
    VIEWS,
    Frame,
    View,
    centre_and_size,
    common_frame,
    render_view,
    with_normals,
)
from kneeimg.report.figures.canvas import (
    bare_axes,
    new_figure,
    write_heading,
    write_letters,
    write_scale_bar,
)
from kneeimg.report.figures.paint import Painter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_PX, _HEIGHT_PX = 1380, 900
#: Where the six places of a sheet lie, as shares of the picture.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.008, 0.992, 0.905, 0.03
_ACROSS_GAP, _DOWN_GAP = 0.02, 0.085


def new_sheet(surfaces: Mapping[Bone, Surface], side: Side, paint: Painter, title: str) -> Figure:
    """Heading and the five views; the sixth place is left for the legend."""
    figure = new_figure(_WIDTH_PX, _HEIGHT_PX)
    layout = figure.add_gridspec(
        2, 3, left=_LEFT, right=_RIGHT, top=_TOP, bottom=_BOTTOM,
        wspace=_ACROSS_GAP, hspace=_DOWN_GAP,
    )  # fmt: skip
    drawn = {bone: with_normals(s) for bone, s in surfaces.items() if len(s.faces)}
    columns = int(_WIDTH_PX * _panel_width())
    rows = int(_HEIGHT_PX * _panel_height())
    frame = common_frame(drawn, columns / rows)
    for number, view in enumerate(VIEWS):
        axes = figure.add_subplot(layout[number // 3, number % 3])
        bare_axes(axes, view.name, palette.INK)
        if view.bone not in drawn:
            axes.text(0.5, 0.5, f"{view.bone}: not in the label map", ha="center", va="center",
                      transform=axes.transAxes, color=palette.QUIET_INK)  # fmt: skip
            continue
        _draw_view(axes, drawn[view.bone], view, frame, (rows, columns), paint)
        write_letters(axes, view.plane, side, palette.INK)
        write_scale_bar(axes, palette.INK)
    write_heading(figure, title, f"{side} knee · all views to one scale")
    return figure


def _panel_width() -> float:
    return (_RIGHT - _LEFT) / (3 + 2 * _ACROSS_GAP)


def _panel_height() -> float:
    return (_TOP - _BOTTOM) / (2 + _DOWN_GAP)


def view_box(name: str) -> tuple[int, int, int, int]:
    """Where a view lies on every sheet: left, top, right, bottom in pixels from the top left.

    >>> view_box("Femur from below")
    (467, 85, 913, 463)
    """
    place = [view.name for view in VIEWS].index(name)
    left = _LEFT + (place % 3) * _panel_width() * (1 + _ACROSS_GAP)
    top = 1 - _TOP + (place // 3) * _panel_height() * (1 + _DOWN_GAP)
    right, bottom = left + _panel_width(), top + _panel_height()
    return (
        round(left * _WIDTH_PX),
        round(top * _HEIGHT_PX),
        round(right * _WIDTH_PX),
        round(bottom * _HEIGHT_PX),
    )


def is_sheet(width: int, height: int) -> bool:
    """Whether a picture has the size of the sheets that are drawn here."""
    return (width, height) == (_WIDTH_PX, _HEIGHT_PX)


def _draw_view(
    axes: Axes, surface: Surface, view: View, frame: Frame, shape: tuple[int, int], paint: Painter
) -> None:
    """Render one bone into axes in millimetres."""
    centre, _ = centre_and_size(surface, view)
    picture = render_view(surface, view, centre, frame, shape, paint)
    half = (frame.half_width_mm, frame.half_height_mm)
    extent = (centre[0] - half[0], centre[0] + half[0], centre[1] - half[1], centre[1] + half[1])
    axes.imshow(picture, origin="lower", extent=extent, interpolation="antialiased")
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])


def colour_bar(
    figure: Figure, colours: Any, limits_mm: tuple[float, float], label: str, extend: str
) -> Any:
    """Horizontal colour bar with its unit in the sixth place of the sheet."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    place = figure.add_axes((0.70, 0.385, 0.27, 0.026))
    bar = figure.colorbar(
        ScalarMappable(Normalize(*limits_mm), colours),
        cax=place,
        orientation="horizontal",
        extend=extend,
    )
    bar.set_label(label, color=palette.INK, fontsize=9.5, labelpad=5)
    bar.ax.tick_params(labelsize=9, color=palette.QUIET_INK, labelcolor=palette.INK)
    bar.outline.set_linewidth(0.5)
    return bar


def write_swatches(figure: Figure, swatches: tuple[tuple[str, str, str | None], ...]) -> None:
    """Names of the colours that are no thickness."""
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(
            facecolor=face,
            edgecolor=stripe or palette.QUIET_INK,
            hatch="////" if stripe else None,
            linewidth=0.5,
            label=label,
        )
        for label, face, stripe in swatches
    ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.695, 0.295), frameon=False,
        fontsize=9.5, labelcolor=palette.INK, handlelength=1.8, labelspacing=0.7,
    )  # fmt: skip
    figure.text(0.70, 0.125, "Dark lines: borders of the plates", fontsize=9.5, color=palette.INK)
