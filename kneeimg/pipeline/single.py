"""One file at a time, without a study: a mask, a film, a pair of masks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from kneeimg.core.anatomy import Side
from kneeimg.core.radiograph import Radiograph
from kneeimg.core.visit import Visit
from kneeimg.errors import InputError, ReasonCode
from kneeimg.io.atomic import require_writable, write_bytes
from kneeimg.io.results import knee_file
from kneeimg.longitudinal.change import KneeChange, compare_knees
from kneeimg.pipeline.cases import MaskFile
from kneeimg.pipeline.film import MeasuredFilm, knees_to_measure, measure_film, write_film_files
from kneeimg.pipeline.mr import MeasuredKnee, load_mask, measure_labels, write_knee_files
from kneeimg.pipeline.repeatability import load_repeatability, repeatability_for
from kneeimg.segment.mr import EXISTING_MASK
from kneeimg.settings.study import StageSettings

#: Visit id in the file names of a single measurement.
_VISIT = "single"


def label_of(path: Path) -> str:
    """A study id made from a file name, for the names of its results.

    >>> label_of(Path("My scan_01.nii.gz"))
    'My-scan-01'
    """
    stem = path.name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9-]+", "-", stem).strip("-")[:32] or "scan"


def measure_mask(
    path: Path, side: Side, scheme: str, settings: StageSettings | None = None
) -> MeasuredKnee:
    """Measure one mask file.

    Raises
    ------
    KneeimgError
        The mask cannot be read or measured, or its labels contradict `side`.
    """
    label_map = load_mask(MaskFile(path, scheme), None)
    sides = (("--side", side),)
    return measure_labels(label_map, sides, settings or StageSettings(), where=path.name)


def write_knee(knee: MeasuredKnee, path: Path, out: Path) -> None:
    """Label map, thickness map, surfaces and pictures of the knee of a mask into a folder."""
    from kneeimg.measure.flat import flatten
    from kneeimg.report.figures import flat_views

    require_writable(out)
    visit = Visit(label_of(path), _VISIT, knee.side)
    write_knee_files(knee, out, visit)
    picture = out / knee_file(visit.participant, visit.visit, knee.side, "flat.png")
    maps = flatten(knee.morphometry.surfaces, knee.side)
    write_bytes(picture, flat_views(maps, knee.side, title=visit.participant))


def measure_film_file(
    path: Path,
    side: Side | None,
    pixel_spacing_mm: float | None,
    settings: StageSettings | None = None,
) -> tuple[MeasuredFilm, ...]:
    """Measure every knee on one film, DICOM or picture; only that of `side` if it is given.

    Raises
    ------
    KneeimgError
        The film cannot be read, or a knee on it cannot be measured.
    """
    settings = settings or StageSettings()
    radiograph = _read_film(path, side, pixel_spacing_mm)
    knees = knees_to_measure(radiograph, (("--side", side),), where=path.name)
    return tuple(measure_film(radiograph, knee, settings.film) for knee in knees)


def _read_film(path: Path, side: Side | None, pixel_spacing_mm: float | None) -> Radiograph:
    from kneeimg.io.dicom import read_radiograph
    from kneeimg.io.pictures import PICTURE_SUFFIXES, read_film_picture

    if not path.is_file():
        raise InputError(
            "there is no such file", code=ReasonCode.NOT_DICOM, where=str(path), action="check it"
        )
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return read_film_picture(path, pixel_spacing_mm, side)
    return read_radiograph(path, pixel_spacing_mm, side)


def write_film(film: MeasuredFilm, path: Path, out: Path) -> None:
    """Margins and picture of one knee of a film into a folder."""
    require_writable(out)
    write_film_files(film, out, Visit(label_of(path), _VISIT, film.side))


@dataclass(frozen=True, slots=True, eq=False)
class MaskChange:
    """Two measured masks of one knee and what changed between them."""

    baseline: MeasuredKnee
    followup: MeasuredKnee
    change: KneeChange


def change_between(
    baseline: Path,
    followup: Path,
    side: Side,
    days: float | None,
    scheme: str,
    settings: StageSettings | None = None,
) -> MaskChange:
    """Measure two masks of one knee and compare them over the baseline's bone area.

    A change is classed by the repeatability table of the settings, by default the simulated one
    that ships with kneeimg, where that holds.
    """
    settings = settings or StageSettings()
    first, second = (measure_mask(path, side, scheme, settings) for path in (baseline, followup))
    study = load_repeatability(settings.change.precision)
    scans = [(m.morphometry.measurements, EXISTING_MASK.sha256) for m in (first, second)]
    known = repeatability_for(study, "mri", scans, settings)
    change = compare_knees(
        first.morphometry.surfaces,
        second.morphometry.surfaces,
        days,
        first.morphometry.measurements,
        second.morphometry.measurements,
        known.table,
        settings=settings.change,
        morphometry=settings.morphometry,
    )
    findings = (*change.findings, *known.findings)
    return MaskChange(first, second, replace(change, findings=findings))


def write_change(result: MaskChange, followup: Path, out: Path) -> None:
    """Change maps as surfaces in baseline space, and their picture, into a folder."""
    from kneeimg.io.meshes import write_surface
    from kneeimg.report.figures import change_views

    require_writable(out)
    side, name = result.baseline.side, label_of(followup)
    for bone, surface in result.change.surfaces.items():
        write_surface(surface, out / f"{name}_{bone}_change.vtp", side=side)
    write_bytes(out / f"{name}_change.png", change_views(result.change.surfaces, side, title=name))
