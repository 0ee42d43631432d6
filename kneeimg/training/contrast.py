"""How bright each substance is: priors of sequence families, and wild draws.

Signals are relative, 0 for none and 1 for the brightest tissue. The ranges are ours, set from what
the sequences show: fat-suppressed dual-echo steady state has nearly black marrow, cartilage and
muscle alike and the brightest fluid; T1 weighting has bright fat and marrow and dark fluid. The
family `t2_fs` holds the second echo of dual-echo steady state too: beside the first its signal is
roughly exp(-2 (TR - TE) / T2) (Sveinsson 2017, doi:10.1016/j.mri.2016.12.018), half or less in
cartilage and muscle, nothing in a meniscus, hardly less in fluid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.training.tissues import Substance

Level = tuple[float, float]

#: Groups of substances that share a signal before they are told apart a little.
_GROUPS: Mapping[str, tuple[Substance, ...]] = {
    "skin": (Substance.SKIN,),
    "fat": (Substance.SUBCUTANEOUS_FAT, Substance.INTERMUSCULAR_FAT, Substance.FAT_PAD),
    "muscle": (Substance.MUSCLE, Substance.MUSCLE_B),
    "tendon": (Substance.TENDON,),
    "ligament": (Substance.LIGAMENT,),
    "fluid": (Substance.FLUID,),
    "capsule": (Substance.CAPSULE,),
    "vessel": (Substance.VESSEL,),
    "cortex": (
        Substance.CORTEX_FEMUR,
        Substance.CORTEX_TIBIA,
        Substance.CORTEX_PATELLA,
        Substance.CORTEX_FIBULA,
    ),
    "marrow": (
        Substance.MARROW_FEMUR,
        Substance.MARROW_TIBIA,
        Substance.MARROW_PATELLA,
        Substance.MARROW_FIBULA,
        Substance.OSTEOPHYTE_FEMUR,
        Substance.OSTEOPHYTE_TIBIA,
        Substance.OSTEOPHYTE_PATELLA,
    ),
    "cartilage": (
        Substance.FEMORAL_CARTILAGE,
        Substance.TIBIAL_CARTILAGE,
        Substance.PATELLAR_CARTILAGE,
    ),
    "meniscus": (Substance.MEDIAL_MENISCUS, Substance.LATERAL_MENISCUS),
    "lesion": (Substance.LESION_FEMUR, Substance.LESION_TIBIA, Substance.LESION_PATELLA),
    "cyst": (Substance.CYST,),
}

_FAT_SUPPRESSED: dict[str, Level] = {
    "fat": (0.06, 0.25),
    "marrow": (0.04, 0.18),
    "cortex": (0.01, 0.07),
    "tendon": (0.03, 0.12),
    "ligament": (0.08, 0.25),
    "meniscus": (0.06, 0.25),
}

#: Lowest and highest mean signal of each group, per family.
FAMILIES: Mapping[str, Mapping[str, Level]] = {
    "dess": {
        **_FAT_SUPPRESSED,
        "skin": (0.2, 0.5),
        "muscle": (0.32, 0.62),
        "fluid": (0.75, 1.0),
        "capsule": (0.2, 0.55),
        "vessel": (0.3, 0.9),
        "cartilage": (0.38, 0.68),
        "lesion": (0.2, 0.5),
        "cyst": (0.6, 1.0),
    },
    "flash": {
        **_FAT_SUPPRESSED,
        "skin": (0.2, 0.5),
        "muscle": (0.35, 0.6),
        "fluid": (0.25, 0.55),
        "capsule": (0.2, 0.5),
        "vessel": (0.3, 1.0),
        "cartilage": (0.7, 1.0),
        "lesion": (0.1, 0.3),
        "cyst": (0.25, 0.6),
    },
    "pd_fs": {
        **_FAT_SUPPRESSED,
        "marrow": (0.08, 0.3),
        "fat": (0.1, 0.35),
        "skin": (0.2, 0.6),
        "muscle": (0.25, 0.5),
        "fluid": (0.8, 1.0),
        "capsule": (0.25, 0.6),
        "vessel": (0.05, 0.9),
        "cartilage": (0.45, 0.75),
        "lesion": (0.4, 0.8),
        "cyst": (0.75, 1.0),
    },
    "t2_fs": {
        **_FAT_SUPPRESSED,
        "skin": (0.1, 0.4),
        "muscle": (0.1, 0.3),
        "fluid": (0.85, 1.0),
        "capsule": (0.15, 0.5),
        "vessel": (0.05, 0.9),
        "cartilage": (0.16, 0.5),
        "lesion": (0.4, 0.8),
        "cyst": (0.85, 1.0),
    },
    "t1": {
        "fat": (0.8, 1.0),
        "marrow": (0.6, 0.9),
        "cortex": (0.02, 0.12),
        "tendon": (0.05, 0.2),
        "ligament": (0.1, 0.3),
        "meniscus": (0.08, 0.28),
        "skin": (0.3, 0.6),
        "muscle": (0.25, 0.45),
        "fluid": (0.12, 0.3),
        "capsule": (0.2, 0.5),
        "vessel": (0.05, 0.4),
        "cartilage": (0.33, 0.55),
        "lesion": (0.3, 0.6),
        "cyst": (0.15, 0.35),
    },
    "pd": {
        "fat": (0.75, 1.0),
        "marrow": (0.5, 0.85),
        "cortex": (0.02, 0.12),
        "tendon": (0.05, 0.2),
        "ligament": (0.12, 0.35),
        "meniscus": (0.08, 0.3),
        "skin": (0.3, 0.6),
        "muscle": (0.3, 0.5),
        "fluid": (0.6, 1.0),
        "capsule": (0.25, 0.6),
        "vessel": (0.05, 0.7),
        "cartilage": (0.42, 0.7),
        "lesion": (0.4, 0.75),
        "cyst": (0.6, 1.0),
    },
    "gre": {
        "fat": (0.3, 0.7),
        "marrow": (0.15, 0.5),
        "cortex": (0.02, 0.1),
        "tendon": (0.05, 0.2),
        "ligament": (0.12, 0.35),
        "meniscus": (0.1, 0.35),
        "skin": (0.25, 0.5),
        "muscle": (0.35, 0.6),
        "fluid": (0.65, 1.0),
        "capsule": (0.25, 0.6),
        "vessel": (0.3, 1.0),
        "cartilage": (0.55, 0.85),
        "lesion": (0.2, 0.6),
        "cyst": (0.6, 1.0),
    },
}

#: How unlike the members of a group may be, relative to its mean.
_WITHIN_GROUP = 0.08

#: Texture inside a substance, SD relative to its mean: smallest and largest.
_TEXTURE: Mapping[str, Level] = {
    "fat": (0.05, 0.3),
    "muscle": (0.04, 0.2),
    "marrow": (0.05, 0.35),
    "capsule": (0.15, 0.5),
    "vessel": (0.1, 0.5),
    "cartilage": (0.03, 0.18),
    "fluid": (0.02, 0.12),
    "lesion": (0.1, 0.4),
}
_PLAIN_TEXTURE: Level = (0.03, 0.2)

#: How much brighter cartilage is at its surface than at the bone: smallest and largest. Its T2 is
#: shortest at the bone, so T2 weighting all but hides the deep layer.
_LAYERING: Mapping[str, Level] = {"t2_fs": (0.0, 1.2)}
_USUAL_LAYERING: Level = (-0.35, 0.5)

#: How often the line between two cartilages that touch is dark, and how often it is fluid.
_SEAMS_DARK, _SEAMS_FLUID = 0.55, 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Signal of every substance in one scan.

    Attributes
    ----------
    family : Which prior it was drawn from.
    mean : (256,) float32 signal by substance code; 0 for air.
    texture : (256,) float32 SD of the signal inside a substance.
    layering : How much brighter (or darker, below 0) cartilage is at its surface than at the bone,
        relative to its mean.
    """

    family: str
    mean: NDArray[np.float32]
    texture: NDArray[np.float32]
    layering: float


