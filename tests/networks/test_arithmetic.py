"""Arithmetic: half precision only where the device computes it."""

from __future__ import annotations

import pytest
import torch

from kneeimg.networks.arithmetic import choose_precision


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_precision("fp32", "cpu") is torch.float32
    assert choose_precision("bf16", "cpu") is torch.bfloat16
    for has, expected in ((True, torch.bfloat16), (False, torch.float32)):
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, name, lambda has=has: has, raising=False)
        assert choose_precision("auto", "cpu") is expected
