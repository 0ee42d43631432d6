"""The folder of the second opinion on KL grades: metadata and safetensors, both checked.

    kl_cnn/configs/metadata.json     its table `kneeimg` holds all that is used
    kl_cnn/models/model.safetensors  the weights of all networks, with their SHA-256 in the metadata

Nothing in the folder is run: the network is built from numbers, and safetensors hold no code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from kneeimg.core.kl_opinion import GradeEnsemble, JointCrop
from kneeimg.errors import ModelError
from kneeimg.networks.bundle import METADATA, WEIGHTS, require_hash
from kneeimg.networks.film_grade import GradeTable, grade_network
from kneeimg.settings.resources import model_path

_MOST_BYTES = 20_000_000
_ACTION = (
    "install kneeimg again, or switch the second opinion off: "
    "second_opinion = false under [film.kl_support]"
)


@lru_cache(maxsize=1)
def shipped_ensemble() -> GradeEnsemble:
    """The networks that ship with kneeimg, read once."""
    return read_ensemble(model_path("kl_cnn"))


@lru_cache(maxsize=1)
def shipped_weights_sha256() -> str:
    """The hash that the shipped weights must have; the weights are not opened."""
    return _table(model_path("kl_cnn"))[0].weights_sha256


def read_ensemble(root: Path) -> GradeEnsemble:
    """Read the networks of a folder.

    Raises
    ------
    ModelError
        MODEL_REFUSED: a file is absent, of another layout, or does not fit the network that it
        describes; MODEL_HASH_MISMATCH: the weights are not those of the metadata.
    """
    table, provenance = _table(root)
    tensors = _tensors(root, table.weights_sha256)
    networks = tuple(grade_network(tensors, n, table.network) for n in range(table.members))
    return GradeEnsemble(
        crop=JointCrop(**table.crop.model_dump()),
        networks=networks,
        slope=table.slope,
        thresholds=table.thresholds,
        most_unlike=table.most_unlike,
        provenance=provenance,
        sha256=table.weights_sha256,
    )


def write_ensemble(
    root: Path,
    tensors: Mapping[str, NDArray[np.floating]],
    table: GradeTable,
    about: Mapping[str, Any],
) -> str:
    """Write weights and metadata; the hash of `table` is replaced by that of the weights.

    Convolutions are kept in half precision, everything else in single.
    """
    from safetensors.numpy import save

    kept = {
        name: np.ascontiguousarray(value, dtype=np.float16 if value.ndim == 4 else np.float32)
        for name, value in tensors.items()
    }
    content = save(kept)
    sha256 = hashlib.sha256(content).hexdigest()
    metadata = dict(about) | {
        "kneeimg": table.model_copy(update={"weights_sha256": sha256}).model_dump(mode="json")
    }
    for path in (METADATA, WEIGHTS):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / WEIGHTS).write_bytes(content)
    text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False)
    (root / METADATA).write_text(text + "\n", encoding="utf-8")
    return sha256


def _table(root: Path) -> tuple[GradeTable, dict[str, Any]]:
    try:
        metadata = json.loads((root / METADATA).read_text(encoding="utf-8"))
        table = GradeTable.model_validate(metadata["kneeimg"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise _refused(root, METADATA, "metadata with a table `kneeimg`", error) from error
    return table, {name: value for name, value in metadata.items() if name != "kneeimg"}


def _tensors(root: Path, sha256: str) -> dict[str, NDArray[np.floating]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        path = root / WEIGHTS
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("the file is too large")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise _refused(root, WEIGHTS, "the weights", error) from error
    require_hash(content, sha256, root, _ACTION)
    try:
        tensors: dict[str, NDArray[np.floating]] = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _refused(root, WEIGHTS, "safetensors", error) from error
    return tensors


def _refused(root: Path, path: Path, expected: str, error: Exception) -> ModelError:
    return ModelError(
        "the networks of the second opinion cannot be read",
        where=f"{root.name}/{path.as_posix()}",
        expected=expected,
        found=f"{type(error).__name__}: {error}"[:300],
        action=_ACTION,
    )
