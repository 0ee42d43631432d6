"""Learn how a lower piece of the femoral shaft leans, for kneeimg/measure/shaft.py.

    python scripts/fit_shaft_table.py LABELS

LABELS is a folder of NIfTI label maps in the scheme `knee-v1`, all right knees, named *.nii.gz.
Every femur that shows the whole piece is cut level at each height of the table. Printed: the
heights in widths of the condyles, and for each the mean over femora by which the lean that is read
there must be mended, degrees (`LEANS_DEG`), and its SD between femora: the error of one knee whose
view ends there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kneeimg.core.anatomy import Bone, Side
from kneeimg.io.label_maps import read_label_map
from kneeimg.io.label_schemes import load_scheme
from kneeimg.measure.bones import measure_bone
from kneeimg.measure.canonical import canonical_knee
from kneeimg.measure.frames import condyle_width_mm
from kneeimg.measure.shaft import END_MM, LEAN_TOPS, LEANS_DEG, TOP, shaft_lean
from kneeimg.settings.morphometry import MorphometrySettings

#: A cut whose piece ends this much lower than asked is left out, widths.
SLACK = 0.06


def leans(path: Path) -> np.ndarray | None:
    """(tops,) lean backwards that is read at each height; None for a view that ends too low."""
    knee = canonical_knee(read_label_map(path, load_scheme("knee-v1")), Side.RIGHT)
    found = measure_bone(knee, Bone.FEMUR, MorphometrySettings())
    if found is None or found.frame is None:
        return None
    axes, fields = found.frame.axes, found.surface.fields
    points, normals = found.surface.vertices @ axes.T, fields["normals"] @ axes.T
    width_mm = condyle_width_mm(found.surface.vertices, axes)
    whole = shaft_lean(points, normals, fields["area_mm2"], width_mm)
    if whole is None or whole.top < TOP:
        return None
    row = np.full(len(LEAN_TOPS), np.nan)
    for number, top in enumerate(LEAN_TOPS):
        kept = points[:, 2] - points[:, 2].min() < top * width_mm + END_MM
        some = shaft_lean(points[kept], normals[kept], fields["area_mm2"][kept], width_mm)
        if some is not None and some.top > top - SLACK:
            told = np.interp(some.top, LEAN_TOPS, LEANS_DEG)
            row[number] = some.backwards_deg - told - whole.backwards_deg
    return row


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("labels", type=Path)
    rows = [leans(path) for path in sorted(parser.parse_args().labels.glob("*.nii.gz"))]
    table = np.array([row for row in rows if row is not None])
    print(f"{len(table)} of {len(rows)} femora\n   top    mend      SD   n")
    for top, column in zip(LEAN_TOPS, table.T, strict=True):
        values = column[np.isfinite(column)]
        if len(values) > 1:
            print(f"{top:6.2f} {-values.mean():7.2f} {values.std(ddof=1):7.2f} {len(values):3d}")


if __name__ == "__main__":
    main()
