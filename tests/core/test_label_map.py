"""Label maps: what is present, what is soft, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.anatomy import KNEE_V1, PLATE_BONES, PLATE_UNIONS, Bone, Plate, Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import GeometryError, MaskError, ReasonCode

GRID = Grid((3, 3, 3), np.eye(4), "1")


def hard(*values: int) -> LabelMap:
    labels = np.zeros(27, dtype=np.uint8)
    labels[: len(values)] = values
    return LabelMap(labels.reshape(3, 3, 3), GRID)


def test_fraction_of_a_hard_map_is_zero_or_one() -> None:
    fraction = hard(1, 2, 2).fraction(Tissue.FEMORAL_CARTILAGE)
    assert fraction.dtype == np.float32
    assert fraction.sum() == 2.0


def test_soft_map_takes_the_most_probable_tissue_background_included() -> None:
    bone, cartilage = np.zeros((3, 3, 3), np.float32), np.zeros((3, 3, 3), np.float32)
    bone[0, 0, 0], cartilage[0, 0, 0] = 0.3, 0.6
    bone[1, 1, 1], cartilage[1, 1, 1] = 0.2, 0.3  # background 0.5
    soft = LabelMap.from_probabilities(
        {Tissue.FEMUR: bone, Tissue.FEMORAL_CARTILAGE: cartilage}, GRID
    )
    assert soft.is_soft
    assert soft.labels[0, 0, 0] == Tissue.FEMORAL_CARTILAGE
    assert soft.labels[1, 1, 1] == Tissue.BACKGROUND
    assert not soft.fraction(Tissue.PATELLA).any()


def test_shapes_must_agree() -> None:
    with pytest.raises(GeometryError):
        LabelMap(np.zeros((2, 3, 3), np.uint8), GRID)
    with pytest.raises(GeometryError):
        LabelMap.from_probabilities({Tissue.FEMUR: np.zeros((2, 2, 2), np.float32)}, GRID)


def test_empty_and_boneless_maps_are_refused_with_their_codes() -> None:
    with pytest.raises(MaskError) as empty:
        hard().require_measurable()
    assert empty.value.code is ReasonCode.EMPTY_MASK
    with pytest.raises(MaskError) as boneless:
        hard(2, 2, 4).require_measurable()
    assert boneless.value.code is ReasonCode.NO_BONE
    assert "femoral_cartilage" in str(boneless.value)
    hard(1, 2).require_measurable()


def test_bone_marrow_lesions_belong_to_their_bone() -> None:
    assert [KNEE_V1.tissues[v] for v in (7, 8, 9)] == [Tissue.FEMUR, Tissue.TIBIA, Tissue.PATELLA]


def test_every_plate_has_a_name_and_a_bone() -> None:
    assert set(PLATE_UNIONS) == set(PLATE_BONES)
    covered = {plate for union in PLATE_UNIONS.values() for plate in union}
    assert covered == set(Plate) - {Plate.NONE}
    assert Bone.TIBIA.cartilage is Tissue.TIBIAL_CARTILAGE
    assert Side.LEFT.opposite is Side.RIGHT
