"""Thickness and change on bone: colours by state, letters by side, one scale."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from kneeimg.core.anatomy import Bone, Plate, Side, VertexState
from kneeimg.core.surface import Surface
from kneeimg.report import palette
from kneeimg.report.figures.bone_view import VIEWS
from kneeimg.report.figures.paint import paint_change, paint_thickness
from kneeimg.report.figures.render import see
from kneeimg.report.figures.sheet import is_sheet, view_box
from kneeimg.report.figures.views import (
    change_figure,
    change_views,
    thickness_figure,
    thickness_views,
)

RGB = {
    name: np.array(to_rgb(getattr(palette, name)))
    for name in ("BONE", "DENUDED", "UNDETERMINED", "UNDETERMINED_STRIPE")
}


def plate_surface(state: VertexState, thickness_mm: float, change_mm: float = np.nan) -> Surface:
    """A square of 30 × 20 pixels in one state."""
    corners = np.array([[0.0, 0, 0], [30, 0, 0], [30, 20, 0], [0, 20, 0]])
    inside = Plate.NONE if state is VertexState.OUTSIDE else Plate.MT
    return Surface(
        corners,
        np.array([[0, 1, 2], [0, 2, 3]]),
        {
            "thickness_mm": np.full(4, thickness_mm),
            "state": np.full(4, state, dtype=np.uint8),
            "plate": np.full(4, inside, dtype=np.uint8),
            "change_mm": np.full(4, change_mm),
        },
    )


def painted(surface: Surface, paint=paint_thickness, colours=None, vmax_mm: float = 4.0):
    """Different colours that the surface is painted in."""
    seen = see(surface.vertices, surface.faces, (32, 32))
    colours = colours or palette.thickness_colours()
    return np.unique(paint(surface, seen, colours, vmax_mm), axis=0)


def ball(radius_mm: float = 25.0) -> Surface:
    """Coarse ball with a measured half, a denuded cap and an undetermined belt."""
    from skimage.measure import marching_cubes

    axis = np.arange(-30.0, 31.0, 3.0)
    field = np.sqrt(sum(c**2 for c in np.meshgrid(axis, axis, axis, indexing="ij")))
    points, faces, _, _ = marching_cubes(field, radius_mm, spacing=(3.0, 3.0, 3.0))
    points = points.astype(np.float64) - 30
    state = np.where(points[:, 2] < 0, VertexState.MEASURED, VertexState.OUTSIDE)
    state[points[:, 2] < -22] = VertexState.DENUDED
    thickness = np.select(
        [state == VertexState.MEASURED, state == VertexState.DENUDED], [2.0, 0.0], np.nan
    )
    return Surface(
        points,
        faces.astype(np.int64),
        {
            "thickness_mm": thickness,
            "state": state.astype(np.uint8),
            "plate": (state > 0).astype(np.uint8),
            "change_mm": np.where(state > 0, -0.2, np.nan),
        },
    )


@pytest.mark.parametrize(
    "state, name", [(VertexState.OUTSIDE, "BONE"), (VertexState.DENUDED, "DENUDED")]
)
def test_bone_and_denuded_bone_have_colours_of_their_own(state, name):
    thickness = 0.0 if state is VertexState.DENUDED else np.nan
    assert painted(plate_surface(state, thickness)) == pytest.approx(RGB[name][None])


def test_undetermined_is_striped_and_never_the_colour_of_zero():
    found = painted(plate_surface(VertexState.UNDETERMINED, np.nan))
    expected = np.unique([RGB["UNDETERMINED"], RGB["UNDETERMINED_STRIPE"]], axis=0)
    assert found == pytest.approx(expected)


def test_thickness_has_the_colour_that_the_bar_gives_it():
    found = painted(plate_surface(VertexState.MEASURED, 1.0))
    assert found == pytest.approx(np.array([colormaps[palette.THICKNESS_MAP](0.25)[:3]]))


def test_colours_of_states_differ_clearly_from_every_thickness():
    scale = colormaps[palette.THICKNESS_MAP](np.linspace(0, 1, 256))[:, :3]
    for colour in RGB.values():
        assert np.linalg.norm(scale - colour, axis=1).min() > 0.2


def test_no_change_is_white_loss_is_orange_and_gain_is_blue():
    colours = palette.change_colours()

    def tint(change_mm: float) -> np.ndarray:
        surface = plate_surface(VertexState.MEASURED, 2.0, change_mm)
        return painted(surface, paint_change, colours, 1.0)[0]

    assert tint(0.0).min() > 0.95
    assert tint(-0.5)[0] > tint(-0.5)[2] + 0.3
    assert tint(0.5)[2] > tint(0.5)[0] + 0.3


def test_a_plate_without_change_is_striped():
    surface = plate_surface(VertexState.MEASURED, 2.0, np.nan)
    assert len(painted(surface, paint_change, palette.change_colours(), 1.0)) == 2


@pytest.mark.parametrize(
    "state, ink", [(2, "THINNING_MARK"), (3, "THICKENING_MARK"), (1, None), (0, None)]
)
def test_change_beyond_its_error_is_dotted_in_its_own_ink(state, ink):
    surface = plate_surface(VertexState.MEASURED, 2.0, 0.4)
    surface = surface.with_fields(change_state=np.full(4, state, dtype=np.uint8))
    colours = painted(surface, paint_change, palette.change_colours(), 1.0)
    assert len(colours) == (2 if ink else 1)
    if ink:
        mark = np.array(to_rgb(getattr(palette, ink)))
        assert np.isclose(colours, mark, atol=1e-6).all(axis=1).any()


def test_dots_are_explained_only_where_there_are_some():
    plain = ball()
    count = len(plain.vertices)
    nothing = plain.with_fields(change_state=np.zeros(count, dtype=np.uint8))
    marked = plain.with_fields(change_state=np.ones(count, dtype=np.uint8))
    for surface, named in ((plain, False), (nothing, False), (marked, True)):
        figure = change_figure({Bone.PATELLA: surface}, Side.RIGHT)
        words = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
        assert ("dotted: change beyond the SDC" in words) is named


def test_view_boxes_are_where_the_views_are_drawn():
    figure = thickness_figure({bone: ball() for bone in Bone}, Side.RIGHT)
    assert is_sheet(*(round(size * 100) for size in figure.get_size_inches()))
    for axes, view in zip(figure.axes, VIEWS, strict=False):
        place = axes.get_position(original=True)
        left, top, right, bottom = view_box(view.name)
        assert (left, right) == pytest.approx((place.x0 * 1380, place.x1 * 1380), abs=1)
        assert (top, bottom) == pytest.approx(((1 - place.y1) * 900, (1 - place.y0) * 900), abs=1)


def test_pictures_have_their_size_and_equal_bytes():
    surfaces = {Bone.PATELLA: ball()}
    for draw in (thickness_views, change_views):
        first = draw(surfaces, Side.RIGHT, title="P01 · BL")
        assert int.from_bytes(first[16:20], "big") == 1380
        assert int.from_bytes(first[20:24], "big") == 900
        assert first == draw(surfaces, Side.RIGHT, title="P01 · BL")


@pytest.mark.parametrize("side, medial", [(Side.RIGHT, "L"), (Side.LEFT, "R")])
def test_each_view_names_medial_on_the_side_toward_the_other_knee(side, medial):
    figure = thickness_figure({bone: ball() for bone in Bone}, side)
    for axes, view in zip(figure.axes, VIEWS, strict=False):
        edge = "right" if view.plane.right == medial else "left"
        text = next(t for t in axes.texts if "medial" in t.get_text())
        assert text.get_text() == f"{medial}\nmedial"
        assert text.get_position()[0] == pytest.approx(0.985 if edge == "right" else 0.015)


def test_the_viewer_stands_where_the_name_says():
    toward = {view.name: view.axes()[2].tolist() for view in VIEWS}
    assert toward["Femur from the front"] == [0, -1, 0]
    assert toward["Femur from behind"] == [0, 1, 0]
    assert toward["Femur from below"] == [0, 0, -1]
    assert toward["Tibia from above"] == [0, 0, 1]
    assert toward["Patella from behind"] == [0, 1, 0]


def test_all_views_have_one_scale_in_both_directions():
    figure = thickness_figure({Bone.FEMUR: ball(), Bone.PATELLA: ball(12.0)}, Side.RIGHT)
    FigureCanvasAgg(figure).draw()  # places the axes
    widths = set()
    for axes in figure.axes[:5]:
        if axes.images:
            left, right, low, high = axes.images[0].get_extent()
            rows, columns = axes.images[0].get_array().shape[:2]
            assert (right - left) / columns == pytest.approx((high - low) / rows, rel=0.02)
            box = axes.get_window_extent()
            assert box.width / (right - left) == pytest.approx(box.height / (high - low))
            widths.add(round(right - left, 6))
    assert len(widths) == 1


def test_an_absent_bone_is_named_not_invented():
    figure = thickness_figure({Bone.FEMUR: ball()}, Side.RIGHT)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "patella: not in the label map" in texts
    assert thickness_views({}, Side.RIGHT).startswith(b"\x89PNG")


def test_colour_bars_name_unit_loss_and_gain():
    thickness = thickness_figure({Bone.PATELLA: ball()}, Side.RIGHT)
    assert "(mm)" in thickness.axes[-1].get_xlabel()
    change = change_figure({Bone.PATELLA: ball()}, Side.RIGHT, vmax_mm=0.8).axes[-1]
    assert "loss" in change.get_xlabel()
    assert "gain" in change.get_xlabel()
    assert change.get_xlim() == (-0.8, 0.8)
