"""Simulate a scan-rescan study and write the repeatability table that ships with kneeimg.

    python scripts/simulate_retest.py --labels LABELS --work WORK --page docs/precision-simulated.md

Label maps and phantom knees are moved (±5°, ±3 mm), laid on the OAI DESS grid and drawn again twice
with random boundary errors; phantom films are positioned again twice with new noise. Every scan is
measured and every two scans are compared by the functions that `kneeimg run` uses. LABELS holds
NIfTI label maps in the scheme `knee-v1`, all right knees, named <participant>_<visit>.nii.gz; the
first map of each participant is taken. No label map is written anywhere. Finished knees are kept in
WORK: stop it and start it again as you like.

The error of a trained network takes the place of the random boundary errors with

    --segmenter PACKAGE.MODULE:FUNCTION --model-sha256 HASH

where FUNCTION(knee, rng) gets the moved knee as a soft LabelMap without drawing error and a numpy
random generator, and returns the LabelMap that the network makes of it (by way of a synthetic
image, say) on the same grid.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from kneeimg import __version__
from kneeimg.core.anatomy import AGGREGATE_SUMS, PLATE_BONES, REGION_BONES, Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.precision import PrecisionHeader, PrecisionRow, PrecisionStudy, StudyKind
from kneeimg.io.label_maps import read_label_map
from kneeimg.io.label_schemes import load_scheme
from kneeimg.io.precision import write_precision
from kneeimg.longitudinal.change import compare_films, compare_knees
from kneeimg.longitudinal.retest import (
    RepeatedChange,
    RepeatedValue,
    changes_from,
    method_of,
    precision_rows,
    values_from,
)
from kneeimg.longitudinal.vertices import VERTEX_QUANTITY
from kneeimg.phantoms.cartilage import PlateThickness
from kneeimg.phantoms.film import FilmSetup, knee_film, random_knee, random_setup
from kneeimg.phantoms.grids import dess_grid, random_pose
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.resegmentation import NO_ERROR, DrawnKnee, ReadingError
from kneeimg.pipeline.film import measure_film
from kneeimg.pipeline.mr import measure_labels
from kneeimg.pipeline.repeatability import settings_hash
from kneeimg.settings.study import StageSettings

MAPS, KNEES, FILMS = "label maps re-posed", "phantom knees re-posed", "phantom films re-posed"
MAX_ANGLE_DEG, MAX_SHIFT_MM = 5.0, 3.0
#: Joint space itself changes when a knee is positioned anew: published repositioning SDs.
MEDIAL_SD_MM, LATERAL_SD_MM = 0.14, 0.23
ERROR = ReadingError()
SETTINGS = StageSettings()
DEFAULT = Path(__file__).parents[1] / "configs" / "precision" / "simulated.csv"

Segment = Callable[[LabelMap, np.random.Generator], LabelMap]
Found = tuple[list[RepeatedValue], list[RepeatedChange]]


def main() -> None:
    """Command line."""
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    segment = _hook(options.segmenter)
    values: list[RepeatedValue] = []
    changes: list[RepeatedChange] = []
    for name, make in _people(options, segment):
        found = _kept(options.work / f"{name}.json", make)
        values += found[0]
        changes += found[1]
        print(f"{name}: {len(found[0])} values, {len(found[1])} changes", flush=True)
    samples = (MAPS, KNEES, FILMS)
    by_sample = [
        precision_rows(
            [v for v in values if v.sample == sample], [c for c in changes if c.sample == sample]
        )
        for sample in samples
    ]
    header = _header(options, dict(zip(samples, by_sample, strict=True)))
    study = PrecisionStudy(header, _first_of_each(by_sample))
    write_precision(study, options.out)
    if options.page:
        options.page.write_text(page(header, by_sample), encoding="utf-8")
    show(by_sample)
    print(f"{options.out}: {len(study.rows)} rows")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--labels", type=Path, help="folder of label maps; none: phantoms only")
    parser.add_argument("--work", type=Path, required=True, help="folder for finished knees")
    parser.add_argument("-o", "--out", type=Path, default=DEFAULT)
    parser.add_argument("--page", type=Path, help="also write the figures as Markdown here")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--phantoms", type=int, default=6)
    parser.add_argument("--films", type=int, default=20)
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--date", default=date.today().isoformat(), help="stands in the table")
    parser.add_argument("--segmenter", help="PACKAGE.MODULE:FUNCTION, see above")
    parser.add_argument("--model-sha256", default="", help="hash of that segmenter's weights")
    return parser.parse_args()


def _hook(name: str | None) -> Segment | None:
    """The function that `--segmenter` names."""
    if name is None:
        return None
    module, _, function = name.partition(":")
    found: Segment = getattr(importlib.import_module(module), function)
    return found


def _people(
    options: argparse.Namespace, segment: Segment | None
) -> Iterator[tuple[str, Callable[[], Found]]]:
    """Name of every knee and what simulates it."""
    paths = sorted(options.labels.glob("*_*.nii.gz")) if options.labels else []
    first = {path.name.split("_")[0]: path for path in reversed(paths)}
    for number, person in enumerate(sorted(first)[: options.people]):
        rng = np.random.default_rng([options.seed, 1, number])
        yield f"map-{number:02d}", _task(_rescan_map, first[person], f"L{number:02d}", rng, segment)
    for number in range(options.phantoms):
        rng = np.random.default_rng([options.seed, 2, number])
        yield f"knee-{number:02d}", _task(_rescan_phantom, f"K{number:02d}", rng, segment)
    for number in range(options.films):
        rng = np.random.default_rng([options.seed, 3, number])
        yield f"film-{number:02d}", _task(_film_again, f"F{number:02d}", rng)


def _task(function: Callable[..., Found], *given: Any) -> Callable[[], Found]:
    return lambda: function(*given)


def _kept(path: Path, make: Callable[[], Found]) -> Found:
    """What a knee gave: read if it is there, else made and written."""
    if not path.is_file():
        values, changes = make()
        content = {"values": [asdict(v) for v in values], "changes": [asdict(c) for c in changes]}
        path.write_text(json.dumps(content), encoding="utf-8")
    content = json.loads(path.read_text(encoding="utf-8"))
    return (
        [RepeatedValue(**item) for item in content["values"]],
        [RepeatedChange(**item) for item in content["changes"]],
    )


def _rescan_map(
    path: Path, person: str, rng: np.random.Generator, segment: Segment | None
) -> Found:
    knee = DrawnKnee(read_label_map(path, load_scheme("knee-v1")))
    return _rescan(knee, Side.RIGHT, rng, segment, sample=MAPS, participant=person)


def _rescan_phantom(person: str, rng: np.random.Generator, segment: Segment | None) -> Found:
    side = Side.RIGHT if rng.random() < 0.5 else Side.LEFT
    spread = {plate: float(rng.normal(0.0, 0.15)) for plate in vars(PlateThickness())}
    base = KneePhantom(side, PlateThickness().changed(spread), menisci=True, rim_ramp_mm=1.0)
    size = float(rng.uniform(0.94, 1.06))
    phantom = replace(
        base,
        femur=base.femur.scaled(size),
        tibia=base.tibia.scaled(size),
        patella=base.patella.scaled(size),
        fibula=base.fibula.scaled(size),
    )
    knee = DrawnKnee(phantom.label_map(dess_grid(), hard=True))
    return _rescan(knee, side, rng, segment, sample=KNEES, participant=person)


def _rescan(
    knee: DrawnKnee, side: Side, rng: np.random.Generator, segment: Segment | None, **whose: str
) -> Found:
    """Two scans of one knee, measured apart and compared, as soft and as hard masks."""
    scans = [_scan(knee, number, rng, segment) for number in range(2)]
    values: list[RepeatedValue] = []
    changes: list[RepeatedChange] = []
    for maps in (scans, [LabelMap(m.labels, m.grid) for m in scans if m.is_soft]):
        if not maps:
            continue
        found = [measure_labels(m, (("given", side),), SETTINGS).morphometry for m in maps]
        own = whose | {"kind": "mri", "side": side.value}
        own["method"] = method_of("mri", found[0].measurements)
        for number, knee_found in enumerate(found):
            values += values_from(knee_found.measurements, scan=f"run-{number + 1}", **own)
        first, second = found
        change = compare_knees(
            first.surfaces, second.surfaces, None, first.measurements, second.measurements
        )
        changes += changes_from(change.rows, change.surfaces.values(), **own)
    return values, changes


def _scan(
    knee: DrawnKnee, number: int, rng: np.random.Generator, segment: Segment | None
) -> LabelMap:
    """One scan in a frame of its own."""
    uid = f"2.25.{2008060100 + number}"
    motion = random_pose(
        rng,
        max_angle_deg=MAX_ANGLE_DEG,
        max_shift_mm=MAX_SHIFT_MM,
        centre_mm=knee.centre_mm,
        frame_uid=uid,
    )
    grid = replace(dess_grid(centre_mm=knee.centre_mm), frame_uid=uid)
    if segment is None:
        return knee.scanned_again(motion, grid, ERROR, rng)
    return segment(knee.scanned_again(motion, grid, NO_ERROR, rng), rng)


def _film_again(person: str, rng: np.random.Generator) -> Found:
    """Two films of one knee by one technique, positioned anew."""
    knee, technique = random_knee(rng), random_setup(rng)
    rows = []
    for _ in range(2):
        placed = replace(
            knee,
            beam_angle_deg=float(rng.uniform(0.0, 5.0)),
            medial_jsw_mm=knee.medial_jsw_mm + float(rng.normal(0.0, MEDIAL_SD_MM)),
            lateral_jsw_mm=knee.lateral_jsw_mm + float(rng.normal(0.0, LATERAL_SD_MM)),
        )
        film = knee_film(placed, _positioned(technique, rng)).radiograph
        rows.append(measure_film(film, knee.side, SETTINGS.film).measurements)
    own = {"kind": "film", "sample": FILMS, "participant": person, "side": knee.side.value}
    own["method"] = method_of("film", rows[0])
    values = [v for n, r in enumerate(rows) for v in values_from(r, scan=f"run-{n + 1}", **own)]
    return values, changes_from(compare_films(*rows, None, True), **own)


def _positioned(technique: FilmSetup, rng: np.random.Generator) -> FilmSetup:
    return replace(
        technique,
        centre_mm=(float(rng.uniform(-6, 6)), float(rng.uniform(-8, 8))),
        rotation_deg=float(rng.uniform(-MAX_ANGLE_DEG, MAX_ANGLE_DEG)),
        seed=int(rng.integers(2**31)),
    )


def _first_of_each(samples: Sequence[Sequence[PrecisionRow]]) -> tuple[PrecisionRow, ...]:
    """Rows of the first sample that has a key: phantoms fill what label maps do not show."""
    rows: dict[tuple[str, ...], PrecisionRow] = {}
    for sample in samples:
        for row in sample:
            rows.setdefault(row.key, row)
    return tuple(rows.values())


def _header(
    options: argparse.Namespace, samples: dict[str, Sequence[PrecisionRow]]
) -> PrecisionHeader:
    counts = {s: max((row.n_people for row in rows), default=0) for s, rows in samples.items()}
    b = ERROR.bone
    drawing = (
        f"bone and articular surface each displaced along the normal by independent Gaussian "
        f"fields: SD {b.local_sd_mm} mm over {b.local_length_mm} mm and SD {b.wide_sd_mm} mm over "
        f"{b.wide_length_mm} mm"
    )
    return PrecisionHeader(
        kind=StudyKind.SIMULATED,
        study="simulated retest",
        software_version=__version__,
        models={"mri": options.model_sha256, "film": ""},
        settings={kind: settings_hash(kind, SETTINGS) for kind in ("mri", "film")},
        n_people=max(counts.values()),
        date=options.date,
        assumptions={
            "pose": f"turn within {MAX_ANGLE_DEG} degrees, shift within {MAX_SHIFT_MM} mm",
            "grid": "160 x 0.7 mm slices of 384 x 384 pixels of 0.365 mm",
            "drawing": options.segmenter or drawing,
            "films": f"same technique, new position, beam angle and noise; joint space itself "
            f"varies by SD {MEDIAL_SD_MM} mm medially and {LATERAL_SD_MM} mm laterally",
            "not simulated": "image noise and artefacts, knee flexion, scanner drift, readers",
            "people": ", ".join(f"{n} {sample}" for sample, n in counts.items()),
            "seed": str(options.seed),
        },
    )


def page(header: PrecisionHeader, samples: Sequence[Sequence[PrecisionRow]]) -> str:
    """The smallest detectable changes beside the published ones, as a page of the documentation."""
    rows = {(r.sample, *r.key[1:]): r for sample in samples for r in sample}

    def cell(sample: str, method: str, procedure: str, region: str, quantity: str) -> str:
        row = rows.get((sample, method, procedure, region, quantity))
        if row is None:
            return "–"
        low, sdc, high = (round(1000 * v) for v in (row.sdc95_low, row.sdc95, row.sdc95_high))
        return f"{round(1000 * row.rms_sd)} · {sdc} ({low}–{high})"

    columns = (
        (MAPS, "ray/hard", "paired"),
        (MAPS, "ray/hard", "independent"),
        (MAPS, "ray/soft", "paired"),
        (KNEES, "ray/soft", "paired"),
    )
    names = [(r, "ThCtAB_aMe") for r in (*AGGREGATE_SUMS, *REGION_BONES)]
    names += [(r, VERTEX_QUANTITY) for r in PLATE_BONES if r not in ("MF", "LF")]
    names += [("FTJ", q) for q in ("OV1", "OV16", "thinning_score", "thickening_score")]
    lines = [_PAGE_HEAD.format(**header.assumptions, version=header.software_version)]
    lines += [
        f"| {region} {quantity} | {' | '.join(cell(*c, region, quantity) for c in columns)} |"
        f" {PUBLISHED.get((region, quantity), '')} |"
        for region, quantity in names
    ]
    lines += ["", "| films (µm) | paired | published repositioning SD |", "|---|---|---|"]
    films = [(side, q) for side in ("medial", "lateral") for q in ("mJSW", "meanJSW")]
    films += [("medial", "fJSW_0250"), ("lateral", "fJSW_0775")]
    lines += [
        f"| {region} {quantity} | {cell(FILMS, 'duryea', 'paired', region, quantity)} |"
        f" {PUBLISHED.get((region, quantity), '')} |"
        for region, quantity in films
    ]
    return "\n".join(lines) + "\n"


#: Published figures for the same thing, by other software and readers.
PUBLISHED = {
    ("FTJ", "ThCtAB_aMe"): "69 · 190–210",
    ("medial", "mJSW"): "140",
    ("lateral", "mJSW"): "230",
}
_PAGE_HEAD = """\
# The simulated repeatability table

