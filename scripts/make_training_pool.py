"""Build the pool of tissue maps that the shipped network is trained on.

    python scripts/make_training_pool.py LABELS POOL --donor LABELS/spl_knee_atlas.nrrd --variants 4

LABELS holds `index.csv` with the columns file, participant and month: label maps of right knees,
values 1 to 9 (femur, femoral cartilage, tibia, tibial cartilage, patella, patellar cartilage and
the marrow lesions of the three bones). Each variant of a map is one compressed file in POOL with
the arrays substances, spacing_mm, participant, visit, variant, seed and recipe. A file made by the
same recipe is kept, so the command can be stopped and started again. `pool.json` lists what is
there. Variant 0 is the knee as labelled; the others have disease drawn from their seed.

For label maps of your own, `kneeimg train` makes the pool from a datalist. This command keeps the
marrow lesions in these maps, which a label scheme folds into their bones, and takes several
processes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kneeimg.io.atomic import write_json
from kneeimg.networks.spec import CLASS_TISSUES
from kneeimg.pipeline.pool import PoolFile, read_values
from kneeimg.training.anatomy import RECIPE
from kneeimg.training.anatomy_atlas import OAI_VALUES, PYMSKT_VALUES, knee_of
from kneeimg.training.tissues import Substance, classes_of

INDEX_NAME = "pool.json"


@dataclass(frozen=True)
class Task:
    """One tissue map to make: from which label map, in which values, with whose soft tissue."""

    source: Path
    values: Mapping[int, Substance]
    donor: Path | None
    file: PoolFile


def main() -> None:
    """Make what is missing, then write the list."""
    given = arguments()
    given.pool.mkdir(parents=True, exist_ok=True)
    tasks = [task for task in tasks_of(given) if given.force or not task.file.is_current()]
    tasks.sort(key=lambda task: task.file.path.exists())  # what is missing comes before what is old
    print(f"{len(tasks)} tissue maps to make", flush=True)
    begin = time.monotonic()
    with executor(given.jobs) as workers:
        futures: dict[Future[float], Task] = {workers.submit(make, task): task for task in tasks}
        for done, future in enumerate(as_completed(futures), start=1):
            seconds = future.result()
            left = (time.monotonic() - begin) / done * (len(tasks) - done)
            print(
                f"{done}/{len(tasks)} {futures[future].file.path.name} {seconds:.0f} s, "
                f"about {left / 60:.0f} min left",
                flush=True,
            )
            write_index(given.pool)
    write_index(given.pool)


def arguments() -> argparse.Namespace:
    """What the user asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("labels", type=Path, help="folder with label maps and index.csv")
    parser.add_argument("pool", type=Path, help="folder for the tissue maps")
    parser.add_argument("--donor", type=Path, help="SPL/NAC knee atlas, for the soft tissue")
    parser.add_argument("--menisci", type=Path, help="pymskt's right knee: one more person, MSKT")
    parser.add_argument("--variants", type=int, default=1, help="maps per knee (default 1)")
    parser.add_argument("--first-variant", type=int, default=0, help="number of the first variant")
    parser.add_argument("--only", default="", help="participants to make, separated by commas")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--force", action="store_true", help="make again what is there")
    return parser.parse_args()


def tasks_of(given: argparse.Namespace) -> list[Task]:
    """Every map, variant by variant, so that an unfinished pool holds everybody."""
    with (given.labels / "index.csv").open(newline="", encoding="utf-8") as file:
        scans = [
            (given.labels / row["file"], OAI_VALUES, row["participant"], month_of(row))
            for row in csv.DictReader(file)
        ]
    if given.menisci is not None:
        scans.append((given.menisci, PYMSKT_VALUES, "MSKT", "M00"))
    wanted = set(filter(None, given.only.split(",")))
    unknown = wanted - {person for _, _, person, _ in scans}
    if unknown:
        raise SystemExit(f"no such participant: {', '.join(sorted(unknown))}")
    return [
        Task(
            source,
            values,
            given.donor,
            PoolFile(
                given.pool / f"{person}_{visit}_v{variant:02d}.npz", person, visit, variant, RECIPE
            ),
        )
        for variant in range(given.first_variant, given.first_variant + given.variants)
        for source, values, person, visit in scans
        if not wanted or person in wanted
    ]


def month_of(row: Mapping[str, str]) -> str:
    """The visit of a row of the index."""
    return f"M{int(row['month']):02d}"


def executor(jobs: int) -> Executor:
    """Processes, also for one job: a crash in one knee names that knee."""
    return ProcessPoolExecutor(max_workers=max(jobs, 1))


def make(task: Task) -> float:
    """Build and write one tissue map; returns the seconds of processor time it took."""
    begin = time.process_time()
    arrays = task.file.tissue_map(knee_of(*read_values(task.source), task.values), task.donor)
    spacing_mm = [float(mm) for mm in arrays["spacing_mm"]]
    task.file.write({**arrays, "class_mm3": volumes_mm3(arrays["substances"], spacing_mm)})
    return time.process_time() - begin


def volumes_mm3(substances: NDArray[np.uint8], spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """(classes,) volume of each network class."""
    counts = np.bincount(classes_of(substances).ravel(), minlength=256)[: len(CLASS_TISSUES)]
    return np.asarray(counts * np.prod(spacing_mm), dtype=np.float64)


def write_index(pool: Path) -> None:
    """List every tissue map of the pool."""
    write_json(
        pool / INDEX_NAME,
        {
            "recipe": RECIPE,
            "classes": [tissue.name.lower() for tissue in CLASS_TISSUES],
            "maps": list(entries(pool)),
        },
    )


def entries(pool: Path) -> Iterator[Mapping[str, Any]]:
    """What each file says about itself, without reading its voxels."""
    for path in sorted(pool.glob("*_v*.npz")):
        with np.load(path) as stored:
            yield {
                "file": path.name,
                "participant": str(stored["participant"]),
                "visit": str(stored["visit"]),
                "variant": int(stored["variant"]),
                "seed": int(stored["seed"]),
                "recipe": int(stored["recipe"]),
                "bytes": os.path.getsize(path),
                "class_mm3": [round(float(v), 1) for v in stored["class_mm3"]],
                "disease": json.loads(str(stored["disease"])),
            }


if __name__ == "__main__":
    main()
