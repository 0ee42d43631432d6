"""How near measured cartilage is to the truth: a phantom knee in random poses on the OAI grid.

    python benchmarks/thickness_accuracy.py [--poses 10] [--sweep] [--json FILE]

Prints, per plate, number of poses, mean error (bias), SD over poses (repositioning) and the worst
error of ThCtAB_aMe in micrometres and of tAB in percent, for soft and hard label maps. `--sweep`
repeats it for constant thicknesses. "interior" rows take the rays of vertices whose true position
lies more than 2 mm inside the plate: the accuracy of the rays without that of the rim.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from kneeimg.core.anatomy import PLATE_UNIONS, Bone, Side
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.phantoms.cartilage import PlateThickness
from kneeimg.phantoms.grids import dess_grid, random_pose
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.settings.morphometry import MorphometrySettings

REGIONS = ("MT", "LT", "cMF", "cLF", "pMF", "pLF", "TrF", "P")
SWEEP_MM = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0)


def one_pose(
    phantom: KneePhantom, hard: bool, settings: MorphometrySettings, inner_mm: float = 2.0
) -> dict[str, tuple[float, float, float]]:
    """Region to errors: ThCtAB_aMe in µm, tAB in %, interior rays in µm."""
    truth = phantom.truth()
    knee = measure_knee(phantom.label_map(dess_grid(), hard=hard), phantom.side, settings)
    rows = {(m.region, m.quantity): m.value for m in knee.measurements}
    errors = {}
    for region in REGIONS:
        thickness = rows[region, "ThCtAB_aMe"] - truth[region, "ThCtAB_aMe"]
        area = rows[region, "tAB"] / truth[region, "tAB"] - 1.0
        errors[region] = (
            1e3 * thickness,
            100.0 * area,
            interior_error_um(knee, phantom, region, inner_mm),
        )
    return errors


def interior_error_um(
    knee: KneeMorphometry, phantom: KneePhantom, region: str, inner_mm: float
) -> float:
    """Area-weighted mean of ray minus true thickness over the inside of one plate."""
    bone = next(b for b in Bone if region in _REGIONS_ON[b])
    surface = knee.surfaces[bone]
    inside = np.isin(surface.fields["plate"], [int(p) for p in PLATE_UNIONS[region]])
    points = phantom.canonical(surface.vertices[inside])
    sheet = phantom.sheets[bone]
    foot = sheet.bone.foot(points).points
    deep = np.maximum(sheet.bone.edge(foot), sheet.bare_level(foot)) < -inner_mm
    true_mm = sheet.thickness(foot)
    ray_mm, area = surface.fields["ray_mm"][inside], surface.fields["area_mm2"][inside]
    return float(1e3 * np.average((ray_mm - true_mm)[deep], weights=area[deep]))


_REGIONS_ON = {
    Bone.FEMUR: ("cMF", "cLF", "pMF", "pLF", "TrF"),
    Bone.TIBIA: ("MT", "LT"),
    Bone.PATELLA: ("P",),
}


def series(
    thickness: PlateThickness, variation: float, hard: bool, poses: int, rim_ramp_mm: float
) -> dict[str, np.ndarray]:
    """Region to (poses, 3) errors."""
    rng = np.random.default_rng(20240611)
    settings = MorphometrySettings()
    runs = []
    for number in range(poses):
        side = Side.RIGHT if number % 2 == 0 else Side.LEFT
        phantom = KneePhantom(
            side,
            thickness,
            variation,
            rim_ramp_mm=rim_ramp_mm,
            pose=random_pose(rng, max_angle_deg=15.0),
        )
        runs.append(one_pose(phantom, hard, settings))
    return {region: np.array([run[region] for run in runs]) for region in REGIONS}


def report(title: str, errors: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Print one table and return it."""
    print(f"\n{title}")
    heads = ("n", "bias µm", "SD µm", "worst", "interior µm", "tAB %")
    print("plate  {:>3} {:>9} {:>7} {:>7} {:>16} {:>14}".format(*heads))
    table = {}
    for region, values in errors.items():
        bias, sd = (
            values.mean(axis=0),
            values.std(axis=0, ddof=1) if len(values) > 1 else values[0] * 0,
        )
        worst = np.abs(values[:, 0]).max()
        print(
            f"{region:6} {len(values):3d} {bias[0]:9.1f} {sd[0]:7.1f} {worst:7.1f}"
            f" {bias[2]:8.1f} ± {sd[2]:5.1f} {bias[1]:7.2f} ± {sd[1]:4.2f}",
            flush=True,
        )
        table[region] = {
            "n": len(values),
            "bias_um": bias[0],
            "sd_um": sd[0],
            "worst_um": worst,
            "interior_bias_um": bias[2],
            "interior_sd_um": sd[2],
            "tab_bias_pct": bias[1],
            "tab_sd_pct": sd[1],
        }
    return table


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--poses", type=int, default=10)
    parser.add_argument("--kind", choices=("soft", "hard", "both"), default="both")
    parser.add_argument("--rim", type=float, default=0.0, help="width of the rim ramp, mm")
    parser.add_argument("--sweep", action="store_true", help="constant thicknesses as well")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    tables = {}
    for kind in ("soft", "hard") if options.kind == "both" else (options.kind,):
        errors = series(PlateThickness(), 0.2, kind == "hard", options.poses, options.rim)
        tables[kind] = report(f"knee, {kind}, rim ramp {options.rim} mm", errors)
        for t_mm in SWEEP_MM if options.sweep else ():
            errors = series(
                PlateThickness.constant(t_mm), 0.0, kind == "hard", options.poses, options.rim
            )
            tables[f"{kind} {t_mm} mm"] = report(f"constant {t_mm} mm, {kind}", errors)
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
