"""The file of the KL model: written, read back, and refused when it is not one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.kl_support import KlAppearance, KlFeature, KlModel
from kneeimg.errors import ModelError, ReasonCode
from kneeimg.io.kl_model import FORMAT, kl_model_to_json, read_kl_model, shipped_kl_model
from kneeimg.measure.appearance import grid_shape
from kneeimg.measure.edge_histograms import ANGLES
from kneeimg.measure.kl_model import kl_support

FEATURE = KlFeature("medial_JSN", 1.5, 0.3, 0.2, -0.1, 1.0, -0.4, 1.0)
MODEL = KlModel((FEATURE,), (-2.0, -1.0, 0.5, 3.0), {"films": 3})


def written(folder: Path, values: object) -> Path:
    path = folder / "kl_support.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_written_and_read_back(tmp_path):
    again = read_kl_model(written(tmp_path, kl_model_to_json(MODEL)))
    assert (again.features, again.thresholds) == (MODEL.features, MODEL.thresholds)
    assert again.provenance == {"films": 3}
    assert len(again.sha256) == 64


def test_the_look_of_bones_is_read_back_and_checked(tmp_path):
    rows, columns = grid_shape()
    size = 2 * rows * columns * ANGLES
    look = KlAppearance(np.full(size, 0.25), np.linspace(-1, 1, size))
    values = kl_model_to_json(replace(MODEL, appearance=look))
    again = read_kl_model(written(tmp_path, values)).appearance
    assert again is not None
    np.testing.assert_allclose(again.weight, look.weight, rtol=1e-3)
    values["appearance"]["mean"].pop()
    with pytest.raises(ModelError):
        read_kl_model(written(tmp_path, values))


def broken(**changes: object) -> dict[str, object]:
    return {**kl_model_to_json(MODEL), **changes}


@pytest.mark.parametrize(
    "values",
    [
        [],
        {},
        broken(format="another-2"),
        broken(thresholds=[3.0, 2.0, 1.0, 0.0]),
        broken(thresholds=[0.0, 1.0]),
        broken(thresholds=["a", 1.0, 2.0, 3.0]),
        broken(features=[]),
        broken(appearance={"mean": [0.0], "weight": [0.0]}),
        broken(features=[{"name": "medial_JSN"}]),
        broken(features=[{**kl_model_to_json(MODEL)["features"][0], "coefficient": float("nan")}]),
        broken(features=[{**kl_model_to_json(MODEL)["features"][0], "sd": 0.0}]),
    ],
)
def test_a_foreign_or_damaged_model_is_refused(tmp_path, values):
    with pytest.raises(ModelError) as error:
        read_kl_model(written(tmp_path, values))
    assert error.value.code is ReasonCode.MODEL_REFUSED


def test_no_json_too_large_and_absent(tmp_path):
    path = tmp_path / "kl_support.json"
    for content in (b"\xff\x00not json", b"{", b" " * 1_000_001):
        path.write_bytes(content)
        with pytest.raises(ModelError):
            read_kl_model(path)
    with pytest.raises(ModelError) as error:
        read_kl_model(tmp_path / "absent.json")
    assert error.value.finding.where == "absent.json"


def test_the_shipped_model_states_where_it_comes_from():
    model = shipped_kl_model()
    for name in ("data", "films", "people", "without_margins", "figures", "made_by"):
        assert name in model.provenance
    mean = {feature.name: feature.mean for feature in model.features}
    answer = kl_support(mean, model)
    assert not answer.missing
    assert not answer.outside
    assert max(map(abs, answer.contributions.values())) < 1e-12
    assert FORMAT.endswith("1")


def test_the_shipped_model_reads_narrowing_as_worse():
    model = shipped_kl_model()
    at = {feature.name: feature.mean for feature in model.features}
    narrow = {f.name: f.high for f in model.features if "JSN" in f.name}
    wide = {f.name: f.low for f in model.features if "JSN" in f.name}
    worse, better = kl_support(at | narrow, model), kl_support(at | wide, model)
    assert sum(worse.probabilities[2:]) > sum(better.probabilities[2:]) + 0.1
