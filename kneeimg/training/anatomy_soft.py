"""Everything that no label map of bones and cartilage shows: the soft tissue around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kneeimg.training.anatomy_bones import FEMUR, PATELLA, TIBIA, Landmarks, is_any
from kneeimg.training.anatomy_disease import Disease
from kneeimg.training.anatomy_donor import COARSE_MM, Donor, structures_on
from kneeimg.training.anatomy_envelope import Envelope, dress, envelope_of
from kneeimg.training.anatomy_extensor import (
    axes_mm,
    before_the_joint,
    patellar_tendon,
    quadriceps_muscle,
    quadriceps_tendon,
)
from kneeimg.training.anatomy_fields import FloatField, Mask, distance_mm, smooth_field
from kneeimg.training.anatomy_fluid import lay_baker_cyst, lay_effusion
from kneeimg.training.tissues import Substance

_FEMUR_SIDE = (*FEMUR, int(Substance.FEMORAL_CARTILAGE))
_TIBIA_SIDE = (*TIBIA, int(Substance.TIBIAL_CARTILAGE))
_PATELLA_SIDE = (*PATELLA, int(Substance.PATELLAR_CARTILAGE))
_FAR_MM = 1e3
_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Distances on the coarse grid that soft tissue is placed by, in mm.

    Attributes
    ----------
    femur, tibia, patella : (i, j, k) float32 distance to the bone with its cartilage.
    """

    femur: FloatField
    tibia: FloatField
    patella: FloatField

    @classmethod
    def of(cls, codes: NDArray[np.uint8]) -> Surroundings:
        """Distances from the three bones of a fine map."""
        coarse = codes[:, ::2, ::2]
        fields = [
            distance_mm(is_any(coarse, side), COARSE_MM)
            for side in (_FEMUR_SIDE, _TIBIA_SIDE, _PATELLA_SIDE)
        ]
        return cls(*fields)

    @property
    def nearest(self) -> FloatField:
        """Distance to any of the three bones."""
        return np.minimum(np.minimum(self.femur, self.tibia), self.patella)


def soft_tissue(
    codes: NDArray[np.uint8],
    marks: Landmarks,
    around: Surroundings,
    donor: Donor | None,
    rng: np.random.Generator,
    disease: Disease,
) -> NDArray[np.uint8]:
    """Soft tissue on the coarse grid, defined everywhere, also below the bones.

    Parameters
    ----------
    codes : (i, j, k) uint8 canonical map of bones, cartilage and menisci; 0 elsewhere.
    marks, around : What was read from it.
    donor : Source of muscles, ligaments and vessels; without it simple shapes take their place.
    rng : Source of all variation.
    disease : How much fluid there is.
    """
    coarse = codes[:, ::2, ::2]
    structures = _structures(codes, donor, marks, around)
    substance = _substances(structures, donor)
    fibula = coarse == int(Substance.MARROW_FIBULA)
    if fibula.any():  # the knee has its own
        substance[substance == int(Substance.MARROW_FIBULA)] = 0
    tendons = patellar_tendon(coarse.shape, marks, rng) | quadriceps_tendon(
        coarse.shape, marks, rng
    )
    bones = (around.nearest <= 0) | fibula
    vessels = substance == int(Substance.VESSEL)  # the saphenous veins run in the subcutaneous fat
    envelope = envelope_of(bones | tendons | ((substance > 0) & ~vessels), bones, marks, rng)
    inside = envelope.below_fascia_mm > 0
    soft = np.full(coarse.shape, int(Substance.INTERMUSCULAR_FAT), dtype=np.uint8)
    _lay_muscles(soft, structures, substance, inside, marks, around, rng)
    _lay_quadriceps(soft, envelope, marks, around, rng)
    _lay_pads_and_capsule(soft, marks, around, rng)
    _lay_fibres(soft, substance, tendons)
    _fill_joint_space(soft, substance, marks, around, rng)
    lay_effusion(soft, around.femur, around.patella, marks, disease.effusion, rng)
    lay_baker_cyst(soft, marks, disease.baker_cyst_mm, rng)
    dress(soft, envelope)
    soft[vessels & (soft == int(Substance.SUBCUTANEOUS_FAT))] = int(Substance.VESSEL)
    return soft


def _structures(
    codes: NDArray[np.uint8], donor: Donor | None, marks: Landmarks, around: Surroundings
) -> NDArray[np.uint8]:
    if donor is None:
        return _simple_muscles(marks, around)
    return structures_on(codes, donor)


