"""The same film shifted, turned, rescaled and with noise: spread of joint space, real and phantom.

Run from the repository root:  python benchmarks/film_robustness.py [--real N] [--phantoms N]

The spread is the root mean square of the SD over the versions of one film: % of the femoral width
on real films (their scale is unknown), mm on phantoms.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from film_real import films, read_film
from scipy.ndimage import affine_transform

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


def versions(film: Radiograph) -> Iterator[tuple[str, Radiograph]]:
    """The film and what is done to it."""
    yield "as it is", film
    yield "shifted by 2.5 pixels", moved(film, 0.0, 1.0, 2.5)
    yield "turned by -5 degrees", moved(film, -5.0, 1.0, 0.0)
    yield "turned by 5 degrees", moved(film, 5.0, 1.0, 0.0)
    yield "enlarged by 1.25", moved(film, 0.0, 1.25, 0.0)
    yield "noise of 2 % of the range", noisy(film, 0.02)


def spread(source: list[tuple[str, Radiograph]], unit: str) -> None:
    """Print the RMS SD of every width, and what was refused."""
    squares: dict[tuple[str, str], list[float]] = defaultdict(list)
    refused = []
    for name, film in source:
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for what, version in versions(film):
            try:
                rows = measure_joint_space(find_margins(version), version.spacing_mm)
            except KneeimgError as error:
                refused.append(f"{name} {what} {error.code}")
                continue
            width = next(r.value for r in rows if r.quantity == "femoral_width")
            for row in rows:
                if (row.region, row.quantity) in _SHOWN:
                    factor = width if unit == "mm" else 100.0
                    values[row.region, row.quantity].append(row.value * factor)
        for key, repeats in values.items():
            known = np.array(repeats)[np.isfinite(repeats)]
            if len(known) > 1:
                squares[key].append(float(known.var(ddof=1)))
    print(f"\n{len(source)} films, 6 versions each; refused: {', '.join(refused) or 'none'}")
    print(f"{'quantity':24s}{'RMS SD':>9s}{'median SD':>11s}  {unit}")
    for key in _SHOWN:
        got = np.array(squares[key])
        if len(got):
            rms, middle = np.sqrt(got.mean()), np.sqrt(np.median(got))
            print(f"{'_'.join(key):24s}{rms:9.3f}{middle:11.3f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=int, default=40)
    parser.add_argument("--phantoms", type=int, default=10)
    options = parser.parse_args()
    if options.real:
        listed = films("landmarked", 1)
        listed = listed[3 :: max(1, len(listed) // options.real)][: options.real]
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
