"""The same film shifted, turned, rescaled and with noise: spread of joint space, real and phantom.

Run from the repository root:  python benchmarks/film_robustness.py [--real N] [--phantoms N]
[--start N] [--every N]: real films from a number on, every so many of the landmarked ones.

The spread is the root mean square of the SD over the versions of one film: % of the femoral width
on real films (their scale is unknown), mm on phantoms. A second table lays the margins of all
versions back onto the film and measures them between the femoral edges of the film as it is: what
is left is the spread of the margins without that of the frame.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from film_real import films, read_film
from scipy.ndimage import affine_transform

from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.radiograph import Radiograph
from kneeimg.errors import KneeimgError
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


def moved(film: Radiograph, turn_deg: float, scale: float, shift: float) -> Radiograph:
    """A film turned about its middle, enlarged and shifted; spacing follows the scale."""
    turn = np.deg2rad(turn_deg)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    old = np.array(film.image.shape)
    shape = np.round(old * scale).astype(int)
    offset = (old - 1) / 2 - matrix @ ((shape - 1) / 2 + shift)
    image = affine_transform(
        film.image.astype(np.float64), matrix, offset, tuple(shape), order=3, mode="nearest"
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


def laid_back(
    margins: JointMargins, shape: tuple[int, ...], move: tuple[float, float, float]
) -> JointMargins:
    """Margins of a moved film in the pixels of the film itself."""
    turn_deg, scale, shift = move
    turn = np.deg2rad(turn_deg)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    old = np.array(shape)
    offset = (old - 1) / 2 - matrix @ ((np.round(old * scale) - 1) / 2 + shift)

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


Values = dict[tuple[str, str], list[float]]


def _add(values: Values, margins: JointMargins, film: Radiograph, unit: str) -> None:
    """Add the widths of one version to those of a film."""
    rows = measure_joint_space(margins, film.spacing_mm)
    width = next(r.value for r in rows if r.quantity == "femoral_width")
    for row in rows:
        if (row.region, row.quantity) in _SHOWN:
            values[row.region, row.quantity].append(row.value * (width if unit == "mm" else 100.0))


def spread(source: list[tuple[str, Radiograph]], unit: str) -> None:
    """Print the RMS SD of every width, in the own frames and in one frame, and what was refused."""
    own: list[Values] = []
    fixed: list[Values] = []
    refused = []
    for name, film in source:
        own.append(defaultdict(list))
        fixed.append(defaultdict(list))
        edges = None
        for what, version in versions(film):
            try:
                margins = find_margins(version)
                _add(own[-1], margins, version, unit)
            except KneeimgError as error:
                refused.append(f"{name} {what} {error.code}")
                continue
            back = laid_back(margins, film.image.shape, _MOVES[what])
            edges = edges or back.femoral_edges
            _add(fixed[-1], replace(back, femoral_edges=edges), film, unit)
    print(f"\n{len(source)} films, 6 versions each; refused: {', '.join(refused) or 'none'}")
    for title, films_values in (("each in its own frame", own), ("in one frame", fixed)):
        print(f"{title:24s}{'RMS SD':>9s}{'median SD':>11s}  {unit}")
        for key in _SHOWN:
            known = [np.array(v[key])[np.isfinite(v[key])] for v in films_values]
            got = np.array([v.var(ddof=1) for v in known if len(v) > 1])
            if len(got):
                rms, middle = np.sqrt(got.mean()), np.sqrt(np.median(got))
                print(f"{'_'.join(key):24s}{rms:9.3f}{middle:11.3f}")


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
