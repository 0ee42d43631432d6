"""How well tAB is found after cartilage is removed on purpose from real knees, one visit or two.

    python benchmarks/tab_recovery.py LABELS [--people P01 P05] [--keep DIR] [--no-model]

LABELS: label maps of right knees, scheme `knee-v1`, named <participant>_<visit>.nii.gz. From the
first visit of each person a patch of cartilage is removed (the rays of those bone points become 0)
and tAB is found again, in four ways:

own cover    covered bone with its holes filled: what one visit shows
model        the same and the plate model; its mean bone, border and modes are learned from people
             of other folds only
baseline     the knee, scanned again in another pose (8 degrees) and drawn anew (`DrawnKnee`,
             `ReadingError`, hard labels), has lost the patch; tAB is carried over by registration
             as in the change tables, with their `rim_mm`
border kept  the same with `rim_mm` = 0: the baseline's tAB unchanged (`--border-kept`)

Columns: change of tAB of the plate in %; dAB found beyond what the same way finds when nothing is
removed, less the area removed, in % of that area. "Untouched" is what each way does to knees from
which nothing was removed: change of tAB, and bare bone that appeared, both in % of tAB. Plates with
more than 1 % denuded before the removal, as this software sees it, are left out of the removals.
`--keep` keeps measured surfaces, models and finished plates, so that a run can be taken up again.
"""

from __future__ import annotations

import argparse
import json
import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from kneeimg.core.anatomy import PLATE_BONES, PLATE_UNIONS, Bone, Plate, Side, VertexState
from kneeimg.core.label_map import LabelMap
from kneeimg.core.plate_model import BonePlates
from kneeimg.core.surface import RigidTransform, Surface
from kneeimg.geometry.rigid import rotation
from kneeimg.io.label_maps import read_label_map
from kneeimg.io.label_schemes import load_scheme
from kneeimg.longitudinal.carry import pair_bone
from kneeimg.longitudinal.registration import register_bone
from kneeimg.measure.morphometry import measure_knee
from kneeimg.measure.plate_learning import laid_on, learn_mean, near_joint, with_modes
from kneeimg.measure.plate_model import recover_lost
from kneeimg.measure.tab import plates_from_cover, with_tab
from kneeimg.phantoms.grids import FRAME_UID, JOINT_CENTRE_MM, dess_grid
from kneeimg.phantoms.resegmentation import DrawnKnee, ReadingError
from kneeimg.settings.change import ChangeSettings
from kneeimg.settings.morphometry import MorphometrySettings

REGIONS = ("MT", "LT", "MF", "LF", "TrF", "P")
KINDS = ("middle 10", "middle 100", "middle 300", "rim 10", "rim 100", "rim 300", "third")
WAYS = ("own cover", "model", "baseline", "border kept")
SETTINGS = MorphometrySettings()
RIMS = {"baseline": ChangeSettings(), "border kept": ChangeSettings(rim_mm=0.0)}
MODES, POSE_DEG = 12, 8.0

Knee = Mapping[Bone, Surface]
Models = Mapping[Bone, BonePlates]


@dataclass(frozen=True)
class Result:
    """One plate, one removal, one way.

    `tab_pct` is the change of tAB; `dab_pct` the error of dAB in % of the area removed, and of kind
    "untouched" the bare area that appeared in % of tAB.
    """

    knee: str
    region: str
    kind: str
    way: str
    tab_pct: float
    dab_pct: float


@dataclass(frozen=True, eq=False)
class Pair:
    """A knee, the same knee scanned again, and both motions between them."""

    before: Knee
    after: Knee
    true: RigidTransform
    found: Mapping[Bone, RigidTransform]


def kept(folder: Path | None, name: str, make: Callable[[], Any]) -> Any:
    """What `make` gives, read from the folder where it was kept before."""
    path = None if folder is None else folder / f"{name}.pkl"
    if path is not None and path.exists():
        return pickle.loads(path.read_bytes())
    made = make()
    if path is not None:
        path.write_bytes(pickle.dumps(made))
    return made


def read(path: Path) -> LabelMap:
    """A label map of a right knee."""
    return read_label_map(path, load_scheme("knee-v1"))


def measured(label_map: LabelMap) -> Knee:
    """Its measured surfaces; the shaft is left out."""
    surfaces = measure_knee(label_map, Side.RIGHT, SETTINGS).surfaces
    return {bone: _near(s) for bone, s in surfaces.items() if s.fields["plate"].any()}


