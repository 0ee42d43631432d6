"""Tissue maps of a phantom knee."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.phantoms.grids import sagittal_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.training.anatomy import TissueMap, build_tissue_map
from kneeimg.training.anatomy_bones import CARTILAGE, FEMUR, PATELLA, TIBIA, extend_shafts, is_any
from kneeimg.training.anatomy_disease import Disease
from kneeimg.training.anatomy_fields import distance_mm
from kneeimg.training.anatomy_source import SHAPE, SPACING_MM, VOXEL_MM3, KneeLabels, resample
from kneeimg.training.tissues import Substance, classes_of

ILL = Disease(
    thinning=0.3,
    denuded_mm2=(150.0,),
    narrowing_mm=0.8,
    effusion=0.6,
    baker_cyst_mm=30.0,
    osteophytes_mm=(6.0, 5.0, 4.0),
    lesions_mm=(10.0, 8.0),
    cysts_mm=(5.0,),
    worn_menisci=(True, False),
)


@pytest.fixture(scope="module")
def healthy(phantom_labels: KneeLabels) -> TissueMap:
    return build_tissue_map(phantom_labels, None, np.random.default_rng(1), Disease.none())


@pytest.fixture(scope="module")
def ill(phantom_labels: KneeLabels) -> TissueMap:
    return build_tissue_map(phantom_labels, None, np.random.default_rng(2), ILL)


def volume_mm3(codes: NDArray[np.uint8], code: Substance) -> float:
    return np.count_nonzero(codes == int(code)) * VOXEL_MM3


@pytest.mark.parametrize(
    "code",
    [
        Substance.FEMORAL_CARTILAGE,
        Substance.TIBIAL_CARTILAGE,
        Substance.PATELLAR_CARTILAGE,
        Substance.MARROW_FEMUR,
        Substance.MARROW_TIBIA,
        Substance.MARROW_PATELLA,
    ],
)
def test_resampling_keeps_every_volume(
    phantom_labels: KneeLabels, phantom_codes: NDArray[np.uint8], code: Substance
) -> None:
    source = np.count_nonzero(phantom_labels.codes == int(code))
    expected = source * float(np.prod(phantom_labels.spacing_mm))
    assert volume_mm3(phantom_codes, code) == pytest.approx(expected, rel=0.02)


def test_cartilage_of_a_healthy_map_is_that_of_the_source(
    phantom_labels: KneeLabels, healthy: TissueMap
) -> None:
    for code in CARTILAGE:
        source = np.count_nonzero(phantom_labels.codes == code)
        expected = source * float(np.prod(phantom_labels.spacing_mm))
        found = np.count_nonzero(healthy.substances == code) * VOXEL_MM3
        assert found == pytest.approx(expected, rel=0.02)


def test_shape_and_spacing(healthy: TissueMap) -> None:
    assert healthy.substances.shape == SHAPE
    assert healthy.substances.dtype == np.uint8
    assert healthy.spacing_mm == SPACING_MM


def test_lesions_of_the_source_stay(phantom_labels: KneeLabels) -> None:
    codes = phantom_labels.codes.copy()
    middle = np.argwhere(codes == int(Substance.MARROW_TIBIA)).mean(axis=0).astype(int)
    block = tuple(slice(int(m) - 6, int(m) + 7) for m in middle)
    codes[block][codes[block] == int(Substance.MARROW_TIBIA)] = int(Substance.LESION_TIBIA)
    source = np.count_nonzero(codes == int(Substance.LESION_TIBIA)) * 0.7 * 0.5 * 0.5
    resampled = resample(KneeLabels(codes, phantom_labels.spacing_mm))
    assert volume_mm3(resampled, Substance.LESION_TIBIA) == pytest.approx(source, rel=0.1)


def test_shafts_reach_the_edge_of_the_view(phantom_codes: NDArray[np.uint8]) -> None:
    codes = phantom_codes.copy()
    assert not is_any(codes[:, :, -1], FEMUR).any()
    extend_shafts(codes)
    for bone, last in ((FEMUR, -1), (TIBIA, 0)):
        areas = is_any(codes, bone).sum(axis=(0, 1))
        within = areas[-60] if last == -1 else areas[59]
        assert areas[last] == pytest.approx(within, rel=0.3)


def test_a_ragged_end_is_replaced_by_a_whole_section(phantom_codes: NDArray[np.uint8]) -> None:
    codes = phantom_codes.copy()
    bone = is_any(codes, FEMUR)
    last = int(np.flatnonzero(bone.any(axis=(0, 1)))[-1])
    whole = int(bone[:, :, last - 12].sum())
    ragged = codes[:, :, last - 8 : last + 1]
    half = int(np.argwhere(bone[:, :, last])[:, 0].mean())
    ragged[half:][is_any(ragged[half:], FEMUR)] = 0
    extend_shafts(codes)
    areas = is_any(codes, FEMUR).sum(axis=(0, 1))
    assert (areas[last - 8 :] > 0.9 * whole).all()


@pytest.mark.parametrize("bone", [FEMUR, TIBIA, PATELLA])
def test_bones_are_one_piece(healthy: TissueMap, ill: TissueMap, bone: tuple[int, ...]) -> None:
    for made in (healthy, ill):
        _, count = cc3d.connected_components(
            np.isin(classes_of(made.substances), classes_of(np.array(bone[:1], dtype=np.uint8))),
            connectivity=26,
            return_N=True,
        )
        assert count == 1


def test_nothing_in_the_knee_is_air(healthy: TissueMap, ill: TissueMap) -> None:
    for made in (healthy, ill):
        coarse = made.substances[:, ::2, ::2]
        spacing = (SPACING_MM[0], 2 * SPACING_MM[1], 2 * SPACING_MM[2])
        from_joint_mm = distance_mm(is_any(coarse, CARTILAGE), spacing)
        outside = (int(Substance.AIR), int(Substance.UNKNOWN))
        assert not is_any(coarse[from_joint_mm < 8.0], outside).any()
        assert not (coarse[from_joint_mm < 4.0] == int(Substance.SKIN)).any()


def test_air_lies_outside_the_skin(healthy: TissueMap) -> None:
    air = healthy.substances == int(Substance.AIR)
    assert 0.05 < air.mean() < 0.8
    for axis in (0, 1):  # from air one steps onto skin
        ahead = np.moveaxis(air, axis, 0)
        codes = np.moveaxis(healthy.substances, axis, 0)
        beside = codes[1:][ahead[:-1] & ~ahead[1:]]
        assert np.mean(beside == int(Substance.SKIN)) > 0.98


def test_every_part_of_a_knee_is_there(healthy: TissueMap, ill: TissueMap) -> None:
    common = {code.name for code in Substance if int(code) <= int(Substance.LATERAL_MENISCUS)}
    common |= {"CORTEX_FIBULA", "MARROW_FIBULA"}
    found = [
        {Substance(int(v)).name for v in np.flatnonzero(np.bincount(m.substances.ravel()))}
        for m in (healthy, ill)
    ]
    assert found[0] == common
    grown = {name for name in found[1] if name.startswith(("LESION", "OSTEOPHYTE", "CYST"))}
    assert {name.split("_")[0] for name in grown} == {"LESION", "OSTEOPHYTE", "CYST"}
    assert common <= found[1]


def test_fluid_touches_cartilage_when_there_is_effusion(healthy: TissueMap, ill: TissueMap) -> None:
    def contact(made: TissueMap) -> float:
        fluid = made.substances == int(Substance.FLUID)
        sheet = made.substances == int(Substance.FEMORAL_CARTILAGE)
        touching = (fluid[:, 1:] & sheet[:, :-1]) | (fluid[:, :-1] & sheet[:, 1:])
        return float(touching.sum())

    assert contact(ill) > 2 * contact(healthy)


def test_the_subchondral_plate_is_thin(healthy: TissueMap) -> None:
    bone = is_any(healthy.substances, TIBIA)
    cortex = healthy.substances == int(Substance.CORTEX_TIBIA)
    sheet = healthy.substances == int(Substance.TIBIAL_CARTILAGE)
    below = cortex & ~np.roll(bone, -1, axis=2) & np.roll(sheet, -1, axis=2)
    i, j, k = np.nonzero(below)
    run = sum(cortex[i, j, k - n].astype(int) for n in range(6)) * SPACING_MM[2]
    assert 0.4 <= np.median(run) <= 1.2  # the plateau is level, so columns run along its depth


def test_the_same_seed_gives_the_same_map(phantom_codes: NDArray[np.uint8]) -> None:
    drawn = [Disease.drawn(np.random.default_rng(n)) for n in (7, 7, 8)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.slow
def test_the_same_generator_state_gives_the_same_map(
    phantom_labels: KneeLabels, ill: TissueMap
) -> None:
    again = build_tissue_map(phantom_labels, None, np.random.default_rng(2), ILL)
    assert np.array_equal(again.substances, ill.substances)


def test_mirror_law(phantom_map: LabelMap, phantom_labels: KneeLabels) -> None:
    """A left knee is the right one mirrored: from the same codes follows the same map."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    left = LabelMap(
        phantom_map.labels, Grid(phantom_map.labels.shape, flip @ phantom_map.grid.affine, None)
    )
    mirrored = KneeLabels.of(left, Side.LEFT)
    assert np.array_equal(mirrored.codes, phantom_labels.codes)
    assert mirrored.spacing_mm == phantom_labels.spacing_mm
    wrong = KneeLabels.of(left, Side.RIGHT)
    assert not np.array_equal(wrong.codes, phantom_labels.codes)


