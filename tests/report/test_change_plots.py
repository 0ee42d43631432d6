"""Plots of change: what the axes hold is what was given, and nothing else."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from kneeimg.report import palette
from kneeimg.report.figures import forest, shares, spaghetti, strip, waterfall
from kneeimg.report.figures.canvas import NOTICE, new_figure, png_bytes
from kneeimg.report.figures.sheet import view_box
from kneeimg.report.summaries import Single, sdc_kind

NAN = math.nan
VISITS = {"BL": 0.0, "M06": 182.0, "M12": 365.0}


def texts(figure) -> str:
    parts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        parts += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        parts += [text.get_text() for text in axes.texts]
        parts += [label.get_text() for label in axes.get_yticklabels()]
    return "\n".join(parts)


def legend_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def spaghetti_panel(groups=("",), sdc=NAN):
    strands = tuple(
        spaghetti.Strand(f"P{n}", groups[n % len(groups)], ((182.0, -0.1 * n), (365.0, -0.2 * n)))
        for n in range(4)
    )
    means = tuple(
        spaghetti.GroupMean(group, ((182.0, -0.1, -0.2, 0.0), (365.0, -0.3, -0.5, -0.1)))
        for group in groups
    )
    return spaghetti.SpaghettiPanel("FTJ, ThCtAB", "mm", strands, means, sdc)


def test_every_knee_is_one_line_from_zero():
    axes = spaghetti.spaghetti_figure([spaghetti_panel()], VISITS, title="T").axes[0]
    own = {line.get_gid(): line for line in axes.lines if str(line.get_gid()).startswith("P")}
    assert sorted(own) == ["P0", "P1", "P2", "P3"]
    assert list(own["P2"].get_xdata()) == [0.0, 182.0, 365.0]
    assert own["P2"].get_ydata() == pytest.approx([0.0, -0.2, -0.4])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["BL", "M06", "M12"]
    assert axes.get_ylabel() == "change (mm)"


def test_arms_differ_in_colour_marker_and_line():
    figure = spaghetti.spaghetti_figure([spaghetti_panel(("A", "B"))], VISITS, title="T")
    axes = figure.axes[0]
    colours = {to_hex(line.get_color()) for line in axes.lines if line.get_gid() in ("P0", "P2")}
    others = {to_hex(line.get_color()) for line in axes.lines if line.get_gid() in ("P1", "P3")}
    assert len(colours) == len(others) == 1
    assert colours != others
    assert legend_of(figure) == ["A: mean, 95 % interval", "B: mean, 95 % interval"]
    styles = {line.get_linestyle() for line in axes.lines if line.get_linewidth() == 2.0}
    assert len(styles) == 2


@pytest.mark.parametrize("sdc, named", [(0.12, True), (NAN, False)])
def test_the_band_of_the_sdc_is_drawn_only_where_there_is_one(sdc, named):
    figure = spaghetti.spaghetti_figure([spaghetti_panel(sdc=sdc)], VISITS, title="T")
    assert ("within the SDC of a single knee" in legend_of(figure)) is named
    bands = [p for p in figure.axes[0].patches if to_hex(p.get_facecolor()) == "#dce3e7"]
    assert len(bands) == int(named)


def test_a_simulated_sdc_is_called_so_on_every_plot_that_shows_it():
    panel = spaghetti_panel(sdc=0.12)
    courses = spaghetti.spaghetti_figure([panel], VISITS, title="T", sdc_kind="simulated")
    assert "within the SDC of a single knee (simulated)" in legend_of(courses)
    row = forest.ForestRow("FTJ", "25", -0.12, -0.2, -0.04, sdc=0.3)
    panels = [forest.ForestPanel("Baseline → V1", (row,))]
    means = forest.forest_figure(
        panels, title="T", subtitle="S", label="change", unit="mm", sdc_kind="simulated"
    )
    assert "detectable change of one knee (simulated)" in texts(means)
    bars = [Single("P1", "left", -0.3, "loss", 0.2)]
    singles = waterfall.waterfall_figure(bars, title="T", unit="mm", sdc_kind="simulated")
    assert "± SDC, 0.200 mm\n(simulated)" in legend_of(singles)


def test_only_a_simulated_source_makes_an_sdc_simulated():
    assert sdc_kind(["retest: study RT1, n=20", ""]) == ""
    assert sdc_kind(["retest: study RT1, n=20", "simulated: phantoms, n=6"]) == "partly simulated"


def forest_of(*rows, panels=1):
    made = [forest.ForestPanel(f"Baseline → V{n}", tuple(rows)) for n in range(panels)]
    return forest.forest_figure(made, title="T", subtitle="S", label="change", unit="mm")


def test_a_forest_line_is_estimate_and_interval():
    figure = forest_of(forest.ForestRow("FTJ", "25", -0.12, -0.2, -0.04, sdc=0.3))
    axes = figure.axes[0]
    interval, point = [line for line in axes.lines if len(line.get_ydata()) and line.zorder >= 3]
    assert list(interval.get_xdata()) == [-0.2, -0.04]
    assert list(point.get_xdata()) == [-0.12]
    assert to_hex(point.get_color()) == palette.CLASS_COLOURS["loss"].lower()
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == (-0.3, 0.6)
    assert "−0.120  n 25" in texts(figure)
    assert "FTJ" in texts(figure)
    assert "smallest detectable change" in texts(figure)
    low, high = axes.get_xlim()
    assert low < -0.3
    assert high > 0.3


def test_an_interval_across_zero_is_dark():
    axes = forest_of(forest.ForestRow("MT", "9", 0.01, -0.02, 0.04)).axes[0]
    assert {to_hex(line.get_color()) for line in axes.lines if line.zorder >= 3} == {
        palette.INK.lower()
    }


def test_a_line_without_an_estimate_says_why():
    figure = forest_of(forest.ForestRow("MT", "0", NAN, NAN, NAN, note="NO_REPEATABILITY"))
    assert "NO_REPEATABILITY" in texts(figure)
    assert not [line for line in figure.axes[0].lines if line.zorder >= 3]


def test_panels_share_one_scale_and_only_the_last_four_are_drawn():
    figure = forest_of(forest.ForestRow("MT", "9", 0.01, -0.02, 0.04), panels=6)
    assert [a.get_title(loc="left") for a in figure.axes] == [
        f"Baseline → V{n}" for n in (2, 3, 4, 5)
    ]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


BARS = [
    Single("P2", "left", -0.4, "loss", 0.2),
    Single("P1", "left", -0.1, "within measurement error", 0.2),
    Single("P3", "left", 0.3, "gain", 0.2),
]


def test_a_bar_for_every_knee_in_its_class_with_sdc_lines():
    figure = waterfall.waterfall_figure(BARS, title="T", unit="mm")
    axes = figure.axes[0]
    bars = [patch for patch in axes.patches if patch.get_width() == pytest.approx(0.8)]
    assert [bar.get_height() for bar in bars] == [-0.4, -0.1, 0.3]
    faces = [to_hex(bar.get_facecolor()) for bar in bars]
    assert faces == [palette.CLASS_COLOURS[bar.change_class].lower() for bar in BARS]
    dashed = sorted(line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--")
    assert dashed == [-0.2, 0.2]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["P2", "P1", "P3"]
    assert "± SDC, 0.200 mm" in legend_of(figure)


def test_without_repeatability_there_is_no_band_and_no_arm_without_unblinding():
    bars = [Single("P1", "left", -0.4, "no repeatability data", NAN)]
    figure = waterfall.waterfall_figure(bars, title="T", unit="mm")
    assert legend_of(figure) == ["no repeatability data"]
    assert not [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]


def test_arms_stand_as_markers_under_their_bars_and_thresholds_are_named():
    figure = waterfall.waterfall_figure(
        BARS, title="T", unit="mm", groups={"P1": "A", "P2": "B", "P3": "A"},
        limits=[(-0.7, "a published loss")],
    )  # fmt: skip
    marked = {
        line.get_xdata()[0]: line.get_marker()
        for line in figure.axes[0].lines
        if line.get_marker() not in ("None", None)
    }
    assert marked[1] == marked[2] != marked[0]
    assert legend_of(figure)[-2:] == ["A", "B"]
    assert "a published loss" in texts(figure)


def test_shares_fill_a_bar_and_carry_their_counts():
    bars = [
        shares.ShareBar(
            "M12  A", 10, {"worsened": 6, "stable": 4}, {"worsened": 0.6, "stable": 0.4}
        )
    ]
    figure = shares.shares_figure(bars, title="T", subtitle="S")
    axes = figure.axes[0]
    assert [round(p.get_width(), 6) for p in axes.patches] == [0.6, 0.4]
    assert [t.get_text() for t in axes.texts] == ["6", "4"]
    assert axes.get_yticklabels()[0].get_text() == "M12  A  (n 10)"


@pytest.mark.parametrize(
    "png",
    [
        spaghetti.spaghetti_plot([spaghetti_panel()], VISITS, title="T"),
        waterfall.waterfall_plot(BARS, title="T", unit="mm"),
        shares.shares_plot([], title="T", subtitle="S"),
    ],
)
def test_plots_are_png_files(png):
    assert png.startswith(b"\x89PNG")


def test_the_notice_stands_on_every_figure():
    figures = (
        spaghetti.spaghetti_figure([], VISITS, title="T"),
        forest.forest_figure([], title="T", subtitle="S", label="x", unit="mm"),
        waterfall.waterfall_figure([], title="T", unit="mm"),
        shares.shares_figure([], title="T", subtitle="S"),
    )
    assert all(NOTICE in texts(figure) for figure in figures)


def sheet_file(path: Path, level: float) -> Path:
    """A sheet whose first two shown views have known colours."""
    picture = np.ones((900, 1380, 3))
    for name, colour in (("Femur from below", (level, 0, 0)), ("Tibia from above", (0, 0, level))):
        left, top, right, bottom = view_box(name)
        picture[top:bottom, left:right] = colour
    figure = new_figure(1380, 900)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(picture, aspect="auto", interpolation="nearest")
    path.write_bytes(png_bytes(figure))
    return path


def test_the_strip_shows_the_same_views_of_every_visit(tmp_path):
    sheets = [strip.read_sheet(sheet_file(tmp_path / f"{n}.png", n / 2)) for n in (1, 2)]
    figure = strip.strip_figure(list(zip(("BL", "M12"), sheets, strict=True)), title="P1")
    shown = [axes.get_images()[0].get_array() for axes in figure.axes if axes.get_images()]
    middles = [tuple(np.round(picture[150, 200], 1)) for picture in shown]
    assert middles == [(0.5, 0, 0), (0, 0, 0.5), (1, 0, 0), (0, 0, 1)]
    assert [axes.get_title() for axes in figure.axes][:3:2] == ["BL", "M12"]
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert "thickness (mm)" in labels
    assert "change (mm)" in labels


def test_a_strip_is_one_png_of_moderate_size(tmp_path):
    files = [sheet_file(tmp_path / f"{n}.png", n / 2) for n in (1, 2)]
    png = strip.strip_plot(("BL", files[0]), [("M12", files[1])], title="P1")
    assert png is not None
    assert int.from_bytes(png[16:20], "big") == 2 * 330 + 110
    assert len(png) < 100_000


def test_a_picture_that_is_no_sheet_gives_no_strip(tmp_path):
    small = tmp_path / "small.png"
    small.write_bytes(png_bytes(new_figure(40, 30)))
    good = sheet_file(tmp_path / "good.png", 1.0)
    assert strip.strip_plot(("BL", good), [("M12", small)], title="P1") is None
    (tmp_path / "no.png").write_text("no picture")
    assert strip.read_sheet(tmp_path / "no.png") is None


def test_a_thumbnail_is_small_and_keeps_its_colours(tmp_path):
    """Also a colour that only a handful of pixels have, as in a colour bar."""
    from PIL import Image

    path = sheet_file(tmp_path / "good.png", 1.0)
    with Image.open(path) as picture:
        marked = np.array(picture.convert("RGB"))
    rng = np.random.default_rng(0)
    marked[:600] = rng.integers(0, 90, size=marked[:600].shape)  # many other colours
    marked[690:726, 90:126] = (240, 20, 200)
    Image.fromarray(marked).save(path)
    small = strip.thumbnail(path.read_bytes())
    assert int.from_bytes(small[16:20], "big") == 420
    with Image.open(io.BytesIO(small)) as picture:
        shown = np.asarray(picture.convert("RGB"))[round(708 * 420 / 1380), round(108 * 420 / 1380)]
    assert shown == pytest.approx((240, 20, 200), abs=12)


def test_colours_of_arms_and_classes_differ_in_lightness_for_colour_blind_readers():
    def lightness(colour):
        r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * r**2.2 + 0.7152 * g**2.2 + 0.0722 * b**2.2

    first, second = (lightness(style[0]) for style in palette.ARM_STYLES[:2])
    assert abs(first - second) > 0.03
    loss, gain = palette.CLASS_COLOURS["loss"], palette.CLASS_COLOURS["gain"]
    # orange and blue: far apart in blue-yellow, which the common forms of colour blindness keep
    assert int(gain[5:7], 16) - int(loss[5:7], 16) > 120
    assert palette.CLASS_HATCHES["gain"] != palette.CLASS_HATCHES["loss"]
    assert len({style[1:] for style in palette.ARM_STYLES}) == len(palette.ARM_STYLES)
