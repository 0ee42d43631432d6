"""Write the synthetic trial to disk: DICOM, masks, study file, sealed arms, truth."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kneeimg.batch.workers import default_workers
from kneeimg.core.anatomy import Side
from kneeimg.demo.trial import BASELINE, SEED, VISITS, DemoPerson, DemoVisit, demo_people

if TYPE_CHECKING:
    from kneeimg.demo import Progress

TRUTH_COLUMNS = ("participant", "visit", "side", "kind", "region", "quantity", "value")
_PARTS = "truth_parts"

STUDY_TOML = f"""# The synthetic trial of `kneeimg demo`.
[study]
id = "DEMO"
participants = "participants.csv"

[[visits]]
name = "BL"
target_day = 0
window_days = 14

[[visits]]
name = "M06"
target_day = 182
window_days = 21

[[visits]]
name = "M12"
target_day = 365
window_days = 28

[[series]]
kind = "mri"
description = "DESS"

[[series]]
kind = "film"
view = "PA"

# Seed {SEED}; day 0 is {BASELINE.isoformat()}.
"""


def write_trial(
    folder: Path, *, people: int = 6, workers: int = 0, progress: Progress | None = None
) -> None:
    """Write scans/, study.toml, participants.csv, arms.csv and truth.csv.

    Visits that an earlier call finished are kept, so that a stopped demo goes on.
    """
    chosen = demo_people(people)
    _write_tables(folder, chosen)
    tasks = [(person, visit) for person in chosen for visit in VISITS]
    parts = [_part_file(folder, person, visit) for person, visit in tasks]
    todo = [(t, part) for t, part in zip(tasks, parts, strict=True) if not part.exists()]
    context = get_context("spawn")
    with ProcessPoolExecutor(workers or default_workers(), mp_context=context) as pool:
        jobs = {pool.submit(write_visit, folder, *t, part): t for t, part in todo}
        for done, job in enumerate(as_completed(jobs), start=1 + len(tasks) - len(todo)):
            job.result()
            person, visit = jobs[job]
            if progress is not None:
                progress(done, len(tasks), f"wrote {person.participant} {visit.name}")
    rows = [row for part in parts for row in _read_rows(part)]
    _write_csv(folder / "truth.csv", TRUTH_COLUMNS, rows)


def write_visit(folder: Path, person: DemoPerson, visit: DemoVisit, part: Path) -> None:
    """One MR series with its soft mask, one film, and the truth of both (written last)."""
    scans = folder / "scans" / person.participant / visit.name
    rows = [*_write_mr(scans, person, visit), *_write_film(scans, person, visit)]
    part.parent.mkdir(exist_ok=True)
    unfinished = part.with_suffix(".tmp")
    _write_csv(unfinished, TRUTH_COLUMNS, rows)
    unfinished.replace(part)


def _write_mr(folder: Path, person: DemoPerson, visit: DemoVisit) -> list[Sequence[object]]:
    from kneeimg.io.dicom import Origin, write_mr_series
    from kneeimg.io.label_maps import write_label_map
    from kneeimg.phantoms.grids import demo_grid
    from kneeimg.phantoms.mr import mr_image

    knee = person.knee(visit)
    label_map = knee.label_map(demo_grid())
    rng = np.random.default_rng([person.seed, visit.day, 3])
    image = mr_image(label_map, "dess", rng=rng, noise_snr=20.0)
    origin = Origin(
        patient_id=person.patient_id,
        study_date=person.scan_date(visit).isoformat(),
        description="SAG 3D DESS WE",
        seed=str(SEED),
    )
    write_mr_series(image, folder / "dess", side=person.side, origin=origin)
    write_label_map(label_map, folder / "dess_probseg.nii.gz", soft=True)
    return _rows(person, visit, "mri", knee.truth())


def _write_film(folder: Path, person: DemoPerson, visit: DemoVisit) -> list[Sequence[object]]:
    from kneeimg.io.dicom import FilmTags, Origin, write_radiograph
    from kneeimg.phantoms.film import knee_film

    setup = person.film_setup(visit)
    film = knee_film(person.film_knee(visit), setup)
    tags = FilmTags(
        laterality="L" if person.side is Side.LEFT else "R",
        imager_pixel_spacing_mm=(setup.pixel_mm, setup.pixel_mm),
        magnification=setup.magnification,
    )
    origin = Origin(
        patient_id=person.patient_id,
        study_date=person.scan_date(visit).isoformat(),
        description="KNEE PA FIXED FLEXION",
        seed=f"{SEED} film",
        series_number=2,
    )
    image = film.radiograph.image
    image = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    write_radiograph(image, folder / "film" / "knee_pa.dcm", film=tags, origin=origin)
    return _rows(person, visit, "film", film.truth)


def _rows(
    person: DemoPerson, visit: DemoVisit, kind: str, truth: Mapping[tuple[str, str], float]
) -> list[Sequence[object]]:
    head = (person.participant, visit.name, str(person.side), kind)
    return [(*head, region, quantity, repr(value)) for (region, quantity), value in truth.items()]


def _part_file(folder: Path, person: DemoPerson, visit: DemoVisit) -> Path:
    """Named after everything that decides the visit, so that another demo never reuses it."""
    digest = hashlib.sha256(f"{person}{visit}".encode()).hexdigest()[:8]
    return folder / _PARTS / f"{person.participant}_{visit.name}_{digest}.csv"


def _write_tables(folder: Path, people: Sequence[DemoPerson]) -> None:
    (folder / "study.toml").write_text(STUDY_TOML, encoding="utf-8")
    _write_csv(
        folder / "participants.csv",
        ("participant", "index_knee", "patient_id", "baseline_date"),
        [(p.participant, str(p.side), p.patient_id, BASELINE.isoformat()) for p in people],
    )
    # sealed: no step of the pipeline is given this file
    _write_csv(
        folder / "arms.csv", ("participant", "arm"), [(p.participant, p.arm) for p in people]
    )


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _read_rows(part: Path) -> list[Sequence[object]]:
    with part.open(newline="", encoding="utf-8") as file:
        return [tuple(row) for row in list(csv.reader(file))[1:]]
