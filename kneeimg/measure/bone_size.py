"""Volume and surface area of each bone that is in view."""

from __future__ import annotations

from collections.abc import Mapping

from kneeimg.core.anatomy import Bone
from kneeimg.core.measurement import Measurement
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.measure.canonical import CanonicalKnee

Planned = tuple[str, str, str]

#: Quantity to unit, in the order of the rows of a bone.
BONE_UNITS: Mapping[str, str] = {"bone_volume": "mm^3", "bone_area": "mm^2"}


def planned_bones() -> tuple[Planned, ...]:
    """(region, quantity, unit) of every bone row of a knee.

    Examples
    --------
    >>> planned_bones()[:2]
    (('femur', 'bone_volume', 'mm^3'), ('femur', 'bone_area', 'mm^2'))
    """
    return tuple((bone.value, q, unit) for bone in Bone for q, unit in BONE_UNITS.items())


def measure_bones(
    knee: CanonicalKnee,
    surfaces: Mapping[Bone, Surface],
    volumes_mm3: Mapping[Bone, float],
    method: str,
    flags: tuple[ReasonCode, ...] = (),
) -> tuple[Measurement, ...]:
    """Volume and area of the bones.

    Parameters
    ----------
    knee : The label map in canonical form.
    surfaces : Bone surfaces with the vertex field `area_mm2`.
    volumes_mm3 : Bone to its volume in view, cavities closed; without a bone that is there twice.
    method : "soft" or "hard": the kind of label map.
    flags : Codes that every row of the knee carries.

    Returns
    -------
    One Measurement per entry of :func:`planned_bones`, in that order.

    Notes
    -----
    Volume is the sum of voxel fractions of the bone's label, cavities inside it filled. Area is
    that of the largest surface on which the bone fills half a voxel; where the field of view cuts
    the bone the surface is open, and the cut is no part of the area. Both are then those in view
    only: the rows carry `BONE_CUT_BY_VIEW` and are comparable only between scans that show the
    same length of bone. A bone that was labelled only up to some place inside the view looks whole.
    """
    rows: list[Measurement] = []
    for bone in Bone:
        if bone not in volumes_mm3 or bone not in surfaces:
            present = bone in surfaces
            reason = ReasonCode.SEVERAL_BONES if present else ReasonCode.TISSUE_MISSING
            rows += [Measurement.missing(bone.value, q, u, reason) for q, u in BONE_UNITS.items()]
            continue
        values = {
            "bone_volume": volumes_mm3[bone],
            "bone_area": float(surfaces[bone].fields["area_mm2"].sum()),
        }
        codes = (*flags, ReasonCode.BONE_CUT_BY_VIEW) if is_cut(knee, bone) else flags
        rows += [
            Measurement(bone.value, q, values[q], unit, method=f"voxels/{method}", flags=codes)
            for q, unit in BONE_UNITS.items()
        ]
    return tuple(rows)


def is_cut(knee: CanonicalKnee, bone: Bone) -> bool:
    """Whether a bone reaches the edge of the image on any side."""
    return any(
        knee.touches_edge(bone.tissue, axis, high=high)
        for axis in range(3)
        for high in (False, True)
    )
