"""The planned rows of a knee on MR, cartilage first, and what is measured beside cartilage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kneeimg.core.anatomy import Bone
from kneeimg.core.measurement import Measurement
from kneeimg.core.surface import Surface
from kneeimg.errors import ReasonCode
from kneeimg.measure.bone_size import measure_bones, planned_bones
from kneeimg.measure.canonical import CanonicalKnee
from kneeimg.measure.defects import measure_defects, planned_defects
from kneeimg.measure.meniscus import measure_menisci, planned_menisci
from kneeimg.measure.regions import planned_measurements
from kneeimg.settings.morphometry import MorphometrySettings

Planned = tuple[str, str, str]


def planned_extras() -> tuple[Planned, ...]:
    """(region, quantity, unit) of the rows beside cartilage: defects, bones, menisci."""
    return planned_defects() + planned_bones() + planned_menisci()


def planned_knee() -> tuple[Planned, ...]:
    """(region, quantity, unit) of every row that a knee on MR yields, measured or not.

    Examples
    --------
    >>> planned_knee()[: len(planned_measurements())] == planned_measurements()
    True
    """
    return planned_measurements() + planned_extras()


def measure_extras(
    knee: CanonicalKnee,
    surfaces: Mapping[Bone, Surface],
    bone_volumes_mm3: Mapping[Bone, float],
    cartilage: Sequence[Measurement],
    settings: MorphometrySettings,
) -> tuple[Measurement, ...]:
    """Defects, bones and menisci of a knee whose cartilage was measured.

    Parameters
    ----------
    knee : The label map in canonical form.
    surfaces : Measured bone surfaces in local mm.
    bone_volumes_mm3 : Bone to its volume, see :func:`measure_bones`.
    cartilage : The rows of :func:`planned_measurements` for the same surfaces.

    Returns
    -------
    One Measurement per entry of :func:`planned_extras`, in that order.
    """
    kind = "soft" if knee.label_map.is_soft else "hard"
    too_long = float(knee.label_map.grid.spacing_mm.max()) >= settings.coarse_voxel_mm
    coarse = (ReasonCode.COARSE_GRID,) if too_long else ()
    return (
        *measure_defects(surfaces, cartilage, settings),
        *measure_bones(knee, surfaces, bone_volumes_mm3, kind, coarse),
        *measure_menisci(knee, surfaces.get(Bone.TIBIA), cartilage, settings, coarse),
    )
