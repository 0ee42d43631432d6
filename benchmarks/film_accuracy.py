"""Joint space on random phantom films: bias and SD against exact truth, and seconds per film.

Run from the repository root:  python benchmarks/film_accuracy.py [--films N] [--real N]
With real films at hand (KNEEIMG_REAL_DATA) their landmarks are compared too, in pixels.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.errors import KneeimgError
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.phantoms.film import knee_film, random_knee, random_setup
from kneeimg.segment.film import find_margins

_SHOWN = (
    [("medial", "mJSW")]
    + [("medial", f"fJSW_{p:04d}") for p in range(150, 301, 25)]
    + [("lateral", "mJSW")]
    + [("lateral", f"fJSW_{p:04d}") for p in range(700, 901, 25)]
    + [("medial", "meanJSW"), ("lateral", "meanJSW"), ("knee", "femoral_width"), ("knee", "JLCA")]
)
_LANDMARKS = (  # those well inside the margins: tibia and femur of each compartment
    ("tibia", Compartment.MEDIAL, "T7"),
    ("femur", Compartment.MEDIAL, "F5"),
    ("tibia", Compartment.LATERAL, "T1"),
    ("femur", Compartment.LATERAL, "F1"),
)


def phantom_table(films: int) -> None:
    """Error of every width on random knees, techniques and sides."""
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    seconds, refused = [], []
    for seed in range(films):
        rng = np.random.default_rng(1000 + seed)
        phantom = knee_film(random_knee(rng), random_setup(rng))
        start = time.perf_counter()
        try:
            margins = find_margins(phantom.radiograph)
        except KneeimgError as error:
            refused.append(f"{seed}: {error.code}")
            continue
        rows = measure_joint_space(margins, phantom.radiograph.spacing_mm)
        seconds.append(time.perf_counter() - start)
        for row in rows:
            if (row.region, row.quantity) in phantom.truth:
                key = (row.region, row.quantity)
                errors[key].append(row.value - phantom.truth[key])
    print(f"{films} random phantom films, refused {len(refused)} {refused}")
    print(f"{np.median(seconds):.2f} s per film (median)")
    print(f"{'quantity':28s}{'bias':>9s}{'SD':>9s}{'worst':>9s}")
    for key in _SHOWN:
        values = np.array(errors[key])
        name = "_".join(key)
        print(
            f"{name:28s}{values.mean():+9.3f}{values.std(ddof=1):9.3f}{np.abs(values).max():9.3f}"
        )


def real_table(folder: Path, films: int) -> None:
    """Distance of hand-set landmarks to the margins found, in pixels."""
    from PIL import Image

    with (folder / "index.csv").open() as stream:
        listed = [row for row in csv.DictReader(stream) if row["T0x"]]
    listed = listed[:: max(1, len(listed) // films)][:films]
    distances, refused = [], []
    for row in listed:
        image = np.asarray(Image.open(folder / row["file"]), dtype=np.float32)
        side = Side.LEFT if row["side"] == "L" else Side.RIGHT
        film = Radiograph(image, None, SpacingSource.NONE, side, patient_left_on_image_right=True)
        try:
            margins = find_margins(film)
        except KneeimgError as error:
            refused.append(f"{row['file']}: {error.code}")
            continue
        found = []
        for bone, compartment, name in _LANDMARKS:
            mark = np.array([float(row[f"{name}x"]), float(row[f"{name}y"])])
            line = getattr(margins, bone)[compartment].points
            found.append(np.linalg.norm(line - mark, axis=1).min())
        distances.append(found)
    worst = np.array(distances)
    median, ninetieth = np.percentile(worst, [50, 90])
    print(f"\n{len(listed)} real films, refused {len(refused)}: {', '.join(refused)}")
    print(f"landmark to margin: median {median:.2f} px, 90th percentile {ninetieth:.2f} px")
    for limit in (3.5, 5.0):
        share = (worst.max(axis=1) < limit).sum() / len(listed)
        print(f"all four landmarks within {limit} px: {100 * share:.0f} % of films")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=50)
    parser.add_argument("--real", type=int, default=100)
    options = parser.parse_args()
    phantom_table(options.films)
    root = Path(__file__).resolve().parents[2] / "shared" / "data"
    real = Path(os.environ.get("KNEEIMG_REAL_DATA", root)) / "xray" / "films"
    if real.is_dir():
        real_table(real, options.real)
    else:
        print(f"no real films at {real}")


if __name__ == "__main__":
    main()
