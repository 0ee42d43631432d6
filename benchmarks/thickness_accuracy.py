"""How near measured cartilage is to the truth: a phantom knee in random poses on the OAI grid.

    python benchmarks/thickness_accuracy.py [--poses 10] [--sweep [MM ...]] [--keep FOLDER]

Prints, per plate and subregion, number of poses (within 20° about every axis), mean error (bias),
SD over poses (repositioning), worst error and range over poses of ThCtAB_aMe in micrometres and
of tAB in percent, for soft and hard label maps. `--sweep` repeats it for constant thicknesses. A *
marks rows that miss the aim: soft 10 / 8 µm, hard 15 / 12 µm of bias / SD from 1 mm on, soft 40 µm
of bias below. "interior" takes the rays of vertices whose true position lies more than 2 mm inside
the plate: the accuracy of the rays without that of the rim. "RMSE" is the error of single vertices,
over all measured ones of the region that lie on its true tAB. "coarse" counts poses whose row
carries `COARSE_GRID`. `--grid` takes another voxel grid.
A stopped run goes on where it was with the same `--keep` folder (empty it when the code changes).
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from kneeimg.core.anatomy import REGION_BONES, SUBREGIONS_OF, Side, VertexState
from kneeimg.core.grid import Grid
from kneeimg.errors import ReasonCode
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.measure.regions import region_mask
from kneeimg.phantoms.cartilage import PlateThickness
from kneeimg.phantoms.grids import (
    coronal_grid,
    dess_grid,
    isotropic_grid,
    random_pose,
    thick_sagittal_grid,
)
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.settings.morphometry import MorphometrySettings

PLATES = ("MT", "LT", "cMF", "cLF", "pMF", "pLF", "TrF", "P")
SUBREGIONS = tuple(part.name for parts in SUBREGIONS_OF.values() for part in parts)
REGIONS = PLATES + SUBREGIONS
#: |bias| and SD over poses that are aimed at, µm, by kind and whether all of it is 1 mm or thicker.
AIMS_UM = {
    ("soft", True): (10.0, 8.0),
    ("soft", False): (40.0, None),
    ("hard", True): (15.0, 12.0),
}
GRIDS = {
    "dess": dess_grid,
    "iso": isotropic_grid,
    "thick": thick_sagittal_grid,
    "coronal": coronal_grid,
}
SWEEP_MM = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0)


def one_pose(
    phantom: KneePhantom,
    truth: dict[tuple[str, str], float],
    hard: bool,
    settings: MorphometrySettings,
    grid: Grid,
    inner_mm: float = 2.0,
) -> dict[str, tuple[float, float, float, float, float]]:
    """Region to errors: ThCtAB_aMe in µm, tAB in %, interior rays in µm, RMSE of rays in µm; and
    1 where the grid is flagged as too coarse, else 0."""
    knee = measure_knee(phantom.label_map(grid, hard=hard), phantom.side, settings)
    rows = {(m.region, m.quantity): m.value for m in knee.measurements}
    coarse = {m.region for m in knee.measurements if ReasonCode.COARSE_GRID in m.flags}
    errors = {}
    for region in REGIONS:
        thickness = rows[region, "ThCtAB_aMe"] - truth[region, "ThCtAB_aMe"]
        area = rows[region, "tAB"] / truth[region, "tAB"] - 1.0
        errors[region] = (
            1e3 * thickness,
            100.0 * area,
            *ray_errors_um(knee, phantom, region, inner_mm),
            float(region in coarse),
        )
    return errors


def ray_errors_um(
    knee: KneeMorphometry, phantom: KneePhantom, region: str, inner_mm: float
) -> tuple[float, float]:
    """Area-weighted mean of ray minus truth inside a region, and RMSE over all of it."""
    bone = REGION_BONES[region]
    surface = knee.surfaces[bone]
    inside = region_mask(surface, region) & (surface.fields["state"] == VertexState.MEASURED)
    points = phantom.canonical(surface.vertices[inside])
    sheet = phantom.sheets[bone]
    foot = sheet.bone.foot(points).points
    level = np.maximum(sheet.bone.edge(foot), sheet.bare_level(foot))
    error_mm = surface.fields["ray_mm"][inside] - sheet.thickness(foot)
    area = surface.fields["area_mm2"][inside]
    deep, on_tab = level < -inner_mm, level < 0.0
    mean = np.average(error_mm[deep], weights=area[deep])
    square = np.average(error_mm[on_tab] ** 2, weights=area[on_tab])
    return float(1e3 * mean), float(1e3 * np.sqrt(square))


@cache
def truth_of(
    thickness: PlateThickness, variation: float, rim_ramp_mm: float
) -> dict[tuple[str, str], float]:
    """Exact values of the phantom; they do not depend on its pose."""
    return KneePhantom(Side.RIGHT, thickness, variation, rim_ramp_mm=rim_ramp_mm).truth()


def series(
    thickness: PlateThickness,
    variation: float,
    hard: bool,
    poses: int,
    rim_ramp_mm: float,
    grid: Grid,
    keep: Path | None = None,
) -> dict[str, np.ndarray]:
    """Region to (poses, 5) errors; `keep` is a name under which each pose is kept, and reused."""
    rng = np.random.default_rng(20240611)
    settings = MorphometrySettings()
    runs = []
    truth = truth_of(thickness, variation, rim_ramp_mm)
    for number in range(poses):
        side = Side.RIGHT if number % 2 == 0 else Side.LEFT
        pose = random_pose(rng, max_angle_deg=20.0)  # drawn also for a pose that is kept
        kept = None if keep is None else keep.with_name(f"{keep.name}_{number:02d}.json")
        if kept is not None and kept.is_file():
            runs.append(json.loads(kept.read_text()))
            continue
        phantom = KneePhantom(side, thickness, variation, rim_ramp_mm=rim_ramp_mm, pose=pose)
        runs.append(one_pose(phantom, truth, hard, settings, grid))
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(runs[-1]))
    return {region: np.array([run[region] for run in runs]) for region in REGIONS}


def report(
    title: str, errors: dict[str, np.ndarray], aim_um: tuple[float, float | None] | None = None
) -> dict[str, dict[str, float]]:
    """Print one table and return it; a * marks what misses the aim."""
    print(f"\n{title}")
    heads = ("n", "bias µm", "SD µm", "worst", "range", "interior µm", "tAB %", "range", "RMSE µm")
    form = "plate  {:>3} {:>9} {:>7} {:>7} {:>7} {:>16} {:>14} {:>6} {:>8} {:>6}"
    print(form.format(*heads, "coarse"))
    table: dict[str, dict[str, float]] = {}
    for region, values in errors.items():
        bias, sd = (
            values.mean(axis=0),
            values.std(axis=0, ddof=1) if len(values) > 1 else values[0] * 0,
        )
        worst, spread = np.abs(values[:, 0]).max(), np.ptp(values, axis=0)
        print(
            f"{region:6} {len(values):3d} {bias[0]:9.1f} {sd[0]:7.1f} {worst:7.1f} {spread[0]:7.1f}"
            f" {bias[2]:8.1f} ± {sd[2]:5.1f} {bias[1]:7.2f} ± {sd[1]:4.2f} {spread[1]:6.2f}"
            f" {bias[3]:8.1f} {int(values[:, 4].sum()):6d}"
            f"{' *' if missed(bias[0], sd[0], aim_um) else ''}",
            flush=True,
        )
        table[region] = {
            "n": len(values),
            "bias_um": bias[0],
            "sd_um": sd[0],
            "worst_um": worst,
            "range_um": spread[0],
            "tab_range_pct": spread[1],
            "interior_bias_um": bias[2],
            "interior_sd_um": sd[2],
            "tab_bias_pct": bias[1],
            "tab_sd_pct": sd[1],
            "vertex_rmse_um": bias[3],
            "flagged_coarse": values[:, 4].sum(),
        }
    return table


def missed(bias_um: float, sd_um: float, aim_um: tuple[float, float | None] | None) -> bool:
    """Whether a region misses the aim."""
    if aim_um is None:
        return False
    return abs(bias_um) > aim_um[0] or (aim_um[1] is not None and sd_um > aim_um[1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--poses", type=int, default=10)
    parser.add_argument("--kind", choices=("soft", "hard", "both"), default="both")
    parser.add_argument("--rim", type=float, default=0.0, help="width of the rim ramp, mm")
    parser.add_argument(
        "--sweep", type=float, nargs="*", metavar="MM", help="constant thicknesses; alone: all"
    )
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--grid", choices=GRIDS, default="dess")
    parser.add_argument("--sweep-poses", type=int, default=None, help="poses of the sweep")
    parser.add_argument(
        "--keep", type=Path, default=None, help="folder of finished poses: run again to go on"
    )
    options = parser.parse_args()

    def kept(kind: str, t_mm: float) -> Path | None:
        name = f"{options.grid}_{kind}_{t_mm:g}_{options.rim:g}"
        return None if options.keep is None else options.keep / name

    grid = GRIDS[options.grid]()
    tables = {}
    kinds = ("soft", "hard") if options.kind == "both" else (options.kind,)
    for kind in kinds if options.poses else ():
        errors = series(
            PlateThickness(),
            0.2,
            kind == "hard",
            options.poses,
            options.rim,
            grid,
            kept(kind, 0.0),
        )
        title = f"knee, {kind}, {options.grid} grid, rim ramp {options.rim} mm"
        tables[kind] = report(title, errors, AIMS_UM[kind, True])
    sweep = () if options.sweep is None else options.sweep or SWEEP_MM
    for t_mm, kind in product(sweep, kinds):
        errors = series(
            PlateThickness.constant(t_mm),
            0.0,
            kind == "hard",
            options.sweep_poses or options.poses,
            options.rim,
            grid,
            kept(kind, t_mm),
        )
        aim = AIMS_UM.get((kind, t_mm >= 1.0))
        tables[f"{kind} {t_mm} mm"] = report(f"constant {t_mm} mm, {kind}", errors, aim)
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
