"""Learn how the wall of the femur leans against its shaft, for kneeimg/measure/shaft.py.

    python scripts/fit_shaft_table.py LABELS

LABELS is a folder of NIfTI label maps in the scheme `knee-v1`, all right knees, named
<participant>_<visit>.nii.gz; the first visits (M00) are used. Prints the mean lean of every cell
and its SD between people, degrees, as they stand in the code: rows from distal up, columns by
the direction of the normal. `_NONE` where too few knees show a cell. The shaft is what lies
between 0.86 and 1.06 widths of the condyles: there the mean lean
(weighted like the cells) has no direction.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np

from kneeimg.core.anatomy import Bone, Side
from kneeimg.io.label_maps import read_label_map
from kneeimg.io.label_schemes import load_scheme
from kneeimg.measure.canonical import canonical_knee
from kneeimg.measure.frames import condyle_width_mm, femur_frame
from kneeimg.measure.shaft import FEMUR_WALLS, SECTORS, WallTable, wall_cells
from kneeimg.measure.surfaces import level_sets, mesh_level_set, sample
from kneeimg.settings.morphometry import MorphometrySettings

#: Rows of the table, and of one more in which the shaft itself is seen.
ROWS, TOP_ROWS = 12, 4
#: Every so many vertices: the cells are means of hundreds.
EVERY = 6
COVER_DEPTH_MM = 0.8
ROUNDS = 4
#: A cell that fewer knees show is not known; no cell is more certain than this.
LEAST_SHARE, LEAST_SD = 0.4, 0.01

Femur = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def femur_of(path: Path) -> Femur:
    """Vertices, normals, areas and cover of the femur of one label map."""
    knee = canonical_knee(read_label_map(path, load_scheme("knee-v1")), Side.RIGHT)
    settings = MorphometrySettings()
    levels = level_sets(knee, Bone.FEMUR, settings)
    mesh = mesh_level_set(levels.bone, levels.affine, settings.sigma_normal_mm)
    if mesh is None:
        raise SystemExit(f"{path.name}: no femur")
    above = mesh.index + (COVER_DEPTH_MM * mesh.normals) @ np.linalg.inv(levels.affine[:3, :3]).T
    covered = sample(levels.cartilage.astype(np.float32), above) > 0.5
    some = slice(None, None, EVERY)
    return mesh.vertices[some], mesh.normals[some], EVERY * mesh.area_mm2[some], covered[some]


def leans(femora: list[Femur], walls: WallTable) -> np.ndarray:
    """(knees, ROWS, SECTORS) lean of every cell in the frames that the present table gives."""
    found = []
    for vertices, normals, area, covered in femora:
        frame = femur_frame(vertices, normals, area, covered, walls)
        if frame is None:
            raise SystemExit("a femur without cartilage")
        points, turned = vertices @ frame.axes.T, normals @ frame.axes.T
        width_mm = condyle_width_mm(vertices, frame.axes)
        seen, normal, _ = wall_cells(points, turned, area, width_mm, ROWS)
        found.append(np.where(seen, normal[:, :, 2], np.nan))
    return np.array(found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("labels", type=Path)
    paths = sorted(parser.parse_args().labels.glob("*_M00.nii.gz"))
    femora = [femur_of(path) for path in paths]
    angle = (np.arange(SECTORS) + 0.5) / SECTORS * 2.0 * np.pi - np.pi
    directions = np.stack([np.cos(angle), np.sin(angle), np.ones(SECTORS)], axis=1)
    walls = FEMUR_WALLS
    for _ in range(ROUNDS):
        values = leans(femora, walls)
        enough = np.isfinite(values).sum(axis=0) >= len(femora) * LEAST_SHARE
        values = np.where(enough, values, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # cells that nobody shows
            mean, sd = np.nanmean(values, axis=0), np.nanstd(values, axis=0, ddof=1)
            shaft = np.nanmean(mean[-TOP_ROWS:], axis=0)
            trust = 1.0 / np.nanmean(sd[-TOP_ROWS:], axis=0)
        turn = np.linalg.lstsq(directions * trust[:, None], shaft * trust, rcond=None)[0]
        mean -= directions[:, :2] @ turn[:2]
        walls = WallTable(mean[:-1], np.maximum(sd[:-1], LEAST_SD))
        print(f"# {len(femora)} femora, the shaft moved {np.rad2deg(turn[:2]).round(2)} degrees")
    for name, table in (("lean", walls.lean), ("sd", walls.sd)):
        print(f"{name}_deg = (")
        for row in np.rad2deg(np.arcsin(table)):
            cells = ", ".join("_NONE" if np.isnan(v) else f"{v:.1f}" for v in row)
            print(f"    ({cells}),")
        print(")")


if __name__ == "__main__":
    main()