def draw_contrast(families: Mapping[str, float], rng: np.random.Generator) -> Contrast:
    """One scan's contrast, of a family drawn by its weight.

    Examples
    --------
    >>> contrast = draw_contrast({"t1": 1.0}, np.random.default_rng(1))
    >>> bool(contrast.mean[Substance.FAT_PAD] > contrast.mean[Substance.FLUID])
    True
    """
    names = [*FAMILIES, "wild"]
    unknown = sorted(set(families) - set(names))
    if unknown or not sum(families.values()) > 0:
        raise ValueError(f"families {unknown or families}: choose among {', '.join(names)}")
    weights = np.array([families.get(name, 0.0) for name in names])
    family = str(rng.choice(names, p=weights / weights.sum()))
    levels = _wild_levels(rng) if family == "wild" else _levels(FAMILIES[family], rng)
    mean = np.zeros(256, np.float32)
    texture = np.zeros(256, np.float32)
    for group, members in _GROUPS.items():
        low, high = _TEXTURE.get(group, _PLAIN_TEXTURE)
        spread = rng.uniform(low, high)
        for member in members:
            mean[member] = levels[group] * (1.0 + _WITHIN_GROUP * rng.standard_normal())
            texture[member] = spread * mean[member]
    mean = np.clip(mean, 0.0, 1.2)
    low, high = _LAYERING.get(family, _USUAL_LAYERING)
    return Contrast(family, mean, texture, float(rng.uniform(low, high)))


@dataclass(frozen=True, slots=True)
class Seam:
    """The line between two cartilages that touch.

    Attributes
    ----------
    signal : Its brightness.
    width_mm : How wide it is, both sides together.
    """

    signal: float
    width_mm: float


def draw_seam(contrast: Contrast, rng: np.random.Generator) -> Seam | None:
    """A dark line, a film of fluid, or nothing.

    A dark line is what the surfaces of two cartilages pressed together mostly show: their outermost
    layer holds less water and its fibres lie flat.

    Examples
    --------
    >>> flash = draw_contrast({"flash": 1.0}, np.random.default_rng(1))
    >>> seam = draw_seam(flash, np.random.default_rng(3))
    >>> seam is not None and 0.1 <= seam.width_mm <= 0.5
    True
    """
    kind, shade, width = rng.uniform(size=3)
    cartilage = float(contrast.mean[Substance.FEMORAL_CARTILAGE])
    if kind < _SEAMS_DARK:
        signal = (0.2 + 0.6 * shade) * cartilage
    elif kind < _SEAMS_DARK + _SEAMS_FLUID:
        signal = float(contrast.mean[Substance.FLUID])
    else:
        return None
    return Seam(signal, float(0.1 + 0.4 * width))


def _levels(ranges: Mapping[str, Level], rng: np.random.Generator) -> dict[str, float]:
    return {group: float(rng.uniform(*ranges[group])) for group in _GROUPS}


def _wild_levels(rng: np.random.Generator) -> dict[str, float]:
    """Any signal for any tissue, but cartilage stands out from bone and cortex stays dark."""
    while True:
        levels = {group: float(rng.uniform(0.03, 1.0)) for group in _GROUPS}
        levels["cortex"] = float(rng.uniform(0.01, 0.12))
        if abs(levels["cartilage"] - levels["marrow"]) > 0.15:
            return levels
