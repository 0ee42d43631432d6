"""Seconds and memory to segment one knee, in a fresh process.

    python benchmarks/segment_speed.py [--model knee_mr] [--image SCAN --side right] [--threads 2]

Without an image a phantom on the OAI DESS grid (160 x 384 x 384) is drawn first, outside of what is
measured. Without an installed model a network of the default architecture with random weights runs
(--random): the time is the same, the labels mean nothing.
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
import torch
torch.set_num_threads(int(sys.argv[4]))
from kneeimg.core.anatomy import Side
from kneeimg.pipeline.segmenting import segment_scan
from kneeimg.settings.segmentation import ConfidenceSettings, SegmentationSettings
imported = time.perf_counter()
settings = SegmentationSettings(
    model=sys.argv[2], precision=sys.argv[5], device="cpu",
    confidence=ConfidenceSettings(enabled=sys.argv[6] == "judge"),
)
cpu = time.process_time()
scan = segment_scan(Path(sys.argv[1]), Side(sys.argv[3]), settings)
done = time.perf_counter()
print(json.dumps({
    "import_s": imported - start, "segment_s": done - imported,
    "cpu_s": time.process_time() - cpu,
    **{f"{k}_s": v for k, v in scan.segmentation.seconds.items()},
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
}))
"""


def write_phantom(path: Path) -> Path:
    """A DESS-like picture of the phantom knee on the DESS grid."""
    import numpy as np

    from kneeimg.core.anatomy import Side
    from kneeimg.io.nifti import write_volume
    from kneeimg.phantoms.grids import dess_grid
    from kneeimg.phantoms.knee import KneePhantom
    from kneeimg.phantoms.mr import mr_image

    labels = KneePhantom(Side.RIGHT).label_map(dess_grid())
    return write_volume(mr_image(labels, rng=np.random.default_rng(0)), path)


def write_random_model(folder: Path) -> Path:
    """A bundle of the default architecture with random weights; it sees cartilage everywhere."""
    import torch

    from kneeimg.networks.bundle import write_bundle
    from kneeimg.networks.cascade import KneeCascade
    from kneeimg.networks.spec import CascadeSpec

    torch.manual_seed(0)
    write_bundle(KneeCascade(CascadeSpec()), folder, version="random")
    return folder


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", default="knee_mr")
    parser.add_argument("--random", action="store_true", help="random weights")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--side", default="right")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        image = given.image or write_phantom(Path(scratch) / "phantom.nii.gz")
        model = str(write_random_model(Path(scratch) / "random")) if given.random else given.model
        judge = "off" if given.random else "judge"
        options = (image, model, given.side, given.threads, given.precision, judge)
        runs = []
        for _ in range(given.runs):
            command = [sys.executable, "-c", _CHILD, *map(str, options)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            runs.append(json.loads(run.stdout.strip().splitlines()[-1]))
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:14} best {min(values):8.2f}   median {statistics.median(values):8.2f}")
    if given.json:
        given.json.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
