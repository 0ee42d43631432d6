"""How well tAB is recovered after cartilage is removed on purpose from healthy real knees.

    python benchmarks/tab_recovery.py LABELS [--every 1] [--json FILE]

LABELS: label maps of right knees, scheme `knee-v1`, named <participant>_<visit>.nii.gz. Border
and modes of the plate model are learned without the person under test (the mean bone is that of
all). From the first visit of each person a patch of cartilage is removed (the rays of those bone
points set to 0) and tAB is found again: the bone is laid on the model anew. Columns: change of tAB
of the plate in %, and error of the recovered denuded area in % of the removed area, against the
same knee before removal; "without" is tAB with holes filled only.

"Healthy" are knees whose plate has at most 1 % denuded area before removal, as this software sees
it (no reader said so). The table "spurious" shows all knees: area the model adds to untouched maps.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kneeimg.core.anatomy import PLATE_BONES, PLATE_UNIONS, Bone, Plate, Side
from kneeimg.core.plate_model import BonePlates
from kneeimg.core.surface import Surface
from kneeimg.io.label_maps import read_label_map
from kneeimg.io.label_schemes import load_scheme
from kneeimg.measure.bones import measure_bone
from kneeimg.measure.canonical import canonical_knee
from kneeimg.measure.plate_learning import laid_on, learn_mean, near_joint, with_modes
from kneeimg.measure.plate_model import recover_lost
from kneeimg.measure.tab import plates_from_cover
from kneeimg.settings.morphometry import MorphometrySettings

REGIONS = ("MT", "LT", "MF", "LF", "TrF", "P")
KINDS = ("middle 10", "middle 100", "middle 300", "rim 10", "rim 100", "rim 300", "third")
SETTINGS = MorphometrySettings()
MODES = 12


@dataclass(frozen=True)
class Result:
    """One removal; percentages."""

    region: str
    kind: str
    without_tab: float
    with_tab: float
    dab: float


def joint_surfaces(path: Path) -> dict[Bone, Surface]:
    """The bones of a label map around their plates."""
    knee = canonical_knee(read_label_map(path, load_scheme("knee-v1")), Side.RIGHT)
    found = {bone: measure_bone(knee, bone, SETTINGS) for bone in Bone}
    return {bone: near_joint(item.surface) for bone, item in found.items() if item is not None}


def removals(
    surface: Surface, codes: list[int], rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Kind and vertex numbers of each patch to remove from a plate."""
    plate, points, area = (surface.fields["plate"], surface.vertices, surface.fields["area_mm2"])
    own = np.flatnonzero(np.isin(plate, codes))
    centre = np.average(points[own], axis=0, weights=area[own])
    border = rim_points(surface, codes)
    start = border[rng.integers(len(border))]
    for name, middle in (("middle", centre), ("rim", start)):
        near = own[np.argsort(((points[own] - middle) ** 2).sum(axis=1))]
        for size in (10, 100, 300):
            yield f"{name} {size}", near[: np.searchsorted(np.cumsum(area[near]), size) + 1]
    axes = np.linalg.svd(points[own][::20] - centre, full_matrices=False)[2]
    along = axes[rng.integers(2)] * rng.choice([-1.0, 1.0])
    order = own[np.argsort((points[own] - centre) @ along)]
    yield "third", order[: np.searchsorted(np.cumsum(area[order]), area[own].sum() / 3)]


def rim_points(surface: Surface, codes: list[int]) -> np.ndarray:
    """Vertices of a plate that touch bone outside every plate."""
    plate = surface.fields["plate"]
    outside = (plate[surface.faces] == int(Plate.NONE)).any(axis=1)
    around = np.unique(surface.faces[outside])
    return surface.vertices[around[np.isin(plate[around], codes)]]


def found_tab(
    surface: Surface, ray_mm: np.ndarray, model: BonePlates | None
) -> tuple[np.ndarray, bool]:
    """Plates found from these rays, and whether the model was refused."""
    fields, nowhere = surface.fields, np.zeros(len(ray_mm), dtype=bool)
    plate = plates_from_cover(
        ray_mm, fields["area_mm2"], surface.faces, fields["would_be"], nowhere, SETTINGS
    )
    if model is None:
        return plate, False
    found = recover_lost(surface, plate, fields["would_be"], nowhere, model, SETTINGS.plate_model)
    return found.plate, bool(found.refused)


def with_would_be(surface: Surface) -> Surface:
    """Would-be plates from the nearest vertex of tAB: close enough beside it."""
    from scipy.spatial import KDTree

    inside = np.flatnonzero(surface.fields["plate"] != int(Plate.NONE))
    nearest = inside[KDTree(surface.vertices[inside]).query(surface.vertices)[1]]
    return surface.with_fields(would_be=surface.fields["plate"][nearest])