Written by `scripts/simulate_retest.py` with kneeimg {version}; what it assumes, and what it
therefore cannot tell, stands in [precision](precision.md). Simulated: {people}. Drawing: {drawing}.

SEM · SDC95 (95 % interval of the SDC), µm. Published: retest of the whole joint and its SDC; the
size of the boundary errors was chosen with the former in view.

| | label maps, hard, paired | the same, independent | label maps, soft, paired | \
phantoms, soft, paired | published |
|---|---|---|---|---|---|"""


def show(samples: Sequence[Sequence[PrecisionRow]]) -> None:
    """SDC95 of cartilage thickness and joint space, one line for each row."""
    for row in (row for rows in samples for row in rows):
        if row.quantity in ("ThCtAB_aMe", "ThCtAB_vertex", "mJSW", "fJSW_0250", "OV1"):
            print(
                f"{row.sample:24s}{row.method:10s}{row.procedure:12s}{row.region:8s}"
                f"{row.quantity:14s}n={row.n_people:<3d}SEM {1000 * row.rms_sd:6.1f}  SDC95 "
                f"{1000 * row.sdc95:6.1f} ({1000 * row.sdc95_low:.0f}-{1000 * row.sdc95_high:.0f})"
                f" um  CV {row.rms_cv_pct:5.2f} %  ICC(3,1) {row.icc_3_1:.3f}"
            )


if __name__ == "__main__":
    main()
