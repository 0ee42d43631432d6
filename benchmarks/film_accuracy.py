"""Joint space on random phantom films: bias and SD against exact truth, and seconds per film.

Run from the repository root:  python benchmarks/film_accuracy.py [--films N] [--real N]
With --bilateral a film of two knees is timed instead, with --projected films of the 3-D phantom
knee at several angles of the beam are measured. With real films at hand (KNEEIMG_REAL_DATA) their
landmarks are compared too, in pixels.
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
from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film, random_knee, random_setup
from kneeimg.phantoms.film_projection import project_knee
from kneeimg.phantoms.film_scenes import bilateral_film
from kneeimg.phantoms.knee import KneePhantom
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


def bilateral_time(repeats: int = 3) -> None:
    """Processor time for the margins and widths of both knees of one film."""
    setup = FilmSetup(pixel_mm=0.15)
    film = bilateral_film(FilmKnee(), FilmKnee(medial_jsw_mm=2.5), setup).radiograph
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        for side in Side:
            measure_joint_space(find_margins(film, side), film.spacing_mm)
        seconds.append(time.process_time() - start)
    rows, columns = film.image.shape
    print(f"bilateral film, {rows} x {columns} pixels: {min(seconds):.2f} s of processor time")


def projected_table(angles_deg: tuple[float, ...] = (0.0, 4.0, 8.0)) -> None:
    """Errors on films of the 3-D phantom: dished medial, convex lateral plateau."""
    shown = ("mJSW", "fJSW_0150", "fJSW_0225", "fJSW_0300", "fJSW_0750", "fJSW_0850")
    for angle_deg in angles_deg:
        phantom = project_knee(
            KneePhantom(Side.LEFT), FilmSetup(pixel_mm=0.2), beam_angle_deg=angle_deg
        )
        film = phantom.radiograph
        rows = measure_joint_space(find_margins(film), film.spacing_mm)
        known = {(r.region, r.quantity): r.value for r in rows if r.quantity in shown}
        errors = [
            f"{' '.join(key)} {value - phantom.truth[key]:+.2f}"
            for key, value in known.items()
            if key in phantom.truth
        ]
        print(f"beam at {angle_deg:g} degrees, errors in mm: {', '.join(errors)}")


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
    parser.add_argument("--real", type=int, default=100, help="real films; 0: none")
    parser.add_argument("--bilateral", action="store_true")
    parser.add_argument("--projected", action="store_true")
    options = parser.parse_args()
    if options.bilateral or options.projected:
        if options.bilateral:
            bilateral_time()
        if options.projected:
            projected_table()
        return
    phantom_table(options.films)
    root = Path(__file__).resolve().parents[2] / "shared" / "data"
    real = Path(os.environ.get("KNEEIMG_REAL_DATA", root)) / "xray" / "films"
    if options.real and real.is_dir():
        real_table(real, options.real)
    elif options.real:
        print(f"no real films at {real}")


if __name__ == "__main__":
    main()
