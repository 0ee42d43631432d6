"""The same film shifted, turned, rescaled and with noise: spread of joint space, real and phantom.

Run from the repository root:  python benchmarks/film_robustness.py [--real N] [--phantoms N]
[--start N] [--every N]: real films from a number on, every so many of the landmarked ones.

The spread is the root mean square of the SD over the versions of one film: % of the femoral width
on real films (their scale is unknown), mm on phantoms. "In one frame" lays the margins of all
versions back onto the film and measures them between the femoral edges of the film as it is: what
is left is the spread of the margins without that of the frame. The films are tight crops, and some
versions push an edge of the femur off the film: further tables leave those versions out, and then
the films that are flagged as they are. A film counts with three versions or more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from film_real import films, read_film
from scipy.ndimage import affine_transform

from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.radiograph import Radiograph
from kneeimg.errors import KneeimgError, ReasonCode
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.phantoms.film import knee_film, random_knee, random_setup
from kneeimg.segment.film import find_margins

_SHOWN = (
    *(("medial", name) for name in ("nmJSW", "nmeanJSW", "nfJSW_0150", "nfJSW_0225", "nfJSW_0300")),
    *(
        ("lateral", name)
        for name in ("nmJSW", "nmeanJSW", "nfJSW_0700", "nfJSW_0800", "nfJSW_0900")
    ),
)


_FLAGS = {
    ReasonCode.MARGIN_UNCERTAIN,
    ReasonCode.WIDTH_UNCERTAIN,
    ReasonCode.BONE_CUT_BY_VIEW,
}
_CLEAR_OF_BORDER = 4.0  # pixels of the film by which both femoral edges must lie inside
_LEAST_VERSIONS = 3
Move = tuple[float, float, float]


def placement(shape: tuple[int, ...], move: Move) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Matrix and offset from (row, column) of a moved film to those of the film, and its shape."""
    turn_deg, scale, shift = move
    turn = np.deg2rad(turn_deg)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    old = np.array(shape)
    new = np.round(old * scale).astype(int)
    offset = (old - 1) / 2 - matrix @ ((new - 1) / 2 + shift)
    return matrix, offset, (int(new[0]), int(new[1]))


def moved(film: Radiograph, turn_deg: float, scale: float, shift: float) -> Radiograph:
    """A film turned about its middle, enlarged and shifted; spacing follows the scale."""
    matrix, offset, shape = placement(film.image.shape, (turn_deg, scale, shift))
    image = affine_transform(
        film.image.astype(np.float64), matrix, offset, shape, order=3, mode="nearest"
    )
    spacing = film.spacing_mm
    if spacing is not None:
        spacing = (spacing[0] / scale, spacing[1] / scale)
    return replace(film, image=image.astype(np.float32), spacing_mm=spacing)


def noisy(film: Radiograph, share: float) -> Radiograph:
    """A film with Gaussian noise of a share of its grey range."""
    low, high = np.percentile(film.image, [1, 99])
    noise = np.random.default_rng(0).normal(0.0, share * (high - low), film.image.shape)
    return replace(film, image=(film.image + noise).astype(np.float32))


#: What is done to a film: turn in degrees, scale, shift in pixels.
_MOVES = {
    "as it is": (0.0, 1.0, 0.0),
    "shifted by 2.5 pixels": (0.0, 1.0, 2.5),
    "turned by -5 degrees": (-5.0, 1.0, 0.0),
    "turned by 5 degrees": (5.0, 1.0, 0.0),
    "enlarged by 1.25": (0.0, 1.25, 0.0),
    "noise of 2 % of the range": (0.0, 1.0, 0.0),
}


def versions(film: Radiograph) -> Iterator[tuple[str, Radiograph]]:
    """The film and what is done to it."""
    for what, move in _MOVES.items():
        if "noise" in what:
            yield what, noisy(film, 0.02)
        else:
            yield what, film if move == (0.0, 1.0, 0.0) else moved(film, *move)


def laid_back(margins: JointMargins, shape: tuple[int, ...], move: Move) -> JointMargins:
    """Margins of a moved film in the pixels of the film itself."""
    matrix, offset, _ = placement(shape, move)

    def lines(those: Mapping[Compartment, MarginLine]) -> dict[Compartment, MarginLine]:
        return {
            c: MarginLine((line.points[:, ::-1] @ matrix.T + offset)[:, ::-1], line.confidence)
            for c, line in those.items()
        }

    return replace(
        margins,
        femur=lines(margins.femur),
        tibia=lines(margins.tibia),
        femoral_edges=lines(margins.femoral_edges),
    )


