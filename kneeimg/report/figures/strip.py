"""Maps of one knee side by side: thickness at baseline, change at later visits, one scale for all.

Cut out of the sheets that `views` drew; no surface is opened and nothing is drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.report import palette
from kneeimg.report.figures.canvas import house_style, new_figure, png_bytes, write_heading
from kneeimg.report.figures.sheet import is_sheet, view_box
from kneeimg.report.figures.views import CHANGE_MAX_MM, THICKNESS_MAX_MM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_VIEWS = ("Femur from below", "Tibia from above")
_COLUMN_PX, _ROW_PX = 330, 279
_HEAD_PX, _FOOT_PX, _BAR_PX = 78, 30, 110
_THUMB_WIDTH_PX = 420

Pixels = NDArray[np.float32]


def strip_plot(
    thickness: tuple[str, Path], changes: Sequence[tuple[str, Path]], *, title: str
) -> bytes | None:
    """Baseline thickness and change maps side by side, as a PNG.

    Parameters
    ----------
    thickness : Caption and sheet of `thickness_views` of the baseline.
    changes : Captions and sheets of `change_views` of later visits.
    title : Heading in study ids.

    Returns
    -------
    PNG; None if a picture is no such sheet.
    """
    sheets = [read_sheet(path) for _, path in (thickness, *changes)]
    if any(sheet is None for sheet in sheets):
        return None
    captions = [caption for caption, _ in (thickness, *changes)]
    known = [sheet for sheet in sheets if sheet is not None]
    with house_style():
        return png_bytes(strip_figure(list(zip(captions, known, strict=True)), title=title))


def read_sheet(path: Path) -> Pixels | None:
    """(rows, columns, 3) colours of a sheet; None if the file is not one."""
    from matplotlib.image import imread

    try:
        picture = np.asarray(imread(path), dtype=np.float32)
    except (OSError, SyntaxError, ValueError):
        return None
    if picture.ndim != 3 or not is_sheet(picture.shape[1], picture.shape[0]):
        return None
    return picture[..., :3]


def strip_figure(columns: Sequence[tuple[str, Pixels]], *, title: str) -> Figure:
    """The figure that :func:`strip_plot` writes.

    Parameters
    ----------
    columns : (caption, sheet); the first is thickness, the others change.
    title : Heading.
    """
    width = len(columns) * _COLUMN_PX + _BAR_PX
    height = len(SHOWN_VIEWS) * _ROW_PX + _HEAD_PX + _FOOT_PX
    figure = new_figure(width, height)
    for column, (caption, sheet) in enumerate(columns):
        for row, view in enumerate(SHOWN_VIEWS):
            bottom = _FOOT_PX + (len(SHOWN_VIEWS) - 1 - row) * _ROW_PX
            axes = figure.add_axes(
                (column * _COLUMN_PX / width, bottom / height,
                 (_COLUMN_PX - 6) / width, (_ROW_PX - 4) / height)
            )  # fmt: skip
            _show(axes, cut(sheet, view), caption if row == 0 else "")
    _bars(figure, len(columns) > 1, width)
    write_heading(figure, title, "maps of all visits to one scale")
    return figure


def cut(sheet: Pixels, view: str) -> Pixels:
    """The part of a sheet that shows one view."""
    left, top, right, bottom = view_box(view)
    return sheet[top:bottom, left:right]


def _show(axes: Axes, picture: Pixels, caption: str) -> None:
    axes.imshow(picture, interpolation="antialiased", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_edgecolor(palette.GRID_LINE)
    if caption:
        axes.set_title(caption, fontsize=10, color=palette.INK, pad=4)


def _bars(figure: Figure, with_change: bool, width: int) -> None:
    """The scales of the sheets: their ends are constants of the program."""
    left = (width - _BAR_PX + 14) / width
    _bar(figure, (left, 0.55, 14 / width, 0.30), palette.thickness_colours(),
         (0.0, THICKNESS_MAX_MM), "thickness (mm)")  # fmt: skip
    if with_change:
        _bar(figure, (left, 0.10, 14 / width, 0.30), palette.change_colours(),
             (-CHANGE_MAX_MM, CHANGE_MAX_MM), "change (mm)")  # fmt: skip


def _bar(
    figure: Figure,
    place: tuple[float, float, float, float],
    colours: Any,
    limits: tuple[float, float],
    label: str,
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(
        ScalarMappable(Normalize(*limits), colours), cax=figure.add_axes(place), label=label
    )
    bar.set_ticks(np.linspace(*limits, 5).tolist())
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_linewidth(0.5)


def thumbnail(png: bytes) -> bytes:
    """A small copy of a picture for overviews.

    In full colour: a palette of 255 colours shifts the rare ones, and with them the colour bars.
    """
    import io

    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        size = (_THUMB_WIDTH_PX, round(picture.height * _THUMB_WIDTH_PX / picture.width))
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
