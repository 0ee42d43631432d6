"""Checkpoints: everything that a training needs to go on as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kneeimg.errors import OutputError, StudyError

_FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state of a training.

    Attributes
    ----------
    iteration : Steps done.
    settings : The training settings as plain values.
    model, average, optimiser, scaler : State dicts; `average` is what is shipped.
    rng : State of torch's generator.
    """

    iteration: int
    settings: Mapping[str, Any]
    model: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimiser: Mapping[str, Any]
    scaler: Mapping[str, Any]
    rng: Tensor


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; the one that was there stays whole until the new one is.

    Raises
    ------
    OutputError
        If it cannot be written, e.g. on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "format": _FORMAT,
        "iteration": checkpoint.iteration,
        "settings": json.dumps(dict(checkpoint.settings), sort_keys=True),
        "model": dict(checkpoint.model),
        "average": dict(checkpoint.average),
        "optimiser": dict(checkpoint.optimiser),
        "scaler": dict(checkpoint.scaler),
        "rng": checkpoint.rng,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            "the checkpoint cannot be written; the last one is intact",
            where=path.name,
            found=str(error).splitlines()[0],
            action="free some space and start the same command again: it goes on from there",
        ) from error


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint; only tensors and plain values are accepted, never code.

    Raises
    ------
    StudyError
        If the file is damaged or something else.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}")
        return Checkpoint(
            iteration=int(content["iteration"]),
            settings=json.loads(content["settings"]),
            model=content["model"],
            average=content["average"],
            optimiser=content["optimiser"],
            scaler=content["scaler"],
            rng=content["rng"].cpu(),
        )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError) as error:
        raise StudyError(
            "not a checkpoint of a training",
            where=path.name,
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            action="take another checkpoint, or begin anew in an empty folder",
        ) from error
    except Exception as error:  # pickle's own error type, without importing pickle
        raise StudyError(
            "not a checkpoint of a training", where=path.name, found=type(error).__name__
        ) from error


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values of weights, for logs and tests."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
