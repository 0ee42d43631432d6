"""Codes of tissue maps and the classes they become."""

from __future__ import annotations

import numpy as np

from kneeimg.networks.spec import CLASS_NAMES
from kneeimg.training.tissues import IGNORED_CLASS, Substance, class_table, classes_of


def test_codes_are_stable() -> None:
    stored = "AIR SKIN SUBCUTANEOUS_FAT MUSCLE MUSCLE_B INTERMUSCULAR_FAT FAT_PAD TENDON LIGAMENT"
    stored += " FLUID CAPSULE VESSEL CORTEX_FEMUR MARROW_FEMUR CORTEX_TIBIA MARROW_TIBIA"
    stored += " CORTEX_PATELLA MARROW_PATELLA FEMORAL_CARTILAGE TIBIAL_CARTILAGE"
    stored += " PATELLAR_CARTILAGE MEDIAL_MENISCUS LATERAL_MENISCUS LESION_FEMUR LESION_TIBIA"
    stored += " LESION_PATELLA CORTEX_FIBULA MARROW_FIBULA CYST OSTEOPHYTE_FEMUR"
    stored += " OSTEOPHYTE_TIBIA OSTEOPHYTE_PATELLA"
    expected = {name: value for value, name in enumerate(stored.split())}
    assert {code.name: int(code) for code in Substance} == {**expected, "UNKNOWN": 255}


def test_every_substance_has_its_class() -> None:
    wanted = {
        1: ("CORTEX_FEMUR", "MARROW_FEMUR", "LESION_FEMUR", "OSTEOPHYTE_FEMUR"),
        2: ("FEMORAL_CARTILAGE",),
        3: ("CORTEX_TIBIA", "MARROW_TIBIA", "LESION_TIBIA", "OSTEOPHYTE_TIBIA"),
        4: ("TIBIAL_CARTILAGE",),
        5: ("CORTEX_PATELLA", "MARROW_PATELLA", "LESION_PATELLA", "OSTEOPHYTE_PATELLA"),
        6: ("PATELLAR_CARTILAGE",),
        7: ("MEDIAL_MENISCUS",),
        8: ("LATERAL_MENISCUS",),
        IGNORED_CLASS: ("UNKNOWN", "CYST"),
    }
    table = class_table()
    named = {name: value for value, names in wanted.items() for name in names}
    assert {code.name: int(table[code]) for code in Substance} == {
        code.name: named.get(code.name, 0) for code in Substance
    }
    assert len(CLASS_NAMES) == 9


def test_a_cyst_belongs_to_the_bone_around_it() -> None:
    codes = np.full((7, 7, 7), Substance.MARROW_TIBIA, dtype=np.uint8)
    codes[2:5, 2:5, 2:5] = Substance.CYST
    codes[0] = Substance.TIBIAL_CARTILAGE
    classes = classes_of(codes)
    assert (classes[1:] == 3).all()
    assert (classes[0] == 4).all()


def test_a_cyst_without_bone_is_ignored() -> None:
    codes = np.full((3, 3, 3), Substance.CYST, dtype=np.uint8)
    assert (classes_of(codes) == IGNORED_CLASS).all()
