"""Thickness of one label map by `mskt`, along its own documented path; prints seconds and memory.

Run it with a Python that has mskt and nibabel (never kneeimg's own environment):

    PYTHON_WITH_MSKT benchmarks/peer_mskt.py P01_M00.nii.gz

Label values as in the scheme `knee-v1`: 1/2 femur, 3/4 tibia, 5/6 patella. `knee_speed.py --mskt
PYTHON_WITH_MSKT` calls this and prints the ratio.
"""

from __future__ import annotations

import json
import resource
import sys
import time

start = time.perf_counter()
from pymskt.mesh import meshes  # noqa: E402 - the import belongs to the time

imported = time.perf_counter()
path = sys.argv[1]
means_mm = {}
for bone, label, cartilage in (("femur", 1, 2), ("tibia", 3, 4), ("patella", 5, 6)):
    mesh = meshes.BoneMesh(path_seg_image=path, label_idx=label, list_cartilage_labels=[cartilage])
    mesh.create_mesh()
    mesh.calc_cartilage_thickness()
    thickness = mesh.get_scalar("thickness (mm)")
    means_mm[bone] = float(thickness[thickness > 0].mean())
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - imported,
            "import_seconds": imported - start,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "mean_thickness_mm_of_vertices_with_cartilage": means_mm,
        }
    )
)
