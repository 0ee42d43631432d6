"""Cartilage loss of known size, menisci and growths on a phantom knee."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.phantoms.cartilage import PlateThickness
from kneeimg.phantoms.grids import sagittal_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.training.anatomy_bones import FEMUR, TIBIA, is_any
from kneeimg.training.anatomy_fields import smooth_field
from kneeimg.training.anatomy_growths import add_lesions, add_osteophytes
from kneeimg.training.anatomy_interface import PAIRS, interface_of
from kneeimg.training.anatomy_menisci import MeniscusShape, add_menisci
from kneeimg.training.anatomy_source import SPACING_MM, VOXEL_MM3
from kneeimg.training.anatomy_wear import narrow_joint, wear_cartilage
from kneeimg.training.tissues import Substance

Codes = NDArray[np.uint8]


def covered_mm2(codes: Codes) -> float:
    """Covered bone area of all three bones by the area of a triangulated surface."""
    from skimage.measure import marching_cubes

    total = 0.0
    for bone_codes, cartilage, _ in PAIRS:
        where = np.argwhere(codes == cartilage)
        low, high = where.min(axis=0) - 5, where.max(axis=0) + 6
        part = codes[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        from scipy import ndimage

        bone = ndimage.gaussian_filter(is_any(part, bone_codes).astype(float), (0.9, 1.5, 1.5))
        points, faces, _, _ = marching_cubes(bone, 0.5, spacing=SPACING_MM)
        corners = points[faces]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = 0.5 * np.linalg.norm(cross, axis=1)
        outward = cross / (2 * area[:, None] + 1e-12)
        # half a millimetre off the bone on either side: is there cartilage?
        on = np.zeros(len(area), dtype=bool)
        for sign in (-1, 1):
            places = corners.mean(axis=1) + sign * 0.5 * outward
            index = np.rint(places / SPACING_MM).astype(int)
            index = np.clip(index, 0, np.array(part.shape) - 1)
            on |= part[tuple(index.T)] == cartilage
        total += float(area[on].sum())
    return total


def test_interface_area_is_that_of_the_phantom() -> None:
    knee = KneePhantom(Side.RIGHT, PlateThickness.constant(2.0), thickness_variation=0.0)
    grid = sagittal_grid((0.7, 0.4, 0.4), (130, 230, 250))
    from kneeimg.training.anatomy_source import KneeLabels

    codes = KneeLabels.of(knee.label_map(grid, hard=True), Side.RIGHT).codes
    truth = knee.truth()
    plates = {0: ("cMF", "cLF", "pMF", "pLF", "TrF"), 1: ("MT", "LT"), 2: ("P",)}
    for n, (bone_codes, cartilage, _) in enumerate(PAIRS):
        expected = sum(truth[plate, "tAB"] for plate in plates[n])
        found = interface_of(codes, bone_codes, cartilage).area_mm2.sum()
        assert found == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_patch_is_as_large_as_asked(phantom_codes: Codes, seed: int) -> None:
    codes = phantom_codes.copy()
    before = covered_mm2(codes)
    wear_cartilage(
        codes, np.random.default_rng(seed), thinning=0.0, denuded_mm2=(200.0,), defects=0
    )
    assert before - covered_mm2(codes) == pytest.approx(200.0, rel=0.2)


def test_thinning_takes_its_share_and_bares_nothing(phantom_codes: Codes) -> None:
    codes = phantom_codes.copy()
    before, area = np.count_nonzero(codes == 18), covered_mm2(codes)
    gone = wear_cartilage(codes, np.random.default_rng(3), thinning=0.5, denuded_mm2=(), defects=0)
    lost = 1 - np.count_nonzero(codes == 18) / before
    assert 0.12 < lost < 0.45
    assert covered_mm2(codes) == pytest.approx(area, rel=0.04)
    assert (codes[gone] == 0).all()
    assert np.array_equal(codes[~gone], phantom_codes[~gone])


def test_a_joint_narrows_on_the_worn_side_and_bones_stay_apart(phantom_codes: Codes) -> None:
    codes = phantom_codes.copy()
    worn = np.zeros(codes.shape, dtype=bool)
    middle = int(np.argwhere(codes == 19)[:, 0].mean())
    worn[middle:] = codes[middle:] == int(Substance.FEMORAL_CARTILAGE)
    codes[worn] = int(Substance.FLUID)
    before = codes.copy()
    narrow_joint(codes, worn, 1.2)

    def lowest(half: slice, of: Codes) -> float:
        return float(np.argwhere(is_any(of[half], FEMUR))[:, 2].min()) * SPACING_MM[2]

    medial, lateral = slice(middle, None), slice(None, middle)
    assert lowest(medial, before) - lowest(medial, codes) == pytest.approx(1.2, abs=0.45)
    assert lowest(lateral, before) - lowest(lateral, codes) < 0.7
    for bone in (TIBIA, (int(Substance.TIBIAL_CARTILAGE),)):
        assert np.array_equal(is_any(codes, bone), is_any(before, bone))
    assert not is_any(codes[:, :, -1], FEMUR).any() or is_any(before[:, :, -1], FEMUR).any()


def test_menisci_lie_on_their_sides_in_the_gap(phantom_codes: Codes) -> None:
    codes = phantom_codes.copy()
    add_menisci(
        codes,
        MeniscusShape(10.0, 6.0, 1.0, 0.0, 45.0),
        MeniscusShape(10.0, 6.0, 1.0, 0.0, 30.0),
    )
    middle = float(np.argwhere(codes == 19)[:, 0].mean())
    medial = np.argwhere(codes == int(Substance.MEDIAL_MENISCUS))
    lateral = np.argwhere(codes == int(Substance.LATERAL_MENISCUS))
    assert medial[:, 0].mean() > middle > lateral[:, 0].mean()  # +x is medial in a right knee
    for found in (medial, lateral):
        assert 500 < len(found) * VOXEL_MM3 < 6000
    changed = codes != phantom_codes
    assert (phantom_codes[changed] == 0).all()


def test_extrusion_moves_the_body_outwards(phantom_codes: Codes) -> None:
    reach = []
    for extrusion_mm in (0.0, 4.0):
        codes = phantom_codes.copy()
        shape = MeniscusShape(9.0, 6.0, 1.0, extrusion_mm, 45.0)
        add_menisci(codes, shape, shape)
        reach.append(np.argwhere(codes == int(Substance.MEDIAL_MENISCUS))[:, 0].max() * 0.7)
    assert reach[1] - reach[0] == pytest.approx(4.0, abs=1.2)


def test_a_missing_part_is_missing(phantom_codes: Codes) -> None:
    volumes = []
    for absent in ((0.0, 0.0), (60.0, 130.0)):
        codes = phantom_codes.copy()
        shape = MeniscusShape(9.0, 6.0, 1.0, 0.0, 45.0, absent)
        add_menisci(codes, shape, shape)
        volumes.append(np.count_nonzero(codes == int(Substance.MEDIAL_MENISCUS)))
    assert volumes[1] < 0.85 * volumes[0]


def test_osteophytes_grow_into_free_room_on_their_own_bone(phantom_codes: Codes) -> None:
    codes = phantom_codes.copy()
    add_osteophytes(codes, np.random.default_rng(4), (6.0, 6.0, 6.0, 6.0))
    grown = codes != phantom_codes
    assert grown.sum() * VOXEL_MM3 > 30
    assert (phantom_codes[grown] == 0).all()
    assert set(np.unique(codes[grown])) <= {29, 30, 31}


def test_lesions_replace_marrow_only(phantom_codes: Codes) -> None:
    codes = phantom_codes.copy()
    add_lesions(codes, np.random.default_rng(5), (12.0, 8.0), (5.0,))
    changed = codes != phantom_codes
    assert set(np.unique(phantom_codes[changed])) <= {13, 15, 17}
    lesions = np.isin(codes, (23, 24, 25)).sum() * VOXEL_MM3
    assert 100 < lesions < 2500
    assert 5 < np.count_nonzero(codes == int(Substance.CYST)) * VOXEL_MM3 < 150


def test_a_smooth_field_is_standard_and_smooth() -> None:
    field = smooth_field(np.random.default_rng(0), (60, 70, 80), (0.7, 0.8, 0.8), 12.0)
    assert field.shape == (60, 70, 80)
    assert field.std() == pytest.approx(1.0, abs=0.01)
    assert np.abs(np.diff(field, axis=2)).max() < 0.5
