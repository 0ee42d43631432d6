"""The quality-control picture of one MR scan: contours of the segmentation on five slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import Grid, reorient_array
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.report import palette
from kneeimg.report.figures.canvas import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Plane,
    bare_axes,
    house_style,
    new_figure,
    png_bytes,
    write_heading,
    write_letters,
    write_scale_bar,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_PX, _HEIGHT_PX = 1320, 1060
_MARGIN_MM = 6.0
_OBLIQUE_FROM_DEG = 1.0
_CARTILAGES = (Tissue.FEMORAL_CARTILAGE, Tissue.TIBIAL_CARTILAGE, Tissue.PATELLAR_CARTILAGE)

#: World axis that each plane is cut across, and the world axes on the picture (across, upward).
_CUTS: dict[Plane, tuple[int, int, int]] = {
    SAGITTAL: (0, 1, 2),
    CORONAL: (1, 0, 2),
    AXIAL: (2, 0, 1),
}


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """Image, labels and fractions with array axes closest to L, P, S."""

    labels: NDArray[np.uint8]
    image: NDArray[Any] | None
    label_map: LabelMap
    grid: Grid
    axes: tuple[int, int, int]
    flips: tuple[int, int, int]

    def fraction(self, tissue: Tissue, axis: int, index: int) -> NDArray[np.float32]:
        """Fraction of a tissue on one slice."""
        if not self.label_map.is_soft:
            hard = np.take(self.labels, index, axis) == int(tissue)
            return np.asarray(hard, dtype=np.float32)
        whole = reorient_array(self.label_map.fraction(tissue), self.axes, self.flips)
        return np.asarray(np.take(whole, index, axis), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Cut:
    """One slice to show: where it lies and what it is called."""

    plane: Plane
    index: int
    name: str


def qc_overlay(volume: Volume | None, label_map: LabelMap, side: Side, *, title: str = "") -> bytes:
    """Contours of bone and cartilage on five slices of a scan.

    Parameters
    ----------
    volume : MR image on the grid of the labels; None draws the contours on a dark ground.
    label_map : Hard or soft segmentation; soft maps are contoured at one half.
    side : Which knee; decides which edge is called medial.
    title : Heading in study ids, for example "P01 · M06".

    Returns
    -------
    PNG, 1320 × 1060 pixels, radiological display, millimetre-true in both directions.

    Raises
    ------
    GeometryError
        If image and labels lie on different grids.
    """
    with house_style():
        return png_bytes(qc_figure(volume, label_map, side, title=title))


def qc_figure(volume: Volume | None, label_map: LabelMap, side: Side, *, title: str = "") -> Figure:
    """The figure that :func:`qc_overlay` writes."""
    scene = _scene(volume, label_map)
    figure = new_figure(_WIDTH_PX, _HEIGHT_PX, dark=True)
    cuts = choose_cuts(scene.labels, side)
    layout = figure.add_gridspec(
        2, 6, left=0.008, right=0.992, top=0.935, bottom=0.03, wspace=0.03, hspace=0.075
    )
    places = (layout[0, 0:2], layout[0, 2:4], layout[0, 4:6], layout[1, 0:2], layout[1, 2:4])
    limits = _shown_range_mm(scene)
    window = _grey_window(scene.image)
    for cut, place in zip(cuts, places, strict=True):
        _draw_cut(figure.add_subplot(place), scene, cut, side, limits, window)
    _write_legend(figure.add_subplot(layout[1, 4:6]), scene)
    write_heading(figure, title or "Segmentation", f"{side} knee", dark=True)
    return figure


def _scene(volume: Volume | None, label_map: LabelMap) -> _Scene:
    if volume is not None:
        label_map.grid.require_same(volume.grid)
    axes, flips = label_map.grid.closest_lps()
    image = None if volume is None else reorient_array(volume.data, axes, flips)
    labels = np.ascontiguousarray(reorient_array(label_map.labels, axes, flips), dtype=np.uint8)
    return _Scene(labels, image, label_map, label_map.grid.reorient(axes, flips), axes, flips)


def _counts(labels: NDArray[np.uint8], tissues: tuple[Tissue, ...], axis: int) -> NDArray[np.int64]:
    """Voxels of the first of these tissues that is present, per slice along an axis."""
    others = tuple(a for a in range(3) if a != axis)
    for tissue in tissues:
        counts: NDArray[np.int64] = np.count_nonzero(labels == int(tissue), axis=others)
        if counts.any():
            return counts
    present: NDArray[np.int64] = np.count_nonzero(labels, axis=others)
    return present if present.any() else np.ones_like(present)


def _quantile_slice(counts: NDArray[np.int64], share: float) -> int:
    """Slice below which `share` of the voxels lie."""
    total = np.cumsum(counts)
    return int(np.searchsorted(total, share * total[-1]))


def choose_cuts(labels: NDArray[np.uint8], side: Side) -> tuple[Cut, ...]:
    """Slices through both condyles, the notch, the weight-bearing zone and the patella.

    Parameters
    ----------
    labels : (L, P, S) array: axis 0 grows to the patient's left, 1 to posterior, 2 to superior.
    side : Which knee.
    """
    tibial = (Tissue.TIBIAL_CARTILAGE, Tissue.TIBIA, Tissue.FEMORAL_CARTILAGE, Tissue.FEMUR)
    patellar = (Tissue.PATELLAR_CARTILAGE, Tissue.PATELLA, Tissue.FEMORAL_CARTILAGE)
    across = _counts(labels, tibial, 0)
    low, high = (int(i) for i in np.flatnonzero(across)[[0, -1]])
    notch = (low + high) // 2
    right_half, left_half = across.copy(), across.copy()
    right_half[notch + 1 :] = 0  # smaller index: the patient's right
    left_half[: notch - 1] = 0
    halves = [_quantile_slice(right_half, 0.5), _quantile_slice(left_half, 0.5)]
    medial, lateral = halves[::-1] if side is Side.RIGHT else halves
    return (
        Cut(SAGITTAL, medial, "Sagittal, medial condyle"),
        Cut(SAGITTAL, notch, "Sagittal, middle"),
        Cut(SAGITTAL, lateral, "Sagittal, lateral condyle"),
        Cut(CORONAL, _quantile_slice(_counts(labels, tibial, 1), 0.5), "Coronal, weight-bearing"),
        Cut(AXIAL, _quantile_slice(_counts(labels, patellar, 2), 0.5), "Axial, patella"),
    )


def _shown_range_mm(scene: _Scene) -> list[tuple[float, float]]:
    """Per array axis the part to show, mm from the first voxel: the labels and a margin."""
    spacing = scene.grid.spacing_mm
    ranges = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(scene.labels.any(axis=others))
        low, high = (filled[0], filled[-1]) if filled.size else (0, scene.labels.shape[axis] - 1)
        start = max(low * spacing[axis] - _MARGIN_MM, -0.5 * spacing[axis])
        stop = min(
            high * spacing[axis] + _MARGIN_MM, (scene.labels.shape[axis] - 0.5) * spacing[axis]
        )
        ranges.append((float(start), float(stop)))
    return ranges


def _grey_window(image: NDArray[Any] | None) -> tuple[float, float]:
    """Grey values shown as black and white: robust against a few very bright voxels."""
    if image is None:
        return 0.0, 1.0
    sample = np.asarray(image[::3, ::3, ::3], dtype=np.float64)
    low, high = np.nanpercentile(sample, [1.0, 99.7])
    return float(low), float(high if high > low else low + 1.0)


def _draw_cut(
    axes: Axes,
    scene: _Scene,
    cut: Cut,
    side: Side,
    limits: list[tuple[float, float]],
    window: tuple[float, float],
) -> None:
    """One slice in millimetres: image, contours, letters, scale bar."""
    through, across, upward = _CUTS[cut.plane]
    spacing = scene.grid.spacing_mm
    size = (scene.labels.shape[across], scene.labels.shape[upward])
    x = np.arange(size[0]) * spacing[across]
    y = np.arange(size[1]) * spacing[upward]
    if scene.image is not None:
        pixels = np.take(scene.image, cut.index, through).T
        dx, dy = spacing[across] / 2, spacing[upward] / 2
        extent = (x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy)
        axes.imshow(
            pixels, cmap="gray", vmin=window[0], vmax=window[1], origin="lower",
            extent=extent, interpolation="bilinear",
        )  # fmt: skip
    axes.set_facecolor("#000000" if scene.image is not None else "#1B1F22")
    for tissue, colour in palette.TISSUE_COLOURS.items():
        fraction = scene.fraction(tissue, through, cut.index).T
        if fraction.max(initial=0.0) > 0.5:
            width = 1.1 if tissue in _CARTILAGES else 0.8
            axes.contour(x, y, fraction, levels=[0.5], colors=[colour], linewidths=[width])
    number = f"{cut.index + 1} of {scene.labels.shape[through]}"
    bare_axes(axes, f"{cut.name} (slice {number})", palette.LIGHT_INK)
    axes.set_xlim(limits[across])
    # Axial: index 1 grows to posterior, which is down on the picture.
    axes.set_ylim(limits[upward] if cut.plane.up == "S" else limits[upward][::-1])
    write_letters(axes, cut.plane, side, palette.LIGHT_INK)
    write_scale_bar(axes, palette.LIGHT_INK)


def obliqueness_deg(grid: Grid) -> float:
    """Largest angle in degrees between an array axis and the patient axis it runs closest to."""
    axes, _ = grid.closest_lps()
    unit = grid.affine[:3, :3] / grid.spacing_mm
    cosines = [abs(unit[world, axes[world]]) for world in range(3)]
    return float(np.degrees(np.arccos(np.clip(min(cosines), -1.0, 1.0))))


def _write_legend(axes: Axes, scene: _Scene) -> None:
    """Names of the contours and what the reader should know about the grid."""
    from matplotlib.lines import Line2D

    axes.set_axis_off()
    present = scene.label_map.tissues()
    handles = [
        Line2D([], [], color=colour, linewidth=2, label=palette.TISSUE_NAMES[tissue])
        for tissue, colour in palette.TISSUE_COLOURS.items()
        if tissue in present
    ]
    axes.legend(
        handles=handles, loc="upper left", frameon=False, labelcolor=palette.LIGHT_INK, fontsize=10
    )
    spacing = " × ".join(f"{mm:.3g}" for mm in scene.grid.spacing_mm)
    notes = [
        f"Voxels {spacing} mm (L–R, A–P, S–I)",
        "Soft labels, contour at one half" if scene.label_map.is_soft else "Hard labels",
    ]
    if scene.image is None:
        notes.append("No MR image: segmentation only")
    angle_deg = obliqueness_deg(scene.grid)
    if angle_deg >= _OBLIQUE_FROM_DEG:
        notes.append(
            f"Oblique grid, {angle_deg:.0f}° off the patient axes:\nletters name the nearest axis"
        )
    axes.text(
        0.02, 0.06, "\n".join(notes), transform=axes.transAxes, va="bottom",
        color=palette.QUIET_LIGHT_INK, fontsize=9, linespacing=1.5,
    )  # fmt: skip