def test_axes_in_any_order_give_the_same_knee(
    phantom_map: LabelMap, phantom_labels: KneeLabels
) -> None:
    grid = phantom_map.grid.reorient((2, 0, 1), (1, -1, 1))
    turned = LabelMap(phantom_map.labels.transpose(2, 0, 1)[:, ::-1], grid)
    again = KneeLabels.of(turned, Side.RIGHT)
    assert np.array_equal(again.codes, phantom_labels.codes)


def test_a_knee_without_its_patella_is_refused() -> None:
    codes = np.zeros((8, 8, 8), dtype=np.uint8)
    codes[2:5] = int(Substance.MARROW_FEMUR)
    with pytest.raises(MaskError) as caught:
        build_tissue_map(
            KneeLabels(codes, SPACING_MM), None, np.random.default_rng(0), Disease.none()
        )
    assert caught.value.code is ReasonCode.TISSUE_MISSING
    assert "MARROW_PATELLA" in str(caught.value)


def test_menisci_of_the_source_are_kept() -> None:
    grid = sagittal_grid((0.7, 0.5, 0.5), (130, 200, 230))
    source = KneeLabels.of(
        KneePhantom(Side.RIGHT, menisci=True).label_map(grid, hard=True), Side.RIGHT
    )
    codes = resample(source)
    for code in (Substance.MEDIAL_MENISCUS, Substance.LATERAL_MENISCUS):
        expected = np.count_nonzero(source.codes == int(code)) * float(np.prod(source.spacing_mm))
        assert volume_mm3(codes, code) == pytest.approx(expected, rel=0.02)
