"""The file of the KL model: JSON, read with every value checked."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from kneeimg.core.kl_support import KlAppearance, KlFeature, KlModel
from kneeimg.core.margins import Compartment
from kneeimg.errors import ModelError
from kneeimg.measure.appearance import grid_shape
from kneeimg.measure.edge_histograms import ANGLES
from kneeimg.settings.resources import model_path

#: Name and version of the layout; another one is refused.
FORMAT = "kneeimg-kl-support-1"
_MOST_BYTES = 1_000_000
_FIELDS = ("name", "coefficient", "mean", "sd", "low", "high", "least", "most")


@lru_cache(maxsize=1)
def shipped_kl_model() -> KlModel:
    """The model that ships with kneeimg, read once."""
    return read_kl_model(model_path("kl_support") / "kl_support.json")


def read_kl_model(path: Path) -> KlModel:
    """Read a KL model.

    Raises
    ------
    ModelError
        MODEL_REFUSED: the file is absent, no JSON, of another layout, incomplete, or holds values
        that cannot be.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError("the file is too large for a KL model", where=path.name)
        content = path.read_bytes()
        return _model(json.loads(content), hashlib.sha256(content).hexdigest())
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            "the KL model cannot be read",
            where=path.name,
            expected=f"JSON of the layout {FORMAT}",
            found=f"{type(error).__name__}: {error}",
            action="install kneeimg again, or write the model with scripts/train_kl_support.py",
        ) from error


def _model(values: dict[str, Any], sha256: str) -> KlModel:
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError("the layout is not named or another one")
    features = tuple(
        KlFeature(str(row["name"]), *(float(row[name]) for name in _FIELDS[1:]))
        for row in values["features"]
    )
    first, second, third, fourth = (float(value) for value in values["thresholds"])
    thresholds = (first, second, third, fourth)
    appearance = _appearance(values["appearance"])
    return KlModel(features, thresholds, dict(values["provenance"]), sha256, appearance)


def _appearance(values: dict[str, Any] | None) -> KlAppearance | None:
    if values is None:
        return None
    rows, columns = grid_shape()
    size = len(Compartment) * rows * columns * ANGLES
    mean, weight = (np.array(values[name], dtype=np.float64) for name in ("mean", "weight"))
    if mean.shape != (size,):
        raise ValueError(f"the look of bones has {mean.shape} values and not {size}")
    return KlAppearance(mean, weight)


def kl_model_to_json(model: KlModel) -> dict[str, Any]:
    """Plain values of a model, as :func:`read_kl_model` reads them."""
    look = model.appearance
    return {
        "format": FORMAT,
        "features": [{name: getattr(row, name) for name in _FIELDS} for row in model.features],
        "thresholds": list(model.thresholds),
        "appearance": None
        if look is None
        else {
            "mean": [float(f"{value:.4g}") for value in look.mean],
            "weight": [float(f"{value:.4g}") for value in look.weight],
        },
        "provenance": dict(model.provenance),
    }
