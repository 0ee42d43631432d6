"""Flat thickness maps of a knee: femur unrolled, tibia from above. For the eye only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone, Side, VertexState
from kneeimg.measure.flat import FlatMap
from kneeimg.report import palette
from kneeimg.report.figures.canvas import (
    bare_axes,
    house_style,
    new_figure,
    png_bytes,
    write_heading,
    write_scale_bar,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_PX, _HEIGHT_PX = 1200, 700
_TITLES = {
    Bone.FEMUR: "Femoral cartilage, unrolled about the medial-lateral axis",
    Bone.TIBIA: "Tibial plates from above",
}


def flat_views(
    maps: Mapping[Bone, FlatMap], side: Side, *, title: str = "", vmax_mm: float = 4.0
) -> bytes:
    """Flat thickness maps of femur and tibia to one millimetre scale.

    Parameters
    ----------
    maps : From `kneeimg.measure.flat.flatten`; a bone that is absent leaves its place empty.
    side : Which knee; a left one is drawn as its mirror image, and the picture says so.
    title : Heading in study ids.
    vmax_mm : Thickness at the top of the colour bar.

    Returns
    -------
    PNG, 1200 × 700 pixels.
    """
    with house_style():
        return png_bytes(flat_figure(maps, side, title=title, vmax_mm=vmax_mm))


def flat_figure(
    maps: Mapping[Bone, FlatMap], side: Side, *, title: str = "", vmax_mm: float = 4.0
) -> Figure:
    """The figure that :func:`flat_views` writes."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = new_figure(_WIDTH_PX, _HEIGHT_PX)
    mirrored = "left knee, drawn as its mirror image" if side is Side.LEFT else "right knee"
    write_heading(figure, title or "Flat thickness maps", f"{mirrored} · nothing is measured here")
    colours: Any = palette.thickness_colours()
    places = {Bone.FEMUR: (0.03, 0.06, 0.43, 0.82), Bone.TIBIA: (0.48, 0.06, 0.43, 0.82)}
    half = _half_extent_mm(maps)
    for bone, place in places.items():
        axes = figure.add_axes(place)
        bare_axes(axes, _TITLES[bone], palette.INK)
        if bone not in maps:
            axes.text(0.5, 0.5, f"{bone}: no map", ha="center", transform=axes.transAxes,
                      color=palette.QUIET_INK)  # fmt: skip
            continue
        _draw(axes, maps[bone], colours, vmax_mm, half)
    bar_axes = figure.add_axes((0.935, 0.2, 0.014, 0.5))
    shades = ScalarMappable(Normalize(0.0, vmax_mm), colours)
    figure.colorbar(shades, cax=bar_axes, label="Cartilage thickness (mm)", extend="max")
    return figure


def _half_extent_mm(maps: Mapping[Bone, FlatMap]) -> float:
    """Half of the side of the square that holds every map: one scale for all."""
    sizes = [np.ptp(axis) for m in maps.values() for axis in (m.across_mm, m.along_mm)]
    return 0.5 * float(max(sizes, default=80.0)) + 4.0


def _draw(axes: Axes, flat: FlatMap, colours: Any, vmax_mm: float, half: float) -> None:
    across, along = flat.across_mm, flat.along_mm
    step = float(across[1] - across[0]) / 2.0
    extent = (across[0] - step, across[-1] + step, along[-1] + step, along[0] - step)
    axes.imshow(
        paint(flat, colours, vmax_mm), extent=extent, interpolation="nearest", origin="upper"
    )
    axes.contour(across, along, _borders(flat.plate), levels=[0.5], colors=palette.PLATE_LINE,
                 linewidths=0.5)  # fmt: skip
    middle_x, middle_y = across[[0, -1]].mean(), along[[0, -1]].mean()
    axes.set_xlim(middle_x - half, middle_x + half)
    axes.set_ylim(middle_y + half, middle_y - half)
    for x, y, text in ((0.5, 0.985, "anterior"), (0.5, 0.015, "posterior")):
        axes.text(x, y, text, transform=axes.transAxes, ha="center", fontsize=8,
                  va="top" if y > 0.5 else "bottom", color=palette.INK)  # fmt: skip
    axes.text(0.01, 0.5, "lateral", transform=axes.transAxes, fontsize=8, color=palette.INK)
    axes.text(0.99, 0.5, "medial", transform=axes.transAxes, fontsize=8, ha="right",
              color=palette.INK)  # fmt: skip
    write_scale_bar(axes, palette.INK)


def paint(flat: FlatMap, colours: Any, vmax_mm: float) -> NDArray[np.float64]:
    """(R, C, 3) colours: thickness, denuded, undetermined, paper outside tAB."""
    from matplotlib.colors import to_rgb

    share = np.clip(np.nan_to_num(flat.thickness_mm) / vmax_mm, 0.0, 1.0)
    picture = np.asarray(colours(share), dtype=np.float64)[..., :3]
    for state, colour in (
        (VertexState.DENUDED, palette.DENUDED),
        (VertexState.UNDETERMINED, palette.UNDETERMINED),
        (VertexState.OUTSIDE, palette.PAPER),
    ):
        picture[flat.state == int(state)] = to_rgb(colour)
    return picture


def _borders(plate: NDArray[np.uint8]) -> NDArray[np.float64]:
    """1 on pixels beside another plate, 0 elsewhere."""
    edge = np.zeros(plate.shape, dtype=bool)
    edge[1:] |= plate[1:] != plate[:-1]
    edge[:, 1:] |= plate[:, 1:] != plate[:, :-1]
    return edge.astype(np.float64)
