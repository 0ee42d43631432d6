"""The networks of the second opinion on KL grades: what metadata may ask for, and their weights.

The body is MONAI's 2-D `ResNet`; it is trained as that, and its weights carry MONAI's names. For
inference the normalisation is folded into the convolutions and NumPy computes them
(`measure.convolution`), so that measuring a film loads no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kneeimg.core.kl_opinion import Convolution, GradeNetwork, ResidualBlock
from kneeimg.errors import ModelError
from kneeimg.settings.base import Settings

if TYPE_CHECKING:
    from monai.networks.nets.resnet import ResNet

Tensors = Mapping[str, NDArray[np.floating]]
_EPSILON = 1e-5  # of MONAI's batch normalisation
#: Arrays of a network beside its layers.
HEAD = ("weight", "mean_map", "feature_mean", "feature_sd")

Positive = Annotated[int, Field(ge=1, le=512)]


class GradeNetworkSpec(Settings):
    """A MONAI `ResNet` of basic blocks without max pooling.

    Attributes
    ----------
    name : The kind of network.
    channels : Of the four stages; each after the first halves rows and columns.
    blocks : Of each stage.
    stem_size, stem_stride : Of the first convolution.
    """

    name: Literal["ResNet"] = "ResNet"
    channels: tuple[Positive, Positive, Positive, Positive] = (16, 32, 64, 128)
    blocks: tuple[Positive, Positive, Positive, Positive] = (1, 1, 1, 1)
    stem_size: Literal[3, 5, 7] = 5
    stem_stride: Literal[1, 2] = 2


class CropTable(Settings):
    """`core.kl_opinion.JointCrop` in a file."""

    samples_per_width: Annotated[float, Field(gt=0, le=1000)] = 128.0
    rows: Annotated[int, Field(ge=16, le=512)] = 80
    columns: Annotated[int, Field(ge=16, le=512)] = 64
    middle_s: Annotated[float, Field(ge=-1, le=1)] = 0.18
    middle_v: Annotated[float, Field(ge=-1, le=1)] = 0.0


class GradeTable(Settings):
    """The table `kneeimg` in the metadata of the ensemble.

    Attributes
    ----------
    format : Layout of this table.
    network : Of every member.
    members : How many networks the weights hold.
    crop : What they see.
    slope, thresholds, most_unlike : As in `core.kl_opinion.GradeEnsemble`.
    weights_sha256 : Hash of `models/model.safetensors`.
    """

    format: Literal["kl-cnn-1"] = "kl-cnn-1"
    network: GradeNetworkSpec = GradeNetworkSpec()
    members: Annotated[int, Field(ge=1, le=20)]
    crop: CropTable = CropTable()
    slope: Annotated[float, Field(gt=0)]
    thresholds: tuple[float, float, float, float]
    most_unlike: Annotated[float, Field(gt=0)]
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def build_body(spec: GradeNetworkSpec) -> ResNet:
    """MONAI's network of a spec with random weights: (n, 1, R, C) to (n, channels) means.

    Examples
    --------
    >>> import torch
    >>> body = build_body(GradeNetworkSpec(channels=(4, 4, 4, 8)))
    >>> body(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 8])
    """
    from monai.networks.nets.resnet import ResNet

    return ResNet(
        "basic",
        list(spec.blocks),
        list(spec.channels),
        spatial_dims=2,
        n_input_channels=1,
        conv1_t_size=spec.stem_size,
        conv1_t_stride=spec.stem_stride,
        no_max_pool=True,
        feed_forward=False,
        bias_downsample=False,
    )


def grade_network(tensors: Tensors, member: int, spec: GradeNetworkSpec) -> GradeNetwork:
    """One network from the arrays of the ensemble, `0.body.conv1.weight` and so on.

    Raises
    ------
    ModelError
        MODEL_REFUSED: an array is missing, has another shape, or is not finite.
    """
    own = {
        name.removeprefix(f"{member}."): value
        for name, value in tensors.items()
        if name.startswith(f"{member}.")
    }
    bad = [name for name, value in own.items() if not np.isfinite(value).all()]
    if bad:
        raise ModelError("weights are not finite", found=", ".join(bad[:5]))
    try:
        return _network(own, spec)
    except KeyError as error:
        raise ModelError(
            "the weights lack an array of the network", found=f"{member}.{error.args[0]}"
        ) from error


def _network(own: Tensors, spec: GradeNetworkSpec) -> GradeNetwork:
    stem = _folded(own, "body.conv1", "body.bn1", (spec.channels[0], 1), spec.stem_stride)
    blocks, before = [], spec.channels[0]
    for stage, (channels, count) in enumerate(zip(spec.channels, spec.blocks, strict=True), 1):
        for number in range(count):
            stride = 2 if stage > 1 and number == 0 else 1
            name = f"body.layer{stage}.{number}"
            blocks.append(_block(own, name, before, channels, stride))
            before = channels
    head = (np.asarray(own[f"head.{name}"], dtype=np.float64) for name in HEAD)
    return GradeNetwork(stem, tuple(blocks), *head)


def _block(own: Tensors, name: str, before: int, channels: int, stride: int) -> ResidualBlock:
    first = _folded(own, f"{name}.conv1", f"{name}.bn1", (channels, before), stride)
    second = _folded(own, f"{name}.conv2", f"{name}.bn2", (channels, channels), 1)
    if stride == 1 and before == channels:
        return ResidualBlock(first, second, None)
    shape = (channels, before)
    direct = _folded(own, f"{name}.downsample.0", f"{name}.downsample.1", shape, stride)
    return ResidualBlock(first, second, direct)


def _folded(own: Tensors, name: str, norm: str, shape: tuple[int, int], stride: int) -> Convolution:
    """A convolution with the batch normalisation after it as its scale and bias."""
    weight = np.asarray(own[f"{name}.weight"], dtype=np.float64)
    scale, shift, mean, variance = (
        np.asarray(own[f"{norm}.{part}"], dtype=np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    if weight.shape[:2] != shape or any(len(a) != shape[0] for a in (scale, shift, mean, variance)):
        raise ModelError(
            "the weights do not fit the network that the model describes",
            expected=f"{name} from {shape[1]} to {shape[0]} channels",
            found=str(weight.shape),
        )
    factor = scale / np.sqrt(variance + _EPSILON)
    bias = shift - mean * factor
    folded = weight * factor[:, None, None, None]
    return Convolution(folded.astype(np.float32), bias.astype(np.float32), stride)