def _near(surface: Surface, reach_mm: float = 30.0) -> Surface:
    """The surface around its plates, with all its fields."""
    inside = surface.fields["plate"] != int(Plate.NONE)
    tree = KDTree(surface.vertices[inside][::5])
    keep = np.isfinite(tree.query(surface.vertices, distance_upper_bound=reach_mm)[0])
    number = np.cumsum(keep) - 1
    faces = number[surface.faces[keep[surface.faces].all(axis=1)]]
    fields = {name: values[keep] for name, values in surface.fields.items()}
    return with_would_be(Surface(surface.vertices[keep], faces, fields, surface.frame_uid))


def with_would_be(surface: Surface) -> Surface:
    """Would-be plates from the nearest vertex of tAB: close enough beside it."""
    inside = np.flatnonzero(surface.fields["plate"] != int(Plate.NONE))
    nearest = inside[KDTree(surface.vertices[inside]).query(surface.vertices)[1]]
    return surface.with_fields(would_be=surface.fields["plate"][nearest])


def scanned_again(path: Path, before: Knee) -> Pair:
    """The same knee in another pose on the voxels of the OAI DESS scan, drawn anew."""
    drawn = DrawnKnee(read(path))
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    turn = rotation(rng.normal(size=3), POSE_DEG)
    shift = np.array(JOINT_CENTRE_MM) - turn @ drawn.centre_mm + rng.uniform(-3.0, 3.0, size=3)
    true = RigidTransform(turn, shift, next(iter(before.values())).frame_uid, FRAME_UID)
    again = drawn.scanned_again(true, dess_grid(), ReadingError(), rng)
    after = measured(LabelMap(again.labels, again.grid))
    found = {bone: register_bone(after[bone], before[bone]).transform for bone in before}
    return Pair(before, after, true, found)


# ---- removing cartilage and finding tAB again


