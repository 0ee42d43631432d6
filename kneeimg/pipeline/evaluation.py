"""Segmentations against references: tables, pictures and a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import Finding, KneeimgError, MaskError, ReasonCode, StudyError
from kneeimg.io.atomic import require_writable, write_bytes, write_json, write_text
from kneeimg.measure.agreement import (
    Limits,
    ThicknessAgreement,
    TissueAgreement,
    limits_of_agreement,
    measured_agreement,
    tissue_agreement,
)
from kneeimg.measure.morphometry import measure_knee
from kneeimg.settings.morphometry import MorphometrySettings
from kneeimg.training.datalist import DataEntry, Datalist

if TYPE_CHECKING:
    from kneeimg.training.validation import WholeScan

Progress = Callable[[int, int, str], None]
Segment = Callable[[Volume, Side], LabelMap]

#: Compared over cases; thickness of the plates first.
QUANTITIES = ("ThCtAB_aMe", "ThCcAB_aMe", "VC", "tAB", "dAB")
PLATES = ("MT", "LT", "cMF", "cLF", "P", "TrF", "MFTC", "LFTC")
_TISSUES = tuple(t for t in Tissue if t not in (Tissue.BACKGROUND, Tissue.FIBULA))


@dataclass(frozen=True, slots=True)
class Case:
    """One scan of an evaluation.

    Attributes
    ----------
    name : Participant, visit and side.
    tissues, thickness : Agreement of the masks and of what is measured on them.
    finding : Why there is none; None where there is.
    """

    name: str
    tissues: tuple[TissueAgreement, ...] = ()
    thickness: tuple[ThicknessAgreement, ...] = ()
    finding: Finding | None = None

    @property
    def mean_dice(self) -> float:
        """Mean Dice of the cartilages; NaN for a refused case."""
        values = [t.dice for t in self.tissues if "CARTILAGE" in t.tissue.name]
        return sum(values) / len(values) if values else math.nan


def compare(
    reference: LabelMap, found: LabelMap, side: Side, settings: MorphometrySettings | None = None
) -> tuple[tuple[TissueAgreement, ...], tuple[ThicknessAgreement, ...]]:
    """Masks and thickness of two label maps of one scan; tissues that the reference lacks are out.

    Raises
    ------
    KneeimgError
        The grids differ, or one of the maps cannot be measured.
    """
    settings = settings or MorphometrySettings()
    present = reference.tissues()
    tissues = tissue_agreement(reference, found, [t for t in _TISSUES if t in present])
    rows = [measure_knee(one, side, settings).measurements for one in (reference, found)]
    return tissues, measured_agreement(rows[0], rows[1], QUANTITIES)


def compare_scan(
    scan: WholeScan, found: LabelMap
) -> tuple[tuple[TissueAgreement, ...], tuple[ThicknessAgreement, ...]]:
    """The same for a synthetic scan; where its source ends nothing is known, so nothing counts.

    Raises
    ------
    KneeimgError
        The segmentation cannot be measured.
    """
    labels = np.where(scan.known, found.labels, 0).astype(np.uint8)
    compared = LabelMap(labels, found.grid, found.probabilities)
    return compare(scan.truth, compared, scan.side)


def evaluate(
    datalist: Datalist,
    folder: Path,
    out: Path,
    *,
    segment: Segment | None,
    predictions: Path | None,
    progress: Progress,
    worst: int = 4,
) -> tuple[Case, ...]:
    """Evaluate every labelled image of a datalist and write OUT.

    Parameters
    ----------
    folder : Folder of the datalist.
    segment : Makes the segmentation of an image; None takes them from `predictions`.
    predictions : Folder with one mask per case, named as its label file.
    worst : Pictures of this many cases with the lowest cartilage Dice.

    Raises
    ------
    StudyError
        No entry can be evaluated.
    OutputError
        OUT cannot be written.
    """
    entries = [e for e in datalist.training if predictions is not None or e.image is not None]
    if not entries:
        raise StudyError(
            "nothing to evaluate",
            expected="entries with an image and its label, or --predictions",
            found=f"{len(datalist.training)} entries without image",
        )
    require_writable(out)
    cases, pictures = [], _Worst(out / "pictures", worst)
    for done, entry in enumerate(entries):
        progress(done, len(entries), _name(entry))
        cases.append(_case(entry, folder, segment, predictions, pictures))
    progress(len(entries), len(entries), "tables")
    pictures.write()
    write_evaluation(cases, out, pictures.names)
    return tuple(cases)


def _name(entry: DataEntry) -> str:
    return f"{entry.participant}-{entry.visit}-{entry.side.value}"


def _case(
    entry: DataEntry,
    folder: Path,
    segment: Segment | None,
    predictions: Path | None,
    pictures: _Worst,
) -> Case:
    try:
        image, reference, found = _read(entry, folder, segment, predictions)
        tissues, thickness = compare(reference, found, entry.side)
    except KneeimgError as error:
        return Case(_name(entry), finding=error.finding)
    case = Case(_name(entry), tissues, thickness)
    pictures.offer(case, image, reference, found)
    return case


def _read(
    entry: DataEntry, folder: Path, segment: Segment | None, predictions: Path | None
) -> tuple[Volume | None, LabelMap, LabelMap]:
    from kneeimg.io.label_maps import read_label_map
    from kneeimg.io.nifti import read_volume

    image = None if entry.image is None else read_volume(folder / entry.image)
    reference = read_label_map(
        folder / entry.label, entry.scheme, None if image is None else image.grid
    )
    if predictions is not None:
        path = predictions / Path(entry.label).name
        if not path.is_file():
            raise MaskError(
                "this case has no prediction",
                code=ReasonCode.NO_MASK,
                where=_name(entry),
                expected=path.name,
                action="name predictions as their label files",
            )
        return image, reference, read_label_map(path, entry.scheme, reference.grid)
    if image is None or segment is None:
        raise StudyError("this case has no image", where=_name(entry))
    return image, reference, segment(image, entry.side)


class _Worst:
    """Keeps what is needed to draw the cases with the lowest cartilage Dice."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._kept: list[tuple[float, str, Volume | None, LabelMap, LabelMap]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Cases that were drawn, the worst first."""
        return tuple(name for _, name, *_ in self._kept)

    def offer(self, case: Case, image: Volume | None, reference: LabelMap, found: LabelMap) -> None:
        """Keep a case if it is among the worst so far."""
        score = case.mean_dice if math.isfinite(case.mean_dice) else -1.0
        self._kept.append((score, case.name, image, reference, found))
        self._kept = sorted(self._kept, key=lambda kept: kept[:2])[: self._most]

    def write(self) -> None:
        """Draw them."""
        from kneeimg.report.figures.agreement import difference_overlay

        for score, name, image, reference, found in self._kept:
            title = f"{name}, cartilage Dice {score:.3f}"
            picture = difference_overlay(image, reference, found, title=title)
            write_bytes(self._folder / f"{name}.png", picture)


