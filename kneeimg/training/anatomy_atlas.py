"""What the values of the label maps mean that a training pool is made from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kneeimg.errors import MaskError, ReasonCode
from kneeimg.training.anatomy_donor import Donor
from kneeimg.training.anatomy_source import KneeLabels
from kneeimg.training.tissues import Substance

#: Values of the OAI maps with marrow lesions, which the scheme `knee-v1` folds into the bones.
OAI_VALUES: Mapping[int, Substance] = {
    1: Substance.MARROW_FEMUR,
    2: Substance.FEMORAL_CARTILAGE,
    3: Substance.MARROW_TIBIA,
    4: Substance.TIBIAL_CARTILAGE,
    5: Substance.MARROW_PATELLA,
    6: Substance.PATELLAR_CARTILAGE,
    7: Substance.LESION_FEMUR,
    8: Substance.LESION_TIBIA,
    9: Substance.LESION_PATELLA,
}

#: Values of the pymskt example with menisci and fibula.
PYMSKT_VALUES: Mapping[int, Substance] = {
    1: Substance.FEMORAL_CARTILAGE,
    2: Substance.TIBIAL_CARTILAGE,
    3: Substance.TIBIAL_CARTILAGE,
    4: Substance.PATELLAR_CARTILAGE,
    5: Substance.MARROW_FEMUR,
    6: Substance.MARROW_TIBIA,
    7: Substance.MARROW_PATELLA,
    8: Substance.MARROW_FIBULA,
    9: Substance.LATERAL_MENISCUS,
    10: Substance.MEDIAL_MENISCUS,
}

#: Structures of the SPL/NAC knee atlas by what they are made of; nerves count as vessels.
SPL_SUBSTANCES: Mapping[Substance, tuple[int, ...]] = {
    Substance.FAT_PAD: (9,),
    Substance.MUSCLE_B: (12, 13),
    Substance.MUSCLE: (15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26),
    Substance.LIGAMENT: (31, 32, 33, 34),
    Substance.TENDON: (41, 42, 43, 44, 46, 47, 48),
    Substance.VESSEL: (61, 62, 63, 64, 71, 72, 73, 74, 75, 77, 78),
    Substance.MARROW_FIBULA: (97,),
}

_SPL_BONES = {"femur": (95, 83), "tibia": (96, 84, 85), "patella": (98, 86)}


def knee_of(
    values: NDArray[np.integer],
    spacing_mm: tuple[float, float, float],
    table: Mapping[int, Substance],
) -> KneeLabels:
    """A right knee from label values on axes L, P, S.

    Raises
    ------
    MaskError
        If a value is not in the table.
    """
    found = np.flatnonzero(np.bincount(values.ravel().astype(np.int64)))
    strange = [int(value) for value in found if value and int(value) not in table]
    if strange:
        raise MaskError(
            "the label map has values that its table does not name",
            code=ReasonCode.UNKNOWN_LABEL,
            expected=", ".join(map(str, sorted(table))),
            found=", ".join(map(str, strange)),
        )
    codes = np.zeros(int(found.max(initial=0)) + 1, dtype=np.uint8)
    for value, substance in table.items():
        if value < len(codes):
            codes[value] = int(substance)
    return KneeLabels(np.ascontiguousarray(codes[values]), spacing_mm)


def spl_donor(structures: NDArray[np.integer], spacing_mm: tuple[float, float, float]) -> Donor:
    """The SPL/NAC atlas, a left knee on axes L, P, S, as donor for right knees."""
    right = structures[::-1]
    filled = np.flatnonzero((right > 0).any(axis=(0, 1)))
    right = right[:, :, filled[0] : filled[-1] + 1]  # end slices are empty
    substance_of = {
        number: substance for substance, numbers in SPL_SUBSTANCES.items() for number in numbers
    }
    return Donor.of(right, spacing_mm, substance_of, _SPL_BONES)
