"""One real scan segmented again after it was changed in ways that change no knee.

    python benchmarks/segmentation_robustness.py SCAN --side right [--echo 1] [--other-echo 2]
        [--model knee_mr] [-o OUT]

Prints the mean thickness (ThCtAB) of each plate, of all femoral and of all tibial cartilage, and
the volumes, then what each change moved: mirrored (with the side swapped), rotated by 10 degrees
about each axis in turn, shifted by a third of a voxel, re-sliced to 1.0 mm, noise added, the other
arithmetic. Aim: 60 µm; 5 µm for the arithmetic; 150 µm between echoes. OUT gets an overlay of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import KneeimgError
from kneeimg.measure.morphometry import measure_knee
from kneeimg.pipeline.segmenting import read_scan
from kneeimg.segment.models import open_segmenter
from kneeimg.segment.mr import segment_with
from kneeimg.settings.segmentation import ConfidenceSettings, SegmentationSettings

PLATES = ("MT", "LT", "cMF", "cLF", "TrF", "P")
#: Regions that make up all the cartilage of a bone, without overlap.
WHOLE = {"femoral": ("MF", "LF", "TrF"), "tibial": ("MT", "LT")}
VOLUMES = {"FC": Tissue.FEMORAL_CARTILAGE, "TC": Tissue.TIBIAL_CARTILAGE}


def main() -> None:
    """Segment, change, segment again, print."""
    given = arguments()
    image = read_scan(given.scan, given.echo).image
    side = Side(given.side)
    base = SegmentationSettings(
        model=given.model, confidence=ConfidenceSettings(enabled=not given.unjudged)
    )
    first = measured(image, side, base, given.out, "as it is")
    print(f"{'':16s}" + "".join(f"{name:>10s}" for name in first))
    print(f"{'as it is':16s}" + "".join(f"{value:10.3f}" for value in first.values()))
    for name, changed, its_side, settings in changes(image, side, base, given):
        try:
            found = measured(changed, its_side, settings, given.out, name)
        except KneeimgError as error:
            print(f"{name:16s} {error.finding.code}: {error}", flush=True)
            continue
        moved = {key: found[key] - first[key] for key in first}
        cells = "".join(
            f"{1000 * gap:+9.0f}µ"
            if not key.startswith("V_")
            else f"{100 * gap / first[key]:+9.1f}%"
            for key, gap in moved.items()
        )
        print(f"{name:16s}{cells}", flush=True)


def arguments() -> argparse.Namespace:
    """What the user asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scan", type=Path)
    parser.add_argument("--side", choices=[str(side) for side in Side], required=True)
    parser.add_argument("--echo", type=int)
    parser.add_argument("--other-echo", type=int)
    parser.add_argument("--model", default="knee_mr")
    parser.add_argument("--unjudged", action="store_true", help="measure also what is refused")
    parser.add_argument("-o", "--out", type=Path)
    return parser.parse_args()


def changes(
    image: Volume, side: Side, base: SegmentationSettings, given: argparse.Namespace
) -> Iterator[tuple[str, Volume, Side, SegmentationSettings]]:
    """Each changed scan, its side, and how it is segmented."""
    if given.other_echo is not None:
        other = read_scan(given.scan, given.other_echo).image
        yield f"echo {given.other_echo}", other, side, base
    yield "mirrored", mirrored(image), side.opposite, base
    for axis, name in enumerate("xyz"):
        yield f"rotated {name}", rotated(image, axis, 10.0), side, base
    yield "shifted", shifted(image, 1 / 3), side, base
    yield "1.0 mm slices", resliced(image, 1.0), side, base
    yield "noise 3 %", noisy(image, 0.03), side, base
    for precision in ("fp32", "bf16"):
        yield precision, image, side, base.model_copy(update={"precision": precision})


def measured(
    image: Volume, side: Side, settings: SegmentationSettings, out: Path | None, name: str
) -> dict[str, float]:
    """Mean thickness of plates and bones in mm, and volumes (`V_`) in mm³."""
    found = segment_with(open_segmenter(settings), image, side).label_map
    if out is not None:
        draw(image, found, side, out / f"{name.replace(' ', '-').replace('%', 'pct')}.png")
    rows = {row.name: row.value for row in measure_knee(found, side).measurements}
    values = {plate: rows[f"{plate}_ThCtAB_aMe"] for plate in PLATES}
    for bone, regions in WHOLE.items():
        area = np.array([rows[f"{region}_tAB"] for region in regions])
        thickness = np.array([rows[f"{region}_ThCtAB_aMe"] for region in regions])
        values[bone] = float((area * thickness).sum() / area.sum())
    for short, tissue in VOLUMES.items():
        volume = found.fraction(tissue).sum(dtype=np.float64) * found.grid.voxel_volume_mm3
        values[f"V_{short}"] = float(volume)
    return values


def draw(image: Volume, found: LabelMap, side: Side, path: Path) -> None:
    """The overlay that a report shows."""
    from kneeimg.report.figures import qc_overlay

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(qc_overlay(image, found, side, title=path.stem))


def mirrored(image: Volume) -> Volume:
    """The same person in a mirror: left and right of the patient swapped."""
    affine = np.diag([-1.0, 1.0, 1.0, 1.0]) @ image.grid.affine
    return replace(image, grid=Grid(image.grid.shape, affine, image.grid.frame_uid))


def rotated(image: Volume, axis: int, degrees: float) -> Volume:
    """The knee turned in the coil about one patient axis, on the same voxels."""
    grid = image.grid
    angle = np.radians(degrees)
    first, second = (n for n in range(3) if n != axis)
    turn = np.eye(4)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    centre = np.eye(4)
    centre[:3, 3] = grid.to_mm((np.array(grid.shape) - 1) / 2.0)
    about = centre @ turn @ np.linalg.inv(centre)
    return read_at(image, Grid(grid.shape, about @ grid.affine, grid.frame_uid), keep=grid)


def shifted(image: Volume, voxels: float) -> Volume:
    """The knee moved by part of a voxel along every axis."""
    affine = image.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, voxels)
    return read_at(image, Grid(image.grid.shape, affine, image.grid.frame_uid), keep=image.grid)


def resliced(image: Volume, thickness_mm: float) -> Volume:
    """The same view in slices of another thickness."""
    grid = image.grid
    axis = int(np.argmax(grid.spacing_mm))
    ratio = thickness_mm / float(grid.spacing_mm[axis])
    affine = grid.affine.copy()
    affine[:3, axis] *= ratio
    shape = list(grid.shape)
    shape[axis] = int((grid.shape[axis] - 1) / ratio) + 1
    return read_at(image, Grid((shape[0], shape[1], shape[2]), affine, grid.frame_uid))


def read_at(image: Volume, where: Grid, keep: Grid | None = None) -> Volume:
    """Cubic interpolation at the voxels of a grid; `keep` is the grid it then claims to lie on."""
    step = np.linalg.inv(image.grid.affine) @ where.affine
    data = affine_transform(
        np.asarray(image.data, dtype=np.float32),
        step[:3, :3],
        step[:3, 3],
        output_shape=where.shape,
        order=3,
        mode="nearest",
    )
    return Volume(np.clip(data, image.data.min(), image.data.max()), keep or where, image.unit)


def noisy(image: Volume, share: float) -> Volume:
    """Rician noise of a share of the 99th percentile."""
    rng = np.random.default_rng(7)
    sd = share * float(np.percentile(image.data, 99))
    real, imaginary = rng.normal(0.0, sd, (2, *image.grid.shape))
    return replace(image, data=np.hypot(image.data + real, imaginary).astype(np.float32))


if __name__ == "__main__":
    main()
