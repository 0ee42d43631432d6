"""Letters, compartments and PNG bytes: what every figure relies on."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.report.figures.canvas import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Plane,
    compartment,
    house_style,
    new_figure,
    png_bytes,
    write_scale_bar,
    write_scale_bar_px,
)


@pytest.mark.parametrize(
    "side, left, right",
    [(Side.RIGHT, "R\nlateral", "L\nmedial"), (Side.LEFT, "R\nmedial", "L\nlateral")],
)
def test_radiological_display_has_the_patients_left_on_the_right(side, left, right):
    for plane in (CORONAL, AXIAL):
        labels = plane.edge_labels(side)
        assert (labels["left"], labels["right"]) == (left, right)
    assert CORONAL.edge_labels(side)["top"] == "S"
    assert AXIAL.edge_labels(side)["top"] == "A"


@pytest.mark.parametrize("side", list(Side))
def test_sagittal_display_has_anterior_on_the_left_and_no_compartment(side):
    expected = {"left": "A", "right": "P", "top": "S", "bottom": "I"}
    assert SAGITTAL.edge_labels(side) == expected


def test_from_behind_the_sides_change_places():
    assert Plane("R", "S").edge_labels(Side.RIGHT)["left"] == "L\nmedial"


@pytest.mark.parametrize("letter", ["L", "R"])
def test_compartments_of_the_two_knees_are_mirrored(letter):
    mirrored = {"L": "R", "R": "L"}[letter]
    assert compartment(letter, Side.RIGHT) == compartment(mirrored, Side.LEFT)
    assert compartment(letter, Side.RIGHT) != compartment(letter, Side.LEFT)


def test_png_has_the_asked_size_and_names_no_program():
    image = png_bytes(new_figure(321, 123))
    assert image.startswith(b"\x89PNG")
    assert int.from_bytes(image[16:20], "big") == 321
    assert int.from_bytes(image[20:24], "big") == 123
    assert b"matplotlib" not in image.lower()


def test_a_users_style_has_no_say_and_is_kept():
    with matplotlib.rc_context({"font.size": 31.0}):
        with house_style():
            assert matplotlib.rcParams["font.size"] == 8.5
        assert matplotlib.rcParams["font.size"] == 31.0


@pytest.mark.parametrize("limits", [(0.0, 100.0), (100.0, 0.0)])
def test_the_scale_bar_is_as_long_as_it_says(limits):
    axes = new_figure(200, 200).add_subplot()
    axes.set_xlim(5, 105)
    axes.set_ylim(*limits)
    write_scale_bar(axes, "k", length_mm=20)
    assert np.ptp(axes.lines[0].get_xdata()) == pytest.approx(20)
    assert axes.get_xlim() == (5, 105)


def test_the_scale_bar_of_a_film_counts_columns():
    axes = new_figure(200, 200).add_subplot()
    axes.set_xlim(-0.5, 399.5)
    write_scale_bar_px(axes, 0.25, "no mm", "k", length_mm=20)
    assert np.ptp(axes.lines[0].get_xdata()) * 400 * 0.25 == pytest.approx(20)


def test_without_a_pixel_size_there_is_no_bar():
    axes = new_figure(200, 200).add_subplot()
    write_scale_bar_px(axes, None, "no mm: pixel size unknown", "k")
    assert not axes.lines
    assert [text.get_text() for text in axes.texts] == ["no mm: pixel size unknown"]


def test_saved_bytes_are_equal_each_time():
    def picture() -> bytes:
        with house_style():
            figure = new_figure(200, 100)
            figure.add_subplot().plot([0, 1], [1, 0])
            buffer = io.BytesIO(png_bytes(figure))
        return buffer.getvalue()

    assert picture() == picture()
