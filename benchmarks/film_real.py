"""Margins on real films: found or refused, landmarks, masks, polarity; by held-out half too.

Run from the repository root:

    python benchmarks/film_real.py find --cache DIR [--every N] [--films landmarked|all|masks]
    python benchmarks/film_real.py score --cache DIR [--half tune|held|both]

`find` stores the margins of one film per file and goes on where it was stopped; files are named
after the source of the finder, so a changed finder starts afresh. Real films are looked for in
KNEEIMG_REAL_DATA. Nothing was tuned on the films of the half called `held` (by person).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.errors import KneeimgError, ReasonCode
from kneeimg.geometry.polylines import closest_points
from kneeimg.measure.joint_space import joint_frame, measure_joint_space
from kneeimg.segment.film import find_margins

_ROOT = Path(__file__).resolve().parents[1]
_DATA = Path(os.environ.get("KNEEIMG_REAL_DATA", _ROOT.parent / "shared" / "data")) / "xray"
_M, _L = Compartment.MEDIAL, Compartment.LATERAL
#: Landmarks well inside each margin, and those nearer to its ends.
_CENTRAL = (("tibia", _M, "T7"), ("femur", _M, "F5"), ("tibia", _L, "T1"), ("femur", _L, "F1"))
_INNER = (("tibia", _M, "T6"), ("femur", _M, "F4"), ("tibia", _L, "T2"), ("femur", _L, "F2"))
#: Landmarks along each margin of a compartment.
_ALONG = {
    _M: (("F4", "F5", "F6"), ("T6", "T7", "T8")),
    _L: (("F0", "F1", "F2"), ("T0", "T1", "T2")),
}
_OFF = 0.02  # of the femoral width, 1.6 mm; a flag should tell of such an error
_WRONG_PX = 8.0  # a central landmark farther off means a wrong margin: 4 % of the femoral width
Row = dict[str, str]


def films(which: str, every: int) -> list[Row]:
    """Listed films: all, those with landmarks, or those with a mask of the joint space."""
    if which == "masks":
        names = sorted((_DATA / "masks").glob("*_jointspace.png"))
        stems = [path.name.removesuffix("_jointspace.png") for path in names]
        return [{"file": f"masks/{s}.png", "person": s[:-1], "side": s[-1]} for s in stems][::every]
    with (_DATA / "films" / "index.csv").open() as stream:
        listed = [{**row, "file": f"films/{row['file']}"} for row in csv.DictReader(stream)]
    if which == "landmarked":
        listed = [row for row in listed if row["T0x"]]
    return listed[::every]


def held_out(row: Row) -> bool:
    """Half of the people, by the name alone."""
    return zlib.crc32(row["person"].encode()) % 2 == 1


def read_film(row: Row) -> Radiograph:
    """A film of the collection; nothing is known of its scale."""
    from PIL import Image

    image = np.asarray(Image.open(_DATA / row["file"]).convert("L"), dtype=np.float32)
    side = Side.LEFT if row["side"] == "L" else Side.RIGHT
    return Radiograph(image, None, SpacingSource.NONE, side, patient_left_on_image_right=True)


def source_hash() -> str:
    """Of everything that decides where a margin lies."""
    paths = [*(_ROOT / "kneeimg/segment/film").glob("*"), _ROOT / "kneeimg/settings/film.py"]
    paths += (_ROOT / "models/film_frame").glob("*.npz")
    text = b"".join(path.read_bytes() for path in sorted(paths) if path.is_file())
    return hashlib.sha256(text).hexdigest()[:12]


_SOURCE = source_hash()  # once: files may change while this runs


def find(row: Row, cache: Path) -> dict[str, Any]:
    """Margins of a film, or the code of its refusal, from the cache or afresh."""
    path = cache / f"{Path(row['file']).stem}.{_SOURCE}.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    start = time.process_time()
    try:
        out = _as_json(find_margins(read_film(row)))
    except KneeimgError as error:
        out = {"refused": str(error.code), "found": error.finding.found}
    out["seconds"] = time.process_time() - start
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(out))
    part.replace(path)
    return out


_LINES = ("femur", "tibia", "femoral_edges", "rim")


def _as_json(margins: JointMargins) -> dict[str, Any]:
    lines = {
        name: {
            c.value: np.column_stack([line.points, line.confidence]).round(4).tolist()
            for c, line in getattr(margins, name).items()
        }
        for name in _LINES
    }
    codes = [[str(f.code), f.where or "", f.found or ""] for f in margins.findings]
    axes = {"tibial_axis": margins.tibial_axis, "femoral_axis": margins.femoral_axis}
    rest = {name: None if axis is None else axis.tolist() for name, axis in axes.items()}
    return lines | rest | {"findings": codes, "tangent": margins.tangent.tolist()}


def margins_of(out: dict[str, Any], row: Row) -> JointMargins:
    """The stored margins."""

    def lines(name: str) -> dict[Compartment, MarginLine]:
        stored = {Compartment(c): np.array(line) for c, line in out[name].items()}
        return {c: MarginLine(line[:, :2], line[:, 2]) for c, line in stored.items()}

    side = Side.LEFT if row["side"] == "L" else Side.RIGHT
    axis = out["tibial_axis"]
    return JointMargins(
        side,
        (224, 224),
        *(lines(name) for name in _LINES[:3]),
        np.array(out["tangent"]),
        lines("rim"),
        None if axis is None else np.array(axis),
    )


def landmark(row: Row, name: str) -> np.ndarray:
    """(2,) column, row."""
    return np.array([float(row[f"{name}x"]), float(row[f"{name}y"])])


def distances(margins: JointMargins, row: Row, which: Iterable[tuple[str, Compartment, str]]):
    """Distance in pixels of each landmark to its margin."""
    out = []
    for bone, compartment, name in which:
        line = getattr(margins, bone)[compartment].points
        mark = landmark(row, name)
        out.append(closest_points(line, mark[None] + [[0.0, 0.0], [1e-9, 0.0]])[0])
    return out


def landmark_minimum(row: Row, compartment: Compartment) -> float:
    """Least distance in pixels of the landmark polylines of a compartment, as drawn by hand."""
    femur, tibia = (
        np.stack([landmark(row, name) for name in names]) for names in _ALONG[compartment]
    )
    return closest_points(femur, tibia)[0]


def minimum(margins: JointMargins, compartment: Compartment) -> tuple[float, float]:
    """mJSW in pixels and as a share of the femoral width."""
    rows = {(r.region, r.quantity): r.value for r in measure_joint_space(margins, None)}
    ratio = rows[compartment.value, "nmJSW"]
    return ratio * joint_frame(margins).width, ratio


def compartment_dice(margins: JointMargins, row: Row) -> float:
    """Overlap of the space found with the mask drawn by hand, over both ranges of the area."""
    from PIL import Image

    path = _DATA / row["file"].replace(".png", "_jointspace.png")
    mask = np.asarray(Image.open(path).convert("L")) > 127
    frame = joint_frame(margins)
    grid = np.stack(np.meshgrid(np.arange(mask.shape[1]), np.arange(mask.shape[0])), axis=-1)
    placed = frame.place(grid.reshape(-1, 2)) / frame.width
    x, v = (placed[:, k].reshape(mask.shape) for k in (0, 1))
    both = total = 0
    for compartment, (low, high) in {_M: (0.10, 0.30), _L: (0.70, 0.90)}.items():
        femur = frame.place(margins.femur[compartment].points) / frame.width
        tibia = frame.place(margins.tibia[compartment].points) / frame.width
        within = (x >= low) & (x <= high) & (np.abs(v) < 0.25)
        top, bottom = (_height(line, x) for line in (femur, tibia))
        found = within & (v >= top) & (v <= bottom)
        drawn = within & mask
        both += int((found & drawn).sum())
        total += int(found.sum() + drawn.sum())
    return 2 * both / max(total, 1)


def _height(line: np.ndarray, x: np.ndarray) -> np.ndarray:
    order = np.argsort(line[:, 0])
    return np.interp(x, line[order, 0], line[order, 1])


def score_films(rows: list[Row], cache: Path, label: str) -> None:
    """Print found and refused, landmarks, minimum, polarity and grades."""
    results = [(row, find(row, cache)) for row in rows]
    refused = Counter(out["refused"] for _, out in results if "refused" in out)
    kept = [(row, out, margins_of(out, row)) for row, out in results if "refused" not in out]
    print(f"\n{label}: {len(rows)} films, found {len(kept)} ({len(kept) / len(rows):.1%})")
    print("refused:", ", ".join(f"{code} {n}" for code, n in refused.most_common()) or "none")
    flags = Counter(code for _, out, _ in kept for code in {f[0] for f in out["findings"]})
    print("flagged:", ", ".join(f"{code} {n}" for code, n in flags.most_common()) or "none")
    print(f"seconds of processor time, median {np.median([o['seconds'] for _, o in results]):.2f}")
    if "kl" in rows[0]:
        _score_polarity(rows, kept)
        _score_grades(kept)
    if "T0x" in rows[0]:
        landmarked = [entry for entry in kept if entry[0]["T0x"]]
        _score_landmarks(landmarked)
        print("where landmarks were placed strictly:")
        _score_landmarks([entry for entry in landmarked if entry[0]["landmarks_strict"] == "1"])


def _score_polarity(rows: list[Row], kept: list[Any]) -> None:
    turned = {row["file"] for row in rows if row["inverted_polarity"] == "1"}
    code = str(ReasonCode.INVERTED_POLARITY)
    called = {row["file"] for row, out, _ in kept if code in {f[0] for f in out["findings"]}}
    print(f"inverted: {len(turned)} are, {len(called & turned)} found and called, ", end="")
    print(f"{len(called - turned)} others called {sorted(called - turned)}")


def _score_grades(kept: list[Any]) -> None:
    from scipy.stats import spearmanr

    grade = np.array([int(row["kl"]) for row, _, _ in kept])
    ratio = np.array([minimum(margins, _M)[1] for _, _, margins in kept])
    medians = [f"KL {k}: {100 * np.nanmedian(ratio[grade == k]):.2f} %" for k in np.unique(grade)]
    known = np.isfinite(ratio)
    rho = spearmanr(grade[known], ratio[known]).statistic
    print("normalised medial mJSW,", ", ".join(medians), f"(Spearman {rho:.2f})")


def _score_landmarks(kept: list[Any]) -> None:
    central = np.array([distances(m, row, _CENTRAL) for row, _, m in kept])
    inner = np.array([distances(m, row, _INNER) for row, _, m in kept])
    for name, values in (("four central", central), ("all eight", np.hstack([central, inner]))):
        median, ninetieth = np.percentile(values, [50, 90])
        print(f"landmark to margin, {name}: median {median:.2f} px, 90th {ninetieth:.2f} px")
    for k, (bone, compartment, mark) in enumerate((*_CENTRAL, *_INNER)):
        values = np.hstack([central, inner])[:, k]
        print(f"  {mark} {compartment} {bone}: ", end="")
        print(f"{np.median(values):.2f} / {np.percentile(values, 90):.2f} px")
    _score_width(kept)
    minima = {c: _minima(kept, c) for c in Compartment}
    for compartment, pair in minima.items():
        _score_minimum(compartment, *pair)
    _score_flags(kept, minima)
    worst = central.max(axis=1)
    unsure = str(ReasonCode.MARGIN_UNCERTAIN)
    bare = [unsure not in {f[0] for f in out["findings"]} for _, out, _ in kept]
    silent = [k for k in np.argsort(-worst) if worst[k] > _WRONG_PX and bare[k]]
    print(f"a central landmark over {_WRONG_PX} px off: {(worst > _WRONG_PX).sum()}, ", end="")
    print(f"of them without a flag {len(silent)}: ", end="")
    print(", ".join(f"{Path(kept[k][0]['file']).stem} {worst[k]:.0f}" for k in silent))


def _minima(kept: list[Any], compartment: Compartment) -> tuple[np.ndarray, np.ndarray]:
    """mJSW and the least distance of the landmark polylines, in pixels."""
    own = np.array([minimum(m, compartment)[0] for _, _, m in kept])
    return own, np.array([landmark_minimum(row, compartment) for row, _, _ in kept])


def _score_minimum(compartment: Compartment, own: np.ndarray, drawn: np.ndarray) -> None:
    ok = np.isfinite(own)
    r = np.corrcoef(own[ok], drawn[ok])[0, 1]
    print(f"{compartment} minimum against landmarks: r {r:.3f}, difference ", end="")
    print(f"{(own - drawn)[ok].mean():+.2f} +- {(own - drawn)[ok].std(ddof=1):.2f} px")


def _score_flags(kept: list[Any], minima: dict[Compartment, tuple[np.ndarray, np.ndarray]]) -> None:
    """How often a compartment flagged MARGIN_UNCERTAIN is off, and how many that are off it flags.

    Off is a compartment with a central landmark farther than `_OFF` of the femoral width from its
    margin, or a least space that differs so much from that of the landmark polylines (less the
    median difference).
    """
    code = str(ReasonCode.MARGIN_UNCERTAIN)
    width = np.array([joint_frame(m).width for _, _, m in kept])
    off, flagged, apart = [], [], []
    for c, (own, drawn) in minima.items():
        error = np.abs(own - drawn - np.nanmedian(own - drawn)) / width
        central = [entry for entry in _CENTRAL if entry[1] is c]
        far = np.array([max(distances(m, row, central)) for row, _, m in kept]) / width
        off.append((error > _OFF) | (far > _OFF))
        apart.append(error)
        flagged.append(
            [any(f[0] == code and f[1] in ("", c) for f in out["findings"]) for _, out, _ in kept]
        )
    wrong, flags, error = np.hstack(off), np.hstack(flagged), np.hstack(apart)
    print(
        f"{code}: {flags.sum()} of {len(flags)} compartments; off by {_OFF:g} of the width ", end=""
    )
    print(f"{(wrong & flags).sum()} of them and {(wrong & ~flags).sum()} others: ", end="")
    print(f"precision {wrong[flags].mean():.2f}, recall {flags[wrong].mean():.2f}")
    for name, these in (("flagged", flags), ("not flagged", ~flags)):
        median, ninetieth = 100 * np.nanpercentile(error[these], [50, 90])
        print(f"  error of the least space, {name}: median {median:.2f} %, 90th {ninetieth:.2f} %")


def _score_width(kept: list[Any]) -> None:
    """Femoral width against the distance of the outermost landmarks of both condyles."""
    outer = [np.linalg.norm(landmark(row, "F6") - landmark(row, "F0")) for row, _, _ in kept]
    ratio = np.array([joint_frame(m).width for _, _, m in kept]) / np.array(outer)
    code = str(ReasonCode.WIDTH_UNCERTAIN)
    doubted = np.array([code in {f[0] for f in out["findings"]} for _, out, _ in kept])
    for name, these in (("not doubted", ~doubted), ("WIDTH_UNCERTAIN", doubted)):
        if these.sum() > 1:
            spread = 100 * ratio[these].std(ddof=1) / np.median(ratio)
            print(f"width / outer landmarks, {name} ({these.sum()}): ", end="")
            print(f"median {np.median(ratio[these]):.3f}, SD {spread:.1f} %")


def score_masks(rows: list[Row], cache: Path) -> None:
    """Print the overlap with masks drawn by hand."""
    score_films(rows, cache, "films with masks")
    kept = [(row, out) for row in rows if "refused" not in (out := find(row, cache))]
    dice = np.array([compartment_dice(margins_of(out, row), row) for row, out in kept])
    print(f"Dice inside the two compartments: mean {dice.mean():.3f}, median {np.median(dice):.3f}")
    print(f"least {dice.min():.3f} ({kept[int(dice.argmin())][0]['file']}), ", end="")
    print(f"at least 0.80 on {(dice >= 0.80).mean():.0%}")


def main() -> None:
    """Find or score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("find", "score"))
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--films", choices=("landmarked", "all", "masks"), default="landmarked")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--half", choices=("tune", "held", "both"), default="both")
    options = parser.parse_args()
    rows = films(options.films, options.every)
    if options.half != "both":
        rows = [row for row in rows if held_out(row) == (options.half == "held")]
    if options.what == "find":
        for k, row in enumerate(rows):
            find(row, options.cache)
            if k % 50 == 0:
                print(f"{k} of {len(rows)}", flush=True)
    elif options.films == "masks":
        score_masks(rows, options.cache)
    else:
        score_films(rows, options.cache, f"{options.films}, half: {options.half}")


if __name__ == "__main__":
    main()
