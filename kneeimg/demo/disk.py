"""Write the synthetic trial to disk: DICOM, masks, study file, clinical table, arms, truth."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kneeimg.batch.workers import default_workers
from kneeimg.core.anatomy import Side
from kneeimg.demo.clinical import CLINICAL_COLUMNS, clinical_rows
from kneeimg.demo.masks import write_mask
from kneeimg.demo.plan import DemoScan, DemoTrial, Fault
from kneeimg.demo.trial import BASELINE, SEED

if TYPE_CHECKING:
    from kneeimg.demo import Progress
    from kneeimg.io.dicom import Origin

TRUTH_COLUMNS = ("participant", "visit", "side", "kind", "region", "quantity", "value")
_PARTS = "truth_parts"

_STUDY = f"""# The synthetic trial of `kneeimg demo`. Seed {SEED}; day 0 is {BASELINE.isoformat()}.
[study]
id = "DEMO"
participants = "participants.csv"

[[series]]
kind = "mri"
description = "DESS"

[[series]]
kind = "film"
view = "PA"
"""

_VISIT = """
[[visits]]
name = "{name}"
target_day = {day}
window_days = {window}
"""


def write_trial(
    folder: Path, trial: DemoTrial, *, workers: int = 0, progress: Progress | None = None
) -> None:
    """Write scans/, study.toml, participants.csv, arms.csv, clinical.csv and truth.csv.

    Visits that an earlier call finished are kept, so that a stopped demo goes on.
    """
    _write_tables(folder, trial)
    scans = trial.scans()
    parts = [_part_file(folder, scan) for scan in scans]
    todo = [(s, part) for s, part in zip(scans, parts, strict=True) if not part.exists()]
    context = get_context("spawn")
    with ProcessPoolExecutor(workers or default_workers(), mp_context=context) as pool:
        jobs = {pool.submit(write_visit, folder, scan, part): scan for scan, part in todo}
        for done, job in enumerate(as_completed(jobs), start=1 + len(scans) - len(todo)):
            job.result()
            scan = jobs[job]
            if progress is not None:
                progress(done, len(scans), f"wrote {scan.person.participant} {scan.folder}")
    rows = [row for part in parts for row in _read_rows(part)]
    _write_csv(folder / "truth.csv", TRUTH_COLUMNS, rows)


def write_visit(folder: Path, scan: DemoScan, part: Path) -> None:
    """One MR series with its mask, one film, and the truth of both (written last)."""
    scans = folder / "scans" / scan.person.participant / scan.folder
    rows = _write_mr(scans, scan)
    if not scan.repeat:
        rows += _write_film(scans, scan)
    part.parent.mkdir(exist_ok=True)
    unfinished = part.with_suffix(".tmp")
    # the truth of a repeated scan is that of the visit, which stands there already
    _write_csv(unfinished, TRUTH_COLUMNS, [] if scan.repeat else rows)
    unfinished.replace(part)


def _write_mr(folder: Path, scan: DemoScan) -> list[Sequence[object]]:
    from kneeimg.io.dicom import MrProtocol, write_mr_series
    from kneeimg.phantoms.grids import demo_grid
    from kneeimg.phantoms.mr import mr_image

    person = scan.person
    knee = person.knee(scan.visit, entropy=scan.seed(1))
    label_map = knee.label_map(demo_grid())
    image = mr_image(label_map, "dess", rng=np.random.default_rng(scan.seed(3)), noise_snr=20.0)
    side = person.side.opposite if Fault.WRONG_SIDE in scan.faults else person.side
    changed = Fault.SCANNER_CHANGE in scan.faults
    paths = write_mr_series(
        image,
        folder / "dess",
        side=side,
        origin=_mr_origin(scan, changed=changed),
        protocol=MrProtocol(coil="KNEE 18") if changed else None,
    )
    if Fault.MISSING_SLICE in scan.faults:
        paths[len(paths) // 2].unlink()
    write_mask(folder / "dess", scan, knee, label_map)
    return _rows(scan, "mri", knee.truth())


def _mr_origin(scan: DemoScan, *, changed: bool) -> Origin:
    """Whose scan it is, and on which scanner."""
    from kneeimg.io.dicom import Origin

    model, software = ("phantom 2", "2") if changed else ("phantom", "1")
    return Origin(
        patient_id=scan.person.patient_id,
        study_date=_date(scan),
        description="SAG 3D DESS WE",
        model=model,
        software=software,
        seed=str(SEED),
    )


def _write_film(folder: Path, scan: DemoScan) -> list[Sequence[object]]:
    from kneeimg.io.dicom import FilmTags, Origin, write_radiograph
    from kneeimg.phantoms.film import knee_film

    person = scan.person
    setup = person.film_setup(scan.visit)
    film = knee_film(person.film_knee(scan.visit), setup)
    tags = FilmTags(
        laterality="L" if person.side is Side.LEFT else "R",
        imager_pixel_spacing_mm=(setup.pixel_mm, setup.pixel_mm),
        magnification=setup.magnification,
    )
    origin = Origin(
        patient_id=person.patient_id,
        study_date=_date(scan),
        description="KNEE PA FIXED FLEXION",
        seed=f"{SEED} film",
        series_number=2,
    )
    image = film.radiograph.image
    image = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    write_radiograph(image, folder / "film" / "knee_pa.dcm", film=tags, origin=origin)
    return _rows(scan, "film", film.truth)


def _date(scan: DemoScan) -> str:
    return (BASELINE + timedelta(days=scan.day)).isoformat()


def _rows(
    scan: DemoScan, kind: str, truth: Mapping[tuple[str, str], float]
) -> list[Sequence[object]]:
    head = (scan.person.participant, scan.visit.name, str(scan.person.side), kind)
    return [(*head, region, quantity, repr(value)) for (region, quantity), value in truth.items()]


def _part_file(folder: Path, scan: DemoScan) -> Path:
    """Named after everything that decides the scan, so that another demo never reuses it."""
    digest = hashlib.sha256(repr(scan).encode()).hexdigest()[:8]
    return folder / _PARTS / f"{scan.person.participant}_{scan.folder}_{digest}.csv"


def _write_tables(folder: Path, trial: DemoTrial) -> None:
    visits = (_VISIT.format(name=v.name, day=v.day, window=v.window_days) for v in trial.visits)
    (folder / "study.toml").write_text(_STUDY + "".join(visits), encoding="utf-8")
    people = trial.persons()
    _write_csv(
        folder / "participants.csv",
        ("participant", "index_knee", "patient_id", "baseline_date"),
        [(p.participant, str(p.side), p.patient_id, BASELINE.isoformat()) for p in people],
    )
    # sealed: no step of the pipeline is given this file
    _write_csv(
        folder / "arms.csv", ("participant", "arm"), [(p.participant, p.arm) for p in people]
    )
    _write_csv(folder / "clinical.csv", CLINICAL_COLUMNS, clinical_rows(trial))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _read_rows(part: Path) -> list[Sequence[object]]:
    with part.open(newline="", encoding="utf-8") as file:
        return [tuple(row) for row in list(csv.reader(file))[1:]]
