"""Edges by how the tissues look in the scan: known slabs in every contrast."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kneeimg.networks.edges import correct_edges, odds_of_cartilage
from kneeimg.networks.spec import CascadeSpec, EdgeSpec

SPACING_MM = (0.7, 0.4, 0.4)
SHAPE = (16, 63, 64)
#: Classes along k: femur, femoral cartilage, background.
LAYERS = ((1, slice(0, 24)), (2, slice(24, 36)), (0, slice(36, 64)))


def slab(bone: float, cartilage: float, beyond: float, edge: int = 24) -> Tensor:
    """(1, i, j, k) bone, cartilage from voxel `edge` on, then something else."""
    image = torch.full((1, *SHAPE), beyond)
    image[..., :36] = cartilage
    image[..., :edge] = bone
    return image


def unsure_at_edges() -> Tensor:
    """(9, i, j, k) probabilities sure of LAYERS but for two voxels on either side of each edge."""
    logits = torch.zeros((9, *SHAPE))
    for value, layer in LAYERS:
        logits[value, :, :, layer] = 9.0
    for edge, pair in ((24, (1, 2)), (36, (2, 0))):
        band = slice(edge - 2, edge + 2)
        logits[..., band] = 0.0
        for value in pair:
            logits[value, :, :, band] = 4.0
    return torch.softmax(logits, dim=0)


def odds(image: Tensor) -> Tensor:
    """(3, i, j, k) odds of cartilage against bone, menisci and the rest."""
    sure = unsure_at_edges()
    cartilage = sure[[2, 4, 6]].sum(dim=0, keepdim=True)
    rivals = torch.stack([sure[[1, 3, 5]].sum(dim=0), sure[[7, 8]].sum(dim=0), sure[0]])
    return odds_of_cartilage(image, cartilage, rivals, SPACING_MM, EdgeSpec())


def corrected(image: Tensor) -> Tensor:
    """(9, k) probabilities along a line through the slab."""
    chance = correct_edges(unsure_at_edges(), image, SPACING_MM, EdgeSpec())
    assert torch.allclose(chance.sum(dim=0), torch.ones(SHAPE), atol=1e-4)
    return chance[:, 8, 32]


CONTRASTS = pytest.mark.parametrize(
    "bone, cartilage, beyond", [(0.1, 0.5, 0.9), (0.9, 0.4, 0.1), (0.2, 1.4, 0.6)]
)


@CONTRASTS
@pytest.mark.parametrize("edge", [22, 23, 24, 25, 26])
def test_the_edge_goes_where_the_scan_has_it(
    bone: float, cartilage: float, beyond: float, edge: int
) -> None:
    best = corrected(slab(bone, cartilage, beyond, edge)).argmax(dim=0)
    assert (best[:edge] == 1).all()
    assert (best[edge:36] == 2).all()
    assert (best[36:] == 0).all()


@CONTRASTS
def test_half_way_between_two_tissues_is_their_edge(
    bone: float, cartilage: float, beyond: float
) -> None:
    """Partial volume of one voxel, from all bone to all cartilage: a half stays a half."""
    found = []
    for share in (0.2, 0.5, 0.8):
        image = slab(bone, cartilage, beyond)
        image[..., 24] = share * cartilage + (1.0 - share) * bone
        found.append(float(corrected(image)[2, 24]))
    assert found[0] < 0.2
    assert found[1] == pytest.approx(0.5, abs=0.05)
    assert found[2] > 0.8


def test_the_rest_may_be_dark_and_bright_at_one_place() -> None:
    image = slab(0.1, 0.5, 0.9)
    image[:, :, 32:, 36:] = 0.1  # capsule beside fluid, the border of both in view
    rest = odds(image)[2, 8, 26:38]
    assert (rest[:, 36:38] < -1.0).all()  # fluid and capsule are both told from cartilage
    assert (rest[:, 34:36] > 1.0).all()


def test_what_is_not_near_is_not_heard() -> None:
    assert float(odds(slab(0.1, 0.5, 0.9))[1].abs().max()) == 0.0  # no meniscus is in view


def test_an_image_of_one_value_says_nothing() -> None:
    assert float(odds(torch.full((1, *SHAPE), 0.5)).abs().max()) < 0.01


def test_strength_of_the_signal_does_not_matter() -> None:
    once, twice = odds(slab(0.1, 0.5, 0.9)), odds(slab(0.2, 1.0, 1.8))
    assert torch.allclose(once[:, 8, 32], twice[:, 8, 32], atol=0.1)


def test_what_else_it_may_be_stays_as_the_network_says() -> None:
    before, after = unsure_at_edges()[:, 8, 32], corrected(slab(0.1, 0.5, 0.9, 26))
    for some, other in ((1, 0), (1, 7), (2, 4)):
        assert torch.allclose(after[some] / after[other], before[some] / before[other], rtol=1e-3)


def test_edges_may_be_left_as_the_network_draws_them() -> None:
    assert CascadeSpec(edges=None).edges is None
    assert CascadeSpec().edges == EdgeSpec()
