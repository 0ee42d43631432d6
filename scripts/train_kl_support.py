"""Train KL support on graded films: margins and features once, then the model.

    python scripts/train_kl_support.py collect FILMS --cache DIR [--films N]
    python scripts/train_kl_support.py fit --cache DIR [-o FILE]

FILMS is a folder with `index.csv` (file, person, side, kl) and its pictures. `collect` keeps the
margins of one film per file, goes on where it was stopped, and writes `features.csv` and
`looks.npz`; a changed finder needs a new folder. A film without margins (refused, or beyond the
first N) still teaches how bones look, laid into the typical frame of the collection: its pictures
must be crops of one kind. `fit` cross-validates by person, prints the figures and writes the model
and `answers.csv`, what was said of the held-out films, for `benchmarks/kl_support.py`.
About 0.6 s of processor time per film.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kneeimg import __version__
from kneeimg.core.anatomy import Side
from kneeimg.core.kl_support import GRADES, KlSupport
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.errors import InputError, KneeimgError, MeasurementError
from kneeimg.io.atomic import write_json, write_text
from kneeimg.io.kl_model import kl_model_to_json
from kneeimg.io.margins import margins_from_json, margins_to_json
from kneeimg.measure.appearance import look_vector
from kneeimg.measure.film_level import level_joint
from kneeimg.measure.joint_space import joint_frame
from kneeimg.measure.kl_features import kl_vector, measure_features
from kneeimg.segment.film import find_margins
from kneeimg.training.kl_fit import FOLDS, GradedFilms, cross_validate, fit_kl_model, graded_films
from kneeimg.training.kl_scores import auc, quadratic_kappa, reliability

Row = dict[str, str]
Look = NDArray[np.float16]
_ABOUT = ("file", "person", "side", "kl", "refused", "flags")
NOT_TRIED = "NOT_TRIED"
_DATA = (
    "knee crops of the Osteoarthritis Initiative as published by Chen 2018 "
    "(doi:10.17632/56rmx5bjcr.1, CC BY 4.0 as far as known), copied from the public repository "
    "Rohan-145/KneeOA_Analysis, which states no licence; research use only"
)


def read_film(folder: Path, row: Row) -> Radiograph:
    """A film of the collection; its pixel size is unknown."""
    from PIL import Image

    image = np.asarray(Image.open(folder / row["file"]).convert("L"), dtype=np.float32)
    side = Side.LEFT if row["side"] == "L" else Side.RIGHT
    return Radiograph(image, None, SpacingSource.NONE, side, patient_left_on_image_right=True)


def margins_of(film: Radiograph, path: Path) -> dict[str, object]:
    """Margins as JSON, or the code of the refusal, from the cache or afresh."""
    if path.is_file():
        found: dict[str, object] = json.loads(path.read_text())
        return found
    try:
        values = margins_to_json(find_margins(film), film)
    except InputError as error:
        values = {"refused": str(error.code)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, values)
    return values


def features_of(film: Radiograph, values: dict[str, object]) -> tuple[Row, Look | None]:
    """Columns of the table of features, and how the bones look; None without margins."""
    if "refused" in values:
        return {"refused": str(values["refused"])}, None
    margins = margins_from_json(values)
    try:
        features = measure_features(film.image, margins, None)
    except MeasurementError as error:
        return {"refused": str(error.code)}, None
    seen = {name: f"{value:.6g}" for name, value in kl_vector(features).items() if value == value}
    row = {"flags": " ".join(map(str, margins.flags))} | seen
    return row, features.look.astype(np.float16)


def typical_look(film: Radiograph, frame: tuple[float, float, float]) -> Look:
    """How the bones look on a film without margins, laid into the typical frame.

    `frame` is middle column and row of the tangent and femoral width, as shares of the picture of a
    knee with medial on the left.
    """
    rows, columns = film.image.shape
    middle, row, width = frame[0] * columns, frame[1] * rows, frame[2] * columns
    ends = {Compartment.MEDIAL: middle - width / 2, Compartment.LATERAL: middle + width / 2}
    inward = {Compartment.MEDIAL: width * 0.3, Compartment.LATERAL: -width * 0.3}

    def lines(below: float, reach: float) -> dict[Compartment, MarginLine]:
        return {
            c: MarginLine.certain(
                np.array([(ends[c], row + below), (ends[c] + reach * inward[c], row + below)])
            )
            for c in Compartment
        }

    touch = np.array([(ends[c] + inward[c], row) for c in Compartment])
    femur, tibia, edges = lines(0.0, 1.0), lines(0.06 * width, 1.0), lines(-0.2 * width, 0.0)
    margins = JointMargins(Side.LEFT, (rows, columns), femur, tibia, edges, touch)
    image = film.image if film.side is Side.LEFT else film.image[:, ::-1]
    levels = level_joint(image, margins, joint_frame(margins))
    return look_vector(levels).astype(np.float16)


def frame_of(film: Radiograph, values: dict[str, object]) -> tuple[float, float, float]:
    """Frame of a film with margins, as :func:`typical_look` wants it."""
    margins = margins_from_json(values)
    margins = margins if margins.side is Side.LEFT else margins.mirrored()
    frame = joint_frame(margins)
    rows, columns = film.image.shape
    middle = frame.pixels([[frame.width / 2, 0.0]])[0]
    return float(middle[0] / columns), float(middle[1] / rows), frame.width / columns


def collect(folder: Path, cache: Path, most: int | None) -> None:
    """Margins and features of every film; beyond the first `most`, only how the bones look."""
    with (folder / "index.csv").open() as stream:
        listed = list(csv.DictReader(stream))
    rows: list[Row] = []
    looks: dict[str, Look] = {}
    frames: list[tuple[float, float, float]] = []
    for number, about in enumerate(listed):
        if number % 100 == 0:
            print(f"{number} of {len(listed)} films", flush=True)
        film = read_film(folder, about)
        row: Row = {"refused": NOT_TRIED}
        look: Look | None = None
        if most is None or number < most:
            values = margins_of(film, cache / "margins" / f"{Path(about['file']).stem}.json")
            row, look = features_of(film, values)
            frames += [] if look is None else [frame_of(film, values)]
        if look is None and frames:
            first, second, third = np.median(frames, axis=0).tolist()
            look = typical_look(film, (first, second, third))
        if look is not None:
            looks[about["file"]] = look
        rows.append({name: about[name] for name in ("file", "person", "side", "kl")} | row)
    np.savez_compressed(cache / "looks.npz", **looks)
    names = sorted({name for row in rows for name in row} - set(_ABOUT))
    lines = [",".join((*_ABOUT, *names))]
    lines += [",".join(row.get(name, "") for name in (*_ABOUT, *names)) for row in rows]
    write_text(cache / "features.csv", "\n".join(lines) + "\n")
    refused = Counter(row["refused"] for row in rows if row.get("refused"))
    print(f"{len(rows)} films, refused {sum(refused.values())}: {dict(refused)}")
    flags = Counter(flag for row in rows for flag in row.get("flags", "").split())
    print(f"flags: {dict(flags)}")


def read_features(cache: Path) -> tuple[GradedFilms, Counter[str]]:
    """All films of which there is a look, and how many have no margins for which reason."""
    with (cache / "features.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name not in _ABOUT]
    refused = Counter(row["refused"] for row in rows if row["refused"])
    with np.load(cache / "looks.npz", allow_pickle=False) as stored:
        rows = [row for row in rows if row["file"] in stored]
        looks = np.array([stored[row["file"]] for row in rows], dtype=np.float32)
    return graded_films(rows, names, looks), refused


def write_answers(answers: Sequence[KlSupport], path: Path) -> None:
    """What models that never saw a person said of the films with margins, in order."""
    lines = ["certain," + ",".join(f"KL{grade}" for grade in GRADES)]
    for answer in answers:
        chances = ",".join(f"{chance:.6f}" for chance in answer.probabilities)
        lines.append(f"{int(answer.certain)},{chances}")
    write_text(path, "\n".join(lines) + "\n")


def figures(films: GradedFilms, answers: Sequence[KlSupport]) -> dict[str, float]:
    """Figures of five folds by person, of the films with margins."""
    chances = np.array([answer.probabilities for answer in answers])
    suggested = (np.cumsum(chances, axis=1) >= 0.5).argmax(axis=1)
    from_two = chances[:, 2:].sum(axis=1)
    certain = np.array([answer.certain for answer in answers])
    return {
        "quadratic_kappa": quadratic_kappa(films.grades, suggested),
        "auc_kl2": auc(films.grades >= 2, from_two),
        "ece_kl2": reliability(films.grades >= 2, from_two)[1],
        "share_certain": float(certain.mean()),
        "quadratic_kappa_certain": quadratic_kappa(films.grades[certain], suggested[certain]),
    }


def fit(cache: Path, out: Path) -> None:
    """Cross-validate, fit on all films, write the model."""
    films, refused = read_features(cache)
    answers = cross_validate(films)
    write_answers(answers, cache / "answers.csv")
    found = figures(films.take(films.framed), answers)
    for name, value in found.items():
        print(f"{name:26s} {value:.3f}")
    model = fit_kl_model(films)
    provenance = {
        "made_by": "scripts/train_kl_support.py",
        "kneeimg": __version__,
        "data": _DATA,
        "films": int(films.framed.sum()),
        "people": len(set(films.people[films.framed].tolist())),
        "grades": np.bincount(films.grades[films.framed], minlength=5).tolist(),
        "films_for_the_looks": len(films.grades),
        "without_margins": dict(sorted(refused.items())),
        "folds_by_person": FOLDS,
        "figures": {name: round(value, 4) for name, value in found.items()},
        **model.provenance,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, kl_model_to_json(replace(model, provenance=provenance)))
    print(f"{out}: {len(model.features)} features from {int(films.framed.sum())} films")
    for feature in sorted(model.features, key=lambda f: -abs(f.coefficient)):
        print(f"  {feature.coefficient:+.2f} per SD  {feature.name}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect")
    collecting.add_argument("folder", type=Path)
    collecting.add_argument("--films", type=int)
    fitting = commands.add_parser("fit")
    default = Path(__file__).parents[1] / "models" / "kl_support" / "kl_support.json"
    fitting.add_argument("-o", "--out", type=Path, default=default)
    for command in (collecting, fitting):
        command.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    try:
        if options.command == "collect":
            collect(options.folder, options.cache, options.films)
        else:
            fit(options.cache, options.out)
    except KneeimgError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
