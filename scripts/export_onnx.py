"""Export the networks of a knee model as ONNX and compare them with torch.

    python scripts/export_onnx.py MODEL -o FOLDER [--image SCAN [--echo 1] --side right]

MODEL is a model's name (knee_mr) or folder. Writes coarse.onnx and fine.onnx and prints the largest
difference of the probabilities on random input. With a scan (DICOM series or NIfTI image), both are
run on it and the mean thickness of each plate is compared. Needs `pip install "kneeimg[onnx]"`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kneeimg.core.anatomy import PLATE_UNIONS, Side
from kneeimg.measure.morphometry import measure_knee
from kneeimg.networks.bundle import Bundle, load_cascade, read_bundle
from kneeimg.networks.cascade import KneeCascade
from kneeimg.networks.onnx import export_onnx, with_predictors
from kneeimg.segment.bundle import BundleSegmenter
from kneeimg.segment.foreign import onnx_predictor
from kneeimg.segment.models import find_bundle
from kneeimg.settings.segmentation import SegmentationSettings


def largest_difference(model: KneeCascade, other: KneeCascade) -> float:
    """Largest difference of a probability on random input of two sizes."""
    import torch

    worst = 0.0
    torch.manual_seed(0)
    pairs = ((model.coarse, other.coarse), (model.fine, other.fine))
    for (ours, theirs), spec in zip(pairs, (model.spec.coarse, model.spec.fine), strict=True):
        for factor in (4, 5):
            x = torch.rand(1, spec.in_channels, *(factor * m for m in spec.multiple))
            with torch.no_grad():
                gap = (ours(x).softmax(dim=1) - theirs(x).softmax(dim=1)).abs().max()
            worst = max(worst, float(gap))
    return worst


def compare_thickness(
    bundle: Bundle, model: KneeCascade, other: KneeCascade, scan: Path, echo: int | None, side: Side
) -> dict[str, float]:
    """Plate to the difference of its mean thickness, ONNX minus torch, µm."""
    from kneeimg.pipeline.segmenting import read_scan

    image = read_scan(scan, echo).image
    means = []
    for one in (model, other):
        settings = SegmentationSettings(device="cpu", precision="fp32")
        label_map = BundleSegmenter(bundle, settings, one).segment(image, side)
        rows = measure_knee(label_map, side).measurements
        means.append({row.name: row.value for row in rows})
    names = {plate: f"{plate}_ThCtAB_aMe" for plate in PLATE_UNIONS}
    return {plate: 1000 * (means[1][name] - means[0][name]) for plate, name in names.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--echo", type=int)
    parser.add_argument("--side", type=Side, default=None)
    given = parser.parse_args()
    folder = find_bundle(given.model)
    if folder is None:
        parser.error(f"there is no model {given.model}")
    bundle = read_bundle(folder)
    model = load_cascade(bundle)
    paths = export_onnx(model, given.out)
    other = with_predictors(model, onnx_predictor(paths[0]), onnx_predictor(paths[1]))
    print(f"largest difference of a probability: {largest_difference(model, other):.2e}")
    if given.image is None:
        return
    if given.side is None:
        parser.error("--image needs --side")
    gaps_um = compare_thickness(bundle, model, other, given.image, given.echo, given.side)
    for plate, gap_um in gaps_um.items():
        print(f"{plate:5} thickness differs by {gap_um:+.2f} um")


if __name__ == "__main__":
    main()
