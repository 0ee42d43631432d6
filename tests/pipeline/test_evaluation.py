"""Evaluation: a perfect segmentation, a worn one, one that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.label_map import LabelMap
from kneeimg.io.label_maps import write_label_map
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.pipeline.evaluation import evaluate
from kneeimg.training.datalist import read_datalist


@pytest.fixture(scope="module")
def truth() -> LabelMap:
    grid = slice_grid("sagittal", (1.0, 0.6, 0.6), (100, 190, 190))
    soft = KneePhantom(side=Side.RIGHT).label_map(grid)
    return LabelMap(soft.labels, grid)


@pytest.fixture
def cases(tmp_path: Path, truth: LabelMap) -> tuple[Path, Path]:
    """Three references; the first found exactly, the second a voxel thinner, the third not."""
    references, found = tmp_path / "references", tmp_path / "found"
    references.mkdir()
    found.mkdir()
    worn = truth.labels.copy()
    cartilage = worn == Tissue.TIBIAL_CARTILAGE
    touches = np.roll(worn == Tissue.TIBIA, 1, axis=1) | np.roll(worn == Tissue.TIBIA, -1, axis=1)
    worn[cartilage & touches] = Tissue.TIBIA
    for name in ("A", "B", "C"):
        write_label_map(truth, references / f"{name}.nii.gz")
    write_label_map(truth, found / "A.nii.gz")
    write_label_map(LabelMap(worn, truth.grid), found / "B.nii.gz")
    entries = [{"label": f"{n}.nii.gz", "participant": n, "side": "right"} for n in ("A", "B", "C")]
    (references / "list.json").write_text(json.dumps({"training": entries}))
    return references / "list.json", found


@pytest.mark.slow
def test_perfect_worn_and_missing(cases: tuple[Path, Path], tmp_path: Path) -> None:
    path, found = cases
    out = tmp_path / "out"
    result = evaluate(
        read_datalist(path), path.parent, out,
        segment=None, predictions=found, progress=lambda done, total, what: None,
    )  # fmt: skip
    perfect, worn, missing = result
    assert all(t.dice == 1.0 for t in perfect.tissues)
    assert all(p.difference == pytest.approx(0.0, abs=1e-9) for p in perfect.thickness)
    assert missing.finding is not None
    assert missing.finding.code == "NO_MASK"
    thickness = {p.region: p for p in worn.thickness if p.quantity == "ThCtAB_aMe"}
    assert -0.75 < thickness["MT"].difference < -0.4  # one voxel of 0.6 mm
    assert thickness["cMF"].difference == pytest.approx(0.0, abs=0.02)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "tibial cartilage" in page
    assert "NO_MASK" in page
    assert "not for diagnosis" in page
    summary = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert summary["cases"] == 3
    assert len(summary["refused"]) == 1
    # the worst case comes first and is drawn
    assert page.index("B-V1-right.png") < page.index("A-V1-right.png")
    assert (out / "pictures" / "B-V1-right.png").read_bytes()[:4] == b"\x89PNG"
