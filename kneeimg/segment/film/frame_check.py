"""Whether the edges of the femur lie where the look of the whole knee says; a flag otherwise.

The edge of a condyle is faint where it lies in front of soft tissue, and the skin or a vessel may
be clearer: then the femoral width, and with it every x, is wrong although each line is sharp. What
is seen all around says where the edges should be: ridge regression on histograms of edge
directions [1]_ over the level film, learned from films on which the edges were found. The search
for an edge expects it there; where what it found lies far off, the width is to be looked at.

References
----------
.. [1] Dalal & Triggs 2005, doi:10.1109/CVPR.2005.177.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.margins import Compartment, JointMargins
from kneeimg.errors import Finding, ModelError
from kneeimg.measure.edge_histograms import ANGLES, CELL, edge_histograms
from kneeimg.segment.film.checks import width_uncertain
from kneeimg.segment.film.locate import Pose
from kneeimg.segment.film.rectify import LEFT, RIGHT, TOP, WIDTH, LevelFilm, Leveller
from kneeimg.settings.resources import model_path

FloatArray = NDArray[np.float64]

FORMAT = 1
V_RANGE = (-0.50, 0.34)
#: How far outside and inside the expected place an edge may lie, of the femoral width. Where edges
#: were found right, on people never seen, both places differ by an SD of 0.017. What misleads is
#: mostly the skin: of 17 films beyond 0.04 to either side all eight with the line outside were seen
#: to be wrong, of those inside only the two beyond 0.08.
MOST_OUTSIDE, MOST_INSIDE = 0.040, 0.080


@dataclass(frozen=True, slots=True, eq=False)
class EdgeModel:
    """Ridge regression of x of the medial and the lateral edge of the femur.

    Attributes
    ----------
    mean : (F,) features of the mean training film.
    weights : (F, 2) of the medial and the lateral edge.
    edges : (2,) x of both edges on the mean training film.
    sha256 : Of the file.
    """

    mean: FloatArray
    weights: FloatArray
    edges: FloatArray
    sha256: str

    def expected(self, film: LevelFilm) -> dict[Compartment, float]:
        """x at which each edge of the femur should lie on a level film."""
        found = (edge_features(film) - self.mean) @ self.weights + self.edges
        return dict(zip(Compartment, found.tolist(), strict=True))


@lru_cache(maxsize=1)
def shipped_edge_model() -> EdgeModel:
    """The model that ships with kneeimg, read once."""
    return read_edge_model(model_path("film_frame") / "film_frame.npz")


def read_edge_model(path: Path) -> EdgeModel:
    """Read a model of the femoral edges.

    Raises
    ------
    ModelError
        MODEL_REFUSED: the file is absent, no .npz, of another layout, incomplete or not finite.
    """
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if int(arrays["format"]) != FORMAT:
                raise ValueError(f"layout {int(arrays['format'])}")
            mean, weights, edges = (
                arrays[name].astype(np.float64) for name in ("mean", "weights", "edges")
            )
        shapes, count = (mean.shape, weights.shape, edges.shape), feature_count()
        if shapes != ((count,), (count, 2), (2,)):
            raise ValueError(f"shapes {shapes}")
        if not all(np.isfinite(v).all() for v in (mean, weights, edges)):
            raise ValueError("values that are not finite")
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            "the model of the femoral edges cannot be read",
            where=path.name,
            expected=f"an .npz of layout {FORMAT}",
            found=f"{type(error).__name__}: {error}",
            action="install kneeimg again, or write it with scripts/train_film_frame.py",
        ) from error
    return EdgeModel(mean, weights, edges, hashlib.sha256(content).hexdigest())


def write_edge_model(path: Path, mean: FloatArray, weights: FloatArray, edges: FloatArray) -> None:
    """Write a model; float16 weights move an edge by less than 0.001 of the width."""
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            format=np.array(FORMAT),
            mean=mean.astype(np.float16),
            weights=weights.astype(np.float16),
            edges=edges,
        )


def check_frame(
    leveller: Leveller, margins: JointMargins, model: EdgeModel | None = None
) -> list[Finding]:
    """Flag each edge of the femur that does not lie where the look of the knee says.

    Parameters
    ----------
    leveller : Of the film with bright bone and medial on the left.
    margins : Its margins.
    model : None takes the shipped one.
    """
    expected = (model or shipped_edge_model()).expected(leveller.at(pose_of(margins)))
    outside = {
        Compartment.MEDIAL: expected[Compartment.MEDIAL],
        Compartment.LATERAL: 1.0 - expected[Compartment.LATERAL],
    }
    return [
        width_uncertain(
            c,
            "lies elsewhere than the look of the knee says",
            f"at most {MOST_OUTSIDE:g} femoral widths outside, {MOST_INSIDE:g} inside it",
            f"{abs(by):.3f} {'outside' if by > 0 else 'inside'}",
        )
        for c, by in outside.items()
        if not -MOST_INSIDE <= by <= MOST_OUTSIDE
    ]


def pose_of(margins: JointMargins) -> Pose:
    """The pose whose x = 0 and x = 1 touch the femoral edges of margins with medial on the left."""
    touch = margins.tangent
    along = (touch[1] - touch[0]) / np.linalg.norm(touch[1] - touch[0])
    start = float((margins.femoral_edges[Compartment.MEDIAL].points @ along).min())
    stop = float((margins.femoral_edges[Compartment.LATERAL].points @ along).max())
    middle = touch[0] + ((start + stop) / 2 - touch[0] @ along) * along
    turn_deg = math.degrees(math.atan2(along[1], along[0]))
    return Pose(float(middle[0]), float(middle[1]), stop - start, turn_deg)


def _rows() -> tuple[int, int]:
    """First row of the cells on the level film, and how many rows of cells there are."""
    return round((V_RANGE[0] - TOP) * WIDTH), round((V_RANGE[1] - V_RANGE[0]) * WIDTH) // CELL


def _columns() -> int:
    return (round((RIGHT - LEFT) * WIDTH) + 1) // CELL


def feature_count() -> int:
    """Length of :func:`edge_features`."""
    return _rows()[1] * _columns() * ANGLES


def edge_features(film: LevelFilm) -> FloatArray:
    """Histograms of edge directions of every cell of a level film; 0 where it is off the film."""
    first, rows = _rows()
    found = edge_histograms(film.detail, film.inside, (rows, _columns()), first)
    return np.nan_to_num(found, nan=0.0).ravel()
