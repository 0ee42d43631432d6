"""Cartilage thickness and its change, drawn on the bones in shaded orthographic views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone, Side, VertexState
from kneeimg.core.surface import Surface
from kneeimg.report import palette
from kneeimg.report.figures.canvas import (
    Plane,
    bare_axes,
    house_style,
    new_figure,
    png_bytes,
    write_heading,
    write_letters,
    write_scale_bar,
)
from kneeimg.report.figures.render import Seen, see, vertex_normals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_PX, _HEIGHT_PX = 1380, 900
#: Where the six places of a sheet lie, as shares of the picture.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.008, 0.992, 0.905, 0.03
_ACROSS_GAP, _DOWN_GAP = 0.02, 0.085
#: Ends of the colour bars: the same for every participant and visit, so that maps can be compared.
THICKNESS_MAX_MM = 4.0
CHANGE_MAX_MM = 1.0
_OVERSAMPLING = 2
_MARGIN_MM = 7.0
_LIGHT = np.array([-0.30, 0.38, 0.87], dtype=np.float32)  # from the upper left, picture coordinates
_AMBIENT = 0.62  # colour is data: shading only hints at the form

#: Vertex field that says whether the change exceeds its measurement error, and its codes for
#: thinning and thickening (`ChangeState` of the change maps).
_STATE = "change_state"
_THINNING, _THICKENING = 2, 3

#: Patient directions as LPS unit vectors.
_DIRECTIONS: Mapping[str, tuple[int, int, int]] = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}


@dataclass(frozen=True, slots=True)
class View:
    """A bone seen from one direction; the viewer stands on the side of right × up."""

    bone: Bone
    name: str
    plane: Plane

    def axes(self) -> NDArray[np.float64]:
        """(3, 3) rows: patient directions to the right, up and toward the viewer."""
        right = np.array(_DIRECTIONS[self.plane.right], dtype=np.float64)
        up = np.array(_DIRECTIONS[self.plane.up], dtype=np.float64)
        return np.stack([right, up, np.cross(right, up)])


VIEWS: tuple[View, ...] = (
    View(Bone.FEMUR, "Femur from the front", Plane("L", "S")),
    View(Bone.FEMUR, "Femur from below", Plane("L", "A")),
    View(Bone.FEMUR, "Femur from behind", Plane("R", "S")),
    View(Bone.TIBIA, "Tibia from above", Plane("R", "A")),
    View(Bone.PATELLA, "Patella from behind", Plane("R", "S")),
)

Colours = NDArray[np.float32]
Painter = Callable[[Surface, Seen], Colours]


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
    figure = _sheet(surfaces, side, paint, title or "Cartilage thickness")
    bar = _colour_bar(figure, colours, (0.0, vmax_mm), "Cartilage thickness (mm)", "max")
    bar.set_ticks(np.arange(0, vmax_mm + 1e-9, 1.0 if vmax_mm >= 3 else 0.5))
    _write_swatches(figure, swatches)
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
    if any(np.any(s.fields.get(_STATE, 0)) for s in surfaces.values()):
        swatches += (("dotted: change beyond the SDC", palette.PAPER, None),)
    figure = _sheet(surfaces, side, paint, title or "Change of cartilage thickness")
    label = "Change of thickness (mm), follow-up − baseline\n← loss                    gain →"
    bar = _colour_bar(figure, colours, (-vmax_mm, vmax_mm), label, "both")
    bar.set_ticks(np.linspace(-vmax_mm, vmax_mm, 5))
    _write_swatches(figure, swatches)
    return figure


def paint_thickness(
    surface: Surface, seen: Seen, colours: Callable[..., Any], vmax_mm: float
) -> Colours:
    """(N, 3) colour of every pixel that sees the bone: thickness, denuded, undetermined, bone."""
    state = seen.nearest(surface.fields["state"])
    thickness = np.asarray(surface.fields["thickness_mm"], dtype=np.float64)
    # Blending a covered vertex with a bare neighbour would draw cartilage that is not there.
    covered = np.where(surface.fields["state"] == VertexState.MEASURED, thickness, np.nan)
    colour = _plain(palette.BONE, len(state))
    measured = state == VertexState.MEASURED
    share = np.nan_to_num(seen.interpolate(covered)) / vmax_mm
    colour[measured] = colours(np.clip(share[measured], 0.0, 1.0))[:, :3]
    colour[state == VertexState.DENUDED] = _rgb(palette.DENUDED)
    _stripe(colour, seen, state == VertexState.UNDETERMINED)
    return colour


def paint_change(
    surface: Surface, seen: Seen, colours: Callable[..., Any], vmax_mm: float
) -> Colours:
    """(N, 3) colour of every pixel that sees the bone: change, no value, bone."""
    change = np.asarray(surface.fields["change_mm"], dtype=np.float64)
    inside = seen.nearest(_inside_plates(surface)).astype(bool)
    known = np.isfinite(seen.nearest(change).astype(np.float64))
    colour = _plain(palette.BONE, len(inside))
    share = 0.5 + 0.5 * np.nan_to_num(seen.interpolate(change)) / vmax_mm
    drawn = inside & known
    colour[drawn] = colours(np.clip(share[drawn], 0.0, 1.0))[:, :3]
    _stripe(colour, seen, inside & ~known)
    if _STATE in surface.fields:
        state = seen.nearest(surface.fields[_STATE])
        _dot(colour, seen, drawn & (state == _THINNING), palette.THINNING_MARK)
        _dot(colour, seen, drawn & (state == _THICKENING), palette.THICKENING_MARK)
    return colour


def _inside_plates(surface: Surface) -> NDArray[np.bool_]:
    """(V,) whether a vertex belongs to a plate (tAB)."""
    fields = surface.fields
    if "plate" in fields:
        inside = np.asarray(fields["plate"]) > 0
    elif "state" in fields:
        inside = np.asarray(fields["state"]) != VertexState.OUTSIDE
    else:
        inside = np.isfinite(fields["change_mm"])
    return np.asarray(inside, dtype=np.bool_)


def _rgb(colour: str) -> Colours:
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(colour), dtype=np.float32)


def _plain(colour: str, count: int) -> Colours:
    return np.tile(_rgb(colour), (count, 1))


def _stripe(colour: Colours, seen: Seen, where: NDArray[np.bool_]) -> None:
    """Diagonal stripes: told from every colour of the scale also in a grey print."""
    dark = (seen.rows + seen.columns) % (6 * _OVERSAMPLING) < 2 * _OVERSAMPLING
    colour[where] = _rgb(palette.UNDETERMINED)
    colour[where & dark] = _rgb(palette.UNDETERMINED_STRIPE)


def _dot(colour: Colours, seen: Seen, where: NDArray[np.bool_], ink: str) -> None:
    """Dots on a staggered lattice: the colour below stays readable."""
    step, size = 9 * _OVERSAMPLING, 2 * _OVERSAMPLING
    shifted = seen.columns + (seen.rows // step % 2) * (step // 2)
    on_dot = (seen.rows % step < size) & (shifted % step < size)
    colour[where & on_dot] = _rgb(ink)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Half width and half height of every view in mm: one scale for all."""

    half_width_mm: float
    half_height_mm: float


