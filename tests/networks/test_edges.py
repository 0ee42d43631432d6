"""Edges by how the tissues look in the scan: known slabs, every contrast, nothing learned yet."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kneeimg.networks.edges import EdgeCorrection
from kneeimg.networks.spec import CascadeSpec, EdgeSpec

SHAPE = (16, 64, 64)
#: Classes of cartilage, bone, menisci, the rest.
GROUPS = ([2, 4, 6], [1, 3, 5], [7, 8], [0])
#: Classes along k: femur, femoral cartilage, background.
LAYERS = ((1, slice(0, 24)), (2, slice(24, 36)), (0, slice(36, 64)))


def slab(bone: float, cartilage: float, beyond: float, edge: int = 24) -> Tensor:
    """(1, 1, i, j, k) bone, cartilage from voxel `edge` on, then something else."""
    image = torch.full((1, 1, *SHAPE), beyond)
    image[..., :36] = cartilage
    image[..., :edge] = bone
    return image


def unsure_at_edges() -> Tensor:
    """(1, 9, i, j, k) logits that are sure of LAYERS but for two voxels on either side of edges."""
    logits = torch.zeros((1, 9, *SHAPE))
    for value, layer in LAYERS:
        logits[:, value, :, :, layer] = 9.0
    for edge, pair in ((24, (1, 2)), (36, (2, 0))):
        band = slice(edge - 2, edge + 2)
        logits[..., band] = 0.0
        for value in pair:
            logits[:, value, :, :, band] = 4.0
    return logits


def odds(image: Tensor) -> tuple[Tensor, Tensor]:
    """Odds (3, i, j, k) of cartilage against bone, menisci and the rest, and the clues."""
    sure = torch.softmax(unsure_at_edges(), dim=1)
    chance = torch.stack([sure[:, group].sum(dim=1) for group in GROUPS], dim=1)
    found, clues = EdgeCorrection(EdgeSpec(), 9).odds(image, chance)
    return found[0], clues[0]


@pytest.mark.parametrize(
    "bone, cartilage, beyond", [(0.1, 0.5, 0.9), (0.9, 0.4, 0.1), (0.2, 1.4, 0.6)]
)
@pytest.mark.parametrize("edge", [22, 23, 25, 26])
def test_brightness_tells_bone_from_cartilage_in_every_contrast(
    bone: float, cartilage: float, beyond: float, edge: int
) -> None:
    against_bone = odds(slab(bone, cartilage, beyond, edge))[0][0, 8, 32]
    assert (against_bone[22:edge] < -1.0).all()
    assert (against_bone[edge:26] > 1.0).all()


def test_what_lies_beyond_is_told_apart_by_whether_it_is_darker_or_brighter() -> None:
    found, clues = odds(slab(0.1, 0.5, 0.9))
    menisci, rest = found[1:, 8, 32]
    darker, brighter = clues[:2, 8, 32]
    assert (brighter[34:36] > 1.0).all()
    assert (brighter[36:38] < -1.0).all()
    assert (darker == 0.0).all()  # nothing of the kind is near
    assert (menisci == 0.0).all()
    assert torch.allclose(rest[34:38], brighter[34:38], atol=0.2)  # the rest is all bright


def test_the_rest_may_be_dark_and_bright_at_one_place() -> None:
    image = slab(0.1, 0.5, 0.9)
    image[:, :, :, 32:, 36:] = 0.1  # capsule beside fluid, the border of both in view
    found, clues = odds(image)
    rest = found[2, 8, 26:38]
    assert (clues[0, 8, 26:38, 37] > clues[1, 8, 26:38, 37]).any()
    assert (rest[:, 36:38] < -1.0).all()  # fluid and capsule are both told from cartilage
    assert (rest[:, 34:36] > 1.0).all()


def test_an_image_of_one_value_says_nothing() -> None:
    found, _ = odds(torch.full((1, 1, *SHAPE), 0.5))
    assert float(found.abs().max()) < 0.01


def test_strength_of_the_signal_does_not_matter() -> None:
    (once, _), (twice, _) = odds(slab(0.1, 0.5, 0.9)), odds(slab(0.2, 1.0, 1.8))
    assert torch.allclose(once[:, 8, 32], twice[:, 8, 32], atol=0.1)


def corrected(image: Tensor) -> Tensor:
    """(9, k) probabilities along a line through the slab, nothing learned."""
    with torch.no_grad():
        logits = EdgeCorrection(EdgeSpec(), 9)(image, unsure_at_edges())
    return torch.softmax(logits, dim=1)[0, :, 8, 32]


@pytest.mark.parametrize("edge", [22, 23, 24, 25, 26])
def test_the_edge_goes_where_the_scan_has_it(edge: int) -> None:
    best = corrected(slab(0.1, 0.5, 0.9, edge)).argmax(dim=0)
    assert (best[:edge] == 1).all()
    assert (best[edge:36] == 2).all()
    assert (best[36:] == 0).all()


def test_what_else_it_may_be_stays_as_the_network_says() -> None:
    before = torch.softmax(unsure_at_edges(), dim=1)[0, :, 8, 32]
    after = corrected(slab(0.1, 0.5, 0.9, 26))
    for some, other in ((1, 0), (1, 7), (2, 4)):
        assert torch.allclose(after[some] / after[other], before[some] / before[other], rtol=1e-3)


def test_edges_are_looked_at_on_the_grid_of_the_fine_network() -> None:
    fine = CascadeSpec().fine
    assert fine.edges is not None
    with pytest.raises(ValueError, match="fine_spacing_mm"):
        CascadeSpec(fine_spacing_mm=(1.0, 0.5, 0.5), fine=fine)
