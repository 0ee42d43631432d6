"""The knee model: a coarse network that sees the whole view, a fine one inside the joint.

The coarse one knows where the knee is and what is bone; the fine one sees the image at the
resolution that thickness needs, with the coarse classes as extra channels. Where exactly cartilage
ends, the looks of the tissues in the scan tell (`networks.edges`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn.functional import max_pool3d, pad, softmax

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.networks.edges import correct_edges
from kneeimg.networks.frame import frame_of, resample
from kneeimg.networks.spec import CARTILAGE_CLASSES, CascadeSpec, Triple, build_network
from kneeimg.networks.subpixel import SubpixelNet

#: Coarse voxels on each side of cartilage over which it is taken to hang together.
_JOINING = 3

#: Percentiles of the coarse image that become 0 and 1. Most of a fat-suppressed view is dark, so
#: cartilage may well lie above 1, see :func:`scaled`.
INTENSITY_PERCENTILES = (1.0, 99.0)


class KneeCascade(nn.Module):
    """Both networks of a knee model, so that one file holds their weights."""

    def __init__(self, spec: CascadeSpec) -> None:
        super().__init__()
        self.spec = spec
        self.coarse = build_network(spec.coarse)
        self.fine = build_network(spec.fine)


@dataclass(frozen=True, slots=True, eq=False)
class CascadeResult:
    """What the two networks say of one scan.

    Attributes
    ----------
    coarse : (classes, i, j, k) probabilities on `coarse_grid`, background first.
    fine : The same on `fine_grid`, the joint; None where no cartilage was found.
    """

    coarse: Tensor
    coarse_grid: Grid
    fine: Tensor | None
    fine_grid: Grid | None


@torch.no_grad()
def run_cascade(
    model: KneeCascade,
    image: Tensor,
    grid: Grid,
    side: Side,
    *,
    precision: torch.dtype = torch.float32,
    overlap: float = 0.25,
    window: Triple | None = None,
) -> CascadeResult:
    """Both networks on one scan.

    Parameters
    ----------
    image : (i, j, k) values of the scan, on the device of the model.
    grid : Where they lie.
    side : Shown as a right knee; a left one is mirrored on the way.
    precision : float32 or bfloat16 inside the fine network; probabilities are float32.
    overlap : Share of a window that its neighbour sees too.
    window : Voxels of the fine window; None takes the spec's.
    """
    spec = model.spec
    coarse_grid = frame_of(grid, side, spec.coarse_spacing_mm)
    small = resample(image[None], grid, coarse_grid)
    low, high = intensity_range(small)
    # what the coarse network rounds decides where the joint is cut out; it is quick anyhow
    coarse = probabilities(model.coarse, scaled(small, low, high)[None], torch.float32)[0]
    box = joint_box(coarse, spec)
    if box is None:
        return CascadeResult(coarse, coarse_grid, None, None)
    fine_grid = _fine_grid(coarse_grid, box, spec)
    channels = fine_input(
        scaled(resample(image[None], grid, fine_grid), low, high), fine_grid, coarse, coarse_grid
    )
    fine = _windowed(model.fine, channels, window or spec.window, precision, overlap)
    if spec.edges is not None:
        shown = channels[:1].clone()
        del channels  # the largest array but one
        fine = correct_edges(fine, shown, spec.fine_spacing_mm, spec.edges)
    return CascadeResult(coarse, coarse_grid, fine, fine_grid)


def intensity_range(coarse_image: Tensor) -> tuple[float, float]:
    """The values that become 0 and 1: percentiles over the whole view."""
    values = coarse_image.flatten().float()
    values = values[:: values.numel() // 100_000 + 1]  # as exact as needed, and quick to sort
    wanted = torch.tensor(INTENSITY_PERCENTILES, device=values.device) / 100.0
    low, high = torch.quantile(values, wanted).tolist()
    return low, max(high, low + 1e-6)


def levelled(image: Tensor, low: float, high: float) -> Tensor:
    """`low` and `high` to 0 and 1; clipped below, open above."""
    return ((image - low) / (high - low)).clamp(min=0.0)


def scaled(image: Tensor, low: float, high: float) -> Tensor:
    """What the networks see: `low` and `high` to 0 and 1, logarithmic above (2 is e times `high`).

    Clipped at 1 instead, cartilage of a fat-suppressed scan would be as white as the fluid beside
    it: with few bright voxels in a view it lies above the 99th percentile.
    """
    linear = levelled(image, low, high)
    return torch.where(linear > 1.0, 1.0 + torch.log(linear.clamp(min=1.0)), linear)


def fine_input(image: Tensor, fine_grid: Grid, coarse: Tensor, coarse_grid: Grid) -> Tensor:
    """(classes, i, j, k): the image and the coarse foreground classes on the fine grid."""
    return torch.cat([image, resample(coarse[1:], coarse_grid, fine_grid)])


def probabilities(network: SubpixelNet, x: Tensor, precision: torch.dtype) -> Tensor:
    """Class probabilities of an input of any size, padded to what the network takes."""
    size = x.shape[2:]
    missing = [(-n) % m for n, m in zip(size, network.multiple, strict=True)]
    padded = pad(x, (0, missing[2], 0, missing[1], 0, missing[0]), mode="replicate")
    with _precision(x.device, precision):
        logits = network(padded)
    return softmax(logits[..., : size[0], : size[1], : size[2]].float(), dim=1)


def _precision(device: torch.device, precision: torch.dtype) -> torch.autocast:
    enabled = precision is not torch.float32
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def joint_box(coarse: Tensor, spec: CascadeSpec) -> tuple[Triple, Triple] | None:
    """First and last coarse voxel of the cartilage with its margin; None without cartilage."""
    cartilage = _main_part(coarse[list(CARTILAGE_CLASSES)].sum(dim=0) > 0.5)
    if cartilage is None:
        return None
    first, last = [], []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        hits = torch.nonzero(cartilage.any(dim=others[1]).any(dim=others[0])).flatten()
        margin = int(np.ceil(spec.roi_margin_mm / spec.coarse_spacing_mm[axis]))
        first.append(max(0, int(hits[0]) - margin))
        last.append(min(cartilage.shape[axis] - 1, int(hits[-1]) + margin))
    return (first[0], first[1], first[2]), (last[0], last[1], last[2])


def _main_part(cartilage: Tensor) -> Tensor | None:
    """The cartilage of one joint: what hangs together across gaps of a few voxels; None if empty.

    A speck of false cartilage far away would make the joint as large as the view.
    """
    if not bool(cartilage.any()):
        return None
    near = max_pool3d(cartilage[None].float(), 2 * _JOINING + 1, stride=1, padding=_JOINING)[0] > 0
    parts, _ = ndimage.label(near.cpu().numpy())
    parts[~cartilage.cpu().numpy()] = 0
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return torch.from_numpy(parts == sizes.argmax()).to(cartilage.device)


def _fine_grid(coarse_grid: Grid, box: tuple[Triple, Triple], spec: CascadeSpec) -> Grid:
    first, last = (np.asarray(corner, dtype=float) for corner in box)
    spacing = np.asarray(spec.fine_spacing_mm)
    size_mm = (last - first + 1) * np.asarray(spec.coarse_spacing_mm)
    shape = np.maximum(1, np.round(size_mm / spacing)).astype(int)
    affine = coarse_grid.affine.copy()
    directions = coarse_grid.affine[:3, :3] / np.asarray(spec.coarse_spacing_mm)
    affine[:3, :3] = directions * spacing
    half_step_mm = (spacing - np.asarray(spec.coarse_spacing_mm)) / 2.0
    affine[:3, 3] = coarse_grid.to_mm(first) + directions @ half_step_mm
    i, j, k = (int(n) for n in shape)
    return Grid((i, j, k), affine, coarse_grid.frame_uid)


def fitted_window(size: Triple, window: Triple, multiple: Triple, overlap: float) -> Triple:
    """The smallest window that covers a volume in as many steps as the given one.

    Windows overlap by a share of their side at least; the last one is moved back to the border, so
    a window that does not fit the volume sees much of it twice.

    Examples
    --------
    >>> fitted_window((130, 260, 100), (48, 112, 112), (4, 8, 8), 0.25)
    (40, 104, 104)
    """
    fitted = []
    for n, side, step in zip(size, window, multiple, strict=True):
        count = max(1, math.ceil((n - overlap * side) / (side * (1.0 - overlap))))
        least = n / (count - (count - 1) * overlap)
        fitted.append(min(side, step * math.ceil(least / step)))
    return fitted[0], fitted[1], fitted[2]


def _windowed(
    network: SubpixelNet, channels: Tensor, window: Triple, precision: torch.dtype, overlap: float
) -> Tensor:
    from monai.inferers.utils import sliding_window_inference

    size = (channels.shape[1], channels.shape[2], channels.shape[3])
    result = sliding_window_inference(
        channels[None],
        roi_size=fitted_window(size, window, network.multiple, overlap),
        sw_batch_size=1,
        predictor=lambda x: probabilities(network, x, precision),
        overlap=overlap,
        mode="gaussian",
    )
    if not isinstance(result, Tensor):
        raise TypeError(f"a network returned {type(result).__name__} instead of one tensor")
    return result[0]
