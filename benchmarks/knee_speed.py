"""Seconds and memory for one knee, label map file to all rows and maps, in a fresh process.

    python benchmarks/knee_speed.py [MAP.nii.gz] [--runs 3] [--mskt PYTHON] [--json FILE]

Wall and processor time leave imports out, as for mskt; processor time is that of all threads. As in
`kneeimg measure mr`, the matrix library keeps to one thread. The median run stands against the
limits. Without a map the phantom knee on the OAI DESS grid (160 x 384 x 384) is written and
measured as a hard map. `--mskt` names a Python that has mskt: the same file then goes along mskt's
own documented path (`peer_mskt.py`), and the ratio of wall times is compared with its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
import cc3d, nibabel, scipy.sparse.csgraph
from vtkmodules.util import numpy_support
from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D
from kneeimg.core.anatomy import Side
from kneeimg.io.label_maps import read_label_map
from kneeimg.measure.morphometry import measure_knee
from kneeimg.measure.voxel_map import thickness_on_grid
imported, cpu = time.perf_counter(), time.process_time()
label_map = read_label_map(Path(sys.argv[1]), "knee-v1")
read = time.perf_counter()
knee = measure_knee(label_map, Side.RIGHT)
measured = time.perf_counter()
thickness_on_grid(knee.surfaces, label_map, knee.owners)
done = time.perf_counter()
print(json.dumps({
    "import_s": imported - start, "read_s": read - imported, "measure_s": measured - read,
    "map_s": done - measured, "total_s": done - imported, "cpu_s": time.process_time() - cpu,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    "rows": len(knee.measurements),
}))
"""

#: What a run reports: name, what it is, limit (at most) or None.
_REPORTED = (
    ("total_s", "wall, reading to voxel map, s", 1.5),
    ("read_s", "  reading, s", None),
    ("measure_s", "  all rows and surfaces, s", None),
    ("map_s", "  map on the voxel grid, s", None),
    ("cpu_s", "processor time, all threads, s", None),
    ("peak_mb", "peak memory, imports included, MB", 1000.0),
    ("import_s", "imports (not counted above), s", None),
    ("rows", "rows", None),
)
_LEAST_RATIO = 50.0


def write_phantom(path: Path) -> Path:
    """The phantom knee on the DESS grid as a hard label map."""
    from kneeimg.core.anatomy import Side
    from kneeimg.io.label_maps import write_label_map
    from kneeimg.phantoms.grids import dess_grid
    from kneeimg.phantoms.knee import KneePhantom

    return write_label_map(KneePhantom(Side.RIGHT).label_map(dess_grid(), hard=True), path)


def last_line(*command: object, **variables: str) -> dict[str, float]:
    """The JSON object that a fresh process with these environment variables prints last."""
    run = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
    found: dict[str, float] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("map", nargs="?", type=Path, help="label map, scheme knee-v1, right knee")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mskt", metavar="PYTHON", help="interpreter with mskt and nibabel")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.map or write_phantom(Path(folder) / "phantom.nii.gz")
        one_thread = {"OPENBLAS_NUM_THREADS": "1"}
        runs = [
            last_line(sys.executable, "-c", _CHILD, path, **one_thread) for _ in range(given.runs)
        ]
        peer = None
        if given.mskt:
            peer = last_line(given.mskt, Path(__file__).with_name("peer_mskt.py"), path)
    print(f"{path.name}, {len(runs)} runs, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    show(runs, peer)
    if given.json:
        given.json.write_text(json.dumps({"runs": runs, "mskt": peer}, indent=1))


def show(runs: list[dict[str, float]], peer: dict[str, float] | None) -> None:
    """The table: best, median, limit and whether the median keeps to it."""
    print(f"{'':36s} {'best':>8s} {'median':>8s} {'limit':>8s}")
    for name, what, limit in _REPORTED:
        values = [run[name] for run in runs]
        line = f"{what:36s} {min(values):8.2f} {statistics.median(values):8.2f}"
        print(line if limit is None else f"{line} {limit:8.1f} {verdict(values, limit)}")
    if peer:
        ratios = [peer["seconds"] / run["total_s"] for run in runs]
        print(f"{'mskt, wall, s':36s} {'':8s} {peer['seconds']:8.2f}")
        print(f"{'mskt, peak memory, MB':36s} {'':8s} {peer['peak_mb']:8.2f}")
        median = statistics.median(ratios)
        kept = "kept" if median >= _LEAST_RATIO else "MISSED"
        line = f"{'times faster than mskt':36s} {max(ratios):8.2f} {median:8.2f}"
        print(f"{line} {_LEAST_RATIO:8.1f} {kept}")


def verdict(values: list[float], limit: float) -> str:
    """Whether the median keeps to its limit."""
    return "kept" if statistics.median(values) <= limit else "MISSED"


if __name__ == "__main__":
    main()
