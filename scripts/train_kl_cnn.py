"""Train the second opinion on KL grades: small networks on graded films in one frame.

    python scripts/train_kl_support.py collect FILMS --cache DIR      (margins, once)
    python scripts/train_kl_cnn.py crops FILMS --cache DIR
    python scripts/train_kl_cnn.py fold NUMBER --cache DIR            (0 to 4, also side by side)
    python scripts/train_kl_cnn.py gather --cache DIR [-o models/kl_cnn]
    python scripts/train_kl_cnn.py check --cache DIR [--crops NPZ]

FILMS is a folder with pictures and `index.csv` (file, person, side, kl); films whose margins were
refused are left out. `fold N` trains a network on the people of the other four folds (the folds of
KL support) and keeps it in DIR/cnn. `gather` judges each film by the network that never saw its
person, calibrates on those answers, and writes the five networks, whose mean is what ships: a new
film is judged by all of them, so the figures are those of single networks. `check` prints the
figures again, of other crops too, e.g. of margins of another finder, and how the networks agree
with the answers of KL support in DIR/answers.csv. About 6 s of processor time per epoch.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kneeimg import __version__
from kneeimg.core.anatomy import Side
from kneeimg.core.kl_opinion import GradeNetwork, JointCrop
from kneeimg.core.kl_support import GRADES
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.errors import MeasurementError
from kneeimg.io.atomic import write_text
from kneeimg.io.kl_cnn import write_ensemble
from kneeimg.io.margins import margins_from_json
from kneeimg.measure.film_level import level_joint
from kneeimg.measure.joint_space import joint_frame
from kneeimg.measure.kl_model import grade_probabilities
from kneeimg.measure.kl_opinion import network_answer, unlikeness
from kneeimg.networks.film_grade import CropTable, GradeNetworkSpec, GradeTable, grade_network
from kneeimg.settings.kl_cnn import KlCnnTraining
from kneeimg.training.kl_crops import CropDraw, GradedCrops, film_arrays
from kneeimg.training.kl_fit import FOLDS, calibration, folds_by_person
from kneeimg.training.kl_scores import auc, confusion, quadratic_kappa, reliability

FloatArray = NDArray[np.float64]
NETWORK, CROP, TRAINING = GradeNetworkSpec(), CropTable(), KlCnnTraining()
_REPEATS = 1000  # of people, for intervals
_USUAL_PERCENT = 99.0  # of the held-out films lie nearer than `most_unlike`
_DATA = (
    "knee crops of the Osteoarthritis Initiative as published by Chen 2018 "
    "(doi:10.17632/56rmx5bjcr.1, CC BY 4.0 as far as known), copied from the public repository "
    "Rohan-145/KneeOA_Analysis, which states no licence; research use only"
)


def collect_crops(folder: Path, cache: Path, out: Path) -> None:
    """The level films of all films with margins."""
    from PIL import Image

    with (folder / "index.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    kept, details, spaces = [], [], []
    for row in rows:
        stored = json.loads((cache / "margins" / f"{Path(row['file']).stem}.json").read_text())
        if "refused" in stored:
            continue
        image = np.asarray(Image.open(folder / row["file"]).convert("L"), dtype=np.float32)
        side = Side.LEFT if row["side"] == "L" else Side.RIGHT
        film = Radiograph(image, None, SpacingSource.NONE, side, patient_left_on_image_right=True)
        margins = margins_from_json(stored)
        try:
            levels = level_joint(film.image, margins, joint_frame(margins))
        except MeasurementError:
            continue
        detail, space = film_arrays(levels)
        level = next(iter(levels.values()))
        kept.append(row)
        details.append(detail)
        spaces.append(space)
    fold = dict(zip(*_folds(rows), strict=True))
    np.savez(
        out,
        detail=np.array(details), spaces=np.array(spaces), s=level.s, v=level.v,
        names=[row["file"] for row in kept], people=[row["person"] for row in kept],
        grades=[int(row["kl"]) for row in kept], folds=[fold[row["file"]] for row in kept],
    )  # fmt: skip
    print(f"{len(kept)} of {len(rows)} films")


def _folds(rows: list[dict[str, str]]) -> tuple[list[str], list[int]]:
    """Files and the folds that KL support puts them in."""
    people = np.array([row["person"] for row in rows])
    return [row["file"] for row in rows], folds_by_person(people, FOLDS, 0).tolist()


def read_crops(path: Path) -> tuple[GradedCrops, NDArray[np.int64]]:
    """All films and their folds."""
    with np.load(path, allow_pickle=False) as stored:
        names = ("detail", "s", "v", "spaces", "grades", "people", "names")
        return GradedCrops(*(stored[name] for name in names)), stored["folds"]


def taken(films: GradedCrops, rows: NDArray[np.bool_]) -> GradedCrops:
    """Some of the films."""
    arrays = (films.spaces, films.grades, films.people, films.names)
    return GradedCrops(films.detail[rows], films.s, films.v, *(array[rows] for array in arrays))


def train_fold(cache: Path, number: int) -> None:
    """One network on the people of the other folds."""
    import torch

    from kneeimg.training.kl_cnn import train_network

    torch.set_num_threads(1)
    films, folds = read_crops(cache / "crops.npz")
    start = time.process_time()

    def progress(epoch: int, loss: float) -> None:
        used = time.process_time() - start
        print(f"fold {number} epoch {epoch} loss {loss:.3f} cpu {used:.0f} s", flush=True)

    crop = JointCrop(**CROP.model_dump())
    learned = taken(films, folds != number)
    arrays = train_network(learned, NETWORK, crop, TRAINING, seed=number, progress=progress)
    path = cache / "cnn" / f"fold{number}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_networks(cache: Path) -> tuple[dict[str, NDArray[np.floating]], list[GradeNetwork]]:
    """Arrays of all folds as they ship, convolutions in half precision, and the networks."""
    tensors: dict[str, NDArray[np.floating]] = {}
    for number in range(FOLDS):
        with np.load(cache / "cnn" / f"fold{number}.npz") as stored:
            for name in stored.files:
                value = stored[name]
                kept = value.astype(np.float16) if value.ndim == 4 else value
                tensors[f"{number}.{name}"] = kept
    return tensors, [grade_network(tensors, number, NETWORK) for number in range(FOLDS)]


def judged(
    films: GradedCrops, folds: NDArray[np.int64], networks: list[GradeNetwork]
) -> tuple[FloatArray, FloatArray]:
    """(N,) log odds against the mean film, and unlikeness, by the network that never saw them."""
    import torch

    draw = CropDraw(films, JointCrop(**CROP.model_dump()), TRAINING, 0)
    scores, far = np.zeros(len(folds)), np.zeros(len(folds))
    for film, fold in enumerate(folds):
        crops = draw.plain(torch.tensor([film]))[:, 0].numpy()
        answer = network_answer(crops, networks[fold])
        scores[film] = (answer.maps - networks[fold].mean_map).sum()
        far[film] = unlikeness(answer, networks[fold])
    return scores, far


def figures(films: GradedCrops, chances: FloatArray) -> dict[str, float]:
    """How well answers on held-out films agree with the readers."""
    grades, suggested = films.grades, median_grades(chances)
    from_two = chances[:, 2:].sum(axis=1)
    likely = chances.max(axis=1) >= 0.40
    apart = np.abs(suggested - grades)
    low, high = interval(films.people, grades, suggested)
    return {
        "films": len(grades),
        "quadratic_kappa": quadratic_kappa(grades, suggested),
        "quadratic_kappa_low": low,
        "quadratic_kappa_high": high,
        "auc_kl2": auc(grades >= 2, from_two),
        "ece_kl2": reliability(grades >= 2, from_two)[1],
        "same_grade": float((apart == 0).mean()),
        "within_one": float((apart <= 1).mean()),
        "share_likely": float(likely.mean()),
        "quadratic_kappa_likely": quadratic_kappa(grades[likely], suggested[likely]),
    }


def median_grades(chances: FloatArray) -> NDArray[np.int64]:
    """(N,) medians of (N, 5) probabilities."""
    found: NDArray[np.int64] = (np.cumsum(chances, axis=1) >= 0.5).argmax(axis=1)
    return found


def interval(
    people: NDArray[np.str_], grades: NDArray[np.int64], suggested: NDArray[np.int64]
) -> tuple[float, float]:
    """95 % interval of kappa, people drawn with replacement."""
    who, place = np.unique(people, return_inverse=True)
    films = [np.flatnonzero(place == number) for number in range(len(who))]
    random = np.random.default_rng(0)
    found = []
    for _ in range(_REPEATS):
        rows = np.concatenate([films[n] for n in random.integers(0, len(who), len(who))])
        found.append(quadratic_kappa(grades[rows], suggested[rows]))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def gather(cache: Path, out: Path) -> None:
    """Judge, calibrate, write the networks, report."""
    films, folds = read_crops(cache / "crops.npz")
    tensors, networks = read_networks(cache)
    scores, far = judged(films, folds, networks)
    slope, thresholds = calibration(scores, films.grades)
    chances = grade_probabilities(slope * scores, thresholds)
    first, second, third, fourth = (float(value) for value in thresholds)
    table = GradeTable(
        network=NETWORK, members=FOLDS, crop=CROP, slope=slope,
        thresholds=(first, second, third, fourth),
        most_unlike=float(np.percentile(far, _USUAL_PERCENT)), weights_sha256="0" * 64,
    )  # fmt: skip
    sha256 = write_ensemble(out, tensors, table, about(films, figures(films, chances)))
    print(f"wrote {out}, {sum(t.nbytes for t in tensors.values()) / 1e6:.1f} MB, {sha256[:16]}")
    report(films, chances, far, table.most_unlike, cache)


def check(cache: Path, crops: Path | None, model: Path) -> None:
    """The figures again, of other crops too, by the networks that were written."""
    from kneeimg.io.kl_cnn import read_ensemble

    films, folds = read_crops(crops or cache / "crops.npz")
    ensemble = read_ensemble(model)
    scores, far = judged(films, folds, list(ensemble.networks))
    chances = grade_probabilities(ensemble.slope * scores, ensemble.thresholds)
    report(films, chances, far, ensemble.most_unlike, cache)


def report(
    films: GradedCrops, chances: FloatArray, far: FloatArray, most: float, cache: Path
) -> None:
    """Figures, tables, and the agreement with KL support where its answers are at hand."""
    print(json.dumps(figures(films, chances), indent=1))
    print(f"unlikeness: median {np.median(far):.2f}, limit {most:.2f}: {(far > most).sum()} beyond")
    print("readers \\ networks (median)\n", confusion(films.grades, median_grades(chances)))
    for row in reliability(films.grades >= 2, chances[:, 2:].sum(axis=1))[0]:
        print(f"{row.low:.1f}-{row.high:.1f} {row.stated:.3f} {row.found:.3f} {row.films}")
    lines = ["file,KL0,KL1,KL2,KL3,KL4"]
    for name, row in zip(films.names, chances, strict=True):
        lines.append(f"{name}," + ",".join(f"{chance:.6f}" for chance in row))
    write_text(cache / "cnn_answers.csv", "\n".join(lines) + "\n")
    if (cache / "answers.csv").is_file():
        compare(films, chances, cache / "answers.csv")


def about(films: GradedCrops, found: dict[str, float]) -> dict[str, object]:
    """Metadata for people, in the words of MONAI's schema."""
    import monai
    import torch

    return {
        "schema": "https://project-monai.github.io/schema/meta_schema_20240725.json",
        "name": "kl_cnn",
        "version": "0.1.0",
        "changelog": {"0.1.0": "First weights."},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"kneeimg": __version__, "safetensors": "0.5"},
        "task": "Second opinion on the Kellgren-Lawrence grade of a knee film",
        "description": "Five small residual networks, one for each fold of people, judge both "
        "compartments of a film laid level by the joint finder of kneeimg.",
        "authors": "The kneeimg developers",
        "copyright": "Copyright (c) the kneeimg developers",
        "intended_use": "Research. Support, not a reading. Not for diagnosis.",
        "data_source": _DATA,
        "training": {
            "command": "scripts/train_kl_cnn.py crops, fold 0 to 4, gather",
            "films": len(films.grades),
            "people": len(np.unique(films.people)),
            "films_by_grade": np.bincount(films.grades, minlength=len(GRADES)).tolist(),
            "settings": TRAINING.model_dump(mode="json"),
        },
        "eval_metrics": {name: round(float(value), 4) for name, value in found.items()},
    }


