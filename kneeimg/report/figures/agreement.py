"""Pictures of how well segmentations agree with references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.grid import reorient_array
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.report import palette
from kneeimg.report.figures.canvas import house_style, new_figure, png_bytes, write_heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REFERENCE = "#FFFFFF"
_SLICES = 3


def difference_overlay(
    image: Volume | None, reference: LabelMap, found: LabelMap, *, title: str = ""
) -> bytes:
    """Reference (white, dashed) and found contours on the slices where they differ most.

    Parameters
    ----------
    image : The scan on the grid of the labels; None draws on a dark ground.

    Returns
    -------
    PNG of three sagittal slices, 1320 × 520 pixels.

    Raises
    ------
    GeometryError
        If image and label maps lie on different grids.
    """
    reference.grid.require_same(found.grid)
    with house_style():
        return png_bytes(_difference_figure(image, reference, found, title))


def _difference_figure(
    image: Volume | None, reference: LabelMap, found: LabelMap, title: str
) -> Figure:
    axes, flips = reference.grid.closest_lps()
    wanted, seen = (reorient_array(m.labels, axes, flips) for m in (reference, found))
    picture = None if image is None else reorient_array(image.data, axes, flips)
    spacing = reference.grid.reorient(axes, flips).spacing_mm
    figure = new_figure(1320, 520, dark=True)
    for n, index in enumerate(worst_slices(wanted, seen)):
        place = figure.add_axes((0.005 + n * 0.333, 0.03, 0.325, 0.85))
        _draw(place, picture, wanted, seen, index, spacing)
    write_heading(figure, title or "Agreement", "dashed white: reference", dark=True)
    return figure


def worst_slices(wanted: NDArray[np.generic], seen: NDArray[np.generic]) -> list[int]:
    """Sagittal slices with the most differing voxels, a twelfth of the view apart."""
    wrong = (wanted != seen).sum(axis=(1, 2)).astype(np.int64)
    apart = max(1, len(wrong) // 12)
    chosen: list[int] = []
    for index in np.argsort(-wrong, kind="stable"):
        if all(abs(int(index) - other) >= apart for other in chosen):
            chosen.append(int(index))
        if len(chosen) == _SLICES:
            break
    return sorted(chosen)


def _draw(
    axes: Axes,
    picture: NDArray[np.generic] | None,
    wanted: NDArray[np.generic],
    seen: NDArray[np.generic],
    index: int,
    spacing_mm: NDArray[np.float64],
) -> None:
    extent = (0.0, wanted.shape[1] * spacing_mm[1], 0.0, wanted.shape[2] * spacing_mm[2])
    axes.set_facecolor(palette.DARK)
    if picture is not None:
        axes.imshow(picture[index].T, cmap="gray", origin="lower", extent=extent)
    for tissue, colour in palette.TISSUE_COLOURS.items():
        for labels, ink, style in ((seen, colour, "-"), (wanted, _REFERENCE, "--")):
            mask = (labels[index] == int(tissue)).T.astype(float)
            if mask.any():
                axes.contour(
                    mask, [0.5], colors=[ink], linestyles=[style], linewidths=0.8, extent=extent
                )
    axes.set_title(f"slice {index + 1}", color=palette.QUIET_LIGHT_INK, fontsize=9)
    axes.set_aspect("equal")
    axes.set_axis_off()


def agreement_plot(
    pairs: Sequence[tuple[str, Sequence[float], Sequence[float]]], unit: str
) -> bytes:
    """Bland–Altman plots side by side.

    Parameters
    ----------
    pairs : For each panel its title, the reference values and the found ones.
    unit : Of the values.
    """
    with house_style():
        figure = new_figure(330 * max(1, len(pairs)), 330)
        for n, (name, reference, found) in enumerate(pairs):
            axes = figure.add_subplot(1, len(pairs), n + 1)
            _bland_altman(axes, name, np.asarray(reference), np.asarray(found), unit)
        figure.tight_layout()
        return png_bytes(figure)


def _bland_altman(
    axes: Axes, name: str, reference: NDArray[np.float64], found: NDArray[np.float64], unit: str
) -> None:
    there = np.isfinite(reference) & np.isfinite(found)
    mean, difference = (reference + found)[there] / 2.0, (found - reference)[there]
    axes.plot(mean, difference, "o", color="#0072B2", markersize=3.5, alpha=0.8)
    if len(difference) > 1:
        bias, sd = difference.mean(), difference.std(ddof=1)
        axes.axhline(bias, color="#1B1B1B", linewidth=1)
        for limit in (bias - 1.96 * sd, bias + 1.96 * sd):
            axes.axhline(limit, color="#7A7A7A", linewidth=1, linestyle="--")
    axes.axhline(0.0, color="#BBBBBB", linewidth=0.6)
    axes.set_title(f"{name} (n = {int(there.sum())})", fontsize=9)
    axes.set_xlabel(f"mean of both, {unit}", fontsize=8)
    axes.set_ylabel(f"found − reference, {unit}", fontsize=8)
    axes.tick_params(labelsize=7)
