"""From a label map of bones and cartilage to a tissue map of the whole knee."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.training.anatomy_bones import add_cortex, extend_shafts, is_any, landmarks_of
from kneeimg.training.anatomy_disease import Disease
from kneeimg.training.anatomy_donor import Donor
from kneeimg.training.anatomy_menisci import MeniscusShape, add_menisci
from kneeimg.training.anatomy_refine import refined
from kneeimg.training.anatomy_soft import Surroundings, soft_tissue
from kneeimg.training.anatomy_source import SPACING_MM, KneeLabels, resample
from kneeimg.training.tissues import Substance

#: Number of the way tissue maps are built; it grows with every change of the result.
RECIPE = 1


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
    labels.require_knee()
    codes = resample(labels)
    extend_shafts(codes)
    _add_menisci(codes, rng, disease)
    marks = landmarks_of(codes)
    around = Surroundings.of(codes)
    soft = soft_tissue(codes, marks, around, donor, rng)
    add_cortex(codes, rng)
    return TissueMap(refined(soft, codes), SPACING_MM)


def _add_menisci(codes: NDArray[np.uint8], rng: np.random.Generator, disease: Disease) -> None:
    """Draw menisci unless the source has them."""
    shapes = [
        MeniscusShape.drawn(rng, medial=medial, diseased=worn)
        for medial, worn in zip((True, False), disease.worn_menisci, strict=True)
    ]
    drawn = (int(Substance.MEDIAL_MENISCUS), int(Substance.LATERAL_MENISCUS))
    if not is_any(codes, drawn).any():
        add_menisci(codes, *shapes)
