"""Cartilage on a bone: an exact thickness along the bone normal as a function of place.

Cartilage is ``{x : 0 < distance(x) < t(foot(x))}`` over the total subchondral bone area, so its
thickness along the bone normal is exactly ``t``, and so is the distance from every point of the
articular surface back to the bone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kneeimg.phantoms.bones import CartilageBone
from kneeimg.phantoms.femur import Femur
from kneeimg.phantoms.levels import smooth_step
from kneeimg.phantoms.patella import Patella
from kneeimg.phantoms.tibia import Tibia

FloatArray = NDArray[np.float64]

#: Half-width in mm of the band in which thickness passes from one femoral plate to the next.
BLEND_MM = 2.0
#: Share of the condyles that counts as weight-bearing where thickness is laid down.
FEMUR_FRACTION = 0.75


@dataclass(frozen=True)
class PlateThickness:
    """Nominal thickness of every plate in mm (near its mean; exact when variation is 0)."""

    MT: float = 1.7
    LT: float = 2.1
    cMF: float = 1.9
    cLF: float = 1.8
    pMF: float = 2.0
    pLF: float = 2.0
    TrF: float = 2.2
    P: float = 2.4

    @classmethod
    def constant(cls, thickness_mm: float) -> PlateThickness:
        """The same thickness on every plate.

        >>> PlateThickness.constant(2.0).cMF
        2.0
        """
        return cls(**{f.name: thickness_mm for f in fields(cls)})

    def changed(self, change_mm: Mapping[str, float]) -> PlateThickness:
        """Thickness after a change per plate in mm; ValueError for an unknown plate or t <= 0."""
        names = {f.name for f in fields(self)}
        unknown = sorted(set(change_mm) - names)
        if unknown:
            raise ValueError(f"unknown plates {unknown}; expected some of {sorted(names)}")
        values = {name: getattr(self, name) + change_mm.get(name, 0.0) for name in names}
        thin = [name for name, value in values.items() if value <= 0.0]
        if thin:
            raise ValueError(f"no cartilage would be left on {thin}; use denuded patches instead")
        return PlateThickness(**values)


@dataclass(frozen=True)
class DenudedPatch:
    """Bare bone inside a plate.

    Attributes
    ----------
    plate : Plate that holds the centre, one of MT, LT, cMF, cLF, pMF, pLF, TrF, P.
    u : Across the plate, -1 at its inner (notch) border, +1 at its outer border; lateral to medial
        for TrF and P.
    v : Along the plate, -1 at its anterior (TrF, P: distal) and +1 at its posterior (TrF, P:
        proximal) border.
    radius_mm : All bone within this straight distance of the centre is bare.
    """

    plate: str
    u: float
    v: float
    radius_mm: float


@dataclass(frozen=True)
class Sheet:
    """Cartilage of one bone.

    Attributes
    ----------
    bone : The bone below.
    nominal : Thickness per plate, changes included.
    variation : Relative variation of thickness within a plate: 0 is constant, 0.25 is a quarter
        thicker in the middle and a quarter thinner at the rim.
    bare : ((3,) centre in mm, radius in mm) of every denuded patch on this bone.
    rim_ramp_mm : Width of the band at the rim in which thickness falls to 0; 0 is a cliff.
    """

    bone: CartilageBone
    nominal: PlateThickness
    variation: float
    bare: tuple[tuple[tuple[float, float, float], float], ...]
    rim_ramp_mm: float

    def thickness(self, foot: FloatArray) -> FloatArray:
        """(N,) thickness in mm over surface points, as if nothing were denuded."""
        t_mm = _nominal_thickness(self.bone, foot, self.nominal, self.variation)
        if self.rim_ramp_mm > 0.0:
            t_mm = t_mm * np.clip(-self.bone.edge(foot) / self.rim_ramp_mm, 0.0, 1.0)
        return t_mm

    def bare_level(self, foot: FloatArray) -> FloatArray:
        """(N,) mm, positive inside a denuded patch."""
        level = np.full(len(foot), -np.inf)
        for centre, radius in self.bare:
            level = np.maximum(level, radius - np.linalg.norm(foot - np.array(centre), axis=1))
        return level

    def bone_level(self, points: FloatArray) -> FloatArray:
        """(N,) level of the bone below, negative inside."""
        return self.bone.distance(points)

    def sheet_levels(self, points: FloatArray) -> FloatArray:
        """(3, N) levels: bone surface below the sheet, articular surface, border of the cover."""
        foot = self.bone.foot(points)
        border = self.bone.edge(foot.points)
        if self.bare:
            border = np.maximum(border, self.bare_level(foot.points))
        articular = foot.distance_mm - self.thickness(foot.points)
        return np.stack([foot.distance_mm, articular, border])

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box around bone and cartilage."""
        return self.bone.bounds_mm

    @property
    def greatest_mm(self) -> float:
        """A bound on the thickness anywhere."""
        most = max(getattr(self.nominal, f.name) for f in fields(self.nominal))
        return float(most * (1.0 + abs(self.variation)))


