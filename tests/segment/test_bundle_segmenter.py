"""The whole way from image to label map with a network whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from kneeimg.core.anatomy import Side, Tissue
from kneeimg.core.grid import Grid, reorient_array
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import InputError, ModelError, ReasonCode
from kneeimg.measure.morphometry import measure_knee
from kneeimg.networks.bundle import Bundle, write_bundle
from kneeimg.networks.cascade import KneeCascade
from kneeimg.segment.bundle import BundleSegmenter
from kneeimg.segment.mr import KneeSegmenter, Segmenter, segment_with
from kneeimg.settings.segmentation import (
    CleanupSettings,
    ConfidenceSettings,
    SegmentationSettings,
)

FP32 = SegmentationSettings(device="cpu", precision="fp32")
MENISCI = (Tissue.MEDIAL_MENISCUS, Tissue.LATERAL_MENISCUS)
UNJUDGED = FP32.model_copy(update={"confidence": ConfidenceSettings(enabled=False)})


@pytest.fixture(scope="module")
def bundle(grey_net: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("models") / "grey"
    return write_bundle(KneeCascade(grey_net.SPEC), root, version="1")


@pytest.fixture(scope="module")
def labels(grey_net: Any) -> LabelMap:
    return grey_net.phantom_labels(Side.RIGHT)


@pytest.fixture(scope="module")
def image(grey_net: Any, labels: LabelMap) -> Volume:
    return grey_net.grey_image(labels)


@pytest.fixture(scope="module")
def segmenter(grey_net: Any, bundle: Bundle) -> BundleSegmenter:
    return BundleSegmenter(bundle, FP32, grey_net.grey_cascade())


def test_every_voxel_comes_back(
    segmenter: BundleSegmenter, image: Volume, labels: LabelMap, bundle: Bundle
) -> None:
    made = segmenter.segment_knee(image, Side.RIGHT)
    assert isinstance(segmenter, Segmenter)
    assert isinstance(segmenter, KneeSegmenter)
    assert segmenter.card.sha256 == bundle.sha256
    assert np.array_equal(made.label_map.labels, labels.labels)
    assert made.label_map.grid is image.grid
    assert made.label_map.is_soft
    assert made.findings == ()
    assert made.unsure == ()
    assert all(found.certainty > 0.999 for found in made.confidence.values())
    assert set(made.seconds) == {"networks", "resampling", "cleanup", "confidence"}


def test_thickness_of_the_segmentation_is_that_of_the_phantom(
    segmenter: BundleSegmenter, image: Volume, labels: LabelMap
) -> None:
    def means(label_map: LabelMap) -> dict[str, float]:
        rows = measure_knee(label_map, Side.RIGHT).measurements
        return {r.region: r.value for r in rows if r.quantity == "ThCtAB_aMe"}

    # fractions of 0 and 1, as this network answers; labels alone would be smoothed as hard ones
    tissues = [tissue for tissue in labels.tissues() if tissue is not Tissue.BACKGROUND]
    fractions = {tissue: (labels.labels == tissue).astype(np.float32) for tissue in tissues}
    given = LabelMap(labels.labels, labels.grid, fractions)
    found, true = means(segmenter.segment(image, Side.RIGHT)), means(given)
    for plate in ("MT", "LT", "cMF", "cLF", "P"):
        assert found[plate] == pytest.approx(true[plate], abs=0.002)


def test_mirror_law(segmenter: BundleSegmenter, image: Volume) -> None:
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    grid = Grid(image.grid.shape, mirror @ image.grid.affine, image.grid.frame_uid)
    left = segmenter.segment(Volume(image.data, grid, "a.u."), Side.LEFT)
    right = segmenter.segment(image, Side.RIGHT)
    assert np.array_equal(left.labels, right.labels)
    assert left.probabilities is not None
    for tissue, values in left.probabilities.items():
        assert np.abs(values - right.fraction(tissue)).max() < 1e-5


@pytest.mark.parametrize("axes, flips", [((2, 0, 1), (1, -1, 1)), ((1, 2, 0), (-1, 1, -1))])
def test_the_order_of_the_array_does_not_matter(
    segmenter: BundleSegmenter,
    image: Volume,
    labels: LabelMap,
    axes: tuple[int, int, int],
    flips: tuple[int, int, int],
) -> None:
    turned = Volume(
        reorient_array(image.data, axes, flips), image.grid.reorient(axes, flips), "a.u."
    )
    found = segmenter.segment(turned, Side.RIGHT)
    assert np.array_equal(found.labels, reorient_array(labels.labels, axes, flips))


def test_without_a_side_the_menisci_are_left_out_and_it_is_said(
    segmenter: BundleSegmenter, image: Volume, labels: LabelMap
) -> None:
    made = segmenter.segment_knee(image, None)
    assert [f.code for f in made.findings] == [ReasonCode.NO_LATERALITY]
    assert not set(MENISCI) & made.label_map.tissues()
    expected = np.where(np.isin(labels.labels, MENISCI), 0, labels.labels)
    assert np.array_equal(made.label_map.labels, expected)


def test_bfloat16_gives_the_same_labels_here(
    grey_net: Any, bundle: Bundle, image: Volume, labels: LabelMap
) -> None:
    settings = FP32.model_copy(update={"precision": "bf16"})
    made = BundleSegmenter(bundle, settings, grey_net.grey_cascade()).segment(image, Side.RIGHT)
    assert np.array_equal(made.labels, labels.labels)


def _empty_corner(labels: LabelMap) -> tuple[slice, ...]:
    """A block in muscle, off every bone, in a corner of the box around the cartilage."""
    cartilage = np.isin(labels.labels, (2, 4, 6))
    low, high = (np.argwhere(cartilage).min(axis=0), np.argwhere(cartilage).max(axis=0))
    for ends in product((0, 1), repeat=3):
        first = [int(high[n]) - 4 if end else int(low[n]) for n, end in enumerate(ends)]
        around = tuple(slice(max(0, at - 3), at + 8) for at in first)
        if not labels.labels[around].any():
            return tuple(slice(at, at + 5) for at in first)
    raise AssertionError("the phantom fills its box")


def test_clean_up_can_be_switched_off(grey_net: Any, bundle: Bundle, labels: LabelMap) -> None:
    blob = labels.labels.copy()
    blob[_empty_corner(labels)] = int(Tissue.FEMORAL_CARTILAGE)
    image = grey_net.grey_image(replace(labels, labels=blob))
    kept = UNJUDGED.model_copy(update={"cleanup": CleanupSettings(enabled=False)})
    for settings, expected in ((UNJUDGED, labels.labels), (kept, blob)):
        made = BundleSegmenter(bundle, settings, grey_net.grey_cascade())
        assert np.array_equal(made.segment(image, Side.RIGHT).labels, expected)


def _noise(image: Volume) -> Volume:
    rng = np.random.default_rng(0)
    return image.with_data(rng.normal(500, 100, image.grid.shape), unit="a.u.")


def _upside_down(image: Volume) -> Volume:
    turn = np.diag([1.0, 1.0, -1.0, 1.0])
    return Volume(image.data, Grid(image.grid.shape, turn @ image.grid.affine, "1.2"), "a.u.")


def _far_apart(image: Volume) -> Volume:
    """Femur and tibia with 40 mm of nothing between them."""
    data = np.zeros((60, 180, 130), dtype=np.float32)
    joint = 62
    data[:, :joint] = np.where(np.isin(image.data, (900, 400, 600, 700)), 0, image.data)[:, :joint]
    data[:, 50 + joint - 12 :] = np.where(np.isin(image.data, (900, 400)), image.data, 0)[
        :, joint - 12 :
    ]
    return Volume(data, Grid(data.shape, image.grid.affine, "1.2"), "a.u.")


def _bones_alone(image: Volume) -> Volume:
    data = np.where(np.isin(image.data, (300, 400, 500, 600, 700)), 0.0, image.data)
    return image.with_data(data, unit="a.u.")


def _tibia_in_a_shell(image: Volume) -> Volume:
    """Tibial cartilage all around the tibia: what networks make of the skin of a brain."""
    tibia = image.data == 900
    shell = binary_dilation(tibia, iterations=2) & (image.data == 0)
    return image.with_data(np.where(shell, 400.0, image.data), unit="a.u.")


@pytest.mark.parametrize(
    "spoil",
    [
        _noise,
        _tibia_in_a_shell,
        _upside_down,
        _far_apart,
        _bones_alone,
        lambda i: i.with_data(np.zeros(i.grid.shape), unit="a.u."),
        lambda i: i.with_data(np.full(i.grid.shape, np.nan), unit="a.u."),
        lambda i: Volume(i.data[:4], i.grid.crop((0, 0, 0), (4, 130, 130)), "a.u."),
    ],
)
def test_what_is_no_knee_is_refused(
    segmenter: BundleSegmenter, image: Volume, spoil: Callable[[Volume], Volume]
) -> None:
    with pytest.raises(InputError) as caught:
        segmenter.segment(spoil(image), Side.RIGHT)
    assert caught.value.code is ReasonCode.NOT_A_KNEE


@pytest.mark.parametrize("part", [(0, 30), (12, 60), (22, 60)])
def test_a_knee_in_part_is_refused(
    segmenter: BundleSegmenter, image: Volume, part: tuple[int, int]
) -> None:
    first, stop = part
    grid = image.grid.crop((first, 0, 0), (stop - first, 130, 130))
    with pytest.raises(InputError) as caught:
        segmenter.segment(Volume(image.data[first:stop], grid, "a.u."), Side.RIGHT)
    assert caught.value.code is ReasonCode.LOW_CONFIDENCE


def test_a_network_that_is_unsure_is_refused(grey_net: Any, bundle: Bundle, image: Volume) -> None:
    unsure = BundleSegmenter(bundle, FP32, grey_net.grey_cascade(sharpness=60.0))
    with pytest.raises(InputError) as caught:
        unsure.segment(image, Side.RIGHT)
    assert caught.value.code in (ReasonCode.LOW_CONFIDENCE, ReasonCode.NOT_A_KNEE)


def test_a_patella_in_doubt_costs_only_its_own_rows(
    grey_net: Any, segmenter: BundleSegmenter, labels: LabelMap
) -> None:
    thin = labels.labels.copy()
    cartilage = thin == Tissue.PATELLAR_CARTILAGE
    cartilage[:, :, 2:] &= np.cumsum(cartilage, axis=2)[:, :, 2:] < 0  # nearly all gone
    keep = np.zeros_like(cartilage)
    index = np.argwhere(thin == Tissue.PATELLAR_CARTILAGE)
    middle = index[len(index) // 2]
    keep[tuple(slice(n - 2, n + 3) for n in middle)] = True
    thin[(thin == Tissue.PATELLAR_CARTILAGE) & ~keep] = 0
    made = segmenter.segment_knee(grey_net.grey_image(replace(labels, labels=thin)), Side.RIGHT)
    assert [f.code for f in made.findings] == [ReasonCode.LOW_CONFIDENCE]
    assert [str(bone) for bone in made.unsure] == ["patella"]


def test_a_random_network_refuses_itself(grey_net: Any, bundle: Bundle, image: Volume) -> None:
    wide = grey_net.SPEC.model_copy(
        update={"coarse_spacing_mm": (9.0, 9.0, 9.0), "fine_spacing_mm": (6.0, 6.0, 6.0)}
    )
    torch.manual_seed(0)
    random = BundleSegmenter(bundle, FP32, KneeCascade(wide))
    with pytest.raises(InputError) as caught:
        random.segment(image, Side.RIGHT)
    assert caught.value.code is ReasonCode.NOT_A_KNEE


def test_memory_that_runs_short_means_a_smaller_window_and_is_told(
    grey_net: Any, bundle: Bundle, image: Volume, labels: LabelMap
) -> None:
    class Greedy(grey_net.GreyNet):  # type: ignore[name-defined, misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[1] > 1 and x[0, 0].numel() > 32**3:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")
            return super().forward(x)

    model = grey_net.grey_cascade()
    model.fine = Greedy()
    made = BundleSegmenter(bundle, FP32, model).segment_knee(image, Side.RIGHT)
    (finding,) = made.findings
    assert finding.code is ReasonCode.MEMORY_FALLBACK
    assert "cpu, window 16 × 32 × 32" in finding.found
    assert np.array_equal(made.label_map.labels, labels.labels)


def test_memory_that_is_never_enough_is_a_refusal(
    grey_net: Any, bundle: Bundle, image: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("kneeimg.networks.cascade.run_cascade", full)
    with pytest.raises(ModelError) as caught:
        BundleSegmenter(bundle, FP32, grey_net.grey_cascade()).segment(image, Side.RIGHT)
    assert caught.value.code is ReasonCode.OUT_OF_MEMORY


def test_other_errors_of_a_network_are_not_taken_for_memory(
    grey_net: Any, bundle: Bundle, image: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr("kneeimg.networks.cascade.run_cascade", broken)
    with pytest.raises(RuntimeError, match="sizes"):
        BundleSegmenter(bundle, FP32, grey_net.grey_cascade()).segment(image, Side.RIGHT)


def test_segment_with_takes_a_segmenter_that_knows_no_confidence(labels: LabelMap) -> None:
    from kneeimg.segment.mr import ExistingMask

    blank = Volume(np.zeros(labels.grid.shape), labels.grid, "a.u.")
    made = segment_with(ExistingMask(labels), blank, Side.RIGHT)
    assert made.label_map is labels
    assert made.confidence == {}
