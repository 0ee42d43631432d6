"""Frames and windows of the knee model: positions, sides and the joint's box."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.networks.cascade import KneeCascade, intensity_range, joint_box, run_cascade, scaled
from kneeimg.networks.frame import frame_of, resample
from kneeimg.networks.onnx import with_predictors
from kneeimg.networks.spec import CascadeSpec, EdgeSpec, NetworkSpec, build_network
from kneeimg.networks.subpixel import fold_voxels, unfold_voxels
from kneeimg.phantoms.grids import slice_grid


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
@pytest.mark.parametrize("side", Side)
def test_a_frame_shows_every_scan_the_same_way(plane: str, side: Side) -> None:
    grid = slice_grid(plane, (1.0, 0.5, 0.5), (40, 100, 100))  # type: ignore[arg-type]
    frame = frame_of(grid, side, (1.5, 1.5, 1.5))
    left, posterior, superior = (frame.affine[:3, n] / 1.5 for n in range(3))
    assert left[0] == pytest.approx(1.0 if side is Side.RIGHT else -1.0)
    assert posterior[1] == pytest.approx(1.0)
    assert superior[2] == pytest.approx(1.0)
    # both cover the same box around the same middle
    middle = grid.to_mm((np.asarray(grid.shape) - 1) / 2)
    np.testing.assert_allclose(frame.to_mm((np.asarray(frame.shape) - 1) / 2), middle, atol=1e-9)


def test_resampling_reads_the_right_place() -> None:
    """A linear ramp in patient space is read back exactly, also through averages and mirrors."""
    grid = slice_grid("sagittal", (1.0, 0.4, 0.4), (30, 90, 90), turn=None)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    slope = np.array([0.7, -0.3, 0.2])
    ramp = torch.as_tensor(grid.to_mm(index) @ slope, dtype=torch.float32)[None]
    for side in Side:
        frame = frame_of(grid, side, (1.5, 1.5, 1.5))
        read = resample(ramp, grid, frame)[0].numpy()
        there = np.stack(np.meshgrid(*[np.arange(n) for n in frame.shape], indexing="ij"), axis=-1)
        wanted = frame.to_mm(there) @ slope
        inner = (slice(2, -2),) * 3  # the edge is continued, not extrapolated
        np.testing.assert_allclose(read[inner], wanted[inner], atol=2e-3)


def test_folding_is_undone_by_unfolding() -> None:
    x = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    folded = fold_voxels(x, (2, 3, 4))
    assert folded.shape == (2, 72, 2, 2, 2)
    assert torch.equal(unfold_voxels(folded, (2, 3, 4)), x)


def test_the_joint_is_not_stretched_by_a_speck() -> None:
    spec = CascadeSpec(roi_margin_mm=3.0)
    coarse = torch.zeros(9, 60, 60, 60)
    coarse[2, 20:40, 20:40, 28:30] = 1.0
    coarse[4, 20:40, 20:40, 26:27] = 1.0  # the other side of the joint space
    coarse[2, 55, 55, 55] = 1.0
    assert joint_box(coarse, spec) == ((18, 18, 24), (41, 41, 31))
    assert joint_box(torch.zeros(9, 8, 8, 8), spec) is None


def test_intensities_do_not_depend_on_the_scanners_units() -> None:
    image = torch.rand(1, 20, 20, 20)
    one = scaled(image, *intensity_range(image))
    other = scaled(1000 * image + 50, *intensity_range(1000 * image + 50))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    assert float(one.min()) == 0.0


def test_what_is_brighter_than_most_of_the_view_stays_told_apart() -> None:
    """Fat-suppressed cartilage and fluid: one hundredth of the view, and all of what matters."""
    image = torch.full((20, 20, 20), 0.1)
    image[:4] = torch.linspace(0.0, 0.3, 4 * 400).reshape(4, 20, 20)
    image[10, 0, :12], image[10, 1, :12] = 0.5, 0.9  # cartilage and fluid, 0.3 % of the voxels
    shown = scaled(image, *intensity_range(image))
    cartilage, fluid = shown[10, 0, 0], shown[10, 1, 0]
    assert 1.0 < float(cartilage) < float(fluid) - 0.3
    assert float(shown.max()) < 3.0  # a vessel ten times as bright would not dwarf the rest
    below = torch.tensor([-5.0, 0.0, 0.5, 1.0])
    torch.testing.assert_close(scaled(below, 0.0, 1.0), torch.tensor([0.0, 0.0, 0.5, 1.0]))


def test_a_spec_that_cannot_be_built_is_refused() -> None:
    for wrong in ({"filters": (8, 8)}, {"name": "Anything"}, {"fold": (9, 1, 1)}, {"code": "x"}):
        with pytest.raises(ValueError, match=r"filters|name|fold|code|levels"):
            NetworkSpec.model_validate(wrong)
    with pytest.raises(ValueError, match="multiple"):
        CascadeSpec(window=(47, 112, 112))
    net = build_network(NetworkSpec(filters=(4, 8, 8), fold=(1, 2, 2)))
    assert net.multiple == (4, 8, 8)


def test_the_head_is_left_in_single_precision() -> None:
    torch.manual_seed(4)
    network = build_network(NetworkSpec(filters=(4, 8, 8))).eval()
    heads: list[torch.Tensor] = []
    network.get_submodule("body.output_block").register_forward_hook(
        lambda _module, _given, logits: heads.append(logits)
    )
    x = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        exact = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = network(x)
    assert [head.dtype for head in heads] == [torch.float32, torch.float32]
    assert 0 < float((exact - rounded).abs().max()) < 0.1


def slab_logits(image: torch.Tensor, shift: int, blur: int) -> torch.Tensor:
    """(n, 9, i, j, k) femur where it is dark, femoral cartilage where grey, else background.

    Drawn `shift` voxels too high along k and unsure over `blur` voxels.
    """
    value = torch.cat(
        [image[:, :1, ..., :1]] * shift + [image[:, :1, ..., : image.shape[4] - shift]], 4
    )
    classes = torch.cat([value >= 0.7, value < 0.3, (value >= 0.3) & (value < 0.7)], dim=1)
    sure = torch.nn.functional.avg_pool3d(
        torch.nn.functional.pad(classes.float(), [blur // 2, blur // 2, 0, 0, 0, 0], "replicate"),
        (1, 1, blur),
        stride=1,
    )
    return torch.cat([sure, torch.zeros((len(image), 6, *image.shape[2:]))], dim=1).add(1e-3).log()


@pytest.mark.parametrize("edges", [None, EdgeSpec()])
def test_edges_of_the_fine_network_go_where_the_scan_has_them(edges: EdgeSpec | None) -> None:
    """A fine network that draws everything a voxel too high is put right by the image."""
    spec = CascadeSpec(
        coarse=NetworkSpec(filters=(4, 4, 4)),
        fine=NetworkSpec(in_channels=9, filters=(4, 4, 4), fold=(1, 2, 2)),
        window=(16, 48, 48),
        edges=edges,
    )
    image = torch.full((40, 80, 80), 1.0)
    image[:, :, :52] = 0.5
    image[:, :, :40] = 0.1
    image[0], image[-1] = 0.0, 1.0  # what becomes 0 and 1
    model = with_predictors(
        KneeCascade(spec),
        lambda x: slab_logits(x, 0, 1),
        lambda x: slab_logits(x, 1, 5),
    )
    grid = Grid((40, 80, 80), np.diag([-0.7, -0.4, 0.4, 1.0]), "2.25.1")
    found = run_cascade(model, image, grid, Side.RIGHT)
    assert found.fine is not None
    assert found.fine_grid is not None
    best = found.fine.argmax(dim=0)
    middle = tuple(n // 2 for n in best.shape[:2])
    line = best[middle]
    heights_mm = found.fine_grid.to_mm(
        np.stack([[*middle, k] for k in range(len(line))]).astype(float)
    )[:, 2]
    cartilage = heights_mm[np.flatnonzero(line.numpy() == 2)]
    lowest, highest = cartilage.min(), cartilage.max()
    off = 0.0 if edges else 0.4
    assert lowest - 0.2 == pytest.approx(39.5 * 0.4 + off, abs=0.21)  # to half a voxel
    assert highest + 0.2 == pytest.approx(51.5 * 0.4 + off, abs=0.21)
