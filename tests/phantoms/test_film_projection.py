"""Films of the 3-D knee: silhouettes agree with the knee and with the picture."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.phantoms.film import FilmSetup
from kneeimg.phantoms.film_projection import project_knee
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.segment.film import find_margins

pytestmark = pytest.mark.slow


def test_lateral_joint_space_of_a_projected_knee():
    film = project_knee(KneePhantom(Side.LEFT), FilmSetup(pixel_mm=0.3))
    margins = find_margins(film.radiograph)
    rows = measure_joint_space(margins, film.radiograph.spacing_mm)
    got = {(row.region, row.quantity): row.value for row in rows}
    width = film.truth["knee", "femoral_width"]
    assert 60 < width < 95
    assert got["knee", "femoral_width"] == pytest.approx(width, abs=0.4)
    exact = measure_joint_space(film.margins, film.radiograph.spacing_mm)
    for row in exact:
        if row.quantity.startswith("fJSW"):
            assert row.value == pytest.approx(film.truth[row.region, row.quantity], abs=0.02)
    assert np.isfinite(film.radiograph.image).all()


# at 8 degrees and 0.3 mm the rim is a pixel or two above the floor and blurs into it
@pytest.mark.parametrize("beam_angle_deg, within_mm", [(0.0, 0.25), (8.0, 0.50)])
def test_medial_margin_of_a_dished_plateau_is_its_floor_not_its_rim(beam_angle_deg, within_mm):
    film = project_knee(
        KneePhantom(Side.LEFT), FilmSetup(pixel_mm=0.3), beam_angle_deg=beam_angle_deg
    )
    rows = measure_joint_space(find_margins(film.radiograph), film.radiograph.spacing_mm)
    got = {(row.region, row.quantity): row.value for row in rows}
    for name in ("mJSW", "fJSW_0150", "fJSW_0225", "fJSW_0300"):
        assert got["medial", name] == pytest.approx(film.truth["medial", name], abs=within_mm)
    # the crest of the convex lateral plateau starts like a rounded bone
    for name in ("mJSW", "fJSW_0750", "fJSW_0850"):
        assert got["lateral", name] == pytest.approx(film.truth["lateral", name], abs=0.12)
