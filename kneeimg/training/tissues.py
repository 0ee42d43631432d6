"""What the voxels of a tissue map hold, and the classes a network learns from them."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from kneeimg.networks.spec import BONE_CLASSES


class Substance(IntEnum):
    """Codes of a tissue map; finer than the classes of a network, because each has its contrast."""

    AIR = 0
    SKIN = 1
    SUBCUTANEOUS_FAT = 2
    MUSCLE = 3
    MUSCLE_B = 4  # the extensors, so that their contrast may differ a little
    INTERMUSCULAR_FAT = 5
    FAT_PAD = 6
    TENDON = 7
    LIGAMENT = 8
    FLUID = 9  # synovial fluid, effusion, popliteal cyst
    CAPSULE = 10  # synovium, capsule and other soft tissue
    VESSEL = 11
    CORTEX_FEMUR = 12
    MARROW_FEMUR = 13
    CORTEX_TIBIA = 14
    MARROW_TIBIA = 15
    CORTEX_PATELLA = 16
    MARROW_PATELLA = 17
    FEMORAL_CARTILAGE = 18
    TIBIAL_CARTILAGE = 19
    PATELLAR_CARTILAGE = 20
    MEDIAL_MENISCUS = 21
    LATERAL_MENISCUS = 22
    LESION_FEMUR = 23  # bone marrow lesion
    LESION_TIBIA = 24
    LESION_PATELLA = 25
    CORTEX_FIBULA = 26
    MARROW_FIBULA = 27
    CYST = 28  # subchondral cyst, inside a bone
    OSTEOPHYTE_FEMUR = 29
    OSTEOPHYTE_TIBIA = 30
    OSTEOPHYTE_PATELLA = 31
    UNKNOWN = 255  # the source does not say what is here


#: Class of voxels that the loss leaves out.
IGNORED_CLASS = 255

FEMUR_CODES = (
    Substance.CORTEX_FEMUR,
    Substance.MARROW_FEMUR,
    Substance.LESION_FEMUR,
    Substance.OSTEOPHYTE_FEMUR,
)
TIBIA_CODES = (
    Substance.CORTEX_TIBIA,
    Substance.MARROW_TIBIA,
    Substance.LESION_TIBIA,
    Substance.OSTEOPHYTE_TIBIA,
)
PATELLA_CODES = (
    Substance.CORTEX_PATELLA,
    Substance.MARROW_PATELLA,
    Substance.LESION_PATELLA,
    Substance.OSTEOPHYTE_PATELLA,
)

_CLASS_OF: dict[int, tuple[Substance, ...]] = {
    1: FEMUR_CODES,
    2: (Substance.FEMORAL_CARTILAGE,),
    3: TIBIA_CODES,
    4: (Substance.TIBIAL_CARTILAGE,),
    5: PATELLA_CODES,
    6: (Substance.PATELLAR_CARTILAGE,),
    7: (Substance.MEDIAL_MENISCUS,),
    8: (Substance.LATERAL_MENISCUS,),
    IGNORED_CLASS: (Substance.UNKNOWN,),
}


def class_table() -> NDArray[np.uint8]:
    """(256,) uint8 class of each substance code.

    A fibula is background. A code that is no substance is ignored. A cyst belongs to the bone
    around it, which its code does not tell, so it is ignored too; :func:`classes_of` resolves it.
    """
    table = np.full(256, IGNORED_CLASS, dtype=np.uint8)
    table[[int(code) for code in Substance if code is not Substance.UNKNOWN]] = 0
    table[int(Substance.CYST)] = IGNORED_CLASS
    for value, codes in _CLASS_OF.items():
        table[[int(code) for code in codes]] = value
    return table


def classes_of(substances: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Network classes of a tissue map.

    Parameters
    ----------
    substances : (...) uint8 codes of :class:`Substance`; the last three axes are space where the
        map holds a cyst.

    Returns
    -------
    (...) uint8: 0 background, 1 femur, 2 femoral cartilage, 3 tibia, 4 tibial cartilage, 5 patella,
        6 patellar cartilage, 7 medial meniscus, 8 lateral meniscus, 255 ignore. Osteophytes,
        marrow lesions and cysts belong to their bone.

    Examples
    --------
    >>> codes = np.array([Substance.AIR, Substance.LESION_TIBIA, Substance.UNKNOWN], dtype=np.uint8)
    >>> classes_of(codes).tolist()
    [0, 3, 255]
    """
    classes = class_table()[substances]
    cyst = substances == int(Substance.CYST)
    if cyst.any():
        _give_cysts_to_bones(classes, cyst)
    return classes


def _give_cysts_to_bones(classes: NDArray[np.uint8], cyst: NDArray[np.bool_]) -> None:
    """Write the nearest bone's class into cyst voxels, working outside in, in place."""
    open_ = cyst.copy()
    while open_.any():
        where = np.nonzero(open_)
        found = np.zeros(len(where[0]), dtype=np.uint8)
        for axis in range(classes.ndim):
            for step in (-1, 1):
                beside = list(where)
                beside[axis] = np.clip(where[axis] + step, 0, classes.shape[axis] - 1)
                near = np.where(open_[tuple(beside)], 0, classes[tuple(beside)])
                bone = np.isin(near, BONE_CLASSES) & (found == 0)
                found[bone] = near[bone]
        if not found.any():
            return  # no bone beside it: it stays ignored
        done = tuple(w[found > 0] for w in where)
        classes[done] = found[found > 0]
        open_[done] = False