def cuts_the_femur(margins: JointMargins, shape: tuple[int, ...], move: Move) -> bool:
    """Whether the femoral edges of a film lie at or beyond the border of one of its versions."""
    matrix, offset, new = placement(shape, move)
    points = np.concatenate([line.points for line in margins.femoral_edges.values()])
    placed = (points[:, ::-1] - offset) @ np.linalg.inv(matrix).T
    spare = min(float(placed.min()), float((np.array(new) - 1 - placed).min()))
    return spare < _CLEAR_OF_BORDER * move[1]


Values = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Version:
    """What was measured on one version: in its own frame, and in the film's; what it cuts."""

    own: Values
    fixed: Values
    cuts: bool


def _values(margins: JointMargins, film: Radiograph, unit: str) -> Values:
    """Every width that is shown."""
    rows = {(r.region, r.quantity): r.value for r in measure_joint_space(margins, film.spacing_mm)}
    width = rows["knee", "femoral_width"] if unit == "mm" else 100.0
    return {key: rows[key] * width for key in _SHOWN}


def measured(film: Radiograph, name: str, unit: str) -> tuple[list[Version], bool, list[str]]:
    """The versions of a film, whether it is flagged as it is, and what was refused."""
    found: list[Version] = []
    refused = []
    first: JointMargins | None = None
    flagged = True
    for what, version in versions(film):
        move = _MOVES[what]
        try:
            margins = find_margins(version)
        except KneeimgError as error:
            refused.append(f"{name} {what} {error.code}")
            continue
        back = laid_back(margins, film.image.shape, move)
        if first is None:
            first, flagged = back, bool(_FLAGS & set(margins.flags))
        fixed = replace(back, femoral_edges=first.femoral_edges)
        cuts = cuts_the_femur(first, film.image.shape, move)
        values = _values(margins, version, unit), _values(fixed, film, unit)
        found.append(Version(*values, cuts))
    return found, flagged, refused


def show(title: str, films_versions: Sequence[Sequence[Mapping]], unit: str) -> None:
    """Print the RMS and the median over the films of the SD of every width."""
    used = [values for values in films_versions if len(values) >= _LEAST_VERSIONS]
    print(f"{title} ({len(used)} films)\n{'':24s}{'RMS SD':>9s}{'median SD':>11s}  {unit}")
    for key in _SHOWN:
        known = [np.array([v[key] for v in values]) for values in used]
        known = [values[np.isfinite(values)] for values in known]
        got = np.array([v.var(ddof=1) for v in known if len(v) > 1])
        if len(got):
            rms, middle = np.sqrt(got.mean()), np.sqrt(np.median(got))
            print(f"{'_'.join(key):24s}{rms:9.3f}{middle:11.3f}")


def spread(source: list[tuple[str, Radiograph]], unit: str) -> None:
    """Print every table and what was refused."""
    results = [measured(film, name, unit) for name, film in source]
    refused = [text for _, _, texts in results for text in texts]
    print(f"\n{len(source)} films, 6 versions each; refused: {', '.join(refused) or 'none'}")
    groups = {
        "all versions": [found for found, _, _ in results],
        "versions that keep the femur on the film": [
            [v for v in found if not v.cuts] for found, _, _ in results
        ],
        "the same, films without a flag": [
            [v for v in found if not v.cuts] for found, flagged, _ in results if not flagged
        ],
    }
    for title, group in groups.items():
        show(f"{title}, own frames", [[v.own for v in found] for found in group], unit)
        show(f"{title}, one frame", [[v.fixed for v in found] for found in group], unit)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=int, default=40)
    parser.add_argument("--phantoms", type=int, default=10)
    parser.add_argument("--start", type=int, default=3)
    parser.add_argument("--every", type=int)
    options = parser.parse_args()
    if options.real:
        listed = films("landmarked", 1)
        every = options.every or max(1, len(listed) // options.real)
        listed = listed[options.start :: every][: options.real]
        spread([(row["file"], read_film(row)) for row in listed], "% of femoral width")
    if options.phantoms:
        made = []
        for seed in range(options.phantoms):
            rng = np.random.default_rng(4000 + seed)
            made.append(
                (f"phantom {seed}", knee_film(random_knee(rng), random_setup(rng)).radiograph)
            )
        spread(made, "mm")


if __name__ == "__main__":
    main()
