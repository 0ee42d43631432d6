"""What a bundle may ask for: a few networks by name, built here and never from code in a config.

A MONAI bundle's config can name any Python object, so reading one is running it. Inference
therefore takes numbers from a bundle and builds the network itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from kneeimg.core.anatomy import Tissue
from kneeimg.settings.base import Settings

if TYPE_CHECKING:
    from kneeimg.networks.subpixel import SubpixelNet

Triple = tuple[int, int, int]
TripleMm = tuple[
    Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]
]

#: Tissue of each channel of the networks. The first is the background.
CLASS_TISSUES = (
    Tissue.BACKGROUND,
    Tissue.FEMUR,
    Tissue.FEMORAL_CARTILAGE,
    Tissue.TIBIA,
    Tissue.TIBIAL_CARTILAGE,
    Tissue.PATELLA,
    Tissue.PATELLAR_CARTILAGE,
    Tissue.MEDIAL_MENISCUS,
    Tissue.LATERAL_MENISCUS,
)

#: Their names, as metadata and datalists spell them.
CLASS_NAMES = tuple(tissue.name.lower().replace("_", " ") for tissue in CLASS_TISSUES)

#: Channels of the bones, the cartilages and the menisci.
BONE_CLASSES, CARTILAGE_CLASSES, MENISCUS_CLASSES = (1, 3, 5), (2, 4, 6), (7, 8)


class NetworkSpec(Settings):
    """One network: a MONAI `DynUNet` behind a sub-pixel stem and head.

    The stem folds `fold` voxels into channels and the head unfolds them again, so that most of
    the work is done on fewer, wider voxels (Shi 2016, doi:10.1109/CVPR.2016.207), which is what a
    processor without a graphics card is fast at. `fold = (1, 1, 1)` is the plain network.

    Attributes
    ----------
    name : The kind of network.
    in_channels, out_channels : Channels of an input and an output voxel.
    filters : Channels of each level of the U; each level after the first halves the voxels.
    fold : Voxels along i, j, k that become channels.
    """

    name: Literal["DynUNet"] = "DynUNet"
    in_channels: Annotated[int, Field(ge=1, le=64)] = 1
    out_channels: Annotated[int, Field(ge=2, le=64)] = len(CLASS_NAMES)
    filters: tuple[Annotated[int, Field(ge=4, le=512)], ...] = (32, 64, 128)
    fold: Triple = (1, 1, 1)

    @model_validator(mode="after")
    def _sane(self) -> NetworkSpec:
        if not 3 <= len(self.filters) <= 7:
            raise ValueError(f"a U needs 3 to 7 levels, found {len(self.filters)}")
        if any(not 1 <= n <= 4 for n in self.fold):
            raise ValueError(f"fold is 1 to 4 voxels along each axis, found {self.fold}")
        return self

    @property
    def multiple(self) -> Triple:
        """Each side of an input must be a multiple of this many voxels."""
        halvings = 2 ** (len(self.filters) - 1)
        i, j, k = self.fold
        return i * halvings, j * halvings, k * halvings


class EdgeSpec(Settings):
    """How edges of cartilage are corrected by how the tissues look in the scan (`networks.edges`).

    Attributes
    ----------
    trust : Weight of the network's own odds beside those of brightness; less than 1 says that it is
        too sure of itself, and takes in more of what looks like cartilage around it.
    reach_mm : SD of the Gaussian over which the look of a tissue is gathered.
    near_mm : SD of the Gaussian that tells which voxels are near cartilage.
    rounds : How often looks are gathered, each time from what the round before has found.
    """

    trust: Annotated[float, Field(gt=0, le=1)] = 1.0
    reach_mm: Annotated[float, Field(gt=0, le=10)] = 1.5
    near_mm: Annotated[float, Field(gt=0, le=10)] = 1.0
    rounds: Annotated[int, Field(ge=1, le=4)] = 2


class CascadeSpec(Settings):
    """The two networks of a knee model and the grids they look at.

    Attributes
    ----------
    coarse, fine : The networks. `fine` sees the image and the foreground classes of `coarse`.
    coarse_spacing_mm, fine_spacing_mm : Voxel size of each in the network frame.
    window : Voxels of the fine network's window along i, j, k.
    roi_margin_mm : Width around the coarse cartilage that the fine network sees.
    edges : What corrects the edges that the fine network draws; None leaves them.
    """

    coarse: NetworkSpec = NetworkSpec(filters=(32, 64, 128, 128), fold=(2, 2, 2))
    fine: NetworkSpec = NetworkSpec(
        in_channels=len(CLASS_NAMES), filters=(32, 64, 128), fold=(1, 2, 2)
    )
    coarse_spacing_mm: TripleMm = (1.5, 1.5, 1.5)
    fine_spacing_mm: TripleMm = (0.7, 0.4, 0.4)
    window: Triple = (48, 112, 112)
    roi_margin_mm: Annotated[float, Field(ge=0)] = 8.0
    edges: EdgeSpec | None = EdgeSpec()

    @model_validator(mode="after")
    def _fit(self) -> CascadeSpec:
        if self.coarse.in_channels != 1:
            raise ValueError("the coarse network sees the image alone, one channel")
        if self.fine.in_channels != self.coarse.out_channels:
            raise ValueError("the fine network sees the image and the coarse foreground classes")
        if any(n % m for n, m in zip(self.window, self.fine.multiple, strict=True)):
            raise ValueError(f"window must be a multiple of {self.fine.multiple}")
        return self


def build_network(spec: NetworkSpec) -> SubpixelNet:
    """The network of a spec with random weights; input (n, c, i, j, k), output logits.

    Examples
    --------
    >>> import torch
    >>> net = build_network(NetworkSpec(filters=(4, 8, 8), fold=(1, 2, 2)))
    >>> net(torch.zeros(1, 1, 4, 8, 8)).shape
    torch.Size([1, 9, 4, 8, 8])
    """
    from kneeimg.networks.subpixel import SubpixelNet
    from kneeimg.networks.unet import SingleHeadUNet

    folded = spec.fold[0] * spec.fold[1] * spec.fold[2]
    levels = len(spec.filters)
    strides = [1] + [2] * (levels - 1)
    body = SingleHeadUNet(
        spatial_dims=3,
        in_channels=spec.in_channels * folded,
        out_channels=spec.out_channels * folded,
        kernel_size=[3] * levels,
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=list(spec.filters),
        norm_name=("INSTANCE", {"affine": True}),
        res_block=False,
    )
    return SubpixelNet(body, spec.fold, spec.multiple)
