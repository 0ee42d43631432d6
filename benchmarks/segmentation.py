"""The segmentation model on synthetic scans of people it never saw, by contrast family.

    python benchmarks/segmentation.py POOL -o OUT [--model knee_mr] [--people P03,P09] [--scans 1]
        [--diseased]

POOL holds tissue maps (`scripts/make_training_pool.py`). Each scan is drawn from its seed: pose,
contrast, noise, coil; voxels as acquired for the family. The table gives Dice, bias and SD of
ThCtAB of the plates and how well denuded area was found; OUT gets the tables, pictures and page of
`kneeimg evaluate`. `--diseased` takes the knees into which disease was drawn (worn and denuded
cartilage, osteophytes, effusion) instead of those as labelled: aim, r of dAB at least 0.85.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from kneeimg.errors import KneeimgError
from kneeimg.measure.agreement import limits_of_agreement
from kneeimg.pipeline.evaluation import (
    Case,
    compare_scan,
    plate_summary,
    segment_with_model,
    tissue_summary,
    write_evaluation,
)
from kneeimg.training.pool import list_pool, load_knee
from kneeimg.training.validation import PROTOCOLS, trial_scan

#: Plates that do not overlap, so that no bare area counts twice.
SEPARATE_PLATES = ("MT", "LT", "cMF", "cLF", "TrF", "P")
#: The smallest denuded area that a model has to find.
LEAST_BARE_MM2 = 50.0


def main() -> None:
    """Draw, segment, compare, print."""
    given = arguments()
    segment = segment_with_model(given.model, "auto")
    people = set(given.people.split(","))
    knees = [
        knee
        for knee in list_pool(given.pool)
        if knee.participant in people and knee.is_as_labelled != given.diseased
    ]
    every: list[Case] = []
    for family in given.families.split(","):
        cases = [
            case_of(knee, family, number, segment)
            for knee in knees
            for number in range(given.scans)
        ]
        show(family, cases)
        every += cases
    write_evaluation(every, given.out)
    show("all", every)


def arguments() -> argparse.Namespace:
    """What the user asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--model", default="knee_mr")
    parser.add_argument("--people", default="P03,P09,P15,P21", help="held-out participants")
    parser.add_argument("--families", default=",".join(PROTOCOLS))
    parser.add_argument("--diseased", action="store_true", help="knees with drawn disease")
    parser.add_argument("--scans", type=int, default=1, help="scans per knee and family")
    return parser.parse_args()


def case_of(knee, family: str, number: int, segment) -> Case:  # type: ignore[no-untyped-def]
    """One synthetic scan, segmented and compared with its truth."""
    seed = (97, number, *knee.path.name.encode()[:8])
    made = trial_scan(load_knee(knee), family, seed)
    name = f"{family}-{knee.path.stem}-{number}"
    begin = time.perf_counter()
    try:
        tissues, thickness = compare_scan(made, segment(made.image, made.side))
    except KneeimgError as error:
        print(f"{name}: {error.finding.code}", flush=True)
        return Case(name, finding=error.finding)
    case = Case(name, tissues, thickness)
    dice = " ".join(f"{t.tissue.name[:4].lower()}{t.dice:.3f}" for t in tissues)
    print(f"{name}: {dice} ({time.perf_counter() - begin:.0f} s)", flush=True)
    return case


def show(title: str, cases: list[Case]) -> None:
    """Dice of the tissues and thickness of the plates."""
    refused = sum(case.finding is not None for case in cases)
    print(f"\n{title}: {len(cases)} scans, {refused} refused")
    for row in tissue_summary(cases):
        print(
            f"  {row['tissue']:22s} Dice {row['dice_mean']:.3f} (lowest {row['dice_min']:.3f})  "
            f"ASSD {row['assd_mm']:.2f} mm  volume {row['volume_bias_pct']:+.1f} %"
        )
    for row in plate_summary(cases):
        if row["quantity"] == "ThCtAB_aMe":
            print(
                f"  {row['region']:6s} ThCtAB {1000 * row['bias']:+6.0f} ± "
                f"{1000 * row['sd']:.0f} µm "
                f"worst {1000 * row['worst']:+.0f}  n {row['n']}, not measured {row['missing']}"
            )
    show_denuded(cases)


def show_denuded(cases: list[Case]) -> None:
    """Agreement of dAB over the plates of all scans: those that have none, and from 50 mm² on."""
    pairs = [
        pair
        for case in cases
        for pair in case.thickness
        if pair.quantity == "dAB" and pair.region in SEPARATE_PLATES
    ]
    bare = [pair for pair in pairs if pair.reference >= LEAST_BARE_MM2]
    whole = [pair for pair in pairs if pair.reference == 0]
    for name, group in (("every plate", pairs), ("50 mm² and more", bare), ("none", whole)):
        if group:
            found = limits_of_agreement(group)
            print(
                f"  dAB of {name}: {found.bias:+.0f} ± {found.sd:.0f} mm², worst "
                f"{found.worst:+.0f}, r {found.correlation:.2f}, n {found.n}"
            )


if __name__ == "__main__":
    main()
