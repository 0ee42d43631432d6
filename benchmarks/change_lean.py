"""Does the change between visits lean towards loss? Pairs of label maps, compared forth and back.

    python benchmarks/change_lean.py LABELS [--people P01 P04] [--rescans 6] [--keep DIR]

LABELS: label maps of right knees, scheme `knee-v1`, named <participant>_<visit>.nii.gz. Half the
sum of the change forth and back is 0 for a method that treats both visits alike; a loss at the rim
of a plate that really happened between the visits is in it too, because the bone that lost its
cartilage is part of tAB in one direction only.

`--rescans`: knees scanned twice more in other poses and drawn anew (`DrawnKnee`, 5 degrees, hard
labels, `ReadingError`), from which nothing was lost: there the change itself must be 0.

Last, how well the change of thickness over the carried bone area, in %, follows the change of the
volume that each visit shows on its own, in %: Pearson's r over the plates of all pairs.

Columns: change of ThCtAB in µm (FTJ: sum of four plates), dAB found in addition and tAB that is
left out of the comparison, both over all plates and in % of tAB; `change.rim_mm` 2 (default) and 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tab_recovery import kept, read

from kneeimg.core.anatomy import Side
from kneeimg.core.label_map import LabelMap
from kneeimg.longitudinal.change import compare_knees
from kneeimg.measure.morphometry import KneeMorphometry, measure_knee
from kneeimg.phantoms.grids import dess_grid, random_pose
from kneeimg.phantoms.resegmentation import DrawnKnee, ReadingError
from kneeimg.settings.change import ChangeSettings

REGIONS = ("FTJ", "MT", "LT", "cMF", "cLF", "MF", "LF", "TrF", "P")
PLATES = ("MT", "LT", "MF", "LF", "TrF", "P")
RIMS_MM = (2.0, 0.0)
Change = Mapping[str, float]


def measured(label_map: LabelMap) -> KneeMorphometry:
    """A measured knee without its voxels."""
    return replace(measure_knee(label_map, Side.RIGHT), owners={})


def rescans(path: Path, seed: int) -> tuple[KneeMorphometry, KneeMorphometry]:
    """Two more scans of one knee, each in a pose and with a drawing of its own."""
    knee = DrawnKnee(read(path))
    found = []
    for scan in (0, 1):
        rng = np.random.default_rng([seed, scan])
        uid = f"2.25.{2008060100 + scan}"
        pose = random_pose(
            rng, max_angle_deg=5.0, max_shift_mm=3.0, centre_mm=knee.centre_mm, frame_uid=uid
        )
        grid = replace(dess_grid(centre_mm=knee.centre_mm), frame_uid=uid)
        soft = knee.scanned_again(pose, grid, ReadingError(), rng)
        found.append(measured(LabelMap(soft.labels, soft.grid)))
    return found[0], found[1]


def change(before: KneeMorphometry, after: KneeMorphometry, rim_mm: float) -> Change:
    """Change of thickness in µm; dAB found and tAB left out, % of tAB."""
    found = compare_knees(
        before.surfaces,
        after.surfaces,
        None,
        before.measurements,
        after.measurements,
        settings=ChangeSettings(rim_mm=rim_mm),
    )
    rows = {(row.region, row.quantity): row for row in found.rows}
    own = {row.name: row.value for row in before.measurements}
    whole = sum(own[f"{plate}_tAB"] for plate in PLATES)
    bare = sum(rows[plate, "dAB"].change for plate in PLATES)
    held = sum(rows[plate, "tAB"].baseline for plate in PLATES)
    thickness = {region: 1000.0 * rows[region, "ThCtAB_aMe"].change for region in REGIONS}
    return thickness | {"dAB %": 100.0 * bare / whole, "out %": 100.0 * (1.0 - held / whole)}


def against_volume(
    before: KneeMorphometry, after: KneeMorphometry, forth: Change
) -> list[tuple[float, float]]:
    """(thickness, volume) change of every plate, %."""
    own = [{row.name: row.value for row in knee.measurements} for knee in (before, after)]
    return [
        (
            0.1 * forth[plate] / own[0][f"{plate}_ThCtAB_aMe"],
            100.0 * (own[1][f"{plate}_VC"] / own[0][f"{plate}_VC"] - 1.0),
        )
        for plate in PLATES
    ]


def lean(forth: Change, back: Change) -> Change:
    """Half the sum of both changes, of every column."""
    return {name: 0.5 * (forth[name] + back[name]) for name in forth}


def show(name: str, rim_mm: float, found: Change) -> None:
    """One line."""
    values = "".join(f"{value:9.1f}" for value in found.values())
    print(f"{name:22} rim {rim_mm:.0f} {values}", flush=True)


def summary(title: str, leans: Mapping[float, Sequence[Change]]) -> None:
    """Mean, SD and worst of every column."""
    for rim_mm, some in leans.items():
        if not some:
            continue
        table = np.array([list(one.values()) for one in some])
        worst = table[np.abs(table).argmax(axis=0), np.arange(table.shape[1])]
        rows = {"mean": table.mean(axis=0), "worst": worst}
        if len(some) > 1:
            rows["SD"] = table.std(axis=0, ddof=1)
        for what, values in rows.items():
            named = dict(zip(some[0], values, strict=True))
            show(f"{title}, {what} of {len(some)}", rim_mm, named)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("labels", type=Path)
    parser.add_argument("--people", nargs="*", help="default: everybody")
    parser.add_argument("--rescans", type=int, default=0, help="of the first so many people")
    parser.add_argument("--keep", type=Path, default=None)
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    paths: dict[str, list[Path]] = {}
    for path in sorted(options.labels.glob("P*_M*.nii.gz")):
        paths.setdefault(path.name.split("_")[0], []).append(path)
    people = options.people or list(paths)
    print(f"{'':28}" + "".join(f"{name:>9}" for name in (*REGIONS, "dAB %", "out %")))
    two: dict[float, list[Change]] = {rim: [] for rim in RIMS_MM}
    same: dict[float, list[Change]] = {rim: [] for rim in RIMS_MM}
    volume: dict[float, list[tuple[float, float]]] = {rim: [] for rim in RIMS_MM}
    for person in people:
        first, second = (
            kept(options.keep, f"lean-{p.name.split('.')[0]}", lambda p=p: measured(read(p)))
            for p in paths[person]
        )
        for rim_mm in RIMS_MM:
            forth, back = change(first, second, rim_mm), change(second, first, rim_mm)
            two[rim_mm].append(lean(forth, back))
            volume[rim_mm] += against_volume(first, second, forth)
            show(f"{person} forth", rim_mm, forth)
            show(f"{person} lean", rim_mm, two[rim_mm][-1])
    for number, person in enumerate(people[: options.rescans]):
        again = lambda p=paths[person][0], n=number: rescans(p, n)  # noqa: E731
        first, second = kept(options.keep, f"lean-{person}-rescans", again)
        for rim_mm in RIMS_MM:
            both = change(first, second, rim_mm), change(second, first, rim_mm)
            same[rim_mm] += both
            for way, found in zip(("forth", "back"), both, strict=True):
                show(f"{person} rescanned {way}", rim_mm, found)
    summary("lean", two)
    summary("rescanned", same)
    for rim_mm, pairs in volume.items():
        r = np.corrcoef(np.array(pairs).T)[0, 1]
        print(f"rim {rim_mm:.0f}: thickness against volume, {len(pairs)} plates: r = {r:.3f}")


if __name__ == "__main__":
    main()