def removals(surface: Surface, codes: list[int], seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Kind and vertex numbers of each patch to remove from a plate."""
    rng = np.random.default_rng(seed)
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


def one_visit(surface: Surface, ray_mm: np.ndarray, model: BonePlates | None) -> Surface:
    """The surface with the tAB that these rays show."""
    fields, nowhere = surface.fields, np.zeros(len(ray_mm), dtype=bool)
    plate = plates_from_cover(
        ray_mm, fields["area_mm2"], surface.faces, fields["would_be"], nowhere, SETTINGS
    )
    if model is not None:
        plate = recover_lost(
            surface, plate, fields["would_be"], nowhere, model, SETTINGS.plate_model
        ).plate
    return with_tab(surface.with_fields(ray_mm=ray_mm), plate, SETTINGS)


def two_visits(pair: Pair, bone: Bone, gone: np.ndarray, way: str) -> tuple[Surface, Surface]:
    """Both visits over the baseline's tAB after the follow-up lost a patch of it."""
    before, after = pair.before[bone], pair.after[bone]
    tree = KDTree(pair.true.apply(before.vertices))
    lost = np.isin(tree.query(after.vertices)[1], gone) & (after.fields["plate"] > 0)
    ray_mm = np.where(lost, 0.0, after.fields["ray_mm"])
    followup = one_visit(after, ray_mm, None)
    paired = pair_bone(before, followup, pair.found[bone], RIMS[way], SETTINGS)
    return paired.baseline, paired.followup


def areas(surface: Surface, codes: list[int]) -> tuple[float, float]:
    """tAB and dAB of a plate, mm²."""
    own = np.isin(surface.fields["plate"], codes)
    bare = own & (surface.fields["state"] == int(VertexState.DENUDED))
    area = surface.fields["area_mm2"]
    return float(area[own].sum()), float(area[bare].sum())


def one_plate(
    name: str,
    region: str,
    knee: Knee,
    models: Models | None,
    pair: Pair | None,
    ways: Sequence[str],
) -> Iterator[Result]:
    """All results of one plate."""
    bone, codes = PLATE_BONES[region], [int(p) for p in PLATE_UNIONS[region]]
    surface = knee[bone]
    ray, area = surface.fields["ray_mm"], surface.fields["area_mm2"]
    whole, bare = areas(surface, codes)
    find = {"own cover": partial(one_visit, surface, model=None)}
    if models is not None:
        find["model"] = partial(one_visit, surface, model=models[bone])
    start = {way: areas(make(ray), codes) for way, make in find.items()}
    for way, (tab, dab) in start.items():
        change = 100.0 * (tab / whole - 1.0), 100.0 * (dab - bare) / whole
        yield Result(name, region, "untouched", way, *change)
    twice = [way for way in ways if way in RIMS] if pair is not None else []
    nothing = np.empty(0, dtype=np.int64)
    drawn = {}
    for way in twice:
        first, second = (areas(s, codes) for s in two_visits(pair, bone, nothing, way))  # type: ignore[arg-type]
        drawn[way] = second[1] - first[1]
        change = 100.0 * (first[0] / whole - 1.0), 100.0 * drawn[way] / whole
        yield Result(name, region, "untouched", way, *change)
    if bare > 0.01 * whole:
        return
    for kind, gone in removals(surface, codes, zlib.crc32(f"{name}{region}".encode())):
        removed, less = float(area[gone].sum()), ray.copy()
        less[gone] = 0.0
        for way, make in find.items():
            tab, dab = areas(make(less), codes)
            error = 100.0 * ((dab - start[way][1]) / removed - 1.0)
            yield Result(name, region, kind, way, 100.0 * (tab / start[way][0] - 1.0), error)
        for way in twice:
            first, second = (areas(s, codes) for s in two_visits(pair, bone, gone, way))  # type: ignore[arg-type]
            error = 100.0 * ((second[1] - first[1] - drawn[way]) / removed - 1.0)
            yield Result(name, region, kind, way, 100.0 * (second[0] / whole - 1.0), error)


# ---- models of the folds, and the tables


def fold_models(knees: Mapping[str, Knee], test: set[str]) -> Models:
    """Plate models learned from everybody but these people."""
    models = {}
    for bone in Bone:
        others = {
            name: near_joint(knee[bone])
            for name, knee in knees.items()
            if bone in knee and name.split("_")[0] not in test
        }
        first = [surface for name, surface in others.items() if name.endswith("_M00")]
        mean = learn_mean(first, bone)
        models[bone] = with_modes(mean, [laid_on(mean, s) for s in others.values()], MODES)
    return models


def report(results: Sequence[Result]) -> None:
    """Print the table, in Markdown."""
    columns = "removed | way | n | tAB, %: mean ± SD, worst | within 3 %"
    print(f"| {columns} | dAB, %: mean ± SD, worst | within 10 % |\n|{'---|' * 7}")
    for kind in ("untouched", *KINDS):
        for way in WAYS:
            some = [r for r in results if r.kind == kind and r.way == way]
            if not some:
                continue
            tab, dab = np.array([r.tab_pct for r in some]), np.array([r.dab_pct for r in some])
            print(
                f"| {kind} | {way} | {len(some)} | {spread(tab)} | {share(tab, 3.0)} "
                f"| {spread(dab)} | {share(dab, 10.0)} |"
            )


def spread(values: np.ndarray) -> str:
    """Mean, SD and the value furthest from 0."""
    sd = values.std(ddof=1) if len(values) > 1 else float("nan")
    return f"{values.mean():.1f} ± {sd:.1f}, {values[np.abs(values).argmax()]:.1f}"


def share(values: np.ndarray, limit: float) -> str:
    """Share of values within a limit."""
    return f"{100 * np.mean(np.abs(values) <= limit):.0f} %"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("labels", type=Path)
    parser.add_argument("--people", nargs="*", help="people to test; all others only teach")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--no-model", action="store_true")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--border-kept", action="store_true", help="also with rim_mm = 0")
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    paths = {p.name.split(".")[0]: p for p in sorted(options.labels.glob("P*_M*.nii.gz"))}
    people = sorted({name.split("_")[0] for name in paths})
    tested = options.people or people
    teachers = () if options.no_model else paths
    used = {n: p for n, p in paths.items() if n in teachers or n in {f"{t}_M00" for t in tested}}
    knees = {n: kept(options.keep, n, lambda p=p: measured(read(p))) for n, p in used.items()}
    results: list[Result] = []
    for fold in range(options.folds):
        test = {person for number, person in enumerate(people) if number % options.folds == fold}
        now = sorted(test & set(tested))
        if not now:
            continue
        teach = partial(fold_models, knees, test)
        models = None if options.no_model else kept(options.keep, f"models-{fold}", teach)
        for person in now:
            name = f"{person}_M00"
            again = partial(scanned_again, paths[name], knees[name])
            pair = None if options.no_baseline else kept(options.keep, f"{name}-pair", again)
            ways = WAYS if options.border_kept else WAYS[:-1]
            for region in (r for r in REGIONS if PLATE_BONES[r] in knees[name]):
                one = partial(one_plate, name, region, knees[name], models, pair, ways)
                results += kept(options.keep, f"{name}-{region}-results", lambda f=one: list(f()))
            print(f"{name}: {len(results)} results", flush=True)
    report(results)
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1))


if __name__ == "__main__":
    main()