_SIMPLE = {
    1: Substance.MUSCLE,
    2: Substance.MUSCLE,
    3: Substance.MUSCLE,
    4: Substance.MUSCLE,
    5: Substance.VESSEL,
    6: Substance.LIGAMENT,
    7: Substance.LIGAMENT,
}


def _simple_muscles(marks: Landmarks, around: Surroundings) -> NDArray[np.uint8]:
    """Two heads behind the joint, two bellies above them, vessels and cruciates, as plain tubes."""
    found = np.zeros(around.femur.shape, dtype=np.uint8)
    x, y, z = axes_mm(found.shape)
    joint = marks.joint
    for number, aside, back, low, high in (
        (1, 18.0, 16.0, -200.0, 14.0),
        (2, -18.0, 16.0, -200.0, 14.0),
        (3, 24.0, 12.0, 18.0, 200.0),
        (4, -26.0, 12.0, 18.0, 200.0),
    ):
        tube = ((x - joint[0] - aside) / 16) ** 2 + ((y - marks.femur_back - back) / 13) ** 2 < 1
        found[tube & (z - joint[2] > low) & (z - joint[2] < high)] = number
    vessels = (x - joint[0] + 2) ** 2 + (y - marks.femur_back - 9) ** 2 < 4.0**2
    found[np.broadcast_to(vessels, found.shape)] = 5
    rise = (z - joint[2]) / 20.0
    for number, lean in ((6, 16.0), (7, -14.0)):
        cord = (x - joint[0] - 3 * np.sign(-lean)) ** 2 + (y - joint[1] - 2 - lean * rise) ** 2
        found[(cord < 4.5**2) & (rise > -0.6) & (rise < 1)] = number
    found[around.nearest <= 0] = 0
    return found


def _substances(structures: NDArray[np.uint8], donor: Donor | None) -> NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    for number, substance in (_SIMPLE if donor is None else donor.substance_of).items():
        table[number] = int(substance)
    return np.asarray(table[structures])


def _lay_muscles(
    soft: NDArray[np.uint8],
    structures: NDArray[np.uint8],
    substance: NDArray[np.uint8],
    inside: Mask,
    marks: Landmarks,
    around: Surroundings,
    rng: np.random.Generator,
) -> None:
    """Let the donor's muscles grow until they meet; fat stays between them and in streaks."""
    muscle = (substance == int(Substance.MUSCLE)) | (substance == int(Substance.MUSCLE_B))
    reach_mm, owner = _nearest_muscle(muscle, structures)
    _, y, z = axes_mm(soft.shape)
    bulk = rng.uniform(5.0, 14.0) * (1 + 0.3 * smooth_field(rng, soft.shape, COARSE_MM, 30.0))
    vessels = substance == int(Substance.VESSEL)
    if vessels.any():
        bulk = np.minimum(bulk, 0.9 * distance_mm(vessels, COARSE_MM) - 1.0)
    wavy = smooth_field(rng, soft.shape, COARSE_MM, 22.0)
    aside = (
        np.abs(z - marks.joint[2] - 4) + 5.0 * wavy + 0.25 * np.clip(y - marks.joint[1], -30, 30)
    )
    beside_joint = (aside < 26) & (y < marks.femur_back - 4 + 3.0 * wavy)
    grown = (reach_mm < bulk) & inside & ~beside_joint & (around.nearest > 2.0)
    septa = _borders(owner) & (smooth_field(rng, soft.shape, COARSE_MM, 12.0) > -0.8)
    soft[(grown & ~septa) | muscle] = int(Substance.MUSCLE)
    _streak(soft, Substance.MUSCLE, rng)


def _nearest_muscle(
    muscle: Mask, structures: NDArray[np.uint8]
) -> tuple[FloatField, NDArray[np.uint8]]:
    """Distance to the nearest muscle and its number, worked out at half the coarse resolution."""
    small = muscle[::2, ::2, ::2]
    if not small.any():
        return np.full(muscle.shape, _FAR_MM, dtype=np.float32), np.zeros_like(structures)
    spacing = [2 * s for s in COARSE_MM]
    distance, index = ndimage.distance_transform_edt(~small, sampling=spacing, return_indices=True)
    owner = structures[::2, ::2, ::2][tuple(index)]
    return (
        _enlarged(distance.astype(np.float32), muscle.shape),
        _enlarged(owner, muscle.shape),
    )


