"""Flat maps and the template: right place, right value, alike for mirrored and larger knees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Plate, Side, VertexState
from kneeimg.core.surface import Surface
from kneeimg.measure.flat import flatten, lay_out
from kneeimg.measure.morphometry import measure_knee
from kneeimg.measure.template import TEMPLATE_SHAPES, average_maps, on_template
from kneeimg.phantoms.cartilage import DenudedPatch, PlateThickness
from kneeimg.phantoms.grids import demo_grid
from kneeimg.phantoms.knee import KneePhantom

Surfaces = dict[Bone, Surface]


def phantom(scale: float = 1.0) -> KneePhantom:
    plain = KneePhantom(Side.RIGHT)
    return KneePhantom(
        Side.RIGHT,
        PlateThickness.constant(2.0),
        thickness_variation=0.0,
        denuded=(DenudedPatch("MT", 0.0, 0.0, 5.0 * scale),),
        femur=plain.femur.scaled(scale),
        tibia=plain.tibia.scaled(scale),
        patella=plain.patella.scaled(scale),
    )


@pytest.fixture(scope="module")
def surfaces() -> Surfaces:
    return measure_knee(phantom().label_map(demo_grid()), Side.RIGHT).surfaces


def mirrored(surfaces: Surfaces) -> Surfaces:
    turn = np.array([-1.0, 1.0, 1.0])
    return {
        bone: replace(
            s.with_fields(normals=s.fields["normals"] * turn),
            vertices=s.vertices * turn,
            faces=s.faces[:, ::-1].copy(),
        )
        for bone, s in surfaces.items()
    }


def test_constant_cartilage_is_constant_and_bare_bone_is_zero(surfaces: Surfaces) -> None:
    maps = flatten(surfaces, Side.RIGHT)
    assert set(maps) == {Bone.FEMUR, Bone.TIBIA}
    for flat in maps.values():
        measured = flat.state == VertexState.MEASURED
        assert flat.thickness_mm.shape == (len(flat.along_mm), len(flat.across_mm))
        assert np.median(flat.thickness_mm[measured]) == pytest.approx(2.0, abs=0.02)
        assert np.isnan(flat.thickness_mm[flat.state == VertexState.OUTSIDE]).all()
        assert (flat.thickness_mm[flat.state == VertexState.DENUDED] == 0.0).all()
    tibia = maps[Bone.TIBIA]
    bare = tibia.state == VertexState.DENUDED
    step = 0.4
    assert bare.sum() * step**2 == pytest.approx(np.pi * 25.0, rel=0.08)  # seen from above
    medial = tibia.plate == Plate.MT
    assert tibia.across_mm[np.nonzero(bare)[1]].mean() == pytest.approx(
        tibia.across_mm[np.nonzero(medial)[1]].mean(), abs=1.0
    )


def test_lengths_are_true_and_directions_as_written(surfaces: Surfaces) -> None:
    maps = flatten(surfaces, Side.RIGHT)
    tibia, femur = maps[Bone.TIBIA], maps[Bone.FEMUR]
    rows, columns = np.nonzero(tibia.plate == Plate.MT)
    assert np.ptp(tibia.along_mm[rows]) == pytest.approx(40.0, abs=1.5)  # half axis 20 mm
    assert np.ptp(tibia.across_mm[columns]) == pytest.approx(26.0, abs=1.5)  # half axis 13 mm
    lateral = np.nonzero(tibia.plate == Plate.LT)[1]
    assert tibia.across_mm[lateral].mean() < tibia.across_mm[columns].mean()
    trochlea, behind = (femur.along_mm[np.nonzero(femur.plate == p)[0]].mean()
                        for p in (Plate.TrF, Plate.pMF))  # fmt: skip
    assert trochlea < behind
    assert 20.0 < femur.radius_mm < 36.0  # between the radii of its sectors
    assert np.isnan(tibia.radius_mm)


def test_a_left_knee_is_laid_out_as_its_mirror_image(surfaces: Surfaces) -> None:
    right, left = flatten(surfaces, Side.RIGHT), flatten(mirrored(surfaces), Side.LEFT)
    for bone, flat in right.items():
        assert left[bone].thickness_mm == pytest.approx(flat.thickness_mm, nan_ok=True)
    ours, other = on_template(surfaces, Side.RIGHT), on_template(mirrored(surfaces), Side.LEFT)
    for name, part in ours.items():
        assert other[name] == pytest.approx(part, nan_ok=True)


@pytest.mark.slow
def test_a_larger_knee_lies_on_the_same_template_points(surfaces: Surfaces) -> None:
    small = on_template(surfaces, Side.RIGHT)
    large = on_template(
        measure_knee(phantom(1.12).label_map(demo_grid()), Side.RIGHT).surfaces, Side.RIGHT
    )
    both = average_maps([small, large])
    for name, shape in TEMPLATE_SHAPES.items():
        assert small[name].shape == shape
        known = np.isfinite(small[name]) & np.isfinite(large[name])
        assert known.mean() > 0.7
        assert np.isfinite(small[name]).sum() == pytest.approx(
            np.isfinite(large[name]).sum(), rel=0.03
        )
        assert np.median(np.abs(small[name] - large[name])[known]) < 0.03
        assert both[name].count.max() == 2
    bare_small, bare_large = small["MT"] == 0.0, large["MT"] == 0.0
    overlap = (bare_small & bare_large).sum() / (bare_small | bare_large).sum()
    assert overlap > 0.85


def test_averages_leave_out_what_is_not_known() -> None:
    maps = [{"MT": np.array([[1.0, 2.0, np.nan]])}, {"MT": np.array([[3.0, np.nan, np.nan]])}]
    found = average_maps(maps)["MT"]
    assert found.mean_mm == pytest.approx(np.array([[2.0, 2.0, np.nan]]), nan_ok=True)
    assert found.sd_mm == pytest.approx(np.array([[2.0**0.5, np.nan, np.nan]]), nan_ok=True)
    assert found.count.tolist() == [[2, 1, 0]]
    assert average_maps([]) == {}


def test_missing_bones(surfaces: Surfaces) -> None:
    only = {Bone.TIBIA: surfaces[Bone.TIBIA]}
    assert set(flatten(only, Side.RIGHT)) == {Bone.TIBIA}
    parts = on_template(only, Side.RIGHT)
    assert np.isnan(parts["femur_medial"]).all()
    assert np.isfinite(parts["MT"]).any()
    tibia = surfaces[Bone.TIBIA]
    bare = tibia.with_fields(plate=np.zeros_like(tibia.fields["plate"]))
    assert flatten({Bone.TIBIA: bare}, Side.RIGHT) == {}
    with pytest.raises(ValueError, match="only femur and tibia"):
        lay_out(tibia, Bone.PATELLA, Side.RIGHT)
