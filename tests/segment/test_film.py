"""The margin finder on films with exact margins, and every refusal it makes."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.errors import InputError, ReasonCode
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.phantoms.film import (
    FilmKnee,
    FilmPhantom,
    FilmSetup,
    knee_film,
    random_knee,
    random_setup,
)
from kneeimg.phantoms.film_scenes import (
    bilateral_film,
    chest_film,
    cut_film,
    inverted,
    with_bead,
    with_implant,
)
from kneeimg.segment.film import find_knees, find_margins
from kneeimg.segment.film.polarity import line_skewness

SETUP = FilmSetup(pixel_mm=0.25)
KNEE = FilmKnee(side=Side.RIGHT, medial_jsw_mm=3.5, lateral_jsw_mm=5.0)
WIDTHS = ("mJSW", "fJSW_0150", "fJSW_0225", "fJSW_0300", "fJSW_0700", "fJSW_0800", "fJSW_0900")


@pytest.fixture(scope="module")
def film() -> FilmPhantom:
    return knee_film(KNEE, SETUP)


def measured(radiograph: Radiograph, side: Side | None = None) -> dict[tuple[str, str], float]:
    rows = measure_joint_space(find_margins(radiograph, side), radiograph.spacing_mm)
    return {(row.region, row.quantity): row.value for row in rows}


def worst_error(got: dict[tuple[str, str], float], truth) -> float:
    return max(abs(got[key] - truth[key]) for key in truth if key[1] in WIDTHS)


def refusal(radiograph: Radiograph, side: Side | None = None) -> ReasonCode:
    with pytest.raises(InputError) as error:
        find_margins(radiograph, side)
    return error.value.code


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_joint_space_on_random_films(seed):
    rng = np.random.default_rng(100 + seed)
    phantom = knee_film(random_knee(rng), random_setup(rng))
    got = measured(phantom.radiograph)
    assert worst_error(got, phantom.truth) < 0.1
    assert got["knee", "femoral_width"] == pytest.approx(
        phantom.truth["knee", "femoral_width"], abs=0.3
    )
    assert got["knee", "JLCA"] == pytest.approx(phantom.truth["knee", "JLCA"], abs=0.2)


def test_margins_lie_where_they_were_drawn(film):
    found = find_margins(film.radiograph)
    for name in ("femur", "tibia"):
        for compartment in Compartment:
            line = getattr(found, name)[compartment].points
            exact = getattr(film.margins, name)[compartment].points
            gap = np.linalg.norm(line[:, None] - exact[None], axis=2).min(axis=1)
            assert np.median(gap) < 0.3  # pixels
    assert found.side is Side.RIGHT
    assert min(found.confidence(c) for c in Compartment) > 0.5


def test_mirrored_film_and_other_side_give_the_same_numbers(film):
    other = knee_film(replace(KNEE, side=Side.LEFT), SETUP)
    np.testing.assert_array_equal(other.radiograph.image, film.radiograph.image[:, ::-1])
    assert measured(other.radiograph) == pytest.approx(
        measured(film.radiograph), nan_ok=True, rel=1e-9
    )


def test_a_film_hung_the_other_way_round(film):
    image = np.ascontiguousarray(film.radiograph.image[:, ::-1])
    hung = replace(film.radiograph, image=image, patient_left_on_image_right=False)
    assert measured(hung) == pytest.approx(measured(film.radiograph), nan_ok=True, rel=1e-9)


def test_bilateral_film_is_split_and_each_knee_measured():
    right = replace(KNEE, medial_jsw_mm=2.5)
    left = replace(KNEE, medial_jsw_mm=5.0)
    both = bilateral_film(right, left, SETUP)
    assert [view.side for view in find_knees(both.radiograph)] == [Side.RIGHT, Side.LEFT]
    unsaid = replace(both.radiograph, bilateral=False)
    assert len(find_knees(unsaid)) == 2
    for side in Side:
        got = measured(both.radiograph, side)
        assert worst_error(got, both.truth[side]) < 0.12
    assert refusal(both.radiograph) is ReasonCode.NO_LATERALITY
    unhung = replace(both.radiograph, patient_left_on_image_right=None)
    assert refusal(unhung, Side.LEFT) is ReasonCode.NO_LATERALITY


def test_one_knee_is_not_split(film):
    assert len(find_knees(film.radiograph)) == 1
    assert len(find_knees(inverted(film.radiograph))) == 1
    assert len(find_knees(cut_film(film, 0.5))) == 1


def test_inverted_polarity_is_corrected_and_recorded(film):
    turned = inverted(film.radiograph)
    margins = find_margins(turned)
    assert margins.flags == (ReasonCode.INVERTED_POLARITY,)
    assert measured(turned) == pytest.approx(measured(film.radiograph), nan_ok=True, abs=1e-3)


def test_lines_tell_the_polarity_of_noisy_films():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        noisy = random_setup(rng, pixel_mm=0.3, photons=3e4, texture=0.1)
        image = knee_film(random_knee(rng), noisy).radiograph.image.astype(np.float64)
        width = 80.0 / noisy.knee_pixel_mm
        assert line_skewness(image, width) > 0.0
        assert line_skewness(-image, width) == pytest.approx(-line_skewness(image, width))


@pytest.mark.real
@pytest.mark.slow
def test_inverted_real_films_are_told_from_the_others(real_data):
    from PIL import Image

    folder = real_data / "xray" / "films"
    with (folder / "index.csv").open() as stream:
        listed = list(csv.DictReader(stream))
    turned = [row for row in listed if row["inverted_polarity"] == "1"]
    for row in turned + listed[::20]:
        image = np.asarray(Image.open(folder / row["file"]).convert("L"), dtype=np.float64)
        inverted_polarity = line_skewness(image, 0.8 * image.shape[1]) < -0.17
        assert inverted_polarity == (row["inverted_polarity"] == "1"), row["file"]


def test_inverted_bilateral_film_is_split_too():
    both = bilateral_film(KNEE, KNEE, SETUP)
    unsaid = replace(inverted(both.radiograph), bilateral=False)
    assert len(find_knees(unsaid)) == 2


def test_bone_on_bone_is_zero():
    closed = knee_film(replace(KNEE, medial_jsw_mm=-1.0), SETUP)
    rows = measure_joint_space(find_margins(closed.radiograph), closed.radiograph.spacing_mm)
    smallest = next(r for r in rows if (r.region, r.quantity) == ("medial", "mJSW"))
    assert smallest.value == 0.0
    assert ReasonCode.BONE_ON_BONE in smallest.flags
    lateral = next(r for r in rows if (r.region, r.quantity) == ("lateral", "mJSW"))
    assert lateral.value == pytest.approx(closed.truth["lateral", "mJSW"], abs=0.1)


def test_narrow_joint_is_not_called_closed():
    narrow = knee_film(replace(KNEE, medial_jsw_mm=0.9), SETUP)
    assert worst_error(measured(narrow.radiograph), narrow.truth) < 0.12


def test_implant_is_refused():
    assert refusal(with_implant(KNEE, SETUP)) is ReasonCode.IMPLANT_SUSPECTED


def test_bead_beside_the_joint_is_flagged_and_does_not_matter(film):
    with_object = with_bead(KNEE, SETUP)
    assert find_margins(with_object).flags == (ReasonCode.OBJECT_IN_VIEW,)
    assert measured(with_object) == pytest.approx(measured(film.radiograph), nan_ok=True, abs=0.02)


@pytest.mark.parametrize("size_mm, at_mm", [(2.0, (20.0, -25.0)), (5.0, (60.0, 20.0))])
def test_beads_are_found_over_bone(size_mm, at_mm):
    radiograph = with_bead(KNEE, SETUP, at_mm, size_mm)
    found = [finding.found for finding in find_margins(radiograph).findings]
    x, v = (value / KNEE.femoral_width_mm for value in at_mm)
    assert len(found) == 1
    assert [float(word) for word in found[0].split()[1::2]] == pytest.approx([x, v], abs=0.03)


@pytest.mark.parametrize("seed", [11, 12])
def test_nothing_is_found_on_a_clean_film(seed):
    # coarse pixels and little noise: overlapping bones stand apart from the rest
    setup = FilmSetup(pixel_mm=0.3, size_mm=(110.0, 130.0), rotation_deg=1.5, seed=seed)
    clean = knee_film(FilmKnee(side=Side.LEFT, femoral_width_mm=80.0 + seed % 5), setup)
    assert find_margins(clean.radiograph).findings == ()


def test_overexposed_bone_is_no_implant(film):
    image = film.radiograph.image
    saturated = np.minimum(image, np.percentile(image, 96))
    shown = replace(film.radiograph, image=saturated.astype(np.float32))
    assert find_margins(shown).findings == ()
    # grey values that jump inside the bone may pass for its edge, which is said
    torn = np.where(image > np.percentile(image, 60), image, 0.6 * image)
    shown = replace(film.radiograph, image=torn.astype(np.float32))
    assert set(find_margins(shown).flags) <= {ReasonCode.WIDTH_UNCERTAIN}


@pytest.mark.parametrize("share, rows", [(0.5, True), (0.5, False), (0.74, False)])
def test_cut_joint_is_refused(film, share, rows):
    assert refusal(cut_film(film, share, rows=rows)) is ReasonCode.JOINT_OUT_OF_VIEW


def test_what_is_no_knee_is_refused(film):
    assert refusal(chest_film()) is ReasonCode.KNEE_NOT_FOUND
    noise = np.random.default_rng(0).normal(1000, 100, (500, 500)).astype(np.float32)
    assert refusal(replace(film.radiograph, image=noise)) is ReasonCode.KNEE_NOT_FOUND
    flat = np.ones((300, 400), dtype=np.float32)
    assert refusal(replace(film.radiograph, image=flat)) is ReasonCode.KNEE_NOT_FOUND


def test_sides_that_disagree_are_refused(film):
    assert refusal(film.radiograph, Side.LEFT) is ReasonCode.LATERALITY_CONFLICT
    wrong_tag = replace(film.radiograph, side=Side.LEFT)  # the fibula says right
    assert refusal(wrong_tag) is ReasonCode.LATERALITY_CONFLICT


def test_side_from_the_fibula_or_none(film):
    assert find_margins(replace(film.radiograph, side=None)).side is Side.RIGHT
    rows = int(0.66 * film.radiograph.image.shape[0])  # the fibula is cut off
    upper = film.radiograph.image[:rows].copy()
    assert refusal(replace(film.radiograph, image=upper, side=None)) is ReasonCode.NO_LATERALITY


def test_without_a_pixel_size_the_same_ratios(film):
    blind = replace(film.radiograph, spacing_mm=None, spacing_source=SpacingSource.NONE)
    got, known = measured(blind), measured(film.radiograph)
    assert got["medial", "nmJSW"] == pytest.approx(known["medial", "nmJSW"], abs=0.001)
    assert np.isnan(got["medial", "mJSW"])
