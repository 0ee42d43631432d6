"""Seconds and memory for one knee, label map file to all rows and maps, in a fresh process.

    python benchmarks/knee_speed.py [MAP.nii.gz] [--runs 3] [--mskt PYTHON] [--json FILE]

`total_s` and `cpu_s` (processor time of all threads) leave imports out, as for mskt. Without a map
the phantom knee on the OAI DESS grid (160 x 384 x 384) is written and measured as a
hard map. `--mskt` names a Python that has mskt: the same file then goes along mskt's own documented
path (`peer_mskt.py`), and the ratio is printed.
"""

from __future__ import annotations

import argparse
import json
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

_NAMES = ("import_s", "read_s", "measure_s", "map_s", "total_s", "cpu_s", "peak_mb", "rows")


def write_phantom(path: Path) -> Path:
    """The phantom knee on the DESS grid as a hard label map."""
    from kneeimg.core.anatomy import Side
    from kneeimg.io.label_maps import write_label_map
    from kneeimg.phantoms.grids import dess_grid
    from kneeimg.phantoms.knee import KneePhantom

    return write_label_map(KneePhantom(Side.RIGHT).label_map(dess_grid(), hard=True), path)


def last_line(*command: object) -> dict[str, float]:
    """The JSON object that a fresh process prints last."""
    run = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=True
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
        runs = [last_line(sys.executable, "-c", _CHILD, path) for _ in range(given.runs)]
        peer = None
        if given.mskt:
            peer = last_line(given.mskt, Path(__file__).with_name("peer_mskt.py"), path)
    print(f"{path.name}, {len(runs)} runs")
    median = {name: statistics.median(run[name] for run in runs) for name in _NAMES}
    for name in _NAMES:
        print(f"{name:10} best {min(run[name] for run in runs):8.2f}   median {median[name]:8.2f}")
    if peer:
        ratio = peer["seconds"] / median["total_s"]
        print(f"mskt       {peer['seconds']:.1f} s, {peer['peak_mb']:.0f} MB; ratio {ratio:.1f}")
    if given.json:
        given.json.write_text(json.dumps({"runs": runs, "mskt": peer}, indent=1))


if __name__ == "__main__":
    main()
