"""The picture of one knee film: margins and frame on the film, joint-space width beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.kl_opinion import KlOpinion
from kneeimg.core.kl_support import KlSupport
from kneeimg.core.margins import Compartment, JointMargins
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.radiograph import Radiograph
from kneeimg.errors import MeasurementError
from kneeimg.report import palette
from kneeimg.report.figures.canvas import (
    halo,
    house_style,
    new_figure,
    png_bytes,
    write_heading,
    write_scale_bar_px,
)
from kneeimg.report.figures.kl_opinion import OPINION_HEIGHT_PX, draw_kl_opinion
from kneeimg.report.figures.kl_support import draw_kl_support

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from kneeimg.measure.joint_space import JointFrame

_WIDTH_PX, _HEIGHT_PX = 1380, 780
_AROUND = 0.22  # film shown beyond the femoral edges, in femoral widths
_ABOVE, _BELOW = 0.62, 0.62  # film shown above and below the tangent, in femoral widths
_NO_MM = "no mm: pixel size unknown"

_COMPARTMENT_STYLES: Mapping[Compartment, tuple[str, str]] = {
    Compartment.MEDIAL: (palette.SERIES_STYLES["MT"][0], "o"),
    Compartment.LATERAL: (palette.SERIES_STYLES["cMF"][0], "s"),
}
_KEY_ROWS = (
    ("medial", "mJSW", "medial minimum JSW"),
    ("lateral", "mJSW", "lateral minimum JSW"),
    ("medial", "meanJSW", "medial mean JSW, x 0.10–0.30"),
    ("lateral", "meanJSW", "lateral mean JSW, x 0.70–0.90"),
    ("medial", "nmJSW", "medial minimum JSW / femoral width"),
    ("lateral", "nmJSW", "lateral minimum JSW / femoral width"),
    ("knee", "femoral_width", "femoral width"),
    ("knee", "JLCA", "joint-line convergence angle"),
)


def film_panel(
    radiograph: Radiograph,
    margins: JointMargins | None,
    measurements: Sequence[Measurement] = (),
    *,
    title: str = "",
    support: KlSupport | None = None,
    opinion: KlOpinion | None = None,
) -> bytes:
    """A knee film with its margins, the frame they are measured in, and the widths beside it.

    Parameters
    ----------
    radiograph : The film.
    margins : Margins in pixels of this film; None shows the film and says that there are none.
    measurements : Rows of this knee; the profile and the key values are drawn from them.
    title : Heading in study ids.
    support : Drawn as bars of P(KL = 0 .. 4) with the words "support, not a diagnosis".
    opinion : The second opinion, drawn in a strip below beside that of the features.

    Returns
    -------
    PNG, 1380 × 780 pixels; 270 rows more with a second opinion.
    """
    with house_style():
        figure = film_figure(
            radiograph, margins, measurements, title=title, support=support, opinion=opinion
        )
        return png_bytes(figure)


def film_figure(
    radiograph: Radiograph,
    margins: JointMargins | None,
    measurements: Sequence[Measurement] = (),
    *,
    title: str = "",
    support: KlSupport | None = None,
    opinion: KlOpinion | None = None,
) -> Figure:
    """The figure that :func:`film_panel` writes."""
    if opinion is None or support is None or margins is None:
        figure = new_figure(_WIDTH_PX, _HEIGHT_PX)
        _draw_panel(figure, radiograph, margins, measurements, title, support)
        return figure
    heights = (_HEIGHT_PX, OPINION_HEIGHT_PX)
    figure = new_figure(_WIDTH_PX, sum(heights))
    parts = figure.subfigures(2, 1, height_ratios=heights, hspace=0)
    panel, strip = np.asarray(parts).tolist()
    _draw_panel(panel, radiograph, margins, measurements, title, support)
    draw_kl_opinion(strip, radiograph, margins, support, opinion)
    return figure


def _draw_panel(
    figure: Figure | SubFigure,
    radiograph: Radiograph,
    margins: JointMargins | None,
    measurements: Sequence[Measurement],
    title: str,
    support: KlSupport | None,
) -> None:
    """Film, profile, key values and KL support on a figure of 1380 × 780 pixels."""
    rows = {(m.region, m.quantity): m for m in measurements}
    side = margins.side if margins is not None else radiograph.side
    axes = figure.add_axes((0.008, 0.04, 0.565, 0.885))
    _draw_film(axes, radiograph)
    frame = _frame(margins, radiograph.spacing_mm)
    if margins is not None:
        _draw_margins(axes, margins)
        _show_joint(axes, margins, radiograph)
        _write_compartments(axes, margins)
    if margins is not None and frame is not None:
        _draw_frame(axes, frame)
        _draw_narrowest(axes, frame, margins, rows)
    if margins is None:
        axes.text(
            0.5, 0.5, "no joint margins", transform=axes.transAxes, ha="center", fontsize=13,
            color=palette.LIGHT_INK, path_effects=halo(palette.LIGHT_INK),
        )  # fmt: skip
    _write_side(axes, radiograph, side)
    column_mm = None if radiograph.spacing_mm is None else radiograph.spacing_mm[1]
    write_scale_bar_px(axes, column_mm, _NO_MM, palette.LIGHT_INK)
    _draw_profile(figure.add_axes((0.645, 0.59, 0.335, 0.31)), rows)
    _write_key_values(figure, rows, radiograph)
    if support is not None:
        draw_kl_support(figure, support)
    name = f"{side} knee" if side is not None else "side unknown"
    write_heading(figure, title or "Knee film", name)


def _frame(
    margins: JointMargins | None, spacing_mm: tuple[float, float] | None
) -> JointFrame | None:
    """The frame the rows were measured in, so that ticks lie where x was counted."""
    from kneeimg.measure.joint_space import joint_frame

    if margins is None:
        return None
    try:
        return joint_frame(margins, spacing_mm)
    except MeasurementError:  # the rows say why; the margins are still worth seeing
        return None


def _draw_film(axes: Axes, radiograph: Radiograph) -> None:
    """The whole film, dense tissue bright, pixels in their true proportion."""
    image = np.asarray(radiograph.image, dtype=np.float64)
    low, high = np.nanpercentile(image, [0.5, 99.7])
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), interpolation="bilinear")
    spacing = radiograph.spacing_mm
    axes.set_aspect(1.0 if spacing is None else spacing[0] / spacing[1])
    axes.set_anchor("W")
    axes.set_facecolor("#000000")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _show_joint(axes: Axes, margins: JointMargins, radiograph: Radiograph) -> None:
    """Limit the picture to the joint: on a bilateral or long film it would be tiny."""
    edges = np.concatenate([margins.femoral_edges[c].points for c in Compartment])
    left, right = edges[:, 0].min(), edges[:, 0].max()
    width = right - left
    spacing = radiograph.spacing_mm or (1.0, 1.0)
    tall = width * spacing[1] / spacing[0]
    middle = float(margins.tangent[:, 1].mean())
    rows, columns = radiograph.image.shape
    axes.set_xlim(max(left - _AROUND * width, -0.5), min(right + _AROUND * width, columns - 0.5))
    axes.set_ylim(min(middle + _BELOW * tall, rows - 0.5), max(middle - _ABOVE * tall, -0.5))


def _draw_margins(axes: Axes, margins: JointMargins) -> None:
    """Femoral margin, tibial floor, and rim where it was told apart."""
    groups = (
        (margins.femur, palette.FEMORAL_MARGIN, "-", "femoral margin"),
        (margins.tibia, palette.TIBIAL_MARGIN, "-", "tibial floor"),
        (margins.rim, palette.TIBIAL_MARGIN, ":", "plateau rim"),
    )
    for lines, colour, dash, label in groups:
        for number, line in enumerate(lines.values()):
            axes.plot(
                line.points[:, 0], line.points[:, 1], dash, color=colour, linewidth=1.5,
                label=label if number == 0 else None, scalex=False, scaley=False,
            )  # fmt: skip
    legend = axes.legend(
        loc="lower right", frameon=True, facecolor=palette.DARK, edgecolor="none", framealpha=0.65,
        labelcolor=palette.LIGHT_INK, fontsize=8.5,
    )  # fmt: skip
    legend.set_zorder(5)


def _pixel(frame: JointFrame, along: float, below: float) -> NDArray[np.float64]:
    """(2,) column and row of a place in the frame, film units."""
    pixel: NDArray[np.float64] = frame.pixels([[along, below]])[0]
    return pixel


def _draw_frame(axes: Axes, frame: JointFrame) -> None:
    """Tangent from x = 0 to x = 1 with ticks each tenth, and the perpendiculars at its ends."""

    def at(x: float, below: float) -> NDArray[np.float64]:
        return _pixel(frame, x * frame.width, below * frame.width)

    style: dict[str, Any] = {"color": palette.FILM_AXIS, "scalex": False, "scaley": False}
    axes.plot(*np.transpose([at(0, 0), at(1, 0)]), linewidth=0.9, **style)
    for x in (0.0, 1.0):
        ends = [at(x, -0.30), at(x, 0.10)]
        axes.plot(*np.transpose(ends), linewidth=0.8, linestyle=(0, (4, 3)), **style)
    for tenth in range(11):
        long = tenth in (0, 5, 10)
        ends = [at(tenth / 10, 0), at(tenth / 10, -0.018 if long else -0.010)]
        axes.plot(*np.transpose(ends), linewidth=0.9, **style)
        if long:
            column, row = at(tenth / 10, -0.032)
            axes.text(column, row, f"{tenth / 10:g}", color=palette.FILM_AXIS, fontsize=8,
                      ha="center", va="bottom", path_effects=halo(palette.LIGHT_INK))  # fmt: skip


def _draw_narrowest(
    axes: Axes,
    frame: JointFrame,
    margins: JointMargins,
    rows: Mapping[tuple[str, str], Measurement],
) -> None:
    """Where the minimum of each compartment was measured, and how wide it was."""
    for compartment in Compartment:
        where = rows.get((compartment.value, "mJSW_x"))
        if where is None or where.status is not Status.OK:
            continue
        upper, lower = _gap_ends(frame, margins, compartment, where.value)
        axes.plot(*np.transpose([upper, lower]), color=palette.NARROWEST, linewidth=2.0,
                  marker="_", markersize=7, scalex=False, scaley=False)  # fmt: skip
        value = _first(rows, compartment.value, ("mJSW", "nmJSW"))
        axes.annotate(
            value_text(value), (float(lower[0]), float(lower[1])), xytext=(0, -9),
            textcoords="offset points", ha="center", va="top", color=palette.NARROWEST,
            fontsize=9.5, fontweight="bold", path_effects=halo(palette.LIGHT_INK),
        )  # fmt: skip


def _gap_ends(
    frame: JointFrame, margins: JointMargins, compartment: Compartment, x: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Femoral point at x and the tibial point nearest to it, pixels; only for drawing."""
    from kneeimg.geometry.polylines import closest_points

    femur = frame.place(margins.femur[compartment].points)
    tibia = frame.place(margins.tibia[compartment].points)
    femur = femur[np.argsort(femur[:, 0], kind="stable")]
    u = x * frame.width
    start = (u, float(np.interp(u, femur[:, 0], femur[:, 1])))
    _, _, end = closest_points([start, start], tibia)  # a line of no length: that one point
    return _pixel(frame, *start), _pixel(frame, float(end[0]), float(end[1]))


