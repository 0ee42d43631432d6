"""A model folder: what is built from it, and everything that is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kneeimg.errors import ModelError, ReasonCode, StudyError
from kneeimg.networks.bundle import (
    METADATA,
    WEIGHTS,
    is_bundle,
    load_cascade,
    own_tensors,
    read_bundle,
    write_bundle,
)
from kneeimg.networks.cascade import KneeCascade
from kneeimg.networks.spec import CascadeSpec, NetworkSpec
from kneeimg.segment.models import find_bundle, installed_card, open_segmenter
from kneeimg.settings.segmentation import SegmentationSettings

SHIPPED = Path(__file__).parents[2] / "models" / "knee_mr"
TINY = CascadeSpec(
    coarse=NetworkSpec(filters=(4, 4, 4), fold=(2, 2, 2)),
    fine=NetworkSpec(in_channels=9, filters=(4, 4, 4), fold=(1, 2, 2)),
    window=(16, 32, 32),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    root = tmp_path_factory.mktemp("models") / "tiny"
    write_bundle(KneeCascade(TINY), root, version="0.1.0", about={"authors": "A test"})
    return root


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def _rewrite(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = root / METADATA
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


def _new_weights(root: Path, state: dict[str, torch.Tensor]) -> None:
    """Other weights with their true hash in the metadata."""
    import hashlib

    save_file(state, root / WEIGHTS)
    sha256 = hashlib.sha256((root / WEIGHTS).read_bytes()).hexdigest()
    _rewrite(root, lambda m: m["kneeimg"].update(weights_sha256=sha256))


def test_what_is_written_is_what_is_loaded(made: Path) -> None:
    torch.manual_seed(1)
    original = KneeCascade(TINY).eval()
    bundle = read_bundle(made)
    model = load_cascade(bundle)
    for ours, theirs in zip(original.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert (bundle.name, bundle.version) == ("tiny", "0.1.0")
    assert bundle.table.cascade == TINY
    x = torch.rand(1, 9, 8, 16, 16)
    with torch.no_grad():
        assert torch.equal(model.fine(x), original.fine(x))
    assert not model.training


def test_each_weight_is_stored_once(made: Path) -> None:
    stored = load_file(made / WEIGHTS)
    model = KneeCascade(TINY)
    assert sum(v.numel() for v in stored.values()) == sum(p.numel() for p in model.parameters())
    assert set(stored) == set(own_tensors(model)) < set(model.state_dict())


def test_weights_under_the_second_name_of_a_block_are_missing_not_taken(bundle: Path) -> None:
    state = load_file(bundle / WEIGHTS)
    name = next(iter(state))
    state["coarse.body.nobody"] = state.pop(name)
    _new_weights(bundle, state)
    with pytest.raises(ModelError, match=r"missing .*\n?.*") as caught:
        load_cascade(read_bundle(bundle))
    assert caught.value.code is ReasonCode.MODEL_REFUSED
    assert "coarse.body.nobody" in str(caught.value)


def test_other_weights_than_the_metadata_names_are_refused(bundle: Path) -> None:
    content = bytearray((bundle / WEIGHTS).read_bytes())
    content[-1] ^= 1  # one bit
    (bundle / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_cascade(read_bundle(bundle))
    assert caught.value.code is ReasonCode.MODEL_HASH_MISMATCH


def _pickle_only(root: Path) -> None:
    (root / WEIGHTS).unlink()
    torch.save({"a": torch.zeros(2)}, root / "models" / "model.pt")


def _pickle_renamed(root: Path) -> None:
    import hashlib

    (root / WEIGHTS).write_bytes(pickle.dumps({"a": 1}))
    sha256 = hashlib.sha256((root / WEIGHTS).read_bytes()).hexdigest()
    _rewrite(root, lambda m: m["kneeimg"].update(weights_sha256=sha256))


def _wrong_shape(root: Path) -> None:
    state = load_file(root / WEIGHTS)
    name = next(iter(state))
    _new_weights(root, {**state, name: torch.zeros(3)})


def _missing_key(root: Path) -> None:
    state = load_file(root / WEIGHTS)
    state.pop(next(iter(state)))
    _new_weights(root, state)


def _not_finite(root: Path) -> None:
    state = load_file(root / WEIGHTS)
    name = next(iter(state))
    _new_weights(root, {**state, name: state[name] * float("nan")})


def _no_json(root: Path) -> None:
    (root / METADATA).write_text("{")


def _code_in_name(metadata: dict[str, Any]) -> None:
    metadata["kneeimg"]["cascade"]["fine"]["name"] = "$__import__('os').system('true')"


def _target(metadata: dict[str, Any]) -> None:
    metadata["kneeimg"]["cascade"]["fine"]["_target_"] = "os.system"


def _other_network(metadata: dict[str, Any]) -> None:
    metadata["kneeimg"]["cascade"]["fine"]["name"] = "SegResNet"


def _no_table(metadata: dict[str, Any]) -> None:
    del metadata["kneeimg"]


def _huge(metadata: dict[str, Any]) -> None:
    metadata["kneeimg"]["cascade"]["fine"]["filters"] = [10**9, 4, 4]


def _clipped_images(metadata: dict[str, Any]) -> None:
    metadata["kneeimg"]["format"] = 1


@pytest.mark.parametrize(
    "spoil, found",
    [
        (_pickle_only, "never opened"),
        (_pickle_renamed, "no safetensors"),
        (_wrong_shape, r"\(3,\) instead of"),
        (_missing_key, "missing"),
        (_not_finite, "not finite"),
        (_no_json, "JSON"),
        (lambda r: _rewrite(r, _code_in_name), "code"),
        (lambda r: _rewrite(r, _target), "code"),
        (lambda r: _rewrite(r, _other_network), "DynUNet"),
        (lambda r: _rewrite(r, _no_table), "another program"),
        (lambda r: _rewrite(r, _huge), "512"),
        (lambda r: _rewrite(r, _clipped_images), "clipped at their 99th percentile"),
        (lambda r: (r / WEIGHTS).unlink(), "nothing of that name"),
        (lambda r: (r / METADATA).unlink(), "nothing of that name"),
    ],
)
def test_a_spoiled_model_is_refused(
    bundle: Path, spoil: Callable[[Path], None], found: str
) -> None:
    spoil(bundle)
    with pytest.raises(ModelError, match=found) as caught:
        load_cascade(read_bundle(bundle))
    assert caught.value.code is ReasonCode.MODEL_REFUSED


def test_code_in_monai_configs_is_not_even_read(bundle: Path, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    code = {"run": [f"$open({str(trap)!r}, 'w')"], "network_def": {"_target_": "os.abort"}}
    for name in ("inference", "train", "evaluate"):
        (bundle / "configs" / f"{name}.json").write_text(json.dumps(code))
    load_cascade(read_bundle(bundle))
    assert not trap.exists()


def test_models_are_found_by_folder_and_a_missing_one_is_said(bundle: Path) -> None:
    assert is_bundle(bundle)
    assert find_bundle(str(bundle)) == bundle
    card = installed_card(str(bundle))
    assert card is not None
    assert (card.name, card.version, len(card.sha256)) == ("tiny", "0.1.0", 64)
    assert installed_card("no-such-model") is None
    with pytest.raises(StudyError, match="no such segmentation model"):
        open_segmenter(SegmentationSettings(model="no-such-model"))


def test_a_process_reads_the_weights_once_until_they_change(bundle: Path) -> None:
    settings = SegmentationSettings(model=str(bundle))
    first = open_segmenter(settings)
    assert open_segmenter(settings) is first
    torch.manual_seed(2)
    write_bundle(KneeCascade(TINY), bundle, version="0.2.0")
    assert open_segmenter(settings) is not first
    assert open_segmenter(settings).card.version == "0.2.0"


def test_metadata_fit_the_schema_without_a_network(made: Path) -> None:
    import jsonschema

    schema = json.loads((SHIPPED / "configs" / "metadata.schema.json").read_text())
    metadata = json.loads((made / METADATA).read_text())
    jsonschema.validate(metadata, schema)
    for key in ("version", "network_data_format", "required_packages_version", "kneeimg"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in metadata.items() if k != key}, schema)


def _run_monai(folder: Path, *arguments: str) -> str:
    import subprocess
    import sys

    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_monai_verifies_the_metadata_offline(bundle: Path) -> None:
    shutil.copytree(SHIPPED / "configs", bundle / "configs", dirs_exist_ok=True)
    options = ("--meta_file", str(METADATA), "--filepath", "configs/metadata.schema.json")
    assert "verified with no error" in _run_monai(bundle, "verify_metadata", *options)


def test_monai_configs_name_functions_that_exist() -> None:
    """Every import of the bundle's own configs runs; their run lists call what was imported."""
    for name, key in (("inference", "run"), ("train", "training"), ("evaluate", "evaluating")):
        config = json.loads((SHIPPED / "configs" / f"{name}.json").read_text())
        scope: dict[str, Any] = {}
        for line in config["imports"]:
            exec(line.removeprefix("$"), scope)
        (call,) = config[key]
        compile(call.removeprefix("$").replace("@", "ref_"), name, "eval")
        called = call.removeprefix("$").removeprefix("print(*").split("(")[0]
        assert callable(scope[called])
