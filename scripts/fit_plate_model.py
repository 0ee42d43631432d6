"""Learn the plate model from label maps of right knees and write models/plate_model.

    python scripts/fit_plate_model.py LABELS [-o FILE] [--modes 12]

LABELS is a folder of NIfTI label maps in the scheme `knee-v1`, all right knees, named
<participant>_<visit>.nii.gz. Needs about 4 s per map, then two or three minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kneeimg.core.anatomy import Bone, Side
from kneeimg.core.plate_model import PlateModel
from kneeimg.core.surface import Surface
from kneeimg.io.label_maps import read_label_map
from kneeimg.io.label_schemes import load_scheme
from kneeimg.io.plate_model import write_plate_model
from kneeimg.measure.bones import measure_bone
from kneeimg.measure.canonical import canonical_knee
from kneeimg.measure.plate_learning import laid_on, learn_mean, near_joint, with_modes
from kneeimg.settings.morphometry import MorphometrySettings


def canonical_surfaces(path: Path) -> dict[Bone, Surface]:
    """The bones of one label map in canonical mm, with tAB as its own cover shows it."""
    knee = canonical_knee(read_label_map(path, load_scheme("knee-v1")), Side.RIGHT)
    settings = MorphometrySettings()
    bones = {bone: measure_bone(knee, bone, settings) for bone in Bone}
    return {bone: near_joint(result.surface) for bone, result in bones.items() if result}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("labels", type=Path)
    default = Path(__file__).parents[1] / "models" / "plate_model" / "plate_model.npz"
    parser.add_argument("-o", "--out", type=Path, default=default)
    parser.add_argument("--modes", type=int, default=12)
    options = parser.parse_args()
    paths = sorted(options.labels.glob("P*_M*.nii.gz"))
    knees = [canonical_surfaces(path) for path in paths]
    bones = {}
    for bone in Bone:
        surfaces = [knee[bone] for knee in knees if bone in knee]
        plates = learn_mean(surfaces, bone)
        examples = [laid_on(plates, surface) for surface in surfaces]
        bones[bone] = with_modes(plates, examples, options.modes)
        misfit = np.quantile([e.laid.misfit_mm for e in examples], [0.5, 1.0])
        print(f"{bone}: {len(plates.points_mm)} points, misfit median and worst {misfit} mm")
    write_plate_model(PlateModel(bones), options.out)
    print(f"{options.out}: {options.out.stat().st_size} bytes from {len(knees)} maps")


if __name__ == "__main__":
    main()
