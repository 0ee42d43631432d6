"""Seconds and memory for one knee, each run in a fresh process.

    python benchmarks/knee_speed.py [MAP.nii.gz] [--runs 3] [--json FILE]

Without a map the phantom knee on the OAI DESS grid (160 x 384 x 384) is measured as a hard map.
Prints wall seconds, processor seconds and peak resident memory of `measure_knee` and of the
thickness map on voxels. If `mskt` is importable, its thickness of the femur alone is timed beside
it on the same map. (54.8 s for pymskt on a whole knee is our earlier, published figure on two
cores; it is not measured by this script.)
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_CHILD = """
import json, resource, sys, time
import numpy as np
from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
saved = np.load(sys.argv[1])
label_map = LabelMap(saved["labels"], Grid(saved["labels"].shape, saved["affine"], None))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
clock, cpu = time.perf_counter(), time.process_time()
from kneeimg.measure.morphometry import measure_knee
from kneeimg.measure.voxel_map import thickness_on_grid
imported = time.perf_counter()
knee = measure_knee(label_map, Side.RIGHT)
measured = time.perf_counter()
thickness_on_grid(knee.surfaces, label_map)
done = time.perf_counter()
print(json.dumps({
    "import_s": imported - clock, "measure_s": measured - imported, "map_s": done - measured,
    "cpu_s": time.process_time() - cpu,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    "before_mb": before / 1024.0, "rows": len(knee.measurements),
}))
"""

_MSKT_CHILD = """
import sys, time
from pymskt.mesh import BoneMesh
clock = time.perf_counter()
bone = BoneMesh(path_seg_image=sys.argv[1], label_idx=1, list_cartilage_labels=[2])
bone.create_mesh()
bone.calc_cartilage_thickness()
print(time.perf_counter() - clock)
"""


def read_map(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels of scheme knee-v1 and LPS affine of a NIfTI file."""
    import nibabel as nib

    from kneeimg.core.anatomy import KNEE_V1

    image = nib.load(path)
    table = np.zeros(256, dtype=np.uint8)
    for value, tissue in KNEE_V1.tissues.items():
        table[value] = int(tissue)
    labels = table[np.asarray(image.dataobj).astype(np.uint8)]
    return labels, np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine


def phantom_map() -> tuple[np.ndarray, np.ndarray]:
    """The phantom knee on the DESS grid."""
    from kneeimg.core.anatomy import Side
    from kneeimg.phantoms.grids import dess_grid
    from kneeimg.phantoms.knee import KneePhantom

    label_map = KneePhantom(Side.RIGHT).label_map(dess_grid(), hard=True)
    return label_map.labels, label_map.grid.affine


def child(code: str, argument: Path) -> str:
    """Last line that a fresh interpreter prints."""
    run = subprocess.run(
        [sys.executable, "-c", code, str(argument)], capture_output=True, text=True, check=True
    )
    return run.stdout.strip().splitlines()[-1]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("map", nargs="?", type=Path, help="label map, scheme knee-v1, right knee")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    labels, affine = read_map(options.map) if options.map else phantom_map()
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "map.npz"
        np.savez(saved, labels=labels, affine=affine)
        runs = [json.loads(child(_CHILD, saved)) for _ in range(options.runs)]
    print(f"{options.map.name if options.map else 'phantom'}, {labels.shape}, {len(runs)} runs")
    best = {name: min(run[name] for run in runs) for name in runs[0]}
    for name in ("import_s", "measure_s", "map_s", "cpu_s", "peak_mb", "before_mb"):
        middle = float(np.median([run[name] for run in runs]))
        print(f"{name:10} best {best[name]:8.2f}   median {middle:8.2f}")
    result: dict[str, object] = {"runs": runs, "mskt_femur_s": None}
    if options.map and importlib.util.find_spec("pymskt"):
        seconds = float(child(_MSKT_CHILD, options.map))
        result["mskt_femur_s"] = seconds
        print(f"pymskt, femur only: {seconds:.1f} s, ratio {seconds / best['measure_s']:.1f}")
    else:
        print("pymskt: not compared (needs a NIfTI map and the package)")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
