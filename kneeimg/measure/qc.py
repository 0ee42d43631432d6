"""What a reader should know about a label map before trusting its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from kneeimg.core.anatomy import PLATE_UNIONS, REGION_BONES, Bone, Tissue
from kneeimg.core.measurement import Measurement
from kneeimg.errors import Finding, MaskError, ReasonCode
from kneeimg.geometry.sharing import each
from kneeimg.measure.bones import MeasuredBone
from kneeimg.measure.canonical import Box, CanonicalKnee
from kneeimg.measure.coarse import LONG_MM
from kneeimg.measure.frames import SHAFT_WANTED_MM
from kneeimg.measure.regions import region_mask
from kneeimg.settings.morphometry import MorphometrySettings

#: Cartilage that is not part of one of these many largest pieces, in % of its volume, is islands.
_PIECES = {Bone.FEMUR: 1, Bone.TIBIA: 2, Bone.PATELLA: 1}
_ISLAND_PCT = 3.0
#: The cut of the field of view matters when it comes this close to cartilage, mm.
_NEAR_MM = 3.0
#: A region is flagged when slices are too thick along this share of its border.
_WALL_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class RegionFinding:
    """A finding and the regions whose rows carry its code."""

    finding: Finding
    regions: tuple[str, ...]


def regions_of(bone: Bone) -> tuple[str, ...]:
    """Plates, their unions and subregions on one bone."""
    return tuple(region for region, own in REGION_BONES.items() if own is bone)


def absent_regions(
    present: Mapping[Tissue, Box], bones: Mapping[Bone, MeasuredBone]
) -> dict[str, ReasonCode]:
    """Regions that have no tissue or no frame, with the reason."""
    absent: dict[str, ReasonCode] = {}
    for bone in Bone:
        if bone not in bones or bone.cartilage not in present:
            reason = ReasonCode.TISSUE_MISSING
        elif bones[bone].is_several:
            reason = ReasonCode.SEVERAL_BONES
        elif not bones[bone].frame_found:
            reason = ReasonCode.FRAME_UNDEFINED
        else:
            continue
        absent |= dict.fromkeys(regions_of(bone), reason)
    return absent


def require_upright(knee: CanonicalKnee) -> None:
    """Refuse a label map in which the femur lies below the tibia.

    Raises
    ------
    MaskError
        `LABELS_SWAPPED`: the labels of the two bones are swapped, or the map is upside down.
    """
    if not {Bone.FEMUR.tissue, Bone.TIBIA.tissue} <= knee.boxes.keys():
        return
    grid = knee.label_map.grid
    femur_z, tibia_z = (
        float(grid.to_mm([0.5 * (side.start + side.stop - 1) for side in knee.boxes[tissue]])[2])
        for tissue in (Bone.FEMUR.tissue, Bone.TIBIA.tissue)
    )
    if femur_z < tibia_z:
        raise MaskError(
            "the femur lies below the tibia",
            code=ReasonCode.LABELS_SWAPPED,
            expected="the femur nearer to the head than the tibia",
            found=f"middle of the femur {tibia_z - femur_z:.0f} mm lower",
            action="correct the label scheme, or the orientation stored in the file",
        )


def input_findings(
    knee: CanonicalKnee, bones: Mapping[Bone, MeasuredBone], settings: MorphometrySettings
) -> tuple[RegionFinding, ...]:
    """Findings about the label map itself: voxel size, field of view, shaft, islands."""
    found = each(lambda item: _of_bone(knee, *item), tuple(bones.items()))
    return tuple(chain(_coarse(knee, settings), *found))


def _of_bone(knee: CanonicalKnee, bone: Bone, measured: MeasuredBone) -> list[RegionFinding]:
    """Findings about one bone and its cartilage."""
    found = []
    if bone.cartilage in knee.boxes:
        found += [*_cut(knee, bone), *_short_shaft(bone, measured), *_islands(knee, bone)]
    return [*found, *_several(bone, measured), *_coarse_walls(bone, measured)]


def result_findings(measurements: Iterable[Measurement]) -> tuple[Finding, ...]:
    """Findings about thickness values that carry a flag of their own."""
    found = []
    for row in measurements:
        if row.quantity != "ThCcAB_aMe" or row.region not in PLATE_UNIONS:
            continue  # subregions carry their codes, the plate's finding names them
        for code in (ReasonCode.IMPLAUSIBLE_THICKNESS, ReasonCode.UNDETERMINED_SHARE):
            if code in row.flags:
                text = f"{row.region}: mean thickness {row.value:.2f} mm"
                action = "look at the label map on its image"
                found.append(Finding(code, text, row.region, found=text, action=action))
    return tuple(found)


def flags_of(found: Iterable[RegionFinding]) -> dict[str, tuple[ReasonCode, ...]]:
    """Region to the codes that its rows carry."""
    flags: dict[str, tuple[ReasonCode, ...]] = {}
    for item in found:
        for region in item.regions:
            flags[region] = (*flags.get(region, ()), item.finding.code)
    return flags


def _coarse(knee: CanonicalKnee, settings: MorphometrySettings) -> list[RegionFinding]:
    edge = float(knee.label_map.grid.spacing_mm.max())
    if edge < settings.coarse_voxel_mm:
        return []
    finding = Finding(
        ReasonCode.COARSE_GRID,
        "voxels are long against the thickness of cartilage",
        expected=f"under {settings.coarse_voxel_mm:g} mm",
        found=f"{edge:.2f} mm",
        action="compare only with visits of the same voxel size",
    )
    return [RegionFinding(finding, tuple(REGION_BONES))]


def _coarse_walls(bone: Bone, measured: MeasuredBone) -> list[RegionFinding]:
    """Regions with a border that runs across long slices beside rising bone."""
    if measured.wall_voxel_mm is None:
        return []
    long_mm = measured.wall_voxel_mm
    border = np.isfinite(long_mm)
    shares = {}
    for region in regions_of(bone):
        own = border & region_mask(measured.surface, region)
        if own.any() and (share := float((long_mm[own] > 0).mean())) >= _WALL_SHARE:
            shares[region] = share
    if not shares:
        return []
    finding = Finding(
        ReasonCode.COARSE_GRID,
        f"slices are too thick for the border of {', '.join(shares)}, beside which bone rises",
        where=str(bone),
        expected=f"slices under {LONG_MM:g} mm",
        found=f"{np.nanmax(long_mm):.2f} mm, on {100 * max(shares.values()):.0f} % of the border",
        action="thickness may be 0.1 mm off there: compare visits of one voxel size only",
    )
    return [RegionFinding(finding, tuple(shares))]


def _cut(knee: CanonicalKnee, bone: Bone) -> list[RegionFinding]:
    """Whether the field of view cuts the bone beside its cartilage."""
    near = knee.box_of(bone.cartilage, margin_mm=_NEAR_MM)
    sides = []
    for axis, count in enumerate(knee.label_map.labels.shape):
        for end, name in ((0, "low"), (count - 1, "high")):
            if not near[axis].start <= end < near[axis].stop:
                continue
            window = list(near)
            window[axis] = slice(end, end + 1)
            box = (window[0], window[1], window[2])
            both = knee.fraction(bone.tissue, box) + knee.fraction(bone.cartilage, box)
            if (both >= 0.5).any():
                sides.append(f"{name} end of {'xyz'[axis]}")
    if not sides:
        return []
    finding = Finding(
        ReasonCode.BONE_CUT_BY_VIEW,
        f"the field of view cuts the {bone} beside its cartilage",
        where=str(bone),
        found=", ".join(sides),
        action="areas and volumes of this bone are those in view only",
    )
    return [RegionFinding(finding, regions_of(bone))]


def _several(bone: Bone, measured: MeasuredBone) -> list[RegionFinding]:
    """Whether one label holds two bones, as in a map of both knees."""
    if not measured.is_several:
        return []
    finding = Finding(
        ReasonCode.SEVERAL_BONES,
        f"the label of the {bone} holds more than one bone",
        where=str(bone),
        expected="one knee",
        found=f"a second surface of {100.0 * measured.next_part:.0f} % of the first",
        action="give each knee a label map of its own; fill a bone of which the cortex is drawn "
        "with gaps",
    )
    return [RegionFinding(finding, ())]


def _short_shaft(bone: Bone, measured: MeasuredBone) -> list[RegionFinding]:
    """Whether too little shaft is in view to fix the axis to which the borders run parallel."""
    frame = measured.frame
    if frame is None or not frame.has_short_shaft:
        return []
    stands_in = "the scanner's axis stands in" if frame.shaft_mm == 0 else ""
    size = "as much as the knee lies turned" if stands_in else "1.3 to 2.2 degrees (SD)"
    finding = Finding(
        ReasonCode.SHORT_SHAFT,
        f"too little shaft of the {bone} in view to place the borders of its plates well: they may "
        f"be turned by {size}; 1 degree is about 1 % of the tAB of pMF and pLF",
        where=str(bone),
        expected=f"{SHAFT_WANTED_MM:g} mm above the flare of the condyles",
        found="; ".join(filter(None, (f"{frame.shaft_mm:.1f} mm", stands_in))),
        action="compare plates of this bone only with visits of the same field of view",
    )
    return [RegionFinding(finding, regions_of(bone))]


def _islands(knee: CanonicalKnee, bone: Bone) -> list[RegionFinding]:
    """Whether a notable part of the cartilage lies outside its largest pieces."""
    import cc3d

    box = knee.box_of(bone.cartilage, margin_mm=0.0)
    amount = knee.amount(bone.cartilage, box)
    solid = amount >= 0.5 if amount.dtype.kind == "f" else amount > 0
    parts = cc3d.connected_components(solid, connectivity=26)
    sizes = np.bincount(parts[solid])[1:]
    total = int(sizes.sum())
    if not total:
        return []
    islands = total - int(np.sort(sizes)[::-1][: _PIECES[bone]].sum())
    if 100.0 * islands / total < _ISLAND_PCT:
        return []
    finding = Finding(
        ReasonCode.FRAGMENTED_CARTILAGE,
        f"cartilage of the {bone} consists of {len(sizes)} pieces",
        where=str(bone),
        expected=f"at most {_ISLAND_PCT:g} % outside the {_PIECES[bone]} largest",
        found=f"{100.0 * islands / total:.1f} %",
        action="check the segmentation for islands",
    )
    return [RegionFinding(finding, regions_of(bone))]
