"""Folding voxels into channels and back, around any network that keeps its input's shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Triple = tuple[int, int, int]


def fold_voxels(x: Tensor, fold: Triple) -> Tensor:
    """(n, c, i, j, k) to (n, c × a × b × c', i / a, j / b, k / c')."""
    n, c, i, j, k = x.shape
    a, b, d = fold
    x = x.reshape(n, c, i // a, a, j // b, b, k // d, d)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * a * b * d, i // a, j // b, k // d)


def unfold_voxels(x: Tensor, fold: Triple) -> Tensor:
    """The inverse of :func:`fold_voxels`.

    >>> x = torch.arange(64.0).reshape(1, 1, 4, 4, 4)
    >>> bool((unfold_voxels(fold_voxels(x, (1, 2, 4)), (1, 2, 4)) == x).all())
    True
    """
    n, channels, i, j, k = x.shape
    a, b, d = fold
    c = channels // (a * b * d)
    x = x.reshape(n, c, a, b, d, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c, i * a, j * b, k * d)


class SubpixelNet(nn.Module):
    """A network that works on folded voxels.

    Parameters
    ----------
    body : Network with c × fold channels in and out.
    fold : Voxels along i, j, k that become channels.
    multiple : Each side of an input must be a multiple of this many voxels.
    """

    def __init__(self, body: nn.Module, fold: Triple, multiple: Triple) -> None:
        super().__init__()
        self.body = body
        self.fold = fold
        self.multiple = multiple

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes, i, j, k) of an input (n, c, i, j, k)."""
        x = fold_voxels(x, self.fold).contiguous(memory_format=torch.channels_last_3d)
        return unfold_voxels(self.body(x), self.fold)
