"""One multi-echo scan and its mask: T2 map and rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.laterality import require_side
from kneeimg.core.measurement import Measurement
from kneeimg.core.surface import Surface
from kneeimg.errors import Finding, MaskError, ReasonCode
from kneeimg.io.atomic import require_writable, write_json
from kneeimg.measure.morphometry import measure_knee
from kneeimg.measure.relaxometry import SteadyState, T2Map, is_dual_echo, t2_map
from kneeimg.measure.t2_regions import T2_TISSUES, measure_t2
from kneeimg.pipeline.single import label_of
from kneeimg.settings.morphometry import MorphometrySettings
from kneeimg.settings.relaxometry import RelaxometrySettings

if TYPE_CHECKING:
    from kneeimg.io.dicom import SeriesRecord


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredT2:
    """T2 of one scan in memory.

    Attributes
    ----------
    side : Which knee, agreed on by every source.
    map : T2 of the voxels of cartilage and menisci.
    label_map : The mask, on the grid of the scan.
    te_ms : Echo times, ms.
    measurements : One for every entry of `planned_t2()`.
    findings : Everything noticed on the way.
    """

    side: Side
    map: T2Map
    label_map: LabelMap
    te_ms: tuple[float, ...]
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...]


def measure_t2_series(
    series: Path,
    mask: Path,
    side: Side,
    scheme: str = "knee-v1",
    settings: RelaxometrySettings | None = None,
    morphometry: MorphometrySettings | None = None,
) -> MeasuredT2:
    """Measure T2 on a folder that holds one multi-echo scan, with a mask on its grid.

    Raises
    ------
    KneeimgError
        The scan or the mask cannot be read, they lie on different grids, or the sources of the
        side disagree.
    """
    from kneeimg.io.dicom import find_echoes, find_series, read_echoes
    from kneeimg.io.dicom_seg import require_mask_of
    from kneeimg.io.label_maps import is_dicom_mask, read_label_map

    settings = settings or RelaxometrySettings()
    records = find_echoes(find_series(series))
    echoes, te_ms = read_echoes(records)
    if is_dicom_mask(mask):
        require_mask_of(mask, *records)
    label_map = read_label_map(mask, scheme, echoes[0].grid)
    sides = (
        ("--side", side),
        (records[0].side_source or "DICOM", records[0].side),
        ("label geometry", label_map.side_from_labels),
    )
    agreed = require_side(sides, where=mask.name)
    voxels = np.isin(label_map.labels, [int(tissue) for tissue in T2_TISSUES.values()])
    if not voxels.any():
        raise MaskError(
            "the mask holds neither cartilage nor meniscus",
            code=ReasonCode.EMPTY_MASK,
            where=mask.name,
        )
    found = t2_map(
        echoes, te_ms, settings, steady_state=steady_state_of(records, te_ms), voxels=voxels
    )
    surfaces, absent, findings = _plates(label_map, agreed, morphometry)
    rows = measure_t2(found, label_map, surfaces, settings, absent)
    noticed = tuple(finding for record in records for finding in record.findings)
    return MeasuredT2(
        agreed, found, label_map, te_ms, rows, tuple(dict.fromkeys((*noticed, *findings)))
    )


def steady_state_of(
    records: tuple[SeriesRecord, ...], te_ms: tuple[float, ...]
) -> SteadyState | None:
    """How a dual-echo steady state was scanned; None for any other scan or without TR and flip."""
    from kneeimg.io.dicom import read_spoiler

    scanner = records[0].scanner
    repetition, flip = scanner.repetition_time_ms, scanner.flip_angle_deg
    if repetition is None or flip is None or not is_dual_echo(te_ms, repetition):
        return None
    area, duration = read_spoiler(records[0]) or (0.0, 0.0)
    return SteadyState(repetition, te_ms[0], flip, area, duration)


def _plates(
    label_map: LabelMap, side: Side, morphometry: MorphometrySettings | None
) -> tuple[dict[Bone, Surface], dict[str, ReasonCode], tuple[Finding, ...]]:
    """Bone surfaces with plates, why a plate is missing, and findings; no bones, no plates."""
    try:
        knee = measure_knee(label_map, side, morphometry)
    except MaskError as error:
        if error.code is not ReasonCode.NO_BONE:
            raise
        return {}, {}, (error.finding,)
    missing = {r.region: r.reason for r in knee.measurements if r.quantity == "tAB" and r.reason}
    return knee.surfaces, missing, knee.findings


def write_t2(result: MeasuredT2, series: Path, out: Path) -> None:
    """T2 map, fit quality and a record of one scan into a folder."""
    from kneeimg.io.nifti import write_volume

    require_writable(out)
    name = f"{label_of(series)}_{result.side}"
    write_volume(result.map.t2, out / f"{name}_T2map.nii.gz")
    write_volume(result.map.r_squared, out / f"{name}_T2r2.nii.gz")
    write_json(
        out / f"{name}_T2.json",
        {
            "notice": "For research. Not for diagnosis.",
            "method": result.map.method,
            "echo_times_ms": list(result.te_ms),
            "voxels_fitted": int(result.map.fitted.sum()),
            "voxels_valid": int(result.map.valid.sum()),
            "measurements": [
                {
                    "region": row.region,
                    "quantity": row.quantity,
                    "value": None if row.reason else row.value,
                    "unit": row.unit,
                    "reason": str(row.reason or ""),
                    "flags": [str(flag) for flag in row.flags],
                }
                for row in result.measurements
            ],
        },
    )
