"""Learn where the edges of the femur lie from how a knee looks, for the check of the film's frame.

    python scripts/train_film_frame.py FILMS --margins DIR [-o FILE]

FILMS is a folder with `index.csv` and its pictures, DIR the margins that
`train_kl_support.py collect` keeps. Films with landmarks of one half of the people are used, the
half on which the finder was tuned; each is laid into six frames beside its own. Edges found by the
finder are the truth, but for films on which they lie more than 0.035 of the width from what the
other four fifths of the people say (four passes): soft tissue taken for bone must not be learned.
Phantom films keep the model right where there is no noise and no skin.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import JointMargins
from kneeimg.io.margins import margins_from_json
from kneeimg.phantoms.film import knee_film, random_knee, random_setup
from kneeimg.segment.film.frame_check import (
    edge_features,
    pose_of,
    read_edge_model,
    write_edge_model,
)
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.rectify import level

FloatArray = NDArray[np.float64]

FRAMES = 6  # per film: half of them far from its own, half near
FOLDS, PASSES = 5, 4
PHANTOMS = 40
FAR_OFF = 0.035  # of the femoral width
RIDGE = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Features of level films and x of both edges in their frames, one row per frame."""

    features: FloatArray
    edges: FloatArray
    near: NDArray[np.bool_]
    film: NDArray[np.int64]
    fold: NDArray[np.int64]  # of the person; -1 for phantoms


def real_films(folder: Path, margins: Path) -> Iterator[tuple[FloatArray, JointMargins, int]]:
    """Tuning half of the landmarked films, bright bone and medial on the left, and their fold."""
    with (folder / "index.csv").open() as stream:
        listed = [row for row in csv.DictReader(stream) if row["T0x"]]
    for row in listed:
        number = zlib.crc32(row["person"].encode())
        values = json.loads((margins / f"{Path(row['file']).stem}.json").read_text())
        if number % 2 == 1 or "refused" in values:
            continue
        image = np.asarray(Image.open(folder / row["file"]).convert("L"), dtype=np.float64)
        image = image.max() - image if row["inverted_polarity"] == "1" else image
        yield *medial_left(image, margins_from_json(values)), number // 2 % FOLDS


def phantom_films() -> Iterator[tuple[FloatArray, JointMargins, int]]:
    """Random phantom films with their exact margins."""
    for seed in range(PHANTOMS):
        rng = np.random.default_rng(900_000 + seed)
        made = knee_film(random_knee(rng), random_setup(rng, pixel_mm=0.3))
        yield *medial_left(made.radiograph.image.astype(np.float64), made.margins), -1


def medial_left(image: FloatArray, margins: JointMargins) -> tuple[FloatArray, JointMargins]:
    """A film and its margins with medial on the left."""
    if margins.side is Side.LEFT:
        return image, margins
    return np.ascontiguousarray(image[:, ::-1]), margins.mirrored()


def beside(pose: Pose, rng: np.random.Generator, share: float) -> Pose:
    """A frame beside that of a knee."""
    width = pose.width * math.exp(rng.uniform(-0.22, 0.22) * share)
    turn_deg = pose.turn_deg + rng.uniform(-4.0, 4.0) * (0.5 + 0.5 * share)
    x, v = 0.5 + rng.uniform(-0.10, 0.10) * share, rng.uniform(-0.05, 0.05) * share
    at = pose.pixels((x, v))
    return replace(pose, column=float(at[0]), row=float(at[1]), width=width, turn_deg=turn_deg)


def examples(source: Iterator[tuple[FloatArray, JointMargins, int]], seed: int) -> Examples:
    """Every film in its frames."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, (image, margins, fold) in enumerate(source):
        own = pose_of(margins)
        for k in range(FRAMES):
            near = k >= FRAMES // 2
            frame = beside(own, rng, 0.35 if near else 1.0)
            edges = frame.frame(own.pixels([(0.0, 0.0), (1.0, 0.0)]))[:, 0]
            rows.append((edge_features(level(image, frame)), edges, near, number, fold))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Examples(*columns)


def fitted(features: FloatArray, edge: FloatArray) -> tuple[FloatArray, float]:
    """Weights and constant of a ridge regression."""
    mean = features.mean(axis=0)
    centred = features - mean
    gram = centred @ centred.T + RIDGE * np.eye(len(centred))
    weights = centred.T @ np.linalg.solve(gram, edge - edge.mean())
    return weights, float(edge.mean() - mean @ weights)


def believed(real: Examples, phantoms: Examples, side: int) -> NDArray[np.bool_]:
    """Examples of films whose edge agrees with what films of other people say; prints figures."""
    good = np.ones(len(real.film), dtype=bool)
    for _ in range(PASSES):
        apart = np.zeros(len(real.film))
        for fold in range(FOLDS):
            learned, held = good & (real.fold != fold), real.fold == fold
            features = np.concatenate([real.features[learned], phantoms.features])
            edge = np.concatenate([real.edges[learned, side], phantoms.edges[:, side]])
            weights, constant = fitted(features, edge)
            apart[held] = real.features[held] @ weights + constant - real.edges[held, side]
        films = np.unique(real.film)
        usual = np.array([np.median(apart[(real.film == f) & real.near]) for f in films])
        off = films[np.abs(usual - np.median(usual)) > FAR_OFF]
        good = ~np.isin(real.film, off)
    spread = apart[good & real.near].std()
    print(f"edge {side}: {len(off)} of {len(films)} films left out; SD of the others {spread:.4f}")
    return good


def main() -> None:
    """Learn and write the model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--margins", type=Path, required=True)
    default = Path(__file__).parents[1] / "models" / "film_frame" / "film_frame.npz"
    parser.add_argument("-o", "--out", type=Path, default=default)
    options = parser.parse_args()
    real = examples(real_films(options.folder, options.margins), seed=0)
    phantoms = examples(phantom_films(), seed=1)
    print(f"{len(real.film)} examples of films, {len(phantoms.film)} of phantoms", flush=True)
    mean = real.features.mean(axis=0)
    parts = []
    for side in (0, 1):
        good = believed(real, phantoms, side)
        features = np.concatenate([real.features[good], phantoms.features]) - mean
        edge = np.concatenate([real.edges[good, side], phantoms.edges[:, side]])
        parts.append(fitted(features, edge))
    weights = np.column_stack([weights for weights, _ in parts])
    write_edge_model(options.out, mean, weights, np.array([constant for _, constant in parts]))
    print(f"{options.out}: {read_edge_model(options.out).sha256}")


if __name__ == "__main__":
    main()
