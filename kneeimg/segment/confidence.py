"""How sure a network is of a knee, and the honest refusal when it is not.

A network gives labels for anything: a brain, an ankle, noise. What it gives there is small, torn,
in the wrong order, or as likely one tissue as another; that is what is looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.spatial import KDTree

from kneeimg.core.anatomy import Bone, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.segment.mr import TissueConfidence
from kneeimg.settings.segmentation import ConfidenceSettings

Box = tuple[slice, slice, slice]
Confidence = Mapping[Tissue, TissueConfidence]

_BAND = (0.1, 0.9)


@dataclass(frozen=True, slots=True)
class Doubt:
    """One reason not to believe a segmentation; `bone` when it concerns that bone only."""

    code: ReasonCode
    message: str
    expected: str
    found: str
    bone: Bone | None = None

    def finding(self, where: str = "") -> Finding:
        """The doubt as it stands in a record."""
        return Finding(self.code, self.message, where, self.expected, self.found)


def confidence_of(label_map: LabelMap) -> dict[Tissue, TissueConfidence]:
    """Certainty, blur and volume of every tissue of a label map.

    Examples
    --------
    >>> from kneeimg.core.grid import Grid
    >>> half = np.full((2, 2, 2), 0.9, np.float32)
    >>> grid = Grid((2, 2, 2), np.eye(4), "1.2")
    >>> found = confidence_of(LabelMap.from_probabilities({Tissue.FEMUR: half}, grid))
    >>> round(found[Tissue.FEMUR].certainty, 3), round(found[Tissue.FEMUR].volume_mm3, 3)
    (0.9, 7.2)
    """
    boxes = tissue_boxes(label_map.labels)
    return {tissue: _of_tissue(label_map, tissue, box) for tissue, box in boxes.items()}


def tissue_boxes(labels: NDArray[np.uint8]) -> dict[Tissue, Box]:
    """Bounding box of every tissue that is present."""
    found = enumerate(find_objects(labels), start=1)
    return {Tissue(n): (box[0], box[1], box[2]) for n, box in found if box is not None}


def _of_tissue(label_map: LabelMap, tissue: Tissue, box: Box) -> TissueConfidence:
    grid = label_map.grid
    wide = _margin(box, label_map.labels.shape)
    values = label_map.fraction(tissue)[wide]
    wins = label_map.labels[wide] == int(tissue)
    unsure = np.count_nonzero((values > _BAND[0]) & (values < _BAND[1])) * grid.voxel_volume_mm3
    area = _boundary_mm2(wins, grid)
    return TissueConfidence(
        certainty=float(values[wins].mean(dtype=np.float64)),
        blur_mm=float(unsure / area) if area > 0 else float("nan"),
        volume_mm3=float(values.sum(dtype=np.float64)) * grid.voxel_volume_mm3,
    )


def _margin(box: Box, shape: tuple[int, ...]) -> Box:
    wide = [
        slice(max(side.start - 4, 0), min(side.stop + 4, n))
        for side, n in zip(box, shape, strict=True)
    ]
    return wide[0], wide[1], wide[2]


def _boundary_mm2(mask: NDArray[np.bool_], grid: Grid) -> float:
    """Area of a smooth surface with as many voxel faces: faces count 1.5 times the area."""
    faces_mm2 = grid.voxel_volume_mm3 / grid.spacing_mm
    total = sum(
        float(np.count_nonzero(np.diff(mask, axis=axis))) * faces_mm2[axis] for axis in range(3)
    )
    return float(total) / 1.5


def judge(
    label_map: LabelMap, confidence: Confidence, settings: ConfidenceSettings
) -> tuple[Finding, ...]:
    """Doubts about single bones; refuse a segmentation that is no knee or no whole joint.

    Returns
    -------
    tuple of Finding
        LOW_CONFIDENCE, `where` the bone that is not to be measured (the patella).

    Raises
    ------
    InputError
        NOT_A_KNEE or LOW_CONFIDENCE, all reasons in one message.
    """
    if not settings.enabled:
        return ()
    doubts = [*_no_knee(label_map, confidence, settings)]
    if not doubts:
        doubts = [*_unsure(confidence, settings), *_in_part(label_map, settings)]
    whole = [doubt for doubt in doubts if doubt.bone is not Bone.PATELLA]
    if whole:
        raise _refusal(whole)
    return tuple(doubt.finding(str(doubt.bone)) for doubt in doubts)


def _refusal(doubts: list[Doubt]) -> InputError:
    return InputError(
        "; ".join(dict.fromkeys(doubt.message for doubt in doubts)),
        code=doubts[0].code,
        expected="; ".join(doubt.expected for doubt in doubts),
        found="; ".join(doubt.found for doubt in doubts),
    )


_PAIRS = ((Bone.FEMUR, "femur"), (Bone.TIBIA, "tibia"))


def _no_knee(
    label_map: LabelMap, confidence: Confidence, settings: ConfidenceSettings
) -> Iterator[Doubt]:
    """Femur and tibia with cartilage, one above the other, close together."""
    code, message = ReasonCode.NOT_A_KNEE, "the network finds no knee in the image"
    missing = False
    for bone, name in _PAIRS:
        tissues = (bone.tissue, bone.cartilage)
        for tissue, least in zip(tissues, settings.present_mm3, strict=True):
            volume = confidence[tissue].volume_mm3 if tissue in confidence else 0.0
            if volume < least:
                missing = True
                label = tissue.name.lower().replace("_", " ")
                yield Doubt(code, message, f"{label} ≥ {least:.0f} mm³", f"{volume:.0f} mm³")
        if bone.tissue in confidence:
            certainty = confidence[bone.tissue].certainty
            if certainty < settings.knee_certainty:
                expected = f"certainty of the {name} ≥ {settings.knee_certainty:g}"
                yield Doubt(code, message, expected, f"{certainty:.2f}")
    if not missing:
        yield from _out_of_order(label_map, settings, code, message)
        yield from _no_plateau(label_map, settings, code, message)


def _no_plateau(
    label_map: LabelMap, settings: ConfidenceSettings, code: ReasonCode, message: str
) -> Iterator[Doubt]:
    """Tibial cartilage lies flat; what a network takes for it on a brain is a shell around it.

    On 24 manual label maps its voxels lie within 2.6 mm (SD) of their mean plane and are at most 55
    mm deep and 89 mm wide; on a brain within 6 to 11 mm, up to 104 mm deep.
    """
    tibial = _voxels_mm(label_map, Tissue.TIBIAL_CARTILAGE, 5_000)
    spread, axes = np.linalg.eigh(np.cov(tibial.T))
    normal_sd_mm, most_mm = float(np.sqrt(max(spread[0], 0.0))), settings.max_plateau_sd_mm
    if normal_sd_mm > most_mm:
        expected = f"tibial cartilage within {most_mm:g} mm (SD) of a plane"
        yield Doubt(code, message, expected, f"{normal_sd_mm:.0f} mm")
    depth_mm, deepest_mm = float(np.ptp(tibial @ axes[:, 1])), settings.max_plateau_depth_mm
    if depth_mm > deepest_mm:
        expected = f"tibial cartilage at most {deepest_mm:g} mm deep"
        yield Doubt(code, message, expected, f"{depth_mm:.0f} mm")
    width_mm, widest_mm = float(np.ptp(tibial[:, 0])), settings.joint_width_mm[1]
    if width_mm > widest_mm:
        expected = f"tibial cartilage at most {widest_mm:g} mm wide"
        yield Doubt(code, message, expected, f"{width_mm:.0f} mm")


def _out_of_order(
    label_map: LabelMap, settings: ConfidenceSettings, code: ReasonCode, message: str
) -> Iterator[Doubt]:
    centre_mm = {
        tissue: _voxels_mm(label_map, tissue).mean(axis=0)
        for tissue in (Tissue.FEMUR, Tissue.TIBIA)
    }
    if centre_mm[Tissue.FEMUR][2] <= centre_mm[Tissue.TIBIA][2]:
        yield Doubt(code, message, "the femur above the tibia", "below it")
    femoral = _voxels_mm(label_map, Tissue.FEMORAL_CARTILAGE, 20_000)
    tibial = _voxels_mm(label_map, Tissue.TIBIAL_CARTILAGE, 5_000)
    gap_mm = float(np.min(KDTree(femoral).query(tibial)[0]))
    if gap_mm > settings.max_joint_gap_mm:
        expected = f"femoral and tibial cartilage within {settings.max_joint_gap_mm:g} mm"
        yield Doubt(code, message, expected, f"{gap_mm:.0f} mm apart")


def _voxels_mm(label_map: LabelMap, tissue: Tissue, most: int = 20_000) -> NDArray[np.float64]:
    """(n, 3) LPS+ mm of at most so many voxels of a tissue, evenly picked."""
    flat = np.flatnonzero(label_map.labels.ravel() == int(tissue))
    picked = flat[:: max(1, len(flat) // most)]
    index = np.stack(np.unravel_index(picked, label_map.labels.shape), axis=-1)
    return label_map.grid.to_mm(index)


def _unsure(confidence: Confidence, settings: ConfidenceSettings) -> Iterator[Doubt]:
    """Tissues of low certainty or of a volume that no knee has."""
    message = "the network is unsure of the {}"
    limits: dict[Tissue, tuple[float, float]] = {
        Tissue.FEMORAL_CARTILAGE: settings.femoral_cartilage_mm3,
        Tissue.TIBIAL_CARTILAGE: settings.tibial_cartilage_mm3,
        Tissue.PATELLAR_CARTILAGE: settings.patellar_cartilage_mm3,
    }
    for bone in Bone:
        tissues = (bone.tissue, bone.cartilage)
        for tissue, least in zip(tissues, settings.min_certainty, strict=True):
            if tissue not in confidence:
                continue
            name = tissue.name.lower().replace("_", " ")
            found = confidence[tissue]
            doubt: dict[str, Any] = {
                "code": ReasonCode.LOW_CONFIDENCE,
                "message": message.format(name),
                "bone": bone,
            }
            if found.certainty < least:
                yield Doubt(
                    **doubt,
                    expected=f"certainty of the {name} ≥ {least:g}",
                    found=f"{found.certainty:.2f}",
                )
            low, high = limits.get(tissue, (0.0, np.inf))
            if not low <= found.volume_mm3 <= high:
                yield Doubt(
                    **doubt,
                    expected=f"{name} of {low:.0f} to {high:.0f} mm³",
                    found=f"{found.volume_mm3:.0f} mm³",
                )


def _in_part(label_map: LabelMap, settings: ConfidenceSettings) -> Iterator[Doubt]:
    """A joint that the field of view shows only in part."""
    code, message = ReasonCode.LOW_CONFIDENCE, "the joint is in view only in part"
    tibial = _voxels_mm(label_map, Tissue.TIBIAL_CARTILAGE)
    width_mm = float(np.ptp(tibial[:, 0]))
    least_mm = settings.joint_width_mm[0]
    if width_mm < least_mm:
        expected = f"tibial cartilage at least {least_mm:g} mm wide"
        yield Doubt(code, message, expected, f"{width_mm:.0f} mm")
    for bone in Bone:
        cut_mm2 = cut_area_mm2(label_map, bone.cartilage)
        if cut_mm2 > settings.max_cut_mm2:
            yield Doubt(
                code,
                message,
                f"{bone} cartilage inside the image",
                f"cut by its edge over {cut_mm2:.0f} mm²",
                bone,
            )


def cut_area_mm2(label_map: LabelMap, tissue: Tissue) -> float:
    """Area over which a tissue ends at the edge of the image, mm²."""
    faces_mm2 = label_map.grid.voxel_volume_mm3 / label_map.grid.spacing_mm
    total = 0.0
    for axis in range(3):
        for end in (0, -1):
            face = np.take(label_map.labels, end, axis=axis)
            total += float(np.count_nonzero(face == int(tissue))) * float(faces_mm2[axis])
    return total
