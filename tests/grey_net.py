"""A cascade whose answer is known: each tissue has a grey value of its own, and it reads them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.networks.cascade import KneeCascade
from kneeimg.networks.spec import CLASS_TISSUES, CascadeSpec, NetworkSpec
from kneeimg.phantoms.grids import sagittal_grid
from kneeimg.phantoms.knee import KneePhantom

#: Grey of each class, background first. Background and femur fill more than one per cent of the
#: image each, so that its percentiles are 0 and 1.
GREYS = (0.0, 1.0, 0.3, 0.9, 0.4, 0.8, 0.5, 0.6, 0.7)
GRID = sagittal_grid((1.8, 0.9, 0.9), (60, 130, 130))

_SMALL = NetworkSpec(filters=(4, 4, 4))
#: The fine grid is that of the image and each coarse voxel two of its voxels: nothing is blurred.
SPEC = CascadeSpec(
    coarse=_SMALL,
    fine=NetworkSpec(in_channels=9, filters=(4, 4, 4)),
    coarse_spacing_mm=(3.6, 1.8, 1.8),
    fine_spacing_mm=(1.8, 0.9, 0.9),
    window=(32, 64, 64),
    roi_margin_mm=8.0,
)


class GreyNet(nn.Module):
    """Logits that are highest for the class whose grey value is nearest."""

    multiple = (1, 1, 1)

    def __init__(self, sharpness: float = 4e4) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        """(n, 9, i, j, k) logits of (n, c, i, j, k)."""
        greys = torch.tensor(GREYS, dtype=torch.float32)[None, :, None, None, None]
        return -self.sharpness * (x[:, :1].float() - greys) ** 2


def grey_cascade(sharpness: float = 4e4) -> KneeCascade:
    """The cascade of :data:`SPEC` that reads grey values."""
    model = KneeCascade(SPEC)
    model.coarse = GreyNet(sharpness)  # type: ignore[assignment]
    model.fine = GreyNet(sharpness)  # type: ignore[assignment]
    return model


def phantom_labels(side: Side = Side.RIGHT, grid: Grid = GRID) -> LabelMap:
    """Hard labels of the phantom knee, menisci included."""
    soft = KneePhantom(side, menisci=True).label_map(grid)
    wanted = (int(tissue) for tissue in CLASS_TISSUES[1:])
    labels = np.where(np.isin(soft.labels, list(wanted)), soft.labels, 0).astype(np.uint8)
    return LabelMap(labels, grid)


def grey_image(label_map: LabelMap) -> Volume:
    """The image in which each tissue has its grey value, 0..1000."""
    table = np.zeros(256, dtype=np.float32)
    for tissue, grey in zip(CLASS_TISSUES, GREYS, strict=True):
        table[int(tissue)] = 1000.0 * grey
    return Volume(table[label_map.labels], label_map.grid, "a.u.")
