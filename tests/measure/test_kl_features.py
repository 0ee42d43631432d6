"""Features of KL support on films whose bones, lips and bands are known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.margins import Compartment
from kneeimg.core.measurement import Status
from kneeimg.errors import Finding, ReasonCode
from kneeimg.measure.bone_outline import JOINT_S, SIDE_ROWS, SideLine, best_path, trace_sides
from kneeimg.measure.film_level import level_joint
from kneeimg.measure.joint_space import joint_frame
from kneeimg.measure.kl_features import (
    BONES,
    kl_rows,
    kl_vector,
    measure_features,
    narrowing,
    planned_kl,
)
from kneeimg.measure.osteophytes import osteophyte
from kneeimg.measure.trabeculae import Direction, fractal_dimension
from kneeimg.phantoms.film import FilmKnee, FilmPhantom, FilmSetup, knee_film
from kneeimg.phantoms.film_growths import plateau_edge_mm, side_mm
from kneeimg.settings.kl_support import KlSupportSettings

SETUP = FilmSetup(pixel_mm=0.4, rotation_deg=3.0, photons=4e6, texture=0.02, scatter=0.05)
KNEE = FilmKnee(side=Side.LEFT, medial_jsw_mm=3.0, lateral_jsw_mm=5.0)
SITES = [(bone, compartment) for bone in BONES for compartment in Compartment]


def with_lips(size_mm: float) -> FilmKnee:
    lips = {f"{bone.value}_{c.value}_osteophyte_mm": size_mm for bone, c in SITES}
    return replace(KNEE, **lips)


def features_of(phantom: FilmPhantom):
    return measure_features(phantom.radiograph.image, phantom.margins, None)


@pytest.fixture(scope="module")
def plain() -> FilmPhantom:
    return knee_film(KNEE, SETUP)


@pytest.fixture(scope="module")
def lipped() -> dict[float, FilmPhantom]:
    return {size: knee_film(with_lips(size), SETUP) for size in (2.0, 4.0)}


def exact_side(knee: FilmKnee, bone: Bone, compartment: Compartment) -> SideLine:
    """The side of a bone as the phantom draws it, in femoral widths."""
    width = knee.femoral_width_mm
    depth = np.arange(*SIDE_ROWS[bone], 0.001)
    start = 0.0 if bone is Bone.FEMUR else plateau_edge_mm(knee, compartment)
    side = side_mm(knee, bone, compartment, depth * width + start) / width
    return SideLine(depth, side, np.ones_like(depth), 1.0, exact_joint(knee, bone, compartment))


def exact_joint(knee: FilmKnee, bone: Bone, compartment: Compartment):
    """Where the joint margin of the phantom begins: place, height and slope."""
    width = knee.femoral_width_mm
    s = np.linspace(*JOINT_S, 601)
    u = (s if compartment is Compartment.MEDIAL else 1 - s) * width
    start = 0.0 if bone is Bone.FEMUR else plateau_edge_mm(knee, compartment)
    v = (knee.femur_v(u) if bone is Bone.FEMUR else knee.tibia_v(u)) - start
    slope, height = np.polyfit(s - s.mean(), v / width, 1)
    return float(s.mean()), float(height), float(slope)


@pytest.mark.parametrize("bone, compartment", SITES)
def test_the_side_of_a_bone_is_found_where_it_lies(plain, bone, compartment):
    level = level_joint(plain.radiograph.image, plain.margins, joint_frame(plain.margins))
    line = trace_sides(level[compartment])[bone]
    exact = exact_side(KNEE, bone, compartment)
    away = line.depth < -0.12 if bone is Bone.FEMUR else line.depth > 0.05
    error = line.s - np.interp(line.depth, exact.depth, exact.s)
    limit = 0.010 if compartment is Compartment.MEDIAL else 0.020  # the fibula overlaps
    assert np.median(np.abs(error[away])) < limit


@pytest.mark.parametrize("bone, compartment", SITES)
def test_an_osteophyte_of_known_size(plain, lipped, bone, compartment):
    found = {0.0: plain} | lipped
    knees = {size: with_lips(size) for size in found}
    measured = {s: features_of(film)[compartment].osteophytes[bone] for s, film in found.items()}
    exact = {s: osteophyte(exact_side(knee, bone, compartment), bone) for s, knee in knees.items()}
    width = KNEE.femoral_width_mm
    for size in found:
        assert measured[size].length * width == pytest.approx(exact[size].length * width, abs=1.2)
    assert measured[0.0].length < measured[4.0].length - 1.0 / width
    assert measured[0.0].area < measured[2.0].area < measured[4.0].area


def test_a_line_without_a_film_measures_nothing():
    depth = np.arange(*SIDE_ROWS[Bone.TIBIA], 0.005)
    off = SideLine(depth, np.full_like(depth, 0.05), np.ones_like(depth), 0.4, (0.15, 0.0, 0.0))
    assert np.isnan(osteophyte(off, Bone.TIBIA).length)
    assert np.isnan(osteophyte(None, Bone.FEMUR).area)
    unknown = replace(off, inside=1.0, joint=(0.15, np.nan, np.nan))
    assert np.isnan(osteophyte(unknown, Bone.TIBIA).length)


@pytest.mark.parametrize("bone, compartment", SITES)
def test_a_bone_without_a_lip_stands_out_little(bone, compartment):
    plain = osteophyte(exact_side(KNEE, bone, compartment), bone)
    grown = osteophyte(exact_side(with_lips(4.0), bone, compartment), bone)
    assert plain.length * KNEE.femoral_width_mm < 2.0
    assert (grown.length - plain.length) * KNEE.femoral_width_mm > 1.4


def test_the_path_takes_the_bright_way_and_pays_for_steps():
    gain = np.zeros((5, 7))
    gain[:, 3] = 1.0
    gain[2, 6] = 1.5  # too far away for what it offers
    assert best_path(gain).tolist() == [3] * 5


def test_sclerosis_grows_with_the_band_and_only_there(plain):
    dense = knee_film(replace(KNEE, medial_sclerosis_neper=0.25), SETUP)
    denser = knee_film(replace(KNEE, medial_sclerosis_neper=0.5), SETUP)
    index = [features_of(film) for film in (plain, dense, denser)]
    medial, lateral = (
        [f[c].sclerosis[Bone.TIBIA] for f in index]
        for c in (Compartment.MEDIAL, Compartment.LATERAL)
    )
    assert medial[0] + 0.1 < medial[1] < medial[2] - 0.1
    assert np.ptp(lateral) < 0.3 * (medial[2] - medial[0])


def test_narrowing_and_shape_follow_the_margins(plain):
    features = features_of(plain)
    width = KNEE.femoral_width_mm
    for compartment, one in features.compartments.items():
        s = np.linspace(0.10, 0.30, 2001)
        x = s if compartment is Compartment.MEDIAL else 1 - s
        gap = KNEE.jsw_mm(x) / width
        assert one.narrowest == pytest.approx(gap.min(), abs=1e-3)
        assert one.mean_space == pytest.approx(gap.mean(), abs=1e-3)
        s = np.linspace(0.08, 0.34, 2001)
        u = (s if compartment is Compartment.MEDIAL else 1 - s) * width
        for v, found in ((KNEE.femur_v(u), one.bulge), (KNEE.tibia_v(u), one.floor_depth)):
            chord = np.interp(s, s[[0, -1]], v[[0, -1]])
            assert found == pytest.approx((v - chord).max() / width, abs=2e-3)


def test_narrowing_of_a_closed_and_of_a_normal_joint():
    settings = KlSupportSettings(medial_normal=0.04, lateral_normal=0.08)
    assert narrowing(0.0, Compartment.MEDIAL, settings) == 1.0
    assert narrowing(0.08, Compartment.LATERAL, settings) == 0.0
    assert np.isnan(narrowing(np.nan, Compartment.MEDIAL, settings))


def test_mirror_law(lipped):
    phantom = lipped[4.0]
    image = phantom.radiograph.image
    one = measure_features(image, phantom.margins, (0.4, 0.4))
    other = measure_features(image[:, ::-1], phantom.margins.mirrored(), (0.4, 0.4))
    first, second = kl_vector(one), kl_vector(other)
    assert first == pytest.approx(second, rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(one.look, other.look, rtol=1e-6, atol=1e-9)
    assert all(np.isfinite(value) for value in first.values())


def test_gain_offset_and_polarity_do_not_matter(lipped):
    phantom = lipped[2.0]
    image = phantom.radiograph.image.astype(np.float64)
    first = kl_vector(measure_features(image, phantom.margins, None))
    again = kl_vector(measure_features(3.0 * image + 500.0, phantom.margins, None))
    turned = Finding(ReasonCode.INVERTED_POLARITY, "turned")
    negative = replace(phantom.margins, findings=(turned,))
    inverted = kl_vector(measure_features(image.max() - image, negative, None))
    assert first == pytest.approx(again, rel=1e-6, abs=1e-9)
    assert first == pytest.approx(inverted, rel=1e-6, abs=1e-9)


def test_every_planned_row_once_and_in_order(plain):
    features = features_of(plain)
    rows = kl_rows(features, plain.margins, (0.4, 0.4), None)
    assert [(row.region, row.quantity, row.unit) for row in rows] == list(planned_kl())
    by_name = {row.name: row for row in rows}
    ratio = by_name["medial_ncondyle_bulge"].value
    width = joint_frame(plain.margins, (0.4, 0.4)).width
    assert by_name["medial_condyle_bulge"].value == pytest.approx(ratio * width)
    assert by_name["knee_KL_grade"].reason is ReasonCode.KL_UNCERTAIN


def test_without_a_pixel_size_only_ratios(plain):
    features = features_of(plain)
    for spacing, code in ((None, "NO_PIXEL_SPACING"), ((0.0, 0.0), "ZERO_PIXEL_SPACING")):
        rows = kl_rows(features, plain.margins, spacing, None)
        lengths = [row for row in rows if row.unit in ("mm", "mm^2")]
        assert {row.reason for row in lengths} == {ReasonCode(code)}
        assert next(row for row in rows if row.quantity == "JSN").status is Status.OK


def test_a_margin_off_the_film_is_not_measured(plain):
    cut = plain.radiograph.image[:, 90:]  # the medial edge of the femur is on the film's edge
    margins = plain.margins.on_film(cut.shape, -90.0)
    one = measure_features(cut, margins, None)
    assert np.isnan(one[Compartment.MEDIAL].osteophytes[Bone.FEMUR].length)
    rows = {row.name: row for row in kl_rows(one, margins, None, None)}
    assert rows["medial_nosteophyte_femur"].reason is ReasonCode.BONE_CUT_BY_VIEW
    assert np.isfinite(one[Compartment.LATERAL].osteophytes[Bone.FEMUR].length)


def test_coarse_pixels_show_no_trabeculae(plain):
    rows = kl_rows(features_of(plain), plain.margins, (0.4, 0.4), None)
    texture = [row for row in rows if row.quantity.startswith("FD_")]
    assert {row.reason for row in texture} == {ReasonCode.COARSE_PIXELS}


def test_texture_of_a_fine_film_knows_its_direction():
    fine = knee_film(KNEE, FilmSetup(pixel_mm=0.2, size_mm=(90.0, 100.0), texture=0.15))
    spacing = fine.radiograph.spacing_mm
    one = measure_features(fine.radiograph.image, fine.margins, spacing)[Compartment.MEDIAL]
    # the phantom's trabeculae are streaks down the tibia: smoother along them than across
    assert 1.0 < one.texture[Direction.DOWN] < one.texture[Direction.ACROSS] < 2.0
    by_count = measure_features(fine.radiograph.image, fine.margins, None)
    assert by_count[Compartment.MEDIAL].texture == pytest.approx(one.texture)


@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_fractal_dimension_of_fractional_brownian_motion(hurst):
    rng = np.random.default_rng(5)
    steps = np.abs(np.subtract.outer(np.arange(256), np.arange(256))).astype(float)
    noise = (np.abs(steps + 1) ** (2 * hurst) + np.abs(steps - 1) ** (2 * hurst)) / 2
    noise -= steps ** (2 * hurst)  # covariance of its increments
    lines = rng.standard_normal((200, 256)) @ np.linalg.cholesky(noise).T
    window = np.cumsum(lines, axis=1)
    lags = np.arange(2, 8)
    across = fractal_dimension(window, Direction.ACROSS, lags)
    assert across == pytest.approx(2 - hurst, abs=0.03)
    assert fractal_dimension(window.T, Direction.DOWN, lags) == pytest.approx(across)
    assert np.isnan(fractal_dimension(np.ones((30, 30)), Direction.DOWN, lags))
