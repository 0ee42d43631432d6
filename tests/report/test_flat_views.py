"""The picture of flat maps: colours by state, missing bones, a scale."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side, VertexState
from kneeimg.measure.flat import FlatMap
from kneeimg.report import palette
from kneeimg.report.figures import flat_views
from kneeimg.report.figures.flat import flat_figure, paint


@pytest.fixture
def tibia() -> FlatMap:
    state = np.full((40, 60), int(VertexState.MEASURED), dtype=np.uint8)
    state[:, :5] = int(VertexState.OUTSIDE)
    state[10:20, 20:30] = int(VertexState.DENUDED)
    state[30:35, 40:50] = int(VertexState.UNDETERMINED)
    thickness = np.where(state == int(VertexState.MEASURED), 2.0, np.nan)
    thickness[state == int(VertexState.DENUDED)] = 0.0
    plate = np.where(state == int(VertexState.OUTSIDE), 0, 1).astype(np.uint8)
    return FlatMap(Bone.TIBIA, 0.5 * np.arange(60), 0.5 * np.arange(40), thickness, state, plate)


def test_every_state_has_its_colour(tibia: FlatMap) -> None:
    from matplotlib.colors import to_rgb

    colours = palette.thickness_colours()
    picture = paint(tibia, colours, 4.0)
    assert picture[0, 0] == pytest.approx(to_rgb(palette.PAPER))
    assert picture[15, 25] == pytest.approx(to_rgb(palette.DENUDED))
    assert picture[32, 45] == pytest.approx(to_rgb(palette.UNDETERMINED))
    assert picture[5, 10] == pytest.approx(colours(0.5)[:3])  # type: ignore[operator]


def test_picture_is_the_same_twice_and_says_what_is_missing(tibia: FlatMap) -> None:
    first = flat_views({Bone.TIBIA: tibia}, Side.LEFT, title="P01")
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    assert first == flat_views({Bone.TIBIA: tibia}, Side.LEFT, title="P01")
    figure = flat_figure({Bone.TIBIA: tibia}, Side.LEFT)
    said = [text.get_text() for text in figure.texts]
    said += [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any("mirror image" in text for text in said)
    assert "femur: no map" in said
    assert "20 mm" in said
    assert flat_views({}, Side.RIGHT)
