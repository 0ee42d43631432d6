"""Cartilage morphometry of one knee from its label map, in the nomenclature of Eckstein 2006."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kneeimg.core.anatomy import REGION_BONES, Bone, Side, VertexState
from kneeimg.core.label_map import LabelMap
from kneeimg.core.measurement import Measurement
from kneeimg.core.plate_model import PlateModel
from kneeimg.core.surface import Surface
from kneeimg.errors import Finding
from kneeimg.geometry.sharing import each, team
from kneeimg.measure.bones import MeasuredBone, measure_bone
from kneeimg.measure.canonical import CanonicalKnee, canonical_knee
from kneeimg.measure.planned import measure_extras
from kneeimg.measure.qc import (
    absent_regions,
    flags_of,
    input_findings,
    require_upright,
    result_findings,
)
from kneeimg.measure.regions import region_mask, summarise
from kneeimg.measure.tab import COVERED, HOLES_FILLED, MODEL_REFUSED, PLATE_MODEL
from kneeimg.measure.voxel_map import VoxelOwners
from kneeimg.settings.morphometry import MorphometrySettings


@dataclass(frozen=True, slots=True, eq=False)
class KneeMorphometry:
    """Everything that was measured on one knee.

    Attributes
    ----------
    measurements : One for every entry of `planned_knee()`, in that order.
    surfaces : Bone to its whole surface, patient LPS+ mm, with vertex fields

        - `thickness_mm`: mm where measured, 0 where denuded, NaN where undetermined or outside tAB
        - `ray_mm`: ray distance at every vertex, 0 on bare bone, NaN where the ray failed
        - `state` (`VertexState`), `plate` (`Plate`), `subregion` (`Subregion`), `area_mm2`,
          `normals` (V, 3)
        - `shares` (V, C): part of the vertex's area in each cell of `core.anatomy.CELLS`
        - `volume_mm3`, `articular_mm2`, `articular_mm3`: cartilage volume, articular area and
          articular area × distance to bone that lie over the vertex
    findings : What a reader should know about the input; the rows concerned carry the codes.
    owners : Bone to its cartilage voxels, indices of the label map that was given, and the vertex
        below each: for `thickness_on_grid`.
    """

    measurements: tuple[Measurement, ...]
    surfaces: dict[Bone, Surface]
    findings: tuple[Finding, ...]
    owners: Mapping[Bone, VoxelOwners] = field(default_factory=dict)


def measure_knee(
    label_map: LabelMap,
    side: Side,
    settings: MorphometrySettings | None = None,
    plate_model: PlateModel | None = None,
) -> KneeMorphometry:
    """Thickness, areas and volumes of the cartilage of one knee.

    Parameters
    ----------
    label_map : Hard or soft label map in any orientation, scheme `knee-v1`.
    side : Which knee it is; medial and lateral follow from it.
    settings : See :class:`MorphometrySettings`; None for the defaults.
    plate_model : Recovers bone area lost at the rims of the plates, which then read
        `tab_source` "plate model"; None keeps the rims as they are.
        `kneeimg.io.plate_model.shipped_plate_model` gives the one that ships with kneeimg.

    Raises
    ------
    MaskError
        `EMPTY_MASK`, `NO_BONE` when cartilage is labelled without its bone, or `LABELS_SWAPPED`
        when the femur lies below the tibia.

    Notes
    -----
    Two directed distances are averaged over the surface as in the published reference
    (doi:10.1109/TMI.2007.907323); denuded bone counts as 0 in ThCtAB
    (doi:10.1016/j.joca.2010.02.010).
    """
    settings = settings or MorphometrySettings()
    with team():
        knee = canonical_knee(label_map, side)
        if any(bone.cartilage in knee.boxes and bone.tissue not in knee.boxes for bone in Bone):
            label_map.require_measurable()  # names what is missing
        require_upright(knee)
        measured = _measure_bones(knee, settings, plate_model)
        tasks: tuple[Callable[[], Any], ...] = (
            partial(_rows, knee, measured, settings),
            partial(_on_own_grid, knee, measured, label_map.grid.frame_uid),
        )
        (measurements, findings), (surfaces, owners) = each(lambda task: task(), tasks)
    return KneeMorphometry(measurements, surfaces, findings, owners)


def _rows(
    knee: CanonicalKnee, measured: Mapping[Bone, MeasuredBone], settings: MorphometrySettings
) -> tuple[tuple[Measurement, ...], tuple[Finding, ...]]:
    """All planned rows, and what a reader should know about them."""
    local = {bone: result.surface for bone, result in measured.items()}
    found = input_findings(knee, measured, settings)
    measurements = summarise(
        local,
        method="ray/soft" if knee.label_map.is_soft else "ray/hard",
        settings=settings,
        tab_source=_recovered_regions(measured),
        absent=absent_regions(knee.boxes, measured),
        flags=flags_of(found),
    )
    measurements += measure_extras(
        knee,
        local,
        {bone: one.bone_mm3 for bone, one in measured.items() if not one.is_several},
        measurements,
        settings,
    )
    return measurements, tuple(item.finding for item in found) + result_findings(measurements)


def _on_own_grid(
    knee: CanonicalKnee, measured: Mapping[Bone, MeasuredBone], uid: str | None
) -> tuple[dict[Bone, Surface], dict[Bone, VoxelOwners]]:
    """Surfaces in the patient frame, and owners of the voxels of the map that was given."""
    surfaces = {b: knee.surface_to_patient(result.surface, uid) for b, result in measured.items()}
    owners = {
        bone: replace(result.owners, index=knee.own_index(result.owners.index))
        for bone, result in measured.items()
        if result.owners is not None
    }
    return surfaces, owners


def _measure_bones(
    knee: CanonicalKnee, settings: MorphometrySettings, plate_model: PlateModel | None
) -> dict[Bone, MeasuredBone]:
    """Bones that are in view, as many at a time as there are threads."""
    models = plate_model.bones if plate_model is not None else {}
    results = each(lambda bone: measure_bone(knee, bone, settings, models.get(bone)), tuple(Bone))
    return {b: result for b, result in zip(Bone, results, strict=True) if result is not None}


def _recovered_regions(measured: Mapping[Bone, MeasuredBone]) -> dict[str, str]:
    """Source of tAB of the regions on which the plate model had something to say."""
    found = {}
    for region, bone in REGION_BONES.items():
        rim = measured[bone].rim if bone in measured else None
        if rim is None:
            continue
        surface = measured[bone].surface
        own = region_mask(surface, region)
        if (own & rim.added).any():
            found[region] = PLATE_MODEL
        elif rim.refused and own.any():
            bare = (surface.fields["state"][own] == int(VertexState.DENUDED)).any()
            found[region] = f"{HOLES_FILLED if bare else COVERED}, {MODEL_REFUSED}"
    return found
