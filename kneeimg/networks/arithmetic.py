"""In which arithmetic a network runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kneeimg.settings.segmentation import Precision

if TYPE_CHECKING:
    import torch


def choose_precision(wanted: Precision, device: str) -> torch.dtype:
    """float32 or bfloat16; `auto` takes bfloat16 where the device computes it in hardware.

    Elsewhere it is emulated: a training step that takes 3 s in float32 then takes 7 minutes.
    """
    import torch

    if wanted == "auto":
        wanted = "bf16" if _has_bf16(device) else "fp32"
    return torch.bfloat16 if wanted == "bf16" else torch.float32


def _has_bf16(device: str) -> bool:
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # private in torch, but the only place that tells hardware from emulation
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in tests)
