"""Side, tissues, regions and label schemes: the names everything else is written in.

Regions follow Eckstein 2006 (doi:10.1016/j.joca.2006.03.005).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Side(StrEnum):
    """Which knee. Never defaulted, never guessed."""

    LEFT = "left"
    RIGHT = "right"

    @property
    def opposite(self) -> Side:
        """The other knee."""
        return Side.LEFT if self is Side.RIGHT else Side.RIGHT


class Tissue(IntEnum):
    """Label values of the scheme `knee-v1`."""

    BACKGROUND = 0
    FEMUR = 1
    FEMORAL_CARTILAGE = 2
    TIBIA = 3
    TIBIAL_CARTILAGE = 4
    PATELLA = 5
    PATELLAR_CARTILAGE = 6
    MEDIAL_MENISCUS = 10
    LATERAL_MENISCUS = 11
    FIBULA = 12


class Bone(StrEnum):
    """A bone that carries articular cartilage."""

    FEMUR = "femur"
    TIBIA = "tibia"
    PATELLA = "patella"

    @property
    def tissue(self) -> Tissue:
        """Label of the bone itself."""
        return _BONE_TISSUES[self][0]

    @property
    def cartilage(self) -> Tissue:
        """Label of its cartilage."""
        return _BONE_TISSUES[self][1]


_BONE_TISSUES = {
    Bone.FEMUR: (Tissue.FEMUR, Tissue.FEMORAL_CARTILAGE),
    Bone.TIBIA: (Tissue.TIBIA, Tissue.TIBIAL_CARTILAGE),
    Bone.PATELLA: (Tissue.PATELLA, Tissue.PATELLAR_CARTILAGE),
}


class Plate(IntEnum):
    """Disjoint parts of the subchondral bone, as coded in the `plate` field of a surface.

    The condyles MF and LF are unions: MF = cMF + pMF, LF = cLF + pLF (see `PLATE_UNIONS`).
    """

    NONE = 0  # bone outside every cartilage plate
    MT = 1  # medial tibia
    LT = 2  # lateral tibia
    cMF = 3  # central, weight-bearing medial femoral condyle
    cLF = 4  # central, weight-bearing lateral femoral condyle
    pMF = 5  # posterior medial femoral condyle
    pLF = 6  # posterior lateral femoral condyle
    TrF = 7  # trochlea of the femur
    P = 8  # patella


class Subregion(IntEnum):
    """Disjoint parts of a plate, as coded in the `subregion` field of a surface.

    Tibia: central ellipse and the anterior, posterior, external and internal part of the ring
    around it. Central femoral condyles: external, central and internal third. Patella: medial and
    lateral facet. External is away from the middle of the knee, internal towards it. The codes
    are stable.
    """

    NONE = 0  # outside tAB, or on a plate that is not subdivided
    cMT = 1
    aMT = 2
    pMT = 3
    eMT = 4
    iMT = 5
    cLT = 6
    aLT = 7
    pLT = 8
    eLT = 9
    iLT = 10
    ecMF = 11
    ccMF = 12
    icMF = 13
    ecLF = 14
    ccLF = 15
    icLF = 16
    mP = 17
    lP = 18


#: Plate to the subregions that it is cut into, in reading order.
SUBREGIONS_OF: Mapping[Plate, tuple[Subregion, ...]] = {
    plate: tuple(part for part in Subregion if part.name.endswith(plate.name))
    for plate in (Plate.MT, Plate.LT, Plate.cMF, Plate.cLF, Plate.P)
}

#: Reported plates in reading order, each as the disjoint plates it is made of.
PLATE_UNIONS: Mapping[str, tuple[Plate, ...]] = {
    "MT": (Plate.MT,),
    "LT": (Plate.LT,),
    "cMF": (Plate.cMF,),
    "cLF": (Plate.cLF,),
    "pMF": (Plate.pMF,),
    "pLF": (Plate.pLF,),
    "MF": (Plate.cMF, Plate.pMF),
    "LF": (Plate.cLF, Plate.pLF),
    "TrF": (Plate.TrF,),
    "P": (Plate.P,),
}

#: Aggregates are sums of thickness over regions (never means).
AGGREGATE_SUMS: Mapping[str, tuple[str, ...]] = {
    "MFTC": ("MT", "cMF"),
    "LFTC": ("LT", "cLF"),
    "FTJ": ("MT", "cMF", "LT", "cLF"),
    "cMFTC": ("cMT", "ccMF"),
    "cLFTC": ("cLT", "ccLF"),
}

PLATE_BONES: Mapping[str, Bone] = {
    "MT": Bone.TIBIA,
    "LT": Bone.TIBIA,
    "cMF": Bone.FEMUR,
    "cLF": Bone.FEMUR,
    "pMF": Bone.FEMUR,
    "pLF": Bone.FEMUR,
    "MF": Bone.FEMUR,
    "LF": Bone.FEMUR,
    "TrF": Bone.FEMUR,
    "P": Bone.PATELLA,
}

#: Every reported region (plates and their unions, then subregions) and its bone.
REGION_BONES: Mapping[str, Bone] = {
    **PLATE_BONES,
    **{
        part.name: PLATE_BONES[plate.name]
        for plate, parts in SUBREGIONS_OF.items()
        for part in parts
    },
}


#: Bone to the smallest regions of which all others are unions: the columns of the `shares` field.
CELLS: Mapping[Bone, tuple[str, ...]] = {
    bone: tuple(
        cell
        for plate in Plate
        if PLATE_BONES.get(plate.name) is bone
        for cell in ([part.name for part in SUBREGIONS_OF.get(plate, ())] or [plate.name])
    )
    for bone in Bone
}


def _cells_of(region: str) -> tuple[int, ...]:
    """Columns of a plate, a union of plates or a subregion among the cells of its bone."""
    cells = CELLS[REGION_BONES[region]]
    if region not in PLATE_UNIONS:
        return (cells.index(region),)
    parts = [SUBREGIONS_OF.get(plate, ()) or (plate,) for plate in PLATE_UNIONS[region]]
    return tuple(cells.index(part.name) for plate in parts for part in plate)


#: Every reported region to its columns of the `shares` field.
REGION_CELLS: Mapping[str, tuple[int, ...]] = {r: _cells_of(r) for r in REGION_BONES}


class VertexState(IntEnum):
    """What is known at a vertex of a bone surface, as coded in its `state` field."""

    OUTSIDE = 0  # not part of the total subchondral bone area (tAB)
    MEASURED = 1  # cartilage, thickness in mm
    DENUDED = 2  # bare bone inside tAB, thickness 0
    UNDETERMINED = 3  # inside tAB, thickness NaN


@dataclass(frozen=True, slots=True)
class LabelScheme:
    """How the integers of a label file name tissues.

    Attributes
    ----------
    name : Name of the scheme, the file name in `configs/label_schemes/`.
    tissues : Label value to tissue; every value a file may hold, background included.
    compartments : Label value to "medial" or "lateral", for schemes that tell them apart; used to
        check the side against the geometry.
    segments : Further names and codes of DICOM segments, and the label value that each stands for.
    """

    name: str
    tissues: Mapping[int, Tissue]
    compartments: Mapping[int, str] = field(default_factory=dict)
    segments: Mapping[str, int] = field(default_factory=dict)

    def lookup(self) -> NDArray[np.uint8]:
        """Tissue of every label value up to the greatest, as an array to index with labels.

        >>> KNEE_V1.lookup()[[1, 7, 4]].tolist()
        [1, 1, 4]
        """
        import numpy as np  # not above: the command line needs the names, not numpy

        table = np.zeros(max(self.tissues) + 1, dtype=np.uint8)
        for value, tissue in self.tissues.items():
            table[value] = int(tissue)
        return table


KNEE_V1 = LabelScheme(
    name="knee-v1",
    tissues={
        **{int(tissue): tissue for tissue in Tissue},
        7: Tissue.FEMUR,  # bone marrow lesions belong to their bone
        8: Tissue.TIBIA,
        9: Tissue.PATELLA,
    },
    compartments={10: "medial", 11: "lateral", 12: "lateral"},
)
