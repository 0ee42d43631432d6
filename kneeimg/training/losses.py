"""What a network is asked for: the right class everywhere, and whole tissues of the right size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from kneeimg.training.tissues import IGNORED_CLASS


def segmentation_loss(
    logits: Tensor, target: Tensor, unknown: tuple[int, ...] = (), *, dice: float = 1.0
) -> Tensor:
    """Sum of cross-entropy and soft Dice loss.

    Classes are not weighted: a weight moves the place where a class wins over its neighbour, and
    with it the thickness of cartilage. Dice does so too: what maximises it is not the middle of an
    uncertain edge but a place further out, the further the less sure the network is (Bertels 2021,
    doi:10.1016/j.media.2020.101833). It finds small tissues soon; cross-entropy alone then puts
    their edges where they belong.

    Parameters
    ----------
    logits : (n, classes, i, j, k).
    target : (n, i, j, k) integer classes; `IGNORED_CLASS` voxels count for nothing.
    unknown : Classes that the reference does not know: they are merged with the background, so
        that partly labelled images can be learned from.
    dice : Weight of the Dice loss.

    Returns
    -------
    A scalar, at least 0. Dice is averaged over the classes that the target holds and those that
    the network wrongly sees.
    """
    logits = logits.float()
    if unknown:
        logits = _merged(logits, unknown)
    known = target != IGNORED_CLASS
    labels = torch.where(known, target, 0).to(torch.int64)
    entropy = cross_entropy(logits, labels, reduction="none")
    mean_entropy = (entropy * known).sum() / known.sum().clamp(min=1)
    if dice == 0.0:
        return mean_entropy
    return mean_entropy + dice * _dice_loss(logits, labels, known)


def _merged(logits: Tensor, unknown: tuple[int, ...]) -> Tensor:
    """Unknown classes' probability given to the background."""
    merged = torch.logsumexp(logits[:, [0, *unknown]], dim=1, keepdim=True)
    rest = logits[:, 1:].clone()
    for value in unknown:
        rest[:, value - 1] = torch.finfo(logits.dtype).min / 4
    return torch.cat([merged, rest], dim=1)


def _dice_loss(logits: Tensor, labels: Tensor, known: Tensor) -> Tensor:
    chance = torch.softmax(logits, dim=1) * known[:, None]
    losses = []
    for value in range(1, logits.shape[1]):
        here = (labels == value) & known
        size = here.sum()
        overlap = (chance[:, value] * here).sum()
        total = chance[:, value].sum() + size
        # the smoothing of 30 voxels keeps a class that is barely in view from shouting
        losses.append(1.0 - (2.0 * overlap + 30.0) / (total + 30.0))
    return torch.stack(losses).mean()