def _write_compartments(axes: Axes, margins: JointMargins) -> None:
    """ "medial" and "lateral" at the edges where the margins say they are."""
    medial = margins.femoral_edges[Compartment.MEDIAL].points[:, 0].mean()
    lateral = margins.femoral_edges[Compartment.LATERAL].points[:, 0].mean()
    names = ("medial", "lateral") if medial < lateral else ("lateral", "medial")
    for x, name, align in zip((0.015, 0.985), names, ("left", "right"), strict=True):
        axes.text(
            x, 0.5, name, transform=axes.transAxes, ha=align, va="center", fontsize=9,
            fontweight="bold", color=palette.LIGHT_INK, path_effects=halo(palette.LIGHT_INK),
        )  # fmt: skip


def _write_side(axes: Axes, radiograph: Radiograph, side: Side | None) -> None:
    """The side letter as a film marker, and the patient directions when they are known."""
    letter = "?" if side is None else side.value[0].upper()
    style: dict[str, Any] = {
        "transform": axes.transAxes, "color": palette.LIGHT_INK, "fontweight": "bold",
        "path_effects": halo(palette.LIGHT_INK),
    }  # fmt: skip
    axes.text(0.02, 0.975, letter, ha="left", va="top", fontsize=22, **style)
    if radiograph.patient_left_on_image_right is not None:
        known = radiograph.patient_left_on_image_right
        letters = ("R", "L") if known else ("L", "R")
        axes.text(0.015, 0.55, letters[0], ha="left", va="center", fontsize=9, **style)
        axes.text(0.985, 0.55, letters[1], ha="right", va="center", fontsize=9, **style)