def _enlarged(small: NDArray[_Value], shape: tuple[int, ...]) -> NDArray[_Value]:
    for axis in range(3):
        small = np.repeat(small, 2, axis=axis)
    return small[: shape[0], : shape[1], : shape[2]]


def _borders(owner: NDArray[np.uint8]) -> Mask:
    border = np.zeros(owner.shape, dtype=bool)
    border[1:] |= owner[1:] != owner[:-1]
    border[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    border[:, :, 1:] |= owner[:, :, 1:] != owner[:, :, :-1]
    return border


def _streak(soft: NDArray[np.uint8], muscle: Substance, rng: np.random.Generator) -> None:
    """Thin streaks of fat along the fibres, more in some muscles and some people."""
    grain = smooth_field(rng, soft.shape, COARSE_MM, (4.0, 4.0, 28.0))
    where = smooth_field(rng, soft.shape, COARSE_MM, 25.0)
    wide = rng.uniform(0.01, 0.07)
    streak = (np.abs(grain) < wide) & (where > rng.uniform(-1.0, 1.0))
    soft[streak & (soft == int(muscle))] = int(Substance.INTERMUSCULAR_FAT)


def _lay_quadriceps(
    soft: NDArray[np.uint8],
    envelope: Envelope,
    marks: Landmarks,
    around: Surroundings,
    rng: np.random.Generator,
) -> None:
    belly = quadriceps_muscle(around.femur, marks, rng) & (envelope.below_fascia_mm > 1.0)
    belly &= (around.patella > 3.0) & (around.tibia > 12.0)
    soft[belly] = int(Substance.MUSCLE_B)
    _streak(soft, Substance.MUSCLE_B, rng)


def _lay_pads_and_capsule(
    soft: NDArray[np.uint8], marks: Landmarks, around: Surroundings, rng: np.random.Generator
) -> None:
    fat = soft == int(Substance.INTERMUSCULAR_FAT)
    soft[fat & before_the_joint(soft.shape, marks, rng)] = int(Substance.FAT_PAD)
    _, _, z = axes_mm(soft.shape)
    shell_mm = 1.4 + 0.7 * smooth_field(rng, soft.shape, COARSE_MM, 10.0)
    level = (z > marks.joint[2] - 18) & (z < marks.joint[2] + 38)
    close = np.minimum(around.femur, around.tibia)
    soft[level & (close < np.clip(shell_mm, 0.4, 3.5))] = int(Substance.CAPSULE)
    soft[(around.patella < 0.9) & (soft != int(Substance.MUSCLE_B))] = int(Substance.CAPSULE)


def _lay_fibres(soft: NDArray[np.uint8], substance: NDArray[np.uint8], tendons: Mask) -> None:
    for code in (Substance.FAT_PAD, Substance.TENDON, Substance.LIGAMENT, Substance.VESSEL):
        soft[substance == int(code)] = int(code)
    fibula = substance == int(Substance.MARROW_FIBULA)
    if fibula.any():
        deep = ndimage.binary_erosion(fibula, iterations=2, border_value=1)
        soft[fibula] = int(Substance.CORTEX_FIBULA)
        soft[deep] = int(Substance.MARROW_FIBULA)
    soft[tendons] = int(Substance.TENDON)


def _fill_joint_space(
    soft: NDArray[np.uint8],
    substance: NDArray[np.uint8],
    marks: Landmarks,
    around: Surroundings,
    rng: np.random.Generator,
) -> None:
    """A film of fluid where surfaces face each other, synovium and fat where the gap is wide."""
    free = ~np.isin(substance, (int(Substance.LIGAMENT), int(Substance.TENDON)))
    patch = smooth_field(rng, soft.shape, COARSE_MM, 9.0)
    for a, b, film_mm, room_mm in (
        (around.femur, around.tibia, 2.6, 9.0),
        (around.femur, around.patella, 3.0, 5.0),
    ):
        width = a + b
        room = free & (np.maximum(a, b) < room_mm) & (width < 1.5 * room_mm)
        pad = room & (soft != int(Substance.FAT_PAD))
        soft[pad & (patch > 0.3)] = int(Substance.CAPSULE)
        soft[free & (width < film_mm + 0.8 * patch)] = int(Substance.FLUID)
