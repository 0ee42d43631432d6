"""Devices and the ways around a full memory."""

from __future__ import annotations

import pytest
import torch

from kneeimg.errors import ModelError, ReasonCode, StudyError
from kneeimg.segment.devices import (
    Attempt,
    attempts,
    choose_device,
    first_that_fits,
    smaller_window,
)


def test_a_gpu_that_is_asked_for_and_absent_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(StudyError, match="CUDA"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == "cuda"
    assert choose_device("cpu") == "cpu"


def test_ways_go_from_the_best_to_the_smallest() -> None:
    ways = [str(way) for way in attempts("cuda", (48, 112, 112), (4, 8, 8))]
    assert ways == [
        "cuda, window 48 × 112 × 112",
        "cuda, window 24 × 56 × 56",
        "cpu, window 48 × 112 × 112",
        "cpu, window 24 × 56 × 56",
    ]
    assert len(list(attempts("cpu", (4, 8, 8), (4, 8, 8)))) == 1
    assert smaller_window((4, 8, 8), (4, 8, 8)) == (4, 8, 8)


def test_a_full_gpu_ends_on_the_cpu_with_a_note() -> None:
    def run(way: Attempt) -> str:
        if way.device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")
        return way.device

    ways = tuple(attempts("cuda", (16, 16, 16), (8, 8, 8)))
    monkey = torch.cuda.empty_cache
    result, (note,) = first_that_fits(ways, run)
    assert torch.cuda.empty_cache is monkey
    assert result == "cpu"
    assert note.code is ReasonCode.MEMORY_FALLBACK
    assert note.expected == "cuda, window 16 × 16 × 16"


def test_no_way_at_all_is_refused() -> None:
    def run(way: Attempt) -> None:
        raise MemoryError

    with pytest.raises(ModelError) as caught:
        first_that_fits((Attempt("cpu", (8, 8, 8)),), run)
    assert caught.value.code is ReasonCode.OUT_OF_MEMORY