def _first(
    rows: Mapping[tuple[str, str], Measurement], region: str, quantities: Sequence[str]
) -> Measurement | None:
    """The first of these quantities that has a value, else the first that was planned."""
    found = [rows[region, q] for q in quantities if (region, q) in rows]
    measured = [m for m in found if m.status is Status.OK]
    return (measured or found or [None])[0]  # type: ignore[list-item]


def value_text(measurement: Measurement | None) -> str:
    """Value and unit for a reader; never "nan".

    >>> value_text(Measurement("medial", "mJSW", 0.0, "mm"))
    '0.00 mm'
    >>> from kneeimg.errors import ReasonCode
    >>> value_text(Measurement.missing("medial", "mJSW", "mm", ReasonCode.NO_PIXEL_SPACING))
    'not measured: NO_PIXEL_SPACING'
    """
    if measurement is None:
        return "not measured"
    if measurement.status is not Status.OK or math.isnan(measurement.value):
        return f"not measured: {measurement.reason}"
    decimals = {"ratio": 3, "deg": 1, "mm": 2}.get(measurement.unit, 1)
    unit = {"ratio": "", "deg": "°", "mm^2": " mm²"}.get(measurement.unit, f" {measurement.unit}")
    return f"{measurement.value:.{decimals}f}{unit}"


