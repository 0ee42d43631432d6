"""Models that kneeimg did not make: their description, their formats, their refusals."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import KneeimgError, MaskError, ModelError, ReasonCode, StudyError
from kneeimg.io.label_schemes import load_scheme
from kneeimg.networks.cascade import KneeCascade
from kneeimg.networks.onnx import export_onnx, with_predictors
from kneeimg.networks.spec import CascadeSpec, NetworkSpec
from kneeimg.segment.foreign import (
    ForeignSegmenter,
    normalised,
    onnx_predictor,
    read_foreign,
    turned,
    turned_back,
)
from kneeimg.segment.mr import KneeSegmenter
from kneeimg.settings.foreign_model import ForeignInput
from kneeimg.settings.segmentation import SegmentationSettings

TRUSTED = SegmentationSettings(trust=True, device="cpu")

# channel n of the model is this label value of the scheme knee-v1, as in grey_net
DESCRIPTION = """
name = "grey reader"
version = "7"
[input]
orientation = "SAR"
normalisation = "none"
[window]
size = [64, 64, 32]
[output]
values = [0, 1, 2, 3, 4, 5, 6, 10, 11]
activation = "softmax"
"""


class _Reader(torch.nn.Module):
    """Logits by grey value, and proof of the orientation: the array must be (S, A, R)."""

    def __init__(self, greys: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("greys", torch.tensor(greys).reshape(1, -1, 1, 1, 1) * 1000.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -0.04 * (x - self.greys) ** 2


@pytest.fixture
def model(grey_net: Any, tmp_path: Path) -> Path:
    path = tmp_path / "reader.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(_Reader(grey_net.GREYS)), str(path))
    path.with_suffix(".toml").write_text(DESCRIPTION)
    return path


@pytest.fixture(scope="module")
def labels(grey_net: Any) -> LabelMap:
    return grey_net.phantom_labels(Side.RIGHT)


def test_torchscript_gives_the_labels_of_its_channels(
    grey_net: Any, model: Path, labels: LabelMap
) -> None:
    segmenter = ForeignSegmenter(read_foreign(model, load_scheme("knee-v1")), TRUSTED)
    assert isinstance(segmenter, KneeSegmenter)
    assert (segmenter.card.name, segmenter.card.version) == ("grey reader", "7")
    made = segmenter.segment_knee(grey_net.grey_image(labels), None)
    assert np.array_equal(made.label_map.labels, labels.labels)


def test_torchscript_needs_consent(model: Path) -> None:
    with pytest.raises(ModelError) as caught:
        ForeignSegmenter(read_foreign(model, load_scheme("knee-v1")))
    assert caught.value.code is ReasonCode.MODEL_NOT_TRUSTED


def test_a_pickled_state_dict_is_refused_even_when_trusted(model: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, model)
    with pytest.raises(ModelError, match="never opened") as caught:
        ForeignSegmenter(read_foreign(model, load_scheme("knee-v1")), TRUSTED)
    assert caught.value.code is ReasonCode.MODEL_REFUSED


def test_an_onnx_file_that_is_none_is_refused(model: Path) -> None:
    path = model.with_suffix(".onnx")
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="ONNX"):
        ForeignSegmenter(read_foreign(path, load_scheme("knee-v1")))


def test_without_onnxruntime_it_is_said_what_to_install(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(StudyError, match="kneeimg\\[onnx\\]"):
        onnx_predictor(model)


@pytest.mark.parametrize(
    "old, new, kind",
    [
        ('orientation = "SAR"', 'orientation = "SAP"', StudyError),
        ("size =", "sise =", StudyError),
        ("[0, 1, 2, 3, 4, 5, 6, 10, 11]", "[0, 1, 2, 3, 4, 5, 6, 10, 42]", MaskError),
        ("[0, 1, 2, 3, 4, 5, 6, 10, 11]", "[1, 2, 3, 4, 5, 6, 10, 11, 12]", StudyError),
    ],
)
def test_a_mistake_in_the_description_is_named(
    model: Path, old: str, new: str, kind: type[KneeimgError]
) -> None:
    description = model.with_suffix(".toml")
    description.write_text(DESCRIPTION.replace(old, new))
    with pytest.raises(kind, match=r"reader\.toml"):
        read_foreign(model, load_scheme("knee-v1"))


def test_no_description_and_unknown_kinds_are_refused(model: Path) -> None:
    with pytest.raises(ModelError, match="not a kind of model"):
        read_foreign(model.with_suffix(".h5"), load_scheme("knee-v1"))
    model.with_suffix(".toml").unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        read_foreign(model, load_scheme("knee-v1"))


def test_another_number_of_channels_is_refused(
    grey_net: Any, model: Path, labels: LabelMap
) -> None:
    text = DESCRIPTION.replace("[0, 1, 2, 3, 4, 5, 6, 10, 11]", "[0, 1, 2]")
    model.with_suffix(".toml").write_text(text)
    segmenter = ForeignSegmenter(read_foreign(model, load_scheme("knee-v1")), TRUSTED)
    with pytest.raises(ModelError, match="description"):
        segmenter.segment(grey_net.grey_image(labels), Side.RIGHT)


def test_another_description_or_scheme_is_another_model(model: Path) -> None:
    first = read_foreign(model, load_scheme("knee-v1")).sha256
    assert read_foreign(model, load_scheme("knee-v1")).sha256 == first
    model.with_suffix(".toml").write_text(DESCRIPTION + "\n")
    assert read_foreign(model, load_scheme("knee-v1")).sha256 != first


def test_a_model_that_mirrors_needs_the_side(grey_net: Any, model: Path, labels: LabelMap) -> None:
    text = DESCRIPTION.replace("[input]", "[input]\nmirror_left = true")
    model.with_suffix(".toml").write_text(text)
    segmenter = ForeignSegmenter(read_foreign(model, load_scheme("knee-v1")), TRUSTED)
    with pytest.raises(MaskError) as caught:
        segmenter.segment(grey_net.grey_image(labels), None)
    assert caught.value.code is ReasonCode.NO_LATERALITY


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SAR", "PIL", "IRA"])
def test_turning_there_and_back_changes_nothing(orientation: str) -> None:
    x = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    there = turned(x, orientation)
    assert torch.equal(turned_back(there, orientation), x)
    # the first voxel of the model's array is the farthest right (or left), and so on
    ends = {"L": 0, "P": 0, "S": 0, "R": -1, "A": -1, "I": -1}
    axes = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}
    corner = [0, 0, 0]
    for letter in orientation:
        corner[axes[letter]] = ends[letter]
    assert there[1, 0, 0, 0] == x[1, corner[0], corner[1], corner[2]]


def test_normalisation() -> None:
    x = torch.linspace(0, 100, 101).reshape(1, 1, 1, 101)
    scaled = normalised(x, ForeignInput(percentiles=(10, 90)))
    assert scaled.min() == 0.0
    assert scaled[..., 50].item() == pytest.approx(0.5)
    zscore = normalised(x, ForeignInput(normalisation="zscore"))
    assert zscore.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert zscore.std().item() == pytest.approx(1.0, abs=1e-5)


def test_both_cartilages_of_a_scheme_become_one_tissue(
    grey_net: Any, model: Path, labels: LabelMap
) -> None:
    """nnunet-knee: 1 PC, 2 FC, 3 and 4 TC medial and lateral, 5 and 6 menisci, 7 8 9 bones."""
    text = DESCRIPTION.replace("[0, 1, 2, 3, 4, 5, 6, 10, 11]", "[0, 7, 2, 8, 3, 9, 1, 4, 6]")
    model.with_suffix(".toml").write_text(text)
    segmenter = ForeignSegmenter(read_foreign(model, load_scheme("nnunet-knee")), TRUSTED)
    made = segmenter.segment(grey_net.grey_image(labels), Side.RIGHT)
    true = np.isin(labels.labels, (Tissue.TIBIAL_CARTILAGE, Tissue.MEDIAL_MENISCUS))
    assert (made.labels[true] == Tissue.TIBIAL_CARTILAGE).mean() > 0.75
    assert Tissue.MEDIAL_MENISCUS not in made.tissues()


@pytest.mark.slow
def test_onnx_gives_what_torch_gives(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    spec = CascadeSpec(
        coarse=NetworkSpec(filters=(4, 4, 4), fold=(2, 2, 2)),
        fine=NetworkSpec(in_channels=9, filters=(4, 4, 4), fold=(1, 2, 2)),
        window=(16, 32, 32),
    )
    torch.manual_seed(3)
    model = KneeCascade(spec).eval()
    paths = export_onnx(model, tmp_path)
    other = with_predictors(model, *(onnx_predictor(path) for path in paths))
    for ours, theirs, channels in ((model.coarse, other.coarse, 1), (model.fine, other.fine, 9)):
        for sides in ((16, 16, 24), (24, 32, 16)):
            x = torch.rand(1, channels, *sides)
            with torch.no_grad():
                gap = (ours(x).softmax(1) - theirs(x).softmax(1)).abs().max()
            assert gap < 1e-5
