"""Segment one scan: DICOM or NIfTI in; labels, probabilities, a record and a picture out."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kneeimg import __version__
from kneeimg.core.anatomy import Side
from kneeimg.core.laterality import SideSource, combine_sides
from kneeimg.core.volume import Volume
from kneeimg.errors import Finding, InputError, ReasonCode
from kneeimg.io.atomic import require_writable, write_bytes, write_json
from kneeimg.pipeline.cases import redacted_finding
from kneeimg.pipeline.models import segmenter_for
from kneeimg.pipeline.single import label_of
from kneeimg.pipeline.sources import one_series, private_of
from kneeimg.segment.mr import ModelCard, Segmentation, segment_with
from kneeimg.settings.morphometry import MorphometrySettings
from kneeimg.settings.reading import SeriesRule
from kneeimg.settings.segmentation import SegmentationSettings
from kneeimg.settings.study import StudyFile

_NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedScan:
    """One scan and what a model made of it.

    Attributes
    ----------
    name : Begins the names of its files.
    image : The scan.
    side : Which knee; None where nothing says it.
    card : The model.
    segmentation : Label map, confidence and findings; those of reading stand first.
    settings : How it was segmented.
    """

    name: str
    image: Volume
    side: Side | None
    card: ModelCard
    segmentation: Segmentation
    settings: SegmentationSettings


@dataclass(frozen=True, slots=True, eq=False)
class ReadScan:
    """An image, what says its side, and what was noticed while reading."""

    image: Volume
    sides: tuple[SideSource, ...]
    findings: tuple[Finding, ...]


def segment_scan(
    source: Path,
    side: Side | None = None,
    settings: SegmentationSettings | None = None,
    *,
    echo: int | None = None,
) -> SegmentedScan:
    """Segment one DICOM series or NIfTI image.

    Parameters
    ----------
    source : Folder or file of one DICOM series, or a NIfTI image.
    side : Which knee, where the file does not say it.
    settings : Model and how it runs; None for the model that ships with kneeimg.
    echo : Echo number, for a series of several echoes.

    Raises
    ------
    KneeimgError
        The scan cannot be read, the model is refused, or it refuses the image.
    """
    settings = settings or SegmentationSettings()
    segmenter = segmenter_for(settings)
    start = time.perf_counter()
    scan = read_scan(source, echo)
    agreed = combine_sides((("--side", side), *scan.sides), where=source.name)
    read_s = time.perf_counter() - start
    which = agreed[0] if agreed else None
    made = segment_with(segmenter, scan.image, which)
    # of the side only the segmenter's word counts: by now it is known, or is told once
    noticed = [f for f in scan.findings if f.code is not ReasonCode.NO_LATERALITY]
    findings = (*noticed, *made.findings, *_coarse(scan.image))
    made = replace(made, findings=findings, seconds={"reading": read_s, **made.seconds})
    return SegmentedScan(label_of(source), scan.image, which, segmenter.card, made, settings)


def read_scan(source: Path, echo: int | None) -> ReadScan:
    """The image of a scan, DICOM or NIfTI, with what its file says about the side."""
    if source.is_file() and source.name.lower().endswith(_NIFTI):
        from kneeimg.io.nifti import read_volume as read_nifti

        return ReadScan(read_nifti(source), (), ())
    if not source.exists():
        raise InputError(
            "there is no such scan", code=ReasonCode.NOT_DICOM, where=source.name, action="check it"
        )
    from kneeimg.io.dicom import read_volume

    rules = () if echo is None else (SeriesRule(kind="mri", echo_number=echo),)
    try:
        series = one_series(source, "mri", StudyFile(series=rules))
    except InputError as error:
        raise _without_study(error, echo) from error
    image, findings = read_volume(series)
    private = private_of(series)
    shown = tuple(redacted_finding(f, private) for f in (*series.findings, *findings))
    return ReadScan(image, ((series.side_source or "DICOM", series.side),), shown)


def _without_study(error: InputError, echo: int | None) -> InputError:
    """The same refusal with what to do where there is no study file to put rules into."""
    if error.code is not ReasonCode.AMBIGUOUS_SERIES:
        return error
    folder = "give the folder of one series"
    action = folder if echo is not None else f"choose an echo with --echo, or {folder}"
    return type(error).from_finding(replace(error.finding, action=action))


def _coarse(image: Volume) -> tuple[Finding, ...]:
    """The flag that the rows of such a scan will carry, told already with its segmentation."""
    limit_mm = MorphometrySettings().coarse_voxel_mm
    edge_mm = float(image.grid.spacing_mm.max())
    if edge_mm < limit_mm:
        return ()
    finding = Finding(
        ReasonCode.COARSE_GRID,
        "voxels are long against the thickness of cartilage",
        expected=f"under {limit_mm:g} mm",
        found=f"{edge_mm:.2f} mm",
        action="do not trust thickness; bones and rough cartilage volumes only",
    )
    return (finding,)


def write_segmentation(scan: SegmentedScan, out: Path) -> tuple[Path, ...]:
    """Write `_dseg.nii.gz`, `_probseg.nii.gz` and its `.json`, `_segmentation.json`, `_qc.png`.

    The picture names medial and lateral; it is left out where the side is unknown.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    from kneeimg.io.label_maps import sidecar_path, write_label_map

    require_writable(out)

    def path(suffix: str) -> Path:
        return out / f"{scan.name}_{suffix}"

    label_map = scan.segmentation.label_map
    written = [write_label_map(label_map, path("dseg.nii.gz"))]
    soft = write_label_map(label_map, path("probseg.nii.gz"), soft=True)
    written += [soft, sidecar_path(soft)]
    if scan.side is not None:
        from kneeimg.report.figures import qc_overlay

        picture = qc_overlay(scan.image, label_map, scan.side, title=scan.name)
        write_bytes(path("qc.png"), picture)
        written.append(path("qc.png"))
    write_json(path("segmentation.json"), segmentation_to_json(scan))
    return (*written, path("segmentation.json"))


def segmentation_to_json(scan: SegmentedScan) -> dict[str, Any]:
    """Model card, confidence, findings, settings and durations as plain values."""
    made = scan.segmentation
    grid = scan.image.grid
    return {
        "notice": "For research. Not for diagnosis.",
        "software": {"name": "kneeimg", "version": __version__},
        "model": scan.card.as_dict(),
        "side": scan.side.value if scan.side else None,
        "shape": list(grid.shape),
        "spacing_mm": [round(float(mm), 4) for mm in grid.spacing_mm],
        "confidence": {
            tissue.name.lower(): _rounded(asdict(confidence))
            for tissue, confidence in made.confidence.items()
        },
        "unsure": [str(bone) for bone in made.unsure],
        "findings": [finding.as_dict() for finding in made.findings],
        "settings": scan.settings.model_dump(mode="json", exclude={"model"}),
        "seconds": {name: round(value, 3) for name, value in made.seconds.items()},
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: round(v, 4) if math.isfinite(v) else None for name, v in values.items()}


def segment_to(
    source: str | Path,
    out: str | Path,
    *,
    model: str | Path,
    side: str | None = None,
    device: str = "auto",
) -> tuple[str, ...]:
    """Segment one scan with the model of a folder: what the bundle's inference config calls.

    Returns
    -------
    Paths of the files that were written.
    """
    settings = SegmentationSettings.model_validate({"model": str(model), "device": device})
    scan = segment_scan(Path(source), Side(side) if side else None, settings)
    return tuple(str(path) for path in write_segmentation(scan, Path(out)))
