"""Joint contact and the centres of denuded patches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kneeimg.phantoms.bones import CartilageBone
from kneeimg.phantoms.cartilage import FEMUR_FRACTION, DenudedPatch, Sheet
from kneeimg.phantoms.femur import Femur
from kneeimg.phantoms.patella import Patella, PatellaShape
from kneeimg.phantoms.tibia import Tibia

FloatArray = NDArray[np.float64]

_STEP_MM = 0.5
_ROUNDS = 8


def place_tibia(femur: Sheet, tibia_at: Callable[[float], Sheet], gap_mm: float) -> Sheet:
    """Raise the tibia until its articular surface is `gap_mm` from the femur's."""
    assert isinstance(femur.bone, Femur)
    height = -femur.bone.shape.distal_radius_mm - 10.0
    for _ in range(_ROUNDS):
        height += joint_gap_mm(femur, tibia_at(height)) - gap_mm
    return tibia_at(height)


def place_patella(
    femur: Sheet, shape: PatellaShape, patella_at: Callable[[float, float], Sheet], gap_mm: float
) -> Sheet:
    """Push the patella towards the trochlea until its surface is `gap_mm` from the femur's."""
    assert isinstance(femur.bone, Femur)
    seat = np.deg2rad(shape.seat_deg)
    axis_y, axis_z, *_ = femur.bone.sectors[2]
    radius = femur.bone.shape.anterior_radius_mm + 10.0
    for _ in range(_ROUNDS):
        sheet = patella_at(*_seat(axis_y, axis_z, seat, radius))
        radius -= joint_gap_mm(femur, sheet) - gap_mm
    return patella_at(*_seat(axis_y, axis_z, seat, radius))


def _seat(axis_y: float, axis_z: float, seat: float, radius: float) -> tuple[float, float]:
    return axis_y - radius * float(np.sin(seat)), axis_z - radius * float(np.cos(seat))


def joint_gap_mm(femur: Sheet, other: Sheet) -> float:
    """Smallest distance between the articular surface of a sheet and that of the femur."""
    points = _articular_points(other)
    foot = femur.bone.foot(points)
    covered = (femur.bone.edge(foot.points) < 0.0) & (femur.bare_level(foot.points) <= 0.0)
    cartilage_mm = np.where(covered, femur.thickness(foot.points), 0.0)
    return float((foot.distance_mm - cartilage_mm).min())


def _articular_points(sheet: Sheet) -> FloatArray:
    """Points all over an articular surface; on the bone where it is bare."""
    found = []
    for patch in sheet.bone.patches(_STEP_MM):
        points, normals = patch.points.reshape(-1, 3), patch.normals.reshape(-1, 3)
        inside = sheet.bone.edge(points) < 0.0
        points, normals = points[inside], normals[inside]
        t_mm = np.where(sheet.bare_level(points) > 0.0, 0.0, sheet.thickness(points))
        found.append(points + t_mm[:, None] * normals)
    return np.concatenate(found)


def denuded_centre(bone: CartilageBone, patch: DenudedPatch) -> tuple[float, float, float]:
    """Point on the bone at plate coordinates (u, v)."""
    if isinstance(bone, Femur):
        guess = _femoral_guess(bone, patch)
    elif isinstance(bone, Tibia):
        guess = bone.plateau_point(patch.plate, patch.u, patch.v)
    else:
        assert isinstance(bone, Patella)
        guess = bone.face_point(patch.u, patch.v)
    x, y, z = bone.foot(guess[None, :]).points[0]
    return float(x), float(y), float(z)


def _femoral_guess(bone: Femur, patch: DenudedPatch) -> FloatArray:
    """A point below, behind or in front of the femur whose foot is the centre of the patch."""
    s = bone.shape
    if patch.plate == "TrF":
        x = patch.u * (s.medial_x_mm if patch.u >= 0.0 else -s.lateral_x_mm)
        angle = np.deg2rad(65.0 + 40.0 * patch.v)
        axis_y, axis_z, *_ = bone.sectors[2]
        reach = s.anterior_radius_mm
        return np.array([x, axis_y - reach * np.sin(angle), axis_z - reach * np.cos(angle)])
    name = "medial" if patch.plate.endswith("MF") else "lateral"
    sign = 1.0 if name == "medial" else -1.0
    inner = s.notch_half_width_mm + s.notch_margin_mm
    crest = s.medial_x_mm if name == "medial" else -s.lateral_x_mm
    half = crest - inner
    x = sign * (crest + half * patch.u)
    front, split = bone.notch_front_y_mm, bone.split_y_mm(name, FEMUR_FRACTION)
    if patch.plate.startswith("c"):
        y = front + (split - front) * (patch.v + 1.0) / 2.0
        return _on_condyle(bone, x, y)
    angle = np.deg2rad(-85.0 - 30.0 * patch.v)
    axis_y, axis_z, *_ = bone.sectors[0]
    reach = s.posterior_radius_mm
    return np.array([x, axis_y - reach * np.sin(angle), axis_z - reach * np.cos(angle)])


def _on_condyle(bone: Femur, x: float, y: float) -> FloatArray:
    """The lower surface of the condyle straight above or below (x, y)."""
    z = -bone.shape.distal_radius_mm - 5.0
    for _ in range(30):  # sphere tracing upwards
        z += float(bone.foot(np.array([[x, y, z]])).distance_mm[0])
    return np.array([x, y, z])
