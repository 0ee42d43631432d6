"""Edges of cartilage by how the tissues look in this very scan.

A network that has to know every sequence knows none well: where its bone ends and its cartilage
begins it cannot tell to a voxel. The scan itself can. The voxels of which the network is sure show
how bright cartilage, bone, meniscus and whatever else borders on it are around every place; from
that follow the odds of the voxels in between, in any contrast and under any coil. The network says
which tissues meet where, the scan says where exactly. A few convolutions learn what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, leaky_relu, log_softmax, softplus

from kneeimg.networks.spec import EdgeSpec

#: Classes of the tissues whose looks are compared; cartilage against each of the others.
_BONES, _CARTILAGES, _MENISCI, _REST = [1, 3, 5], [2, 4, 6], [7, 8], [0]

#: A voxel counts towards the look of a tissue from this probability on, fully at 1.
_SURE_FROM = 0.7
#: Voxels are averaged in blocks of this size before they are spread: looks change slowly.
_BLOCK = (1, 2, 2)
#: SD that no tissue is below, in units of the image.
_LEAST_SD = 0.02
#: Square of the contrast to noise ratio that is believed at most: a voxel may hold two tissues.
_MOST_CLEAR = 8.0
#: Odds of one voxel are kept within this; their logarithm.
_WITHIN = 3.0
#: A tissue that holds less than this share of its surroundings hardly counts.
_LEAST_SHARE = 1e-4
#: Trust in the network and in the odds against bone, meniscus and the rest, before training.
_TRUST = (0.5, 1.0, 1.0, 1.0)
#: Logarithms of probabilities are kept above this, and divided by `_LOG_SCALE` as features.
_LEAST_LOG, _LOG_SCALE = -13.8, 4.0
#: The image as a feature is cut here; 1 is the 99th percentile of the view.
_MOST_BRIGHT = 3.0


class EdgeCorrection(nn.Module):
    """What the looks of the tissues change in the logits of a network.

    Parameters
    ----------
    spec : Width of the convolutions, voxel size, reach of the looks, rounds.
    classes : Channels of the logits.
    """

    def __init__(self, spec: EdgeSpec, classes: int) -> None:
        super().__init__()
        self.spec = spec
        width = spec.filters
        self.trust = nn.Parameter(torch.tensor(_TRUST))
        self.mixed = nn.Conv3d(classes + 7, width, 1)
        self.around = nn.ModuleList(nn.Conv3d(width, width, 3, padding=1) for _ in range(2))
        self.last = nn.Conv3d(width, classes, 1)
        nn.init.zeros_(self.last.weight)  # nothing is left to learn until it is learned
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, image: Tensor, logits: Tensor) -> Tensor:
        """Corrected logits of an image (n, 1, i, j, k) and logits (n, classes, i, j, k)."""
        device = image.device.type
        with torch.autocast(device, enabled=False):
            image = image.float().clamp(max=_MOST_BRIGHT)
            logs = log_softmax(logits.float(), dim=1).clamp(min=_LEAST_LOG)
            tissues = _together(logs)
            chance = tissues.detach().exp()
            for _ in range(self.spec.rounds):
                odds, clues = self.odds(image, chance)
                moved = self._moved(tissues, odds)
                chance = (tissues + moved).detach().exp()
            own, others = moved[:, :1], moved[:, 1:2]
            change = [own if v in _CARTILAGES else others for v in range(logs.shape[1])]
            logs = logs + torch.cat(change, dim=1)
            seen = torch.cat([logs.clamp(min=_LEAST_LOG) / _LOG_SCALE, odds, clues], dim=1)
        features = leaky_relu(self.mixed(seen.contiguous(memory_format=torch.channels_last_3d)))
        for convolution in self.around:
            features = leaky_relu(convolution(features))
        with torch.autocast(device, enabled=False):
            corrected: Tensor = logs + self.last(features.float())
        return corrected

    def _moved(self, tissues: Tensor, odds: Tensor) -> Tensor:
        """(n, 4, i, j, k) what the odds add to the logarithms of the probabilities of tissues.

        They move probability between cartilage and all else, weighed by what else the network
        thinks it may be; which cartilage it is, and what else, stays what the network says.
        """
        cartilage, rivals = tissues[:, :1], tissues[:, 1:]
        trust = self.trust.reshape(1, -1, 1, 1, 1)
        total = rivals.logsumexp(dim=1, keepdim=True)
        heard = (rivals - total - trust[:, 1:] * odds).logsumexp(dim=1, keepdim=True)
        against = trust[:, :1] * (total - cartilage) + heard
        own = -softplus(against) - cartilage
        others = -softplus(-against) - rivals.logsumexp(dim=1, keepdim=True)
        return torch.cat([own, others, others, others], dim=1)

    @torch.no_grad()
    def odds(self, image: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
        """How brightness speaks for cartilage at every voxel.

        Parameters
        ----------
        image : (n, 1, i, j, k).
        chance : (n, 4, i, j, k) probabilities of cartilage, bone, menisci and the rest.

        Returns
        -------
        odds : (n, 3, i, j, k) logarithms of the odds of cartilage against bone, menisci and the
            rest, by Gaussians around the means of the tissues. The rest is what is darker than
            cartilage, what is brighter, or both, in the shares in which they are near.
        clues : (n, 4, i, j, k) the odds against what is darker and what is brighter, the image,
            and its ratio to cartilage less one.
        """
        sure = ((chance - _SURE_FROM) / (1.0 - _SURE_FROM)).clamp(min=0.0)
        cartilage, bone, menisci, rest = (sure[:, n : n + 1] for n in range(4))
        near = self._spread(_blocks(cartilage), self.spec.near_mm)
        own = self._look(image, cartilage, None)
        level = _finer(own.mean)
        darker = rest * (image < level)
        others = [self._look(image, t, near) for t in (bone, menisci, darker, rest - darker)]
        against = [_odds(image, own, other) for other in others]
        dark, bright = (_finer(look.share) + 0.1 * _LEAST_SHARE for look in others[2:])
        mixture = dark * (-against[2]).exp() + bright * (-against[3]).exp()
        against_rest = -(mixture / (dark + bright)).log()
        ratio = (image / level.clamp(min=0.05) - 1.0).clamp(-1.0, 2.0)
        return (
            torch.cat([against[0], against[1], against_rest], dim=1),
            torch.cat([against[2], against[3], image, ratio], dim=1),
        )

    def _look(self, image: Tensor, sure: Tensor, near: Tensor | None) -> _Look:
        """How a tissue looks around every block, counting what is `near` to cartilage."""
        weights = [_blocks(sure), _blocks(sure * image), _blocks(sure * image * image)]
        if near is not None:
            weights = [weight * near for weight in weights]
        share, first, second = (self._spread(weight, self.spec.reach_mm) for weight in weights)
        safe = share.clamp(min=1e-6)
        mean = first / safe
        return _Look(mean, (second / safe - mean * mean).clamp(min=0.0), share)

    def _spread(self, blocks: Tensor, sigma_mm: float) -> Tensor:
        """Gaussian sums over the surroundings of blocks (n, 1, i, j, k)."""
        for axis, (mm, n) in enumerate(zip(self.spec.voxel_mm, _BLOCK, strict=True)):
            matrix = _gaussian(blocks.shape[2 + axis], sigma_mm / (mm * n), blocks)
            blocks = (blocks.movedim(2 + axis, -1) @ matrix).movedim(-1, 2 + axis)
        return blocks


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """Mean and variance of the image in a tissue, and its share of the surroundings."""

    mean: Tensor
    variance: Tensor
    share: Tensor


def _odds(image: Tensor, own: _Look, other: _Look) -> Tensor:
    """(n, 1, i, j, k) logarithm of the odds of a tissue against another, by brightness."""
    apart = own.mean - other.mean
    variance = 0.5 * (own.variance + other.variance) + _LEAST_SD**2
    slope = apart / (variance + apart * apart / _MOST_CLEAR)
    for look in (own, other):
        slope = slope * look.share / (look.share + _LEAST_SHARE)
    middle = 0.5 * (own.mean + other.mean)
    odds: Tensor = _finer(slope) * image - _finer(slope * middle)
    return odds.clamp(-_WITHIN, _WITHIN)


def _together(logs: Tensor) -> Tensor:
    """(n, 4, i, j, k) logarithms of the probabilities of cartilage, bone, menisci, the rest."""
    chance = logs.exp()
    groups = (_CARTILAGES, _BONES, _MENISCI, _REST)
    sums = [torch.stack([chance[:, v] for v in group]).sum(dim=0) for group in groups]
    return torch.stack(sums, dim=1).log()


def _blocks(volume: Tensor) -> Tensor:
    return avg_pool3d(volume, _BLOCK)


def _finer(blocks: Tensor) -> Tensor:
    """Blocks read at the voxels, linearly; as two products of matrices, which are quicker than
    `interpolate` on a processor."""
    for axis in (3, 4):
        n = blocks.shape[axis]
        blocks = (blocks.movedim(axis, -1) @ _halving(n, blocks)).movedim(-1, axis)
    return blocks


def _halving(n: int, like: Tensor) -> Tensor:
    """(n, 2 n) weights of linear interpolation from n blocks to their 2 n voxels."""
    blocks = torch.arange(n, device=like.device, dtype=like.dtype)
    voxels = torch.arange(2 * n, device=like.device, dtype=like.dtype) * 0.5 - 0.25
    inside = voxels.clamp(min=0.0, max=n - 1.0)
    return (1.0 - (inside[None] - blocks[:, None]).abs()).clamp(min=0.0)


def _gaussian(n: int, sigma: float, like: Tensor) -> Tensor:
    """(n, n) weights; rows at the ends add up to less than 1, as what lies beyond is unknown."""
    places = torch.arange(n, device=like.device, dtype=like.dtype)
    weights = torch.exp(-0.5 * ((places[:, None] - places[None]) / sigma) ** 2)
    scaled: Tensor = weights / (sigma * (2.0 * torch.pi) ** 0.5)
    return scaled