def one_knee(
    surface: Surface, bone: Bone, model: BonePlates, seed: int
) -> tuple[dict[str, float], list[Result], bool]:
    """Spurious share per region, results of removals on healthy plates, refusal."""
    surface = with_would_be(surface)
    area, ray = surface.fields["area_mm2"], surface.fields["ray_mm"]
    bare = np.nan_to_num(ray, nan=9.0) < SETTINGS.denuded_below_mm
    plain, _ = found_tab(surface, ray, None)
    before, refused = found_tab(surface, ray, model)
    rng, spurious, results = np.random.default_rng(seed), {}, []
    for region in REGIONS:
        codes = [int(p) for p in PLATE_UNIONS[region]]
        if PLATE_BONES[region] is not bone or not np.isin(plain, codes).any():
            continue
        whole, own = area[np.isin(before, codes)].sum(), np.isin(plain, codes)
        spurious[region] = float(100.0 * (whole / area[own].sum() - 1.0))
        dab = area[np.isin(before, codes) & bare].sum()
        if dab > 0.01 * whole:
            continue
        for kind, gone in removals(surface.with_fields(plate=plain), codes, rng):
            less = ray.copy()
            less[gone] = 0.0
            naked = np.nan_to_num(less, nan=9.0) < SETTINGS.denuded_below_mm
            without, _ = found_tab(surface, less, None)
            after, _ = found_tab(surface, less, model)
            recovered = area[np.isin(after, codes) & naked].sum() - dab
            results.append(
                Result(
                    region,
                    kind,
                    float(100.0 * (area[np.isin(without, codes)].sum() / whole - 1.0)),
                    float(100.0 * (area[np.isin(after, codes)].sum() / whole - 1.0)),
                    float(100.0 * (recovered / area[gone].sum() - 1.0)),
                )
            )
    return spurious, results, refused


def report(spurious: Mapping[str, list[float]], results: list[Result]) -> dict[str, object]:
    """Print the tables and return them."""
    print("\nspurious: area the model adds to untouched maps, % of tAB")
    print("plate    n  median   90 %    max   over 1 %")
    tables: dict[str, object] = {"spurious": {}}
    for region, values in spurious.items():
        v = np.array(values)
        print(
            f"{region:5} {len(v):4d} {np.median(v):7.2f} {np.quantile(v, 0.9):6.2f}"
            f" {v.max():6.2f} {(v > 1).sum():6d}"
        )
        tables["spurious"][region] = values  # type: ignore[index]
    heads = "  n | without: tAB % | tAB %: mean   SD worst  within 3 | dAB %: mean   MAE  within 10"
    groups = {"all plates": REGIONS, "MT, LT": ("MT", "LT"), "MF, LF": ("MF", "LF")}
    for title, regions in (groups | {"TrF": ("TrF",), "P": ("P",)}).items():
        print(f"\n{title}\n{'removed':11}{heads}")
        for kind in KINDS:
            some = [r for r in results if r.kind == kind and r.region in regions]
            if not some:
                continue
            t, d = np.array([r.with_tab for r in some]), np.array([r.dab for r in some])
            plain = np.mean([r.without_tab for r in some])
            print(
                f"{kind:11}{len(some):3d} | {plain:14.2f} | {t.mean():11.2f} {t.std():5.2f}"
                f" {np.abs(t).max():5.1f} {100 * np.mean(np.abs(t) <= 3):7.0f} % |"
                f" {d.mean():11.1f} {np.abs(d).mean():5.1f} {100 * np.mean(np.abs(d) <= 10):8.0f} %"
            )
    tables["results"] = [vars(r) for r in results]
    return tables


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("labels", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every n-th person")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    paths = sorted(options.labels.glob("P*_M*.nii.gz"))
    knees = {path.name.split(".")[0]: joint_surfaces(path) for path in paths}
    first = [n for n in knees if n.endswith("_M00")][:: options.every]
    spurious, results, refusals = defaultdict(list), [], 0
    for bone in Bone:
        surfaces = {name: knee[bone] for name, knee in knees.items() if bone in knee}
        mean = learn_mean(list(surfaces.values()), bone)
        examples = {name: laid_on(mean, surface) for name, surface in surfaces.items()}
        for name in (n for n in first if n in surfaces):
            others = [e for n, e in examples.items() if n.split("_")[0] != name.split("_")[0]]
            model = with_modes(mean, others, MODES)
            shares, some, refused = one_knee(surfaces[name], bone, model, zlib.crc32(name.encode()))
            for region, share in shares.items():
                spurious[region].append(share)
            results += some
            refusals += refused
    print(f"{len(first)} people; model refused on {refusals} untouched bones")
    tables = report(spurious, results)
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
