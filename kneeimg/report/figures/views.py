"""Cartilage thickness and its change, drawn on the bones in shaded orthographic views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.surface import Surface
from kneeimg.report import palette
from kneeimg.report.figures.canvas import house_style, png_bytes
from kneeimg.report.figures.paint import CHANGE_STATE, Colours, paint_change, paint_thickness
from kneeimg.report.figures.render import Seen
from kneeimg.report.figures.sheet import colour_bar, new_sheet, write_swatches

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Ends of the colour bars: the same for every participant and visit, so that maps can be compared.
THICKNESS_MAX_MM = 4.0
CHANGE_MAX_MM = 1.0


def thickness_views(
    surfaces: Mapping[Bone, Surface],
    side: Side,
    *,
    title: str = "",
    vmax_mm: float = THICKNESS_MAX_MM,
) -> bytes:
    """Cartilage thickness of a knee: femur from three sides, tibia from above, patella behind.

    Parameters
    ----------
    surfaces : Bone surfaces in patient LPS+ mm with the vertex fields `thickness_mm`, `state` and
        `plate`; a bone that is absent leaves its view empty.
    side : Which knee; decides which edge is called medial.
    title : Heading in study ids.
    vmax_mm : Thickness at the top of the colour bar; thicker cartilage has the top colour.

    Returns
    -------
    PNG, 1380 × 900 pixels, all views to one scale.
    """
    with house_style():
        return png_bytes(thickness_figure(surfaces, side, title=title, vmax_mm=vmax_mm))


def change_views(
    surfaces: Mapping[Bone, Surface], side: Side, *, title: str = "", vmax_mm: float = CHANGE_MAX_MM
) -> bytes:
    """Change of cartilage thickness in the same views as :func:`thickness_views`.

    Parameters
    ----------
    surfaces : Baseline surfaces in patient LPS+ mm with the vertex fields `change_mm` (NaN where
        there is none) and `plate`; with `change_state` (2 thinning, 3 thickening beyond
        the smallest detectable change) those places are dotted.
    side : Which knee.
    title : Heading in study ids.
    vmax_mm : Change at both ends of the colour bar.
    """
    with house_style():
        return png_bytes(change_figure(surfaces, side, title=title, vmax_mm=vmax_mm))


def thickness_figure(
    surfaces: Mapping[Bone, Surface],
    side: Side,
    *,
    title: str = "",
    vmax_mm: float = THICKNESS_MAX_MM,
) -> Figure:
    """The figure that :func:`thickness_views` writes."""
    colours: Any = palette.thickness_colours()

    def paint(surface: Surface, seen: Seen) -> Colours:
        return paint_thickness(surface, seen, colours, vmax_mm)

    swatches = (
        ("denuded bone, 0 mm", palette.DENUDED, None),
        ("undetermined (no value)", palette.UNDETERMINED, palette.UNDETERMINED_STRIPE),
        ("bone outside the joint surface", palette.BONE, None),
    )
    figure = new_sheet(surfaces, side, paint, title or "Cartilage thickness")
    bar = colour_bar(figure, colours, (0.0, vmax_mm), "Cartilage thickness (mm)", "max")
    bar.set_ticks(np.arange(0, vmax_mm + 1e-9, 1.0 if vmax_mm >= 3 else 0.5))
    write_swatches(figure, swatches)
    return figure


def change_figure(
    surfaces: Mapping[Bone, Surface], side: Side, *, title: str = "", vmax_mm: float = CHANGE_MAX_MM
) -> Figure:
    """The figure that :func:`change_views` writes."""
    colours: Any = palette.change_colours()

    def paint(surface: Surface, seen: Seen) -> Colours:
        return paint_change(surface, seen, colours, vmax_mm)

    swatches: tuple[tuple[str, str, str | None], ...] = (
        ("no value at one of the visits", palette.UNDETERMINED, palette.UNDETERMINED_STRIPE),
        ("bone outside the joint surface", palette.BONE, None),
    )
    if any(np.any(s.fields.get(CHANGE_STATE, 0)) for s in surfaces.values()):
        swatches += (("dotted: change beyond the SDC", palette.PAPER, None),)
    figure = new_sheet(surfaces, side, paint, title or "Change of cartilage thickness")
    label = "Change of thickness (mm), follow-up − baseline\n← loss                    gain →"
    bar = colour_bar(figure, colours, (-vmax_mm, vmax_mm), label, "both")
    bar.set_ticks(np.linspace(-vmax_mm, vmax_mm, 5))
    write_swatches(figure, swatches)
    return figure