def profile_points(
    rows: Mapping[tuple[str, str], Measurement], compartment: Compartment, prefix: str
) -> tuple[list[float], list[float]]:
    """x and width of the fixed positions of a compartment that were measured, by x."""
    points = sorted(
        (int(quantity.removeprefix(prefix)) / 1000, m.value)
        for (region, quantity), m in rows.items()
        if region == compartment.value and quantity.startswith(prefix) and m.status is Status.OK
    )
    return [x for x, _ in points], [y for _, y in points]


def _draw_profile(axes: Axes, rows: Mapping[tuple[str, str], Measurement]) -> None:
    """Joint-space width at the fixed positions and the minimum, in mm or per femoral width."""
    in_mm = any(
        quantity.startswith("fJSW_") and m.status is Status.OK for (_, quantity), m in rows.items()
    )
    prefix, least = ("fJSW_", "mJSW") if in_mm else ("nfJSW_", "nmJSW")
    for compartment, (colour, marker) in _COMPARTMENT_STYLES.items():
        x, y = profile_points(rows, compartment, prefix)
        axes.plot(x, y, color=colour, marker=marker, markersize=4.5, linewidth=1.2,
                  label=f"{compartment.value}, fixed x")  # fmt: skip
        where, value = (rows.get((compartment.value, q)) for q in ("mJSW_x", least))
        if where and value and where.status is value.status is Status.OK:
            axes.plot([where.value], [value.value], marker="*", markersize=11, linestyle="none",
                      color=palette.NARROWEST, markeredgecolor=colour)  # fmt: skip
    if not any(np.size(line.get_xdata()) for line in axes.lines):
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no joint-space width was measured", transform=axes.transAxes,
                  ha="center", color=palette.QUIET_INK)  # fmt: skip
        return
    axes.plot([], [], marker="*", markersize=10, linestyle="none", color=palette.NARROWEST,
              label="minimum")  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("x, fraction of femoral width (0 medial, 1 lateral)", color=palette.INK)
    unit = "mm" if in_mm else "fraction of femoral width"
    axes.set_ylabel(f"Joint-space width ({unit})", color=palette.INK)
    axes.grid(color="#E3E6E8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower center", fontsize=8.5, ncols=3,
                bbox_to_anchor=(0.5, 1.0), columnspacing=1.2)  # fmt: skip
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)


def _write_key_values(
    figure: Figure | SubFigure, rows: Mapping[tuple[str, str], Measurement], radiograph: Radiograph
) -> None:
    """The main values as a short table under the profile."""
    top, step = 0.505, 0.0305
    for number, (region, quantity, name) in enumerate(_KEY_ROWS):
        y = top - number * step
        figure.text(0.605, y, name, fontsize=9.5, color=palette.QUIET_INK)
        figure.text(0.985, y, value_text(rows.get((region, quantity))), fontsize=9.5, ha="right",
                    color=palette.INK)  # fmt: skip
    spacing = radiograph.spacing_mm
    size = _NO_MM if spacing is None else f"{spacing[1]:.4g} × {spacing[0]:.4g} mm"
    source = "" if spacing is None else f" ({radiograph.spacing_source})"
    figure.text(
        0.605, top - len(_KEY_ROWS) * step, "pixel size", fontsize=9.5, color=palette.QUIET_INK
    )
    figure.text(0.985, top - len(_KEY_ROWS) * step, f"{size}{source}", fontsize=9.5, ha="right",
                color=palette.INK)  # fmt: skip
