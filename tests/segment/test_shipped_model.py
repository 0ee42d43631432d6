"""The model that ships: whole, of the size promised, and honest about what it is."""

from __future__ import annotations

import json

import jsonschema

from kneeimg.networks.bundle import load_cascade, read_bundle
from kneeimg.networks.spec import CascadeSpec
from kneeimg.settings.resources import model_path


def test_the_shipped_weights_are_those_of_its_metadata() -> None:
    root = model_path("knee_mr")
    bundle = read_bundle(root)
    model = load_cascade(bundle)  # refuses another hash, missing or misshapen weights
    assert model.spec == CascadeSpec()
    assert bundle.name == "knee_mr"
    weights = root / "models" / "model.safetensors"
    assert weights.stat().st_size <= 30e6
    parameters = sum(value.numel() for value in model.parameters())
    assert 1e6 < parameters < 8e6


def test_the_metadata_fits_its_schema() -> None:
    configs = model_path("knee_mr") / "configs"
    schema = json.loads((configs / "metadata.schema.json").read_text(encoding="utf-8"))
    metadata = json.loads((configs / "metadata.json").read_text(encoding="utf-8"))
    jsonschema.validate(metadata, schema)


def test_the_card_says_what_the_model_is_not() -> None:
    root = model_path("knee_mr")
    card = (root / "docs" / "README.md").read_text(encoding="utf-8")
    assert read_bundle(root).table.maturity == "preview"
    for word in ("Not a medical device", "MODEL_PREVIEW", "no licence file", "Held out"):
        assert word in card
    assert "@" not in card  # nothing left to fill in
