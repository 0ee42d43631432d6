"""Loose pieces, specks, holes and haze, on blocks whose answer is plain."""

from __future__ import annotations

import numpy as np

from kneeimg.core.anatomy import Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.segment.cleanup import clean_up
from kneeimg.settings.segmentation import CleanupSettings

GRID = Grid((40, 40, 40), np.eye(4), "1.2")
FEMUR, CARTILAGE = int(Tissue.FEMUR), int(Tissue.FEMORAL_CARTILAGE)


def _knee() -> np.ndarray:
    """A femur of 10 x 10 x 10 mm with a 2 mm sheet of cartilage below it."""
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[5:15, 5:15, 10:20] = FEMUR
    labels[5:15, 5:15, 8:10] = CARTILAGE
    return labels


def _soft(labels: np.ndarray, haze: float = 0.0) -> LabelMap:
    values = {
        tissue: np.where(labels == int(tissue), 0.9, haze).astype(np.float32)
        for tissue in (Tissue.FEMUR, Tissue.FEMORAL_CARTILAGE)
    }
    return LabelMap.from_probabilities(values, GRID)


def test_a_clean_map_stays_as_it_is() -> None:
    for label_map in (LabelMap(_knee(), GRID), _soft(_knee())):
        cleaned = clean_up(label_map)
        assert np.array_equal(cleaned.labels, label_map.labels)
        assert np.array_equal(cleaned.fraction(Tissue.FEMUR), label_map.fraction(Tissue.FEMUR))


def test_bone_is_kept_by_its_cartilage_not_by_its_size() -> None:
    labels = _knee()
    labels[20:38, 5:35, 5:35] = FEMUR  # sixteen times as large, without cartilage: muscle
    for label_map in (LabelMap(labels, GRID), _soft(labels)):
        assert np.array_equal(clean_up(label_map).labels, _knee())


def test_the_largest_bone_stays_where_no_cartilage_tells() -> None:
    labels = np.where(_knee() == CARTILAGE, 0, _knee()).astype(np.uint8)
    expected = labels.copy()
    labels[30:33, 30:33, 30:33] = FEMUR
    assert np.array_equal(clean_up(LabelMap(labels, GRID)).labels, expected)


def test_cartilage_off_its_bone_and_specks_on_it_go() -> None:
    labels = _knee()
    labels[30:36, 30:36, 30:36] = CARTILAGE  # 216 mm³ in the air
    labels[15, 10, 15] = CARTILAGE  # 1 mm³ on the side of the bone
    assert np.array_equal(clean_up(LabelMap(labels, GRID)).labels, _knee())


def test_islands_of_cartilage_on_bone_stay() -> None:
    labels = _knee()
    labels[5:15, 9:11, 8:10] = 0  # a bare stripe between two islands
    assert np.array_equal(clean_up(LabelMap(labels, GRID)).labels, labels)


def test_holes_in_bone_are_filled_and_open_notches_are_not() -> None:
    labels = _knee()
    labels[8:11, 8:11, 13:16] = 0
    labels[9, 9, 14] = CARTILAGE  # a fleck of cartilage inside the hole
    filled = _knee()
    assert np.array_equal(clean_up(LabelMap(labels, GRID)).labels, filled)
    soft = clean_up(_soft(labels))
    assert np.array_equal(soft.labels, filled)
    assert soft.fraction(Tissue.FEMUR)[9, 9, 14] == 1.0
    assert soft.fraction(Tissue.FEMORAL_CARTILAGE)[9, 9, 14] == 0.0
    notch = _knee()
    notch[8:11, 8:11, 15:] = 0
    assert np.array_equal(clean_up(LabelMap(notch, GRID)).labels, notch)


def test_holes_larger_than_the_limit_stay() -> None:
    labels = _knee()
    labels[8:11, 8:11, 13:16] = 0  # 27 mm³
    kept = clean_up(LabelMap(labels, GRID), CleanupSettings(max_hole_mm3=26.0))
    assert np.array_equal(kept.labels, labels)


def test_haze_far_from_a_tissue_goes_and_its_soft_edge_stays() -> None:
    cleaned = clean_up(_soft(_knee(), haze=0.01))
    volume = cleaned.fraction(Tissue.FEMORAL_CARTILAGE).sum()
    near = 14 * 14 * 6  # the sheet grown by two voxels of 1 mm on each side
    assert abs(volume - (0.9 * 200 + 0.01 * (near - 200))) < 0.01
    assert cleaned.fraction(Tissue.FEMORAL_CARTILAGE)[9, 9, 7] == np.float32(0.01)
    assert cleaned.fraction(Tissue.FEMORAL_CARTILAGE)[30, 30, 30] == 0.0


def test_only_the_largest_piece_of_a_meniscus_stays() -> None:
    labels = _knee()
    labels[20:24, 5:9, 8:10] = int(Tissue.MEDIAL_MENISCUS)
    expected = labels.copy()
    labels[30, 30, 30] = int(Tissue.MEDIAL_MENISCUS)
    assert np.array_equal(clean_up(LabelMap(labels, GRID)).labels, expected)


def test_the_input_is_not_changed() -> None:
    labels = _knee()
    labels[30:36, 30:36, 30:36] = CARTILAGE
    label_map = _soft(labels, haze=0.01)
    before = label_map.fraction(Tissue.FEMORAL_CARTILAGE).copy()
    clean_up(label_map)
    assert np.array_equal(label_map.labels, labels)
    assert np.array_equal(label_map.fraction(Tissue.FEMORAL_CARTILAGE), before)
