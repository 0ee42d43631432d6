"""Draw a sheet of synthetic scans as the networks see them, with real scans among them.

    python scripts/draw_training_samples.py POOL -o docs/images/samples.jpg [--real SCAN[:ECHO] ...]

Each tile is the sagittal, coronal or axial middle slice of one scan, drawn as in training. A real
scan is put in at a place drawn from the seed and named below the sheet, so that
you can first guess which one it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.networks.frame import frame_of, resample
from kneeimg.pipeline.segmenting import read_scan
from kneeimg.settings.training import ScanSettings, TrainingSettings
from kneeimg.training.pool import list_pool, load_knee
from kneeimg.training.scans import SyntheticScan

#: Voxels and size of the view that a tile is cut from, i to left, j to posterior, k to superior.
SHAPE, SPACING_MM = (160, 300, 300), (0.7, 0.5, 0.5)
TILE = 256


def main() -> None:
    """Draw the scans one by one and write the sheet."""
    given = arguments()
    rng = np.random.default_rng(given.seed)
    tiles = [(synthetic(given.pool, number, rng), "") for number in range(given.count)]
    for path in given.real:
        tiles.insert(int(rng.integers(len(tiles) + 1)), (real(path), Path(path).name))
    write(tiles, given.out)


def arguments() -> argparse.Namespace:
    """What the user asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument(
        "--real", nargs="*", default=[], help="scans, with :ECHO where there are several"
    )
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=5)
    return parser.parse_args()


def synthetic(pool: Path, number: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """One slice of a scan of a knee of the pool; only the slab around it is drawn."""
    knees = list_pool(pool)
    knee = load_knee(knees[int(rng.integers(len(knees)))])
    view = tuple(n * mm for n, mm in zip(SHAPE, SPACING_MM, strict=True))
    pose = TrainingSettings(stage="fine").pose
    scan = SyntheticScan(
        knee, (view[0], view[1], view[2]), pose, ScanSettings(), (given_seed(rng), number)
    )
    place_mm = (float(rng.uniform(-25.0, 25.0)), 0.0, 0.0)
    sample = scan.sample((8, *SHAPE[1:]), SPACING_MM, place_mm, (2, 1, 1))
    return sample.image[4].numpy()


def given_seed(rng: np.random.Generator) -> int:
    """The next seed of a scan."""
    return int(rng.integers(2**31))


def real(given: str) -> NDArray[np.float32]:
    """The same slice of a real scan, about as far from the middle; `PATH` or `PATH:ECHO`."""
    path, _, echo = given.partition(":")
    image = read_scan(Path(path), int(echo) if echo else None).image
    frame = frame_of(image.grid, Side.RIGHT, SPACING_MM)
    data = torch.from_numpy(np.ascontiguousarray(image.data, dtype=np.float32))
    slices = resample(data[None], image.grid, frame)[0].numpy()
    return slices[slices.shape[0] // 3]


def write(tiles: list[tuple[NDArray[np.float32], str]], path: Path) -> None:
    """The sheet, eight tiles a row, superior up and anterior left."""
    from PIL import Image

    columns = 8
    rows = -(-len(tiles) // columns)
    sheet = Image.new("L", (columns * TILE, rows * TILE))
    for number, (tile, name) in enumerate(tiles):
        low, high = np.percentile(tile, (1.0, 99.5))
        grey = np.clip((tile - low) / max(high - low, 1e-6), 0.0, 1.0) * 255.0
        picture = Image.fromarray(grey.T[::-1].astype(np.uint8)).resize((TILE, TILE))
        sheet.paste(picture, (number % columns * TILE, number // columns * TILE))
        if name:
            print(f"row {number // columns + 1}, column {number % columns + 1}: {name}")
    sheet.save(path, quality=80)


if __name__ == "__main__":
    main()
