"""How long does a 160-slice knee series take to read, beside the bare bytes and other readers?

Run: python benchmarks/read_series.py [--folder DICOM_DIR] [--repeats N]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.io.dicom import find_series, read_volume, write_mr_series

SHAPE = (160, 384, 384)
SPACING_MM = (0.7, 0.365, 0.365)


def best_of(repeats: int, task: Callable[[], object]) -> float:
    """Shortest wall time in seconds; the first run warms the file cache."""
    task()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def write_phantom(folder: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4000, SHAPE).astype(np.uint16)
    grid = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]), None)
    write_mr_series(Volume(values, grid, "a.u."), folder, side=None)


def simpleitk(folder: Path) -> None:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.Execute()


def highdicom(paths: list[Path]) -> None:
    import highdicom
    import pydicom

    highdicom.get_volume_from_series([pydicom.dcmread(path) for path in paths])


def benchmark(folder: Path, repeats: int) -> list[tuple[str, float]]:
    """Seconds of each way to read the first series of a folder."""
    record = find_series(folder).usable()[0]
    paths = list(record.files)
    rows: list[tuple[str, Callable[[], object]]] = [
        ("raw read of the bytes", lambda: [path.read_bytes() for path in paths]),
        ("kneeimg headers (find_series)", lambda: find_series(folder)),
        ("kneeimg pixels (read_volume)", lambda: read_volume(record)),
        ("kneeimg headers + pixels", lambda: read_volume(find_series(folder).usable()[0])),
        ("SimpleITK", lambda: simpleitk(folder)),
        ("highdicom", lambda: highdicom(paths)),
    ]
    seconds = []
    for name, task in rows:
        try:
            seconds.append((name, best_of(repeats, task)))
        except ImportError as error:
            print(f"{name}: skipped, {error.name} is not installed")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="a real series instead of the phantom")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if options.folder is None:
            write_phantom(folder)
        rows = benchmark(folder, options.repeats)
    raw = rows[0][1]
    print(f"{'':32s} {'seconds':>8s} {'x raw':>7s}")
    for name, seconds in rows:
        print(f"{name:32s} {seconds:8.3f} {seconds / raw:7.1f}")


if __name__ == "__main__":
    main()
