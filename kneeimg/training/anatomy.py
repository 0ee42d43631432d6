"""From a label map of bones and cartilage to a tissue map of the whole knee."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.training.anatomy_bones import add_cortex, extend_shafts, is_any, landmarks_of
from kneeimg.training.anatomy_disease import Disease
from kneeimg.training.anatomy_donor import Donor
from kneeimg.training.anatomy_fields import box_of, smooth_field
from kneeimg.training.anatomy_growths import add_lesions, add_osteophytes
from kneeimg.training.anatomy_menisci import MeniscusShape, add_menisci
from kneeimg.training.anatomy_refine import refined
from kneeimg.training.anatomy_soft import Surroundings, soft_tissue
from kneeimg.training.anatomy_source import SPACING_MM, KneeLabels, resample
from kneeimg.training.anatomy_wear import narrow_joint, wear_cartilage
from kneeimg.training.tissues import Substance

#: Number of the way tissue maps are built; it grows with every change of the result.
RECIPE = 4


@dataclass(frozen=True, slots=True, eq=False)
class TissueMap:
    """A whole right knee, every voxel named.

    Attributes
    ----------
    substances : (i, j, k) uint8 codes of :class:`~kneeimg.training.tissues.Substance`; axis 0 goes
        to patient left, 1 to posterior, 2 to superior.
    spacing_mm : Voxel size along i, j, k.
    """

    substances: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def build_tissue_map(
    labels: KneeLabels, donor: Donor | None, rng: np.random.Generator, disease: Disease
) -> TissueMap:
    """Complete a knee of bones and cartilage to a map in which every voxel is named.

    Parameters
    ----------
    labels : A right knee; :meth:`KneeLabels.of` mirrors a left one.
    donor : A knee whose muscles, ligaments and vessels are brought over; None draws simple ones.
    rng : Source of all variation. The same labels, donor, disease and generator state give the
        same map.
    disease : What is to be wrong with the knee.

    Returns
    -------
    TissueMap
        On the canonical grid of 184 x 400 x 400 voxels of 0.7 x 0.4 x 0.4 mm.

    Raises
    ------
    MaskError
        If a bone or its cartilage is missing from the labels.
    """
    labels.require_knee()
    codes = resample(labels)
    extend_shafts(codes)
    _wear(codes, rng, disease)
    add_osteophytes(codes, rng, disease.osteophytes_mm)
    _add_menisci(codes, rng, disease)
    marks = landmarks_of(codes)
    around = Surroundings.of(codes)
    soft = soft_tissue(codes, marks, around, donor, rng, disease)
    add_cortex(codes, rng)
    add_lesions(codes, rng, disease.lesions_mm, disease.cysts_mm)
    return TissueMap(refined(soft, codes), SPACING_MM)


def _wear(codes: NDArray[np.uint8], rng: np.random.Generator, disease: Disease) -> None:
    """Take cartilage away; fluid, here and there scar, takes its place until the joint narrows."""
    worn = wear_cartilage(
        codes,
        rng,
        thinning=disease.thinning,
        denuded_mm2=disease.denuded_mm2,
        defects=disease.defects,
    )
    if worn.any():
        box = box_of(worn, (0, 0, 0))
        scar = smooth_field(rng, codes[box].shape, SPACING_MM, 8.0) > 1.2
        codes[box][worn[box]] = int(Substance.FLUID)
        codes[box][worn[box] & scar] = int(Substance.CAPSULE)
    narrow_joint(codes, worn, disease.narrowing_mm)


def _add_menisci(codes: NDArray[np.uint8], rng: np.random.Generator, disease: Disease) -> None:
    """Draw menisci unless the source has them."""
    shapes = [
        MeniscusShape.drawn(rng, medial=medial, diseased=worn)
        for medial, worn in zip((True, False), disease.worn_menisci, strict=True)
    ]
    drawn = (int(Substance.MEDIAL_MENISCUS), int(Substance.LATERAL_MENISCUS))
    if not is_any(codes, drawn).any():
        add_menisci(codes, *shapes)
