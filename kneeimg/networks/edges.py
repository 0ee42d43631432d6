"""Edges of cartilage by how the tissues look in this very scan.

A network that has to know every sequence knows none well: where its bone ends and its cartilage
begins it cannot tell to a voxel. The scan itself can. The voxels of which the network is sure show
how bright cartilage, bone, meniscus and whatever else borders on it are around every place; from
that follow the odds of the voxels in between, in any contrast and under any coil. The network says
which tissues meet where, the scan says where exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, softplus

from kneeimg.networks.spec import (
    BONE_CLASSES,
    CARTILAGE_CLASSES,
    MENISCUS_CLASSES,
    EdgeSpec,
    TripleMm,
)

#: Classes of what cartilage is compared with: bone, menisci, the rest.
_RIVALS = (BONE_CLASSES, MENISCUS_CLASSES, (0,))

#: A voxel counts towards the look of a tissue from this probability on, fully at 1.
_SURE_FROM = 0.7
#: Voxels are averaged in blocks of this size before they are spread: looks change slowly.
_BLOCK = (1, 2, 2)
#: SD that no tissue is below, in units of the image.
_LEAST_SD = 0.02
#: Square of the contrast to noise ratio that is believed at most: a voxel may hold two tissues.
_MOST_CLEAR = 8.0
#: The logarithm of the odds of one voxel is kept within this.
_WITHIN = 3.0
#: A tissue that holds less than this share of its surroundings hardly counts.
_LEAST_SHARE = 1e-4
#: No tissue is less probable than this.
_LEAST_CHANCE = 1e-6
#: Brighter than this is all the same; 1 is the 99th percentile of the view.
_MOST_BRIGHT = 3.0


@torch.no_grad()
def correct_edges(chance: Tensor, image: Tensor, spacing_mm: TripleMm, spec: EdgeSpec) -> Tensor:
    """Move probability between cartilage and all else to where the scan has the edge.

    Parameters
    ----------
    chance : (classes, i, j, k) probabilities of a network; changed in place.
    image : (1, i, j, k) what the network saw.
    spacing_mm : Voxel size along i, j, k.
    spec : How far looks reach and how much the network counts.

    Returns
    -------
    `chance`. Which cartilage it is, and what else it may be, stays as the network says.
    """
    image = image.float().clamp(max=_MOST_BRIGHT)
    groups = [chance[list(group)].sum(dim=0) for group in (CARTILAGE_CLASSES, *_RIVALS)]
    first = torch.stack(groups).clamp(min=_LEAST_CHANCE)
    own, rivals = first[0], first[1:]
    others = rivals.sum(dim=0)
    prior = spec.trust * (others / own).log()
    cartilage = own
    for _ in range(spec.rounds):
        share = ((1.0 - cartilage) / others).clamp(max=1.0 / _LEAST_CHANCE)
        odds = odds_of_cartilage(image, cartilage[None], rivals * share, spacing_mm, spec)
        heard = (rivals / others * (-odds).exp()).sum(dim=0).log()
        cartilage = torch.exp(-softplus(prior + heard))
    more, less = cartilage / own, (1.0 - cartilage) / others
    for value in range(len(chance)):
        chance[value] *= more if value in CARTILAGE_CLASSES else less
    return chance


def odds_of_cartilage(
    image: Tensor, cartilage: Tensor, rivals: Tensor, spacing_mm: TripleMm, spec: EdgeSpec
) -> Tensor:
    """(3, i, j, k) logarithms of the odds of cartilage against bone, menisci and the rest.

    Parameters
    ----------
    image : (1, i, j, k).
    cartilage, rivals : (1, i, j, k) and (3, i, j, k) probabilities.
    spacing_mm, spec : As in :func:`correct_edges`.

    Notes
    -----
    By Gaussians of equal width around the means of the tissues nearby. The rest is what is darker
    than cartilage, what is brighter, or both, in the shares in which they are near.
    """
    around = _Around(spacing_mm, image)
    sure = _sure(cartilage)
    near = around.spread(around.blocks(sure), spec.near_mm)
    own = around.look(sure, None, spec.reach_mm)
    level = around.finer(own.mean)
    bone, menisci, rest = (_sure(rivals[n : n + 1]) for n in range(3))
    darker = rest * (image < level)
    looks = [around.look(t, near, spec.reach_mm) for t in (bone, menisci, darker, rest - darker)]
    against = [around.odds(own, look) for look in looks]
    dark, bright = (around.finer(look.share) + 0.1 * _LEAST_SHARE for look in looks[2:])
    mixture = dark * (-against[2]).exp() + bright * (-against[3]).exp()
    return torch.cat([against[0], against[1], -(mixture / (dark + bright)).log()])


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """Mean and variance of the image in a tissue, and its share of the surroundings, by block."""

    mean: Tensor
    variance: Tensor
    share: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Around:
    """Surroundings of every place of an image (1, i, j, k), gathered from blocks of voxels."""

    spacing_mm: TripleMm
    image: Tensor

    def look(self, sure: Tensor, near: Tensor | None, reach_mm: float) -> _Look:
        """How a tissue looks around every block, counting what is `near` to cartilage."""
        weights = [self.blocks(sure * power) for power in (1.0, self.image, self.image**2)]
        if near is not None:
            weights = [weight * near for weight in weights]
        share, first, second = (self.spread(weight, reach_mm) for weight in weights)
        safe = share.clamp(min=1e-6)
        mean = first / safe
        return _Look(mean, (second / safe - mean * mean).clamp(min=0.0), share)

    def odds(self, own: _Look, other: _Look) -> Tensor:
        """(1, i, j, k) logarithm of the odds of a tissue against another, by brightness."""
        apart = own.mean - other.mean
        variance = 0.5 * (own.variance + other.variance) + _LEAST_SD**2
        slope = apart / (variance + apart * apart / _MOST_CLEAR)
        for look in (own, other):
            slope = slope * look.share / (look.share + _LEAST_SHARE)
        middle = 0.5 * (own.mean + other.mean)
        odds: Tensor = self.finer(slope) * self.image - self.finer(slope * middle)
        return odds.clamp(-_WITHIN, _WITHIN)

    def blocks(self, volume: Tensor) -> Tensor:
        """Means over blocks; those at the end may hold fewer voxels."""
        return avg_pool3d(volume, _BLOCK, ceil_mode=True)

    def spread(self, blocks: Tensor, sigma_mm: float) -> Tensor:
        """Gaussian sums over the surroundings of blocks; what lies beyond the image counts 0."""
        for axis, (mm, n) in enumerate(zip(self.spacing_mm, _BLOCK, strict=True)):
            blocks = _along(blocks, axis, _gaussian(blocks.shape[1 + axis], sigma_mm / (mm * n)))
        return blocks

    def finer(self, blocks: Tensor) -> Tensor:
        """Blocks read at the voxels, linearly."""
        for axis in (1, 2):
            matrix = _halving(blocks.shape[1 + axis])[:, : self.image.shape[1 + axis]]
            blocks = _along(blocks, axis, matrix)
        return blocks


def _along(volume: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """A volume (1, i, j, k) times a matrix along an axis: on a processor much the quickest way."""
    moved = volume.movedim(1 + axis, -1) @ matrix.to(volume.device)
    return moved.movedim(-1, 1 + axis)


def _halving(n: int) -> Tensor:
    """(n, 2 n) weights of linear interpolation from n blocks to their 2 n voxels."""
    blocks = torch.arange(n, dtype=torch.float32)
    voxels = torch.arange(2 * n, dtype=torch.float32) * 0.5 - 0.25
    inside = voxels.clamp(min=0.0, max=n - 1.0)
    return (1.0 - (inside[None] - blocks[:, None]).abs()).clamp(min=0.0)


def _gaussian(n: int, sigma: float) -> Tensor:
    """(n, n) weights of a Gaussian around each of n places."""
    places = torch.arange(n, dtype=torch.float32)
    weights = torch.exp(-0.5 * ((places[:, None] - places[None]) / sigma) ** 2)
    scaled: Tensor = weights / (sigma * (2.0 * torch.pi) ** 0.5)
    return scaled


def _sure(chance: Tensor) -> Tensor:
    return ((chance - _SURE_FROM) / (1.0 - _SURE_FROM)).clamp(min=0.0)
