"""Film phantoms: the truth is the truth, and the picture shows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.phantoms.film import (
    FilmKnee,
    FilmSetup,
    from_pixels,
    knee_film,
    random_knee,
    random_setup,
    to_pixels,
)
from kneeimg.phantoms.film_scenes import bilateral_film

COARSE = FilmSetup(pixel_mm=0.4)


def test_frame_is_the_tangent_frame_by_construction():
    knee = FilmKnee()
    u = np.linspace(0, knee.femoral_width_mm, 8001)
    v = knee.femur_v(u)
    assert v.max() == pytest.approx(0.0, abs=1e-6)
    low = [knee.medial_x * knee.femoral_width_mm, knee.lateral_x * knee.femoral_width_mm]
    np.testing.assert_allclose(knee.femur_v(low), 0.0, atol=1e-12)
    assert v[0] == pytest.approx(-knee.condyle_height_mm)


def test_joint_space_at_the_lowest_points_is_the_parameter():
    knee = FilmKnee(medial_jsw_mm=3.25, lateral_jsw_mm=6.5)
    assert knee.jsw_mm(knee.medial_x) == pytest.approx(3.25, abs=1e-3)
    assert knee.jsw_mm(knee.lateral_x) == pytest.approx(6.5, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_measuring_exact_margins_gives_the_truth(seed):
    rng = np.random.default_rng(seed)
    phantom = knee_film(random_knee(rng), random_setup(rng, pixel_mm=0.5))
    rows = measure_joint_space(phantom.margins, phantom.radiograph.spacing_mm)
    got = {(row.region, row.quantity): row.value for row in rows}
    for key, value in phantom.truth.items():
        tolerance = 0.01 if key[1] == "mJSW_x" else 2e-3 * max(1.0, abs(value) / 10)
        assert got[key] == pytest.approx(value, abs=tolerance), key


def test_closed_joint_has_zero_truth():
    knee = FilmKnee(medial_jsw_mm=-1.0)
    assert knee.truth["medial", "mJSW"] == 0.0
    assert knee.truth["lateral", "mJSW"] > 3


def test_beam_angle_parts_the_rim_from_the_floor():
    knee = FilmKnee(beam_angle_deg=5.0)
    assert knee.truth["medial", "rim_distance"] == pytest.approx(np.sin(np.deg2rad(5)) * 22.5)
    assert ("medial", "rim_distance") not in FilmKnee().truth


def test_other_side_is_the_exact_mirror_image():
    right = knee_film(FilmKnee(side=Side.RIGHT), COARSE)
    left = knee_film(FilmKnee(side=Side.LEFT), COARSE)
    np.testing.assert_array_equal(right.radiograph.image, left.radiograph.image[:, ::-1])
    assert right.truth == left.truth
    for compartment in Compartment:
        np.testing.assert_allclose(
            right.margins.mirrored().tibia[compartment].points,
            left.margins.tibia[compartment].points,
        )


def test_right_knee_has_its_lateral_side_on_the_image_left():
    margins = knee_film(FilmKnee(side=Side.RIGHT), COARSE).margins
    lateral, medial = (margins.femur[c].points[:, 0].mean() for c in ("lateral", "medial"))
    assert lateral < medial


def test_pixels_and_mm_are_inverse_and_magnified():
    knee, setup = FilmKnee(), FilmSetup(magnification=1.2, rotation_deg=5, pixel_mm=0.24)
    points = np.array([[0.0, 0.0], [80.0, 0.0], [10.0, -7.0]])
    pixels = to_pixels(points, knee, setup)
    np.testing.assert_allclose(from_pixels(pixels, knee, setup), points, atol=1e-9)
    assert np.linalg.norm(pixels[1] - pixels[0]) == pytest.approx(80 / 0.2)


def test_bone_is_brighter_than_the_joint_space_and_air_darkest():
    knee = FilmKnee(side=Side.LEFT)
    image = knee_film(knee, COARSE).radiograph.image

    def grey(u: float, v: float) -> float:
        column, row = np.round(to_pixels(np.array([[u, v]]), knee, COARSE)[0]).astype(int)
        return float(image[row - 1 : row + 2, column - 1 : column + 2].mean())

    space = grey(17, 2)
    assert grey(17, -10) > space + 100
    assert grey(17, 7) > space + 100
    assert grey(-28, 2) < space - 100


def test_noise_follows_the_seed():
    one, same = (knee_film(FilmKnee(), COARSE).radiograph.image for _ in range(2))
    other = knee_film(FilmKnee(), replace(COARSE, seed=1)).radiograph.image
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.5


def test_bilateral_margins_lie_on_their_halves():
    both = bilateral_film(FilmKnee(medial_jsw_mm=2), FilmKnee(medial_jsw_mm=4), COARSE)
    half = both.radiograph.image.shape[1] / 2
    assert both.margins[Side.RIGHT].tangent[:, 0].max() < half
    assert both.margins[Side.LEFT].tangent[:, 0].min() > half
    assert both.radiograph.side is None
    assert both.truth[Side.RIGHT]["medial", "mJSW"] < both.truth[Side.LEFT]["medial", "mJSW"]
