"""The metadata of a knee model in MONAI's words, so that MONAI's tools understand the bundle."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from kneeimg.networks.spec import CLASS_NAMES, CascadeSpec, NetworkSpec

#: Where MONAI publishes the schema; `verify_metadata` downloads it unless --filepath exists.
SCHEMA_URL = "https://project-monai.github.io/schema/meta_schema_20240725.json"


def describe(spec: CascadeSpec, *, name: str, version: str) -> dict[str, Any]:
    """Every entry that MONAI's schema requires, and what can be told from the spec alone."""
    return {
        "schema": SCHEMA_URL,
        "version": version,
        "changelog": {version: "Weights of this version."},
        "name": name,
        "monai_version": importlib.metadata.version("monai"),
        "pytorch_version": importlib.metadata.version("torch").split("+")[0],
        "numpy_version": importlib.metadata.version("numpy"),
        "required_packages_version": {
            "kneeimg": importlib.metadata.version("kneeimg"),
            "safetensors": importlib.metadata.version("safetensors"),
        },
        "task": "Segmentation of bones, cartilage and menisci of the knee on MR images",
        "description": (
            "A cascade of two networks: a coarse one finds bones and joint in the whole view, a "
            "fine one draws cartilage inside the joint. Trained on images synthesised from label "
            "maps, so that it does not depend on a sequence or a scanner."
        ),
        "authors": "The kneeimg developers",
        "copyright": "Copyright (c) the kneeimg developers",
        "intended_use": "Research. Not a medical device, not for diagnosis.",
        "data_type": "nibabel",
        "image_classes": (
            "one channel, its 1st to 99th percentile scaled to 0..1, "
            "clipped below and logarithmic above"
        ),
        "label_classes": "scheme knee-v1",
        "pred_classes": ", ".join(f"{n} {label}" for n, label in enumerate(CLASS_NAMES)),
        "network_data_format": _format(spec.coarse, {"0": "image"}),
        "fine_network_data_format": _format(
            spec.fine,
            {"0": "image"}
            | {str(n): f"coarse {CLASS_NAMES[n]}" for n in range(1, len(CLASS_NAMES))},
        ),
    }


def _format(network: NetworkSpec, channels: dict[str, str]) -> dict[str, Any]:
    shape = [f"{n}*{letter}" for n, letter in zip(network.multiple, "ijk", strict=True)]
    common = {"type": "image", "spatial_shape": shape, "dtype": "float32", "value_range": []}
    return {
        "inputs": {
            "image": common
            | {
                "format": "magnitude",
                "modality": "MR",
                "num_channels": network.in_channels,
                "is_patch_data": True,
                "channel_def": channels,
            }
        },
        "outputs": {
            "pred": common
            | {
                "format": "labels",
                "num_channels": network.out_channels,
                "is_patch_data": True,
                "channel_def": {str(n): label for n, label in enumerate(CLASS_NAMES)},
            }
        },
    }