def _centre_and_size(
    surface: Surface, view: View
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle and size (right, up) of the joint surface in a view, mm."""
    inside = _inside_plates(surface)
    points = surface.vertices[inside] if inside.any() else surface.vertices
    points = view.axes()[:2] @ points.T
    low, high = points.min(axis=1), points.max(axis=1)
    return (low + high) / 2, high - low


def _common_frame(surfaces: Mapping[Bone, Surface], aspect: float) -> _Frame:
    sizes = [
        _centre_and_size(surfaces[view.bone], view)[1] for view in VIEWS if view.bone in surfaces
    ]
    width, height = np.max(sizes, axis=0) + 2 * _MARGIN_MM if sizes else (100.0, 80.0)
    width = max(width, height * aspect)
    return _Frame(float(width / 2), float(width / aspect / 2))


def _sheet(surfaces: Mapping[Bone, Surface], side: Side, paint: Painter, title: str) -> Figure:
    """Heading and the five views; the sixth place is left for the legend."""
    figure = new_figure(_WIDTH_PX, _HEIGHT_PX)
    layout = figure.add_gridspec(
        2, 3, left=_LEFT, right=_RIGHT, top=_TOP, bottom=_BOTTOM,
        wspace=_ACROSS_GAP, hspace=_DOWN_GAP,
    )  # fmt: skip
    drawn = {bone: _with_normals(s) for bone, s in surfaces.items() if len(s.faces)}
    columns = int(_WIDTH_PX * _panel_width())
    rows = int(_HEIGHT_PX * _panel_height())
    frame = _common_frame(drawn, columns / rows)
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


def _with_normals(surface: Surface) -> Surface:
    """The surface with the field `normals`, once for all its views."""
    if "normals" in surface.fields:
        return surface
    return surface.with_fields(normals=vertex_normals(surface.vertices, surface.faces))


def _draw_view(
    axes: Axes, surface: Surface, view: View, frame: _Frame, shape: tuple[int, int], paint: Painter
) -> None:
    """Render one bone into axes in millimetres."""
    centre, _ = _centre_and_size(surface, view)
    picture = render_view(surface, view, centre, frame, shape, paint)
    half = (frame.half_width_mm, frame.half_height_mm)
    extent = (centre[0] - half[0], centre[0] + half[0], centre[1] - half[1], centre[1] + half[1])
    axes.imshow(picture, origin="lower", extent=extent, interpolation="antialiased")
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])


def render_view(
    surface: Surface,
    view: View,
    centre_mm: NDArray[np.float64],
    frame: _Frame,
    shape: tuple[int, int],
    paint: Painter,
) -> Colours:
    """(rows, columns, 3) picture, row 0 at the bottom, of a bone on white paper."""
    rows, columns = shape[0] * _OVERSAMPLING, shape[1] * _OVERSAMPLING
    per_mm = columns / (2 * frame.half_width_mm)
    axes = view.axes()
    points = surface.vertices @ axes.T
    points[:, :2] = (points[:, :2] - centre_mm) * per_mm
    points[:, 2] *= per_mm
    points[:, :2] += (columns / 2 - 0.5, rows / 2 - 0.5)
    seen = see(points, surface.faces, (rows, columns))
    colour = paint(surface, seen)
    normals = seen.interpolate(_with_normals(surface).fields["normals"]) @ axes.T.astype(np.float32)
    colour = colour * _shade(normals)[:, None]
    picture = np.ones((rows, columns, 3), dtype=np.float32)
    picture[seen.rows, seen.columns] = colour
    _draw_outlines(picture, surface, seen)
    return _shrink(picture)


def _shrink(picture: Colours) -> Colours:
    """Mean over squares of `_OVERSAMPLING` pixels: smooth edges."""
    n = _OVERSAMPLING
    parts = [picture[row::n, column::n] for row in range(n) for column in range(n)]
    return np.asarray(sum(parts[1:], parts[0]) / n**2, dtype=np.float32)


def _shade(normals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lambert's law on top of a strong ambient part."""
    length = np.linalg.norm(normals, axis=1)
    cosine = (normals @ _LIGHT) / np.where(length > 0, length, 1.0) / np.linalg.norm(_LIGHT)
    return np.asarray(_AMBIENT + (1 - _AMBIENT) * np.clip(cosine, 0.0, 1.0), dtype=np.float32)


def _draw_outlines(picture: Colours, surface: Surface, seen: Seen) -> None:
    """Thin dark lines where two plates, or a plate and plain bone, meet."""
    if "plate" not in surface.fields:
        return
    code = np.full(seen.shape, -1, dtype=np.int64)
    code[seen.rows, seen.columns] = seen.nearest(surface.fields["plate"])
    line = np.zeros(seen.shape, dtype=bool)
    for axis in (0, 1):
        first = code.take(range(seen.shape[axis] - 1), axis)
        second = code.take(range(1, seen.shape[axis]), axis)
        differ = (first != second) & (first >= 0) & (second >= 0)
        pad = ((0, 1), (0, 0)) if axis == 0 else ((0, 0), (0, 1))
        line |= np.pad(differ, pad)
    picture[line] = 0.25 * picture[line] + 0.75 * _rgb(palette.PLATE_LINE)


def _colour_bar(
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


def _write_swatches(figure: Figure, swatches: tuple[tuple[str, str, str | None], ...]) -> None:
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
