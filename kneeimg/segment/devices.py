"""Where a network runs, and what happens when memory runs short."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kneeimg.errors import Finding, ModelError, ReasonCode, StudyError
from kneeimg.settings.segmentation import Device

Triple = tuple[int, int, int]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to run a network: where, and with windows of how many voxels."""

    device: str
    window: Triple

    def __str__(self) -> str:
        return f"{self.device}, window {' × '.join(map(str, self.window))}"


def choose_device(wanted: Device) -> str:
    """`cuda` or `cpu`.

    Raises
    ------
    StudyError
        CUDA is asked for and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise StudyError(
            "there is no CUDA device for segmentation",
            expected="a GPU and a torch that supports it",
            found="none",
            action="use --device auto or cpu",
        )
    return "cuda" if there and wanted != "cpu" else "cpu"


def attempts(device: str, window: Triple, multiple: Triple) -> Iterator[Attempt]:
    """The ways to run a network, the best first: smaller windows, then the CPU."""
    small = smaller_window(window, multiple)
    for place in dict.fromkeys((device, "cpu")):
        yield Attempt(place, window)
        if small != window:
            yield Attempt(place, small)


def smaller_window(window: Triple, multiple: Triple) -> Triple:
    """About half the length of each side, a multiple of what the network takes.

    >>> smaller_window((48, 112, 112), (4, 8, 8))
    (24, 56, 56)
    """
    sides = [max(m, n // 2 // m * m) for n, m in zip(window, multiple, strict=True)]
    return sides[0], sides[1], sides[2]


def first_that_fits(
    ways: Sequence[Attempt], run: Callable[[Attempt], Result]
) -> tuple[Result, tuple[Finding, ...]]:
    """The result of the first way that does not run out of memory, and a note if not the best.

    Raises
    ------
    ModelError
        OUT_OF_MEMORY if none fits.
    """
    failed: list[Attempt] = []
    for way in ways:
        try:
            result = run(way)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failed.append(way)
        else:
            return result, _note(failed, way)
        _release(way.device)  # outside the handler: its traceback held the tensors
    raise ModelError(
        "the image does not fit into memory for segmentation",
        code=ReasonCode.OUT_OF_MEMORY,
        found="; ".join(map(str, failed)),
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch, or Python's own, says that memory ran out."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return any(part in text for part in ("not enough memory", "can't allocate memory"))


def _note(failed: Sequence[Attempt], used: Attempt) -> tuple[Finding, ...]:
    if not failed:
        return ()
    found = f"{used}, after: {'; '.join(map(str, failed))}"
    text = "memory ran short; a smaller window or the CPU was used, values may differ slightly"
    return (Finding(ReasonCode.MEMORY_FALLBACK, text, expected=str(failed[0]), found=found),)


def _release(device: str) -> None:
    import gc

    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def to_numpy(tensor: Any) -> Any:
    """A float32 array on the host."""
    return tensor.detach().to("cpu").float().numpy()