def write_evaluation(cases: Sequence[Case], out: Path, pictures: Sequence[str] = ()) -> None:
    """Tables of cases and summary, Bland–Altman plot, JSON and a page, into a folder."""
    from kneeimg import __version__
    from kneeimg.report.evaluation import evaluation_page
    from kneeimg.report.figures.agreement import agreement_plot

    tissues, plates = tissue_summary(cases), plate_summary(cases)
    _write_csv(out / "tissues.csv", _tissue_rows(cases))
    _write_csv(out / "measurements.csv", _thickness_rows(cases))
    _write_csv(out / "summary_tissues.csv", tissues)
    _write_csv(out / "summary_plates.csv", plates)
    refused = [
        {"case": c.name, **_plain(c.finding.as_dict())} for c in cases if c.finding is not None
    ]
    _write_csv(out / "refused.csv", refused)
    write_json(
        out / "evaluation.json",
        {
            "kneeimg": __version__,
            "cases": len(cases),
            "refused": refused,
            "tissues": [_plain(row) for row in tissues],
            "plates": [_plain(row) for row in plates],
        },
    )
    write_bytes(out / "pictures" / "thickness.png", agreement_plot(_panels(cases), "mm"))
    page = evaluation_page(tissues, plates, refused, pictures, len(cases), __version__)
    write_text(out / "index.html", page)


def _panels(cases: Sequence[Case]) -> list[tuple[str, list[float], list[float]]]:
    panels = []
    for plate in ("MT", "LT", "cMF", "cLF", "P"):
        pairs = _pairs(cases, plate, "ThCtAB_aMe")
        panels.append((plate, [p.reference for p in pairs], [p.found for p in pairs]))
    return panels


def _pairs(cases: Iterable[Case], region: str, quantity: str) -> list[ThicknessAgreement]:
    wanted = (region, quantity)
    return [p for case in cases for p in case.thickness if (p.region, p.quantity) == wanted]


def tissue_summary(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Mean, SD and worst case of each tissue."""
    rows = []
    for tissue in _TISSUES:
        found = [t for case in cases for t in case.tissues if t.tissue is tissue]
        if not found:
            continue
        dice = [t.dice for t in found]
        rows.append(
            {
                "tissue": tissue.name.lower(),
                "n": len(found),
                "dice_mean": _mean(dice),
                "dice_min": min(dice),
                "assd_mm": _mean([t.assd_mm for t in found]),
                "hd95_mm": _mean([t.hd95_mm for t in found]),
                "volume_bias_pct": _mean([t.volume_bias_pct for t in found]),
            }
        )
    return rows


def plate_summary(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Bias and limits of agreement of every compared quantity of the plates."""
    rows = []
    for quantity in QUANTITIES:
        for region in PLATES:
            pairs = _pairs(cases, region, quantity)
            if pairs:
                limits: Limits = limits_of_agreement(pairs)
                unit = pairs[0].unit
                row = {"region": region, "quantity": quantity, "unit": unit}
                rows.append({**row, **asdict(limits)})
    return rows


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _tissue_rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    return [
        {
            "case": case.name,
            "tissue": t.tissue.name.lower(),
            "dice": t.dice,
            "assd_mm": t.assd_mm,
            "hd95_mm": t.hd95_mm,
            "reference_mm3": t.reference_mm3,
            "found_mm3": t.found_mm3,
            "volume_bias_pct": t.volume_bias_pct,
        }
        for case in cases
        for t in case.tissues
    ]


def _thickness_rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    return [
        {"case": case.name, **asdict(p), "difference": p.difference}
        for case in cases
        for p in case.thickness
    ]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """NaN as null: JSON has none."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pandas as pd

    frame = pd.DataFrame(rows)
    write_text(path, frame.to_csv(index=False, lineterminator="\n") if len(rows) else "")


def segment_with_model(model: str, device: str) -> Segment:
    """What `kneeimg segment` does, for one image.

    Raises
    ------
    StudyError, ModelError
        There is no such model, or it is refused.
    """
    from kneeimg.segment.models import open_segmenter
    from kneeimg.segment.mr import segment_with
    from kneeimg.settings.segmentation import SegmentationSettings

    segmenter = open_segmenter(
        SegmentationSettings.model_validate({"model": model, "device": device})
    )
    return lambda image, side: segment_with(segmenter, image, side).label_map