def compare(films: GradedCrops, chances: FloatArray, answers: Path) -> None:
    """What features and networks say of the same held-out films."""
    with answers.open() as stream:
        given = [[float(row[f"KL{g}"]) for g in GRADES] for row in csv.DictReader(stream)]
    features = np.array(given)
    if len(features) != len(chances):
        print(f"{len(features)} answers of KL support, {len(chances)} crops: not compared")
        return
    one, other, truth = median_grades(features), median_grades(chances), films.grades
    apart = np.abs(one - other)
    print(f"features: kappa {quadratic_kappa(truth, one):.3f}")
    print(f"features and networks: kappa {quadratic_kappa(one, other):.3f}")
    for distance in range(int(apart.max()) + 1):
        rows = apart == distance
        closer = np.abs(other - truth)[rows] < np.abs(one - truth)[rows]
        farther = np.abs(other - truth)[rows] > np.abs(one - truth)[rows]
        print(
            f"apart {distance}: {rows.sum()} films; readers' grade: features "
            f"{(one == truth)[rows].mean():.2f}, networks {(other == truth)[rows].mean():.2f}; "
            f"networks closer {closer.sum()}, features closer {farther.sum()}"
        )
    print("features \\ networks\n", confusion(one, other))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=("crops", "fold", "gather", "check"))
    parser.add_argument("what", nargs="?", help="folder of films, or number of the fold")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--crops", type=Path, help="other crops: written by crops, read by check")
    parser.add_argument("-o", "--out", type=Path, default=Path("models/kl_cnn"))
    given = parser.parse_args()
    if given.step == "crops":
        out = given.crops or given.cache / "crops.npz"
        collect_crops(Path(given.what), given.cache, out)
    elif given.step == "fold":
        train_fold(given.cache, int(given.what))
    elif given.step == "gather":
        gather(given.cache, given.out)
    else:
        check(given.cache, given.crops, given.out)


if __name__ == "__main__":
    main()