def _nominal_thickness(
    bone: CartilageBone, foot: FloatArray, nominal: PlateThickness, variation: float
) -> FloatArray:
    if isinstance(bone, Femur):
        return _femoral(bone, foot, nominal, variation)
    flat: FloatArray | float = nominal.P
    if isinstance(bone, Tibia):
        flat = np.where(foot[:, 0] >= 0.0, nominal.MT, nominal.LT)
    result: FloatArray = flat * _dome(bone, foot, variation)
    return result


def _dome(bone: CartilageBone, foot: FloatArray, variation: float) -> FloatArray:
    """1 + variation in the middle of an elliptical plate, 1 - variation at its rim, mean 1."""
    if variation == 0.0:
        return np.ones(len(foot))
    radius2 = np.minimum(_ellipse_radius2(bone, foot), 1.5)
    result: FloatArray = 1.0 + variation * (1.0 - 2.0 * radius2)
    return result


def _ellipse_radius2(bone: CartilageBone, foot: FloatArray) -> FloatArray:
    """Squared elliptical radius of surface points in the plate's own ellipse."""
    if isinstance(bone, Patella):
        return bone.face_radius2(foot)
    if isinstance(bone, Tibia):
        return bone.plateau_radius2(foot)
    raise TypeError(f"no elliptical plate on {type(bone).__name__}")


def _femoral(
    bone: Femur, foot: FloatArray, nominal: PlateThickness, variation: float
) -> FloatArray:
    """Plate values blended over a few mm where two plates meet."""
    x, y = foot[:, 0], foot[:, 1]
    medial = _condyle(bone, foot, nominal.cMF, nominal.pMF, "medial", variation)
    lateral = _condyle(bone, foot, nominal.cLF, nominal.pLF, "lateral", variation)
    is_medial = smooth_step(x, BLEND_MM)
    condyles = is_medial * medial + (1.0 - is_medial) * lateral
    is_trochlea = smooth_step(bone.notch_front_y_mm - y, BLEND_MM)
    result: FloatArray = is_trochlea * nominal.TrF + (1.0 - is_trochlea) * condyles
    return result


def _condyle(
    bone: Femur, foot: FloatArray, central: float, posterior: float, name: str, variation: float
) -> FloatArray:
    """Central and posterior thickness of one condyle, thickest along its crest."""
    crest = bone.shape.medial_x_mm if name == "medial" else bone.shape.lateral_x_mm
    behind = smooth_step(foot[:, 1] - bone.split_y_mm(name, FEMUR_FRACTION), BLEND_MM)
    level = central + (posterior - central) * behind
    if variation == 0.0:
        return level
    across = np.clip((foot[:, 0] - crest) / 12.0, -1.0, 1.0)
    result: FloatArray = level * (1.0 + variation * np.cos(np.pi * across))
    return result
