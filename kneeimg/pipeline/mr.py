"""One MR scan: image and mask in, surfaces, map, pictures and a record out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kneeimg.core.anatomy import REGION_BONES, Bone, Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.laterality import SideSource, require_side
from kneeimg.core.measurement import Measurement, Status
from kneeimg.core.visit import Visit
from kneeimg.core.volume import Volume
from kneeimg.errors import Finding, MaskError, ReasonCode
from kneeimg.io.atomic import write_bytes, write_json
from kneeimg.io.plate_model import shipped_plate_model
from kneeimg.io.results import KneeRecord, knee_file, record_to_json
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.pipeline.cases import Case, MaskFile, redacted_finding
from kneeimg.pipeline.models import segmenter_for
from kneeimg.pipeline.planned import complete, planned_rows, row_context
from kneeimg.pipeline.protocol import protocol_of
from kneeimg.segment.mr import ExistingMask, Segmentation, segment_with
from kneeimg.settings.study import StageSettings


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredKnee:
    """One knee in memory after measuring.

    Attributes
    ----------
    side : Which knee, agreed on by every source.
    image : The scan; None when only a mask exists.
    label_map : The anatomy that was measured.
    morphometry : Rows and surfaces.
    findings : Everything noticed on the way.
    """

    side: Side
    image: Volume | None
    label_map: LabelMap
    morphometry: KneeMorphometry
    findings: tuple[Finding, ...]


def run_mr_case(case: Case, folder: Path) -> tuple[KneeRecord, ...]:
    """Measure one MR scan and write its files into a folder.

    Raises
    ------
    KneeimgError
        A refusal, with its finding; nothing of the case is then complete.
    """
    knee = measure_scan(case.blind())
    record = _record(case, knee)
    write_knee_files(knee, folder, record.visit, record)
    return (record,)


def measure_scan(case: Case) -> MeasuredKnee:
    """Read image and mask of a case and measure the knee."""
    image, findings = read_image(case)
    anatomy = read_anatomy(case, image)
    knee = measure_labels(
        anatomy.label_map, case.sides, case.settings, image=image, where=case.source
    )
    if anatomy.unsure:
        knee = replace(knee, morphometry=_without_unsure(knee.morphometry, anatomy.unsure))
    if any(finding.code is ReasonCode.MODEL_PREVIEW for finding in anatomy.findings):
        knee = replace(knee, morphometry=_flagged(knee.morphometry, ReasonCode.MODEL_PREVIEW))
    noticed = (*case.findings, *findings, *anatomy.findings, *knee.findings)
    return replace(knee, findings=noticed)


def read_anatomy(case: Case, image: Volume | None) -> Segmentation:
    """The mask of a case, or what its model makes of the image."""
    if case.segmenter is None:
        return Segmentation(read_mask(case, image))
    if image is None:
        raise MaskError("there is no image", code=ReasonCode.NO_MASK, where=case.source)
    # which knee it is decides what the network is shown, so it must be known before
    side = require_side(case.sides, where=case.source)
    return segment_with(segmenter_for(case.settings.segmentation), image, side)


def _without_unsure(knee: KneeMorphometry, bones: Iterable[Bone]) -> KneeMorphometry:
    """Rows of the bones of which the network is unsure, withheld."""
    unsure = set(bones)
    regions = {region for region, bone in REGION_BONES.items() if bone in unsure}
    regions |= {str(bone) for bone in unsure}
    rows = tuple(
        _withheld(row) if row.region in regions and row.status is Status.OK else row
        for row in knee.measurements
    )
    surfaces = {bone: surface for bone, surface in knee.surfaces.items() if bone not in unsure}
    return replace(knee, measurements=rows, surfaces=surfaces)


def _flagged(knee: KneeMorphometry, code: ReasonCode) -> KneeMorphometry:
    """Every row with one more flag."""
    rows = tuple(replace(row, flags=(*row.flags, code)) for row in knee.measurements)
    return replace(knee, measurements=rows)


def _withheld(row: Measurement) -> Measurement:
    return Measurement.missing(
        row.region, row.quantity, row.unit, ReasonCode.LOW_CONFIDENCE, method=row.method
    )


def measure_labels(
    label_map: LabelMap,
    sides: Iterable[SideSource],
    settings: StageSettings,
    *,
    image: Volume | None = None,
    where: str = "",
) -> MeasuredKnee:
    """Measure a label map whose side every source, the labels included, agrees on."""
    side = require_side((*sides, ("label geometry", label_map.side_from_labels)), where=where)
    model = shipped_plate_model() if settings.morphometry.plate_model.enabled else None
    morphometry = measure_knee(label_map, side, settings.morphometry, model)
    return MeasuredKnee(side, image, label_map, morphometry, morphometry.findings)


def read_image(case: Case) -> tuple[Volume | None, tuple[Finding, ...]]:
    """The scan of a case, from DICOM or a NIfTI file; None when the case is a mask alone."""
    if case.series is not None:
        from kneeimg.io.dicom import read_volume

        return read_volume(case.series)
    if case.image is not None:
        from kneeimg.io.nifti import read_volume as read_nifti

        return read_nifti(case.image), ()
    return None, ()


def read_mask(case: Case, image: Volume | None) -> LabelMap:
    """The existing mask of a case, on the grid of its image."""
    if case.mask is None:
        raise MaskError("the scan has no segmentation", code=ReasonCode.NO_MASK, where=case.source)
    label_map = load_mask(case.mask, image)
    return ExistingMask(label_map).segment(image) if image is not None else label_map


def load_mask(mask: MaskFile, image: Volume | None) -> LabelMap:
    """Read a mask file in its scheme."""
    from kneeimg.io.label_maps import read_label_map

    return read_label_map(mask.path, mask.scheme, image.grid if image is not None else None)


def _record(case: Case, knee: MeasuredKnee) -> KneeRecord:
    # the side is agreed on by now, whoever could not tell it
    noticed = (f for f in knee.findings if f.code is not ReasonCode.NO_LATERALITY)
    findings = (redacted_finding(finding, case.private) for finding in noticed)
    return KneeRecord(
        visit=replace(case.visit, side=knee.side),
        kind="mri",
        status="measured",
        measurements=complete(knee.morphometry.measurements, planned_rows("mri", case.settings)),
        context=row_context(
            "mri", case.settings, case.series_uid_hash, model_sha256=case.model()["sha256"]
        ),
        findings=tuple(dict.fromkeys(findings)),
        protocol=(*protocol_of(case.series, knee.label_map.grid), *_model_entry(case)),
    )


def _model_entry(case: Case) -> tuple[tuple[str, str], ...]:
    """Another model is a change of protocol like another scanner."""
    if case.segmenter is None:
        return ()
    card = case.segmenter
    return (("segmentation", f"{card.name} {card.version} {card.sha256[:12]}".strip()),)


def write_knee_files(
    knee: MeasuredKnee, folder: Path, visit: Visit, record: KneeRecord | None = None
) -> None:
    """Label map, thickness map, surfaces, pictures and, if given, the record of one knee."""
    from kneeimg.io.label_maps import write_label_map
    from kneeimg.io.meshes import write_surface
    from kneeimg.io.nifti import write_volume
    from kneeimg.measure.voxel_map import thickness_on_grid

    def path(suffix: str) -> Path:
        return folder / knee_file(visit.participant, visit.visit, knee.side, suffix, visit.scan)

    surfaces = knee.morphometry.surfaces
    write_label_map(knee.label_map, path("dseg.nii.gz"))
    thickness = thickness_on_grid(surfaces, knee.label_map, knee.morphometry.owners)
    write_volume(thickness, path("thickness.nii.gz"))
    for bone, surface in surfaces.items():
        write_surface(surface, path(f"{bone.value}.vtp"), side=knee.side)
    _write_pictures(knee, path("qc.png"), path("thickness.png"), visit)
    if record is not None:
        write_json(path("measurements.json"), record_to_json(record))


def _write_pictures(knee: MeasuredKnee, qc: Path, thickness: Path, visit: Visit) -> None:
    from kneeimg.report.figures import qc_overlay, thickness_views

    title = f"{visit.participant} · {visit.label} · {knee.side.value} knee"
    write_bytes(qc, qc_overlay(knee.image, knee.label_map, knee.side, title=title))
    write_bytes(thickness, thickness_views(knee.morphometry.surfaces, knee.side, title=title))
