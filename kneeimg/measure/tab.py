"""Total area of subchondral bone (tAB): the covered patches and the holes inside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from kneeimg.core.anatomy import Plate, VertexState
from kneeimg.core.surface import Surface
from kneeimg.geometry.meshes import connected_parts, mixed_faces
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]
Plates = NDArray[np.uint8]

_MEDIAL = (int(Plate.cMF), int(Plate.pMF), int(Plate.MT))
_LATERAL = (int(Plate.cLF), int(Plate.pLF), int(Plate.LT))

COVERED = "covered"
HOLES_FILLED = "holes filled"
PLATE_MODEL = "plate model"
#: Follows one of the first two where the model was asked and did not fit this knee.
MODEL_REFUSED = "plate model refused"


def covered_by(ray_mm: FloatArray, settings: MorphometrySettings) -> NDArray[np.bool_]:
    """(V,) cartilage lies here: thick enough, or so thick that the ray found no end."""
    return np.isnan(ray_mm) | (ray_mm >= settings.denuded_below_mm)


def plates_from_cover(
    ray_mm: FloatArray,
    area_mm2: FloatArray,
    faces: NDArray[np.int64],
    would_be: Plates,
    at_edge: NDArray[np.bool_],
    settings: MorphometrySettings,
) -> Plates:
    """First estimate of tAB from one visit: covered patches with their holes filled.

    Parameters
    ----------
    ray_mm, area_mm2 : (V,) ray distance and area of the vertices.
    faces : (F, 3).
    would_be : (V,) plate on which each vertex would lie if it carried cartilage.
    at_edge : (V,) vertices where the field of view cuts the bone.
    settings : Sizes of specks and holes.

    Returns
    -------
    (V,) plate of each vertex of tAB; `Plate.NONE` outside.

    Notes
    -----
    A hole is a bare part that is enclosed by cartilage, no larger than `max_hole_mm2`, not cut by
    the field of view, and not bordered by both a medial and a lateral plate: such a part is the
    notch or the eminence. Bone lost at the rim of a plate is not found by this rule
    but by :func:`kneeimg.measure.plate_model.recover_lost`.
    """
    covered = covered_by(ray_mm, settings)
    part = connected_parts(faces, len(ray_mm), covered)
    patch_area = np.bincount(part, weights=np.where(covered, area_mm2, 0.0))
    covered &= patch_area[part] >= settings.min_patch_mm2
    filled = covered | _holes(covered, area_mm2, faces, would_be, at_edge, settings)
    return np.where(filled, would_be, np.uint8(Plate.NONE)).astype(np.uint8)


def _holes(
    covered: NDArray[np.bool_],
    area_mm2: FloatArray,
    faces: NDArray[np.int64],
    would_be: Plates,
    at_edge: NDArray[np.bool_],
    settings: MorphometrySettings,
) -> NDArray[np.bool_]:
    """(V,) bare vertices that belong to a hole inside a plate."""
    bare = ~covered
    if not covered.any() or not bare.any():
        return np.zeros(len(covered), dtype=bool)
    part = connected_parts(faces, len(covered), bare)
    count = int(part.max()) + 1
    area = np.bincount(part, weights=np.where(bare, area_mm2, 0.0), minlength=count)
    is_hole = area <= settings.max_hole_mm2
    is_hole[np.argmax(area)] = False
    is_hole[part[covered]] = False
    is_hole[part[at_edge & bare]] = False
    around = faces[mixed_faces(faces, covered)]
    is_hole &= ~(
        _bordered_by(part, covered, around, np.isin(would_be, _MEDIAL), count)
        & _bordered_by(part, covered, around, np.isin(would_be, _LATERAL), count)
    )
    return bare & is_hole[part]


def _bordered_by(
    part: NDArray[np.int32],
    covered: NDArray[np.bool_],
    faces: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    count: int,
) -> NDArray[np.bool_]:
    """(count,) bare parts that share one of these triangles with the chosen plates' cover."""
    touched = np.zeros(count, dtype=bool)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        for a, b in ((first, second), (second, first)):
            here, there = faces[:, a], faces[:, b]
            pairs = ~covered[here] & covered[there] & chosen[there]
            touched[part[here[pairs]]] = True
    return touched


def with_tab(
    surface: Surface, plate: Plates, settings: MorphometrySettings, tree: KDTree | None = None
) -> Surface:
    """The bone surface with a given tAB: new `plate`, `state` and `thickness_mm`.

    Parameters
    ----------
    surface : Bone surface with the fields `ray_mm`, `volume_mm3`, `articular_mm2`,
        `articular_mm3`.
    plate : (V,) plate of each vertex, NONE outside tAB; from this visit's own cover or carried
        over from the baseline.
    settings : Threshold between covered and denuded.
    tree : Search tree of the vertices of tAB, where there is one already.

    Notes
    -----
    Cartilage volume and articular area that lie over bone outside the given tAB move to its
    nearest vertex, so none is lost; thickness does not move.
    """
    ray_mm = surface.fields["ray_mm"]
    inside = plate != int(Plate.NONE)
    state = np.full(len(plate), int(VertexState.OUTSIDE), dtype=np.uint8)
    state[inside] = int(VertexState.DENUDED)
    state[inside & covered_by(ray_mm, settings)] = int(VertexState.MEASURED)
    state[inside & np.isnan(ray_mm)] = int(VertexState.UNDETERMINED)
    thickness = np.where(state == int(VertexState.MEASURED), ray_mm, np.nan)
    thickness[state == int(VertexState.DENUDED)] = 0.0
    fields = {"plate": plate.astype(np.uint8), "state": state, "thickness_mm": thickness}
    return surface.with_fields(**fields, **_moved_inside(surface, inside, tree))


def _moved_inside(
    surface: Surface, inside: NDArray[np.bool_], tree: KDTree | None
) -> dict[str, FloatArray]:
    """Volume and articular area, moved from outside tAB to its nearest vertex."""
    names = ("volume_mm3", "articular_mm2", "articular_mm3")
    outside = ~inside & (surface.fields["volume_mm3"] + surface.fields["articular_mm2"] > 0)
    if not outside.any() or not inside.any():
        return {}
    tree = tree or KDTree(surface.vertices[inside])
    nearest = tree.query(surface.vertices[outside])[1]
    target = np.flatnonzero(inside)[nearest]
    moved = {}
    for name in names:
        values = np.where(outside, 0.0, surface.fields[name])
        values += np.bincount(target, surface.fields[name][outside], minlength=len(values))
        moved[name] = values
    return moved
