"""The film panel: margins where they lie, given values, no invented millimetres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.kl_opinion import JointCrop, KlOpinion
from kneeimg.core.kl_support import KlSupport
from kneeimg.core.margins import Compartment
from kneeimg.core.measurement import Measurement
from kneeimg.core.radiograph import SpacingSource
from kneeimg.errors import Finding, ReasonCode
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.phantoms.film import FilmKnee, FilmPhantom, FilmSetup, knee_film
from kneeimg.report.figures.canvas import house_style
from kneeimg.report.figures.film import film_figure, film_panel, value_text


@pytest.fixture(scope="module", params=list(Side), ids=str)
def phantom(request) -> FilmPhantom:
    return knee_film(
        FilmKnee(side=request.param, medial_jsw_mm=2.5), FilmSetup(pixel_mm=0.4, rotation_deg=4)
    )


def figure_of(phantom: FilmPhantom, spacing_mm="own"):
    film = phantom.radiograph
    if spacing_mm is None:
        film = replace(film, spacing_mm=None, spacing_source=SpacingSource.NONE)
    rows = measure_joint_space(phantom.margins, film.spacing_mm)
    return film_figure(film, phantom.margins, rows, title="P01 · BL"), rows


def texts_of(figure) -> list[str]:
    inside = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [text.get_text() for text in figure.texts] + inside


def test_size_and_equal_bytes(phantom):
    rows = measure_joint_space(phantom.margins, phantom.radiograph.spacing_mm)
    first = film_panel(phantom.radiograph, phantom.margins, rows)
    assert int.from_bytes(first[16:20], "big") == 1380
    assert int.from_bytes(first[20:24], "big") == 780
    assert first == film_panel(phantom.radiograph, phantom.margins, rows)


def test_side_and_compartments_stand_where_they_belong(phantom):
    figure, _ = figure_of(phantom)
    axes = figure.axes[0]
    place = {text.get_text(): text.get_position()[0] for text in axes.texts}
    side = phantom.margins.side
    assert side.value[0].upper() in place
    # As films are hung the patient's left is on the right: medial of a right knee as well.
    assert (place["medial"] > place["lateral"]) == (side is Side.RIGHT)
    assert f"{side} knee" in texts_of(figure)


def test_margins_are_drawn_where_they_were_found(phantom):
    figure, _ = figure_of(phantom)
    drawn = [np.column_stack(line.get_data()) for line in figure.axes[0].lines]
    for pair in (phantom.margins.femur, phantom.margins.tibia):
        for line in pair.values():
            assert any(d.shape == line.points.shape and np.allclose(d, line.points) for d in drawn)


def test_the_profile_shows_the_given_rows_and_nothing_else(phantom):
    figure, rows = figure_of(phantom)
    profile = figure.axes[1]
    given = {m.value for m in rows if m.quantity.startswith(("fJSW_", "mJSW"))}
    for line in profile.lines:
        assert {float(y) for y in line.get_ydata()} <= given
    assert "(mm)" in profile.get_ylabel()


def test_the_frame_begins_at_the_medial_edge(phantom):
    figure, _ = figure_of(phantom)
    place = {text.get_text(): text.get_position()[0] for text in figure.axes[0].texts}
    assert (place["0"] > place["1"]) == (phantom.margins.side is Side.RIGHT)


def test_without_a_pixel_size_there_are_ratios_and_no_millimetres(phantom):
    figure, _ = figure_of(phantom, spacing_mm=None)
    texts = texts_of(figure)
    assert "no mm: pixel size unknown" in texts
    assert "not measured: NO_PIXEL_SPACING" in texts
    assert "fraction of femoral width" in figure.axes[1].get_ylabel()
    assert not any(text.endswith(" mm") for text in texts)


def test_without_margins_the_film_is_shown_and_says_so(phantom):
    figure = film_figure(phantom.radiograph, None)
    texts = texts_of(figure)
    assert "no joint margins" in texts
    assert "no joint-space width was measured" in texts
    assert "nan" not in " ".join(texts).lower()


def test_pixels_that_are_not_square_keep_their_proportion(phantom):
    film = replace(phantom.radiograph, spacing_mm=(0.6, 0.4))
    axes = film_figure(film, phantom.margins).axes[0]
    assert axes.get_aspect() == pytest.approx(1.5)


def test_a_film_of_unknown_side_is_marked_with_a_question():
    film = knee_film(FilmKnee(side=Side.LEFT), FilmSetup(pixel_mm=0.8)).radiograph
    texts = texts_of(film_figure(replace(film, side=None), None))
    assert "?" in texts
    assert "side unknown" in texts


@pytest.mark.parametrize(
    "value, unit, expected",
    [(0.0, "mm", "0.00 mm"), (0.0312, "ratio", "0.031"), (-3.84, "deg", "-3.8°")],
)
def test_values_are_printed_with_their_unit(value, unit, expected):
    assert value_text(Measurement("knee", "x", value, unit)) == expected


def test_a_value_that_is_absent_is_never_a_number():
    absent = Measurement.missing("knee", "TPA", "deg", ReasonCode.BONE_CUT_BY_VIEW)
    assert value_text(absent) == "not measured: BONE_CUT_BY_VIEW"
    assert value_text(None) == "not measured"


def test_kl_support_is_drawn_as_bars_and_called_support(phantom):
    rows = measure_joint_space(phantom.margins, phantom.radiograph.spacing_mm)
    parts = {"medial_JSN": 0.8, "knee_JSW_share": -0.3}
    support = KlSupport((0.05, 0.10, 0.55, 0.25, 0.05), 2, parts)
    figure = film_figure(phantom.radiograph, phantom.margins, rows, support=support)
    bars = figure.axes[2]
    assert [bar.get_height() for bar in bars.patches] == list(support.probabilities)
    assert "KL support, not a diagnosis" in texts_of(figure)
    assert "suggested: KL 2" in texts_of(figure)
    assert "+0.80  medial narrowing" in texts_of(figure)
    doubt = Finding(ReasonCode.KL_UNCERTAIN, "no grade stands out")
    unsure = replace(support, grade=None, findings=(doubt,))
    texts = texts_of(film_figure(phantom.radiograph, phantom.margins, rows, support=unsure))
    assert "uncertain: no grade is suggested" in texts
    assert "no grade stands out" in texts
    assert not any("suggested: KL" in text for text in texts)


@pytest.mark.parametrize(
    "message",
    [
        "the film lies outside the films that the KL model learned from",
        "grades far apart are both likely",
        "a reason that nobody has written yet, and that goes on for longer than any other of them",
    ],
)
def test_no_text_leaves_the_panel_or_lies_on_another(phantom, message):
    parts = {f"lateral_nosteophyte_{bone}": 0.5 for bone in ("tibia", "femur")}
    parts |= {"lateral_look_femoral_margin": 0.4, "lateral_look_tibial_margin": -0.3}
    doubt = Finding(ReasonCode.KL_OUT_OF_RANGE, message)
    support = KlSupport((0.05, 0.10, 0.55, 0.25, 0.05), None, parts, findings=(doubt,))
    rows = measure_joint_space(phantom.margins, phantom.radiograph.spacing_mm)
    with house_style():
        figure = film_figure(phantom.radiograph, phantom.margins, rows, support=support)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.texts]
    words = " ".join(text.get_text() for text in figure.texts)
    assert message in words
    for number, box in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


CELLS = np.zeros((6, 5))
CELLS[2, 1] = 0.6  # near the joint line, outer half
OPINION = KlOpinion(
    (0.0, 0.05, 0.15, 0.60, 0.20), 3, {Compartment.MEDIAL: CELLS, Compartment.LATERAL: -CELLS},
    JointCrop(160.0, 96, 80, 0.18, 0.0), 0.3, 1.1,
)  # fmt: skip


def opinion_figure(phantom: FilmPhantom, support: KlSupport, opinion: KlOpinion = OPINION):
    rows = measure_joint_space(phantom.margins, phantom.radiograph.spacing_mm)
    return film_figure(phantom.radiograph, phantom.margins, rows, support=support, opinion=opinion)


def strip_texts(figure) -> list[str]:
    return [text.get_text() for part in figure.subfigs for text in part.texts]


def test_the_second_opinion_stands_beside_the_first_and_says_that_they_differ(phantom):
    support = KlSupport((0.2, 0.6, 0.2, 0.0, 0.0), 1, {"medial_JSN": 0.8})
    with house_style():
        figure = opinion_figure(phantom, support)
    assert figure.bbox.height == 780 + 270
    heights = [bar.get_height() for bar in figure.axes[-1].patches]
    assert heights == [*support.probabilities, *OPINION.probabilities]  # beside, never averaged
    words = " ".join(strip_texts(figure))
    assert "Features and networks disagree by 2 grades: KL 1 against KL 3." in words
    assert "features: KL 1" in words
    assert "networks: KL 3" in words
    assert "not a diagnosis" in words


def test_without_a_second_opinion_the_panel_is_what_it_was(phantom):
    support = KlSupport((0.2, 0.6, 0.2, 0.0, 0.0), 1, {"medial_JSN": 0.8})
    rows = measure_joint_space(phantom.margins, phantom.radiograph.spacing_mm)
    figure = film_figure(phantom.radiograph, phantom.margins, rows, support=support)
    assert figure.bbox.height == 780
    assert not any("networks" in text for text in texts_of(figure))


def test_the_map_lies_on_its_compartment_as_the_film_hangs(phantom):
    support = KlSupport((0.2, 0.6, 0.2, 0.0, 0.0), 1, {})
    axes = opinion_figure(phantom, support).axes[-2]
    _, medial, lateral = axes.images
    left, right, bottom, top = medial.get_extent()
    assert (left, right) == pytest.approx((0.18 - 0.25, 0.18 + 0.25))
    assert (bottom, top) == pytest.approx((0.3, -0.3))
    assert lateral.get_extent()[:2] == pytest.approx((1 - right, 1 - left))
    # the bright cell is outward of the middle of each compartment
    values = np.asarray(medial.get_array())
    assert values.argmax() % values.shape[1] < values.shape[1] / 2
    values = np.asarray(lateral.get_array())
    assert values.argmin() % values.shape[1] > values.shape[1] / 2
    grows = axes.get_xlim()[0] < axes.get_xlim()[1]
    assert grows == (phantom.margins.side is Side.LEFT)  # medial on the left of the picture


@pytest.mark.parametrize("grade", [3, None])
def test_no_text_of_the_second_opinion_leaves_its_strip_or_lies_on_another(phantom, grade):
    support = KlSupport((0.2, 0.6, 0.2, 0.0, 0.0), None, {})
    doubt = Finding(
        ReasonCode.KL_OUT_OF_RANGE, "the film looks unlike the films that the networks learned from"
    )
    opinion = replace(OPINION, grade=grade, findings=() if grade else (doubt,))
    with house_style():
        figure = opinion_figure(phantom, support, opinion)
        figure.draw_without_rendering()
        strip = figure.subfigs[1]
        boxes = [text.get_window_extent() for text in strip.texts]
        bars = figure.axes[-1].get_window_extent()
    assert len(boxes) >= 6
    for number, box in enumerate(boxes):
        assert box.x0 >= bars.x1
        assert box.x1 <= figure.bbox.width
        assert box.y0 >= 0
        assert box.y1 <= strip.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
