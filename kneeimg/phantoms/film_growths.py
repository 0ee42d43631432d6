"""Osteophytes and sclerosis of known size on the analytic films; the exact side of each bone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.core.anatomy import Bone
from kneeimg.core.margins import Compartment
from kneeimg.phantoms.film import FilmKnee

FloatArray = NDArray[np.float64]

#: Middle and half height of a lip, mm: v of the femur, depth below the plateau's edge of the tibia.
LIP_AT_MM = {Bone.FEMUR: (-6.0, 4.0), Bone.TIBIA: (1.5, 3.5)}
EDGE_X = 0.09  # x, from either side, where the height of the plateau's edge is taken
SCLEROTIC_MM = 2.4  # depth of the dense band below the floor
_LIP_NEPER = 0.80  # attenuation of a lip, dense bone 25 mm deep
_NARROWS_MM = 45.0  # above its widest point the femur narrows over this height


def side_mm(
    knee: FilmKnee, bone: Bone, compartment: Compartment, v_mm: ArrayLike, *, lip: bool = True
) -> FloatArray:
    """Distance of a bone's outer side inward from the outer edge of the femur, mm, at each v.

    Parameters
    ----------
    v_mm : Heights below the condylar tangent, above it for the femur (negative).
    lip : With the osteophyte of the knee, else without.
    """
    v = np.asarray(v_mm, dtype=np.float64)
    plain = _femur_side(knee, compartment, v) if bone is Bone.FEMUR else _tibia_side(knee, v)
    if not lip:
        return plain
    middle, half = LIP_AT_MM[bone]
    if bone is Bone.TIBIA:
        middle += plateau_edge_mm(knee, compartment)
    height = np.clip(1 - ((v - middle) / half) ** 2, 0.0, 1.0)
    return plain - knee.osteophyte_mm(bone, compartment) * np.sqrt(height)


def plateau_edge_mm(knee: FilmKnee, compartment: Compartment) -> float:
    """v of the plateau's floor near its outer edge."""
    x = EDGE_X if compartment is Compartment.MEDIAL else 1 - EDGE_X
    return float(knee.tibia_v(x * knee.femoral_width_mm))


def _femur_side(knee: FilmKnee, compartment: Compartment, v: FloatArray) -> FloatArray:
    width = knee.femoral_width_mm
    medial = compartment is Compartment.MEDIAL
    span = knee.medial_x if medial else 1 - knee.lateral_x
    inward = np.linspace(0.0, span * width, 4001)  # from the edge to the lowest point
    height = knee.femur_v(inward if medial else width - inward)
    rounded = np.interp(v, height, inward)
    up = np.clip((-v - knee.condyle_height_mm) / _NARROWS_MM, 0.0, 1.0)
    side: FloatArray = rounded + (up**2 * (3 - 2 * up)) * 0.29 * width
    return side


def _tibia_side(knee: FilmKnee, v: FloatArray) -> FloatArray:
    down = np.clip((v - 6.0) / 50.0, 0.0, 1.0)
    side: FloatArray = (down**2 * (3 - 2 * down)) * 0.28 * knee.femoral_width_mm
    return side


def growth_neper(knee: FilmKnee, u_mm: FloatArray, v_mm: FloatArray) -> FloatArray:
    """Attenuation that osteophytes and sclerosis add at each place of a left knee."""
    neper = np.zeros_like(u_mm)
    for compartment in Compartment:
        medial = compartment is Compartment.MEDIAL
        inward = u_mm if medial else knee.femoral_width_mm - u_mm
        for bone in (Bone.FEMUR, Bone.TIBIA):
            if knee.osteophyte_mm(bone, compartment):
                outer = side_mm(knee, bone, compartment, v_mm)
                plain = side_mm(knee, bone, compartment, v_mm, lip=False)
                neper += np.where((inward >= outer) & (inward < plain), _LIP_NEPER, 0.0)
        added = knee.medial_sclerosis_neper if medial else knee.lateral_sclerosis_neper
        if added:
            depth = v_mm - knee.tibia_v(np.clip(u_mm, 0.0, knee.femoral_width_mm))
            band = (depth > 0) & (depth < SCLEROTIC_MM)
            reach = (inward > 0.05 * knee.femoral_width_mm) & (
                inward < 0.40 * knee.femoral_width_mm
            )
            neper += np.where(band & reach, added, 0.0)
    return neper
