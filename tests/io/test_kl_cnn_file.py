"""The folder of the second opinion: read back as written, refused when it is not what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.errors import ModelError, ReasonCode
from kneeimg.io.kl_cnn import (
    METADATA,
    WEIGHTS,
    read_ensemble,
    shipped_ensemble,
    shipped_weights_sha256,
    write_ensemble,
)
from kneeimg.measure.kl_opinion import film_opinion
from kneeimg.networks.film_grade import GradeTable
from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film
from kneeimg.settings.resources import model_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(model_path("kl_cnn"), tmp_path / "kl_cnn")
    return tmp_path / "kl_cnn"


def changed(folder: Path, **changes: object) -> Path:
    metadata = json.loads((folder / METADATA).read_text())
    metadata["kneeimg"] |= changes
    (folder / METADATA).write_text(json.dumps(metadata))
    return folder


def test_the_shipped_networks_are_small_and_say_where_they_come_from() -> None:
    ensemble = shipped_ensemble()
    assert (model_path("kl_cnn") / WEIGHTS).stat().st_size <= 4_000_000
    assert ensemble.sha256 == shipped_weights_sha256()
    assert len(ensemble.networks) == 5
    assert "Osteoarthritis Initiative" in str(ensemble.provenance["data_source"])
    assert "not for diagnosis" in str(ensemble.provenance["intended_use"]).lower()


def test_what_is_written_is_read(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(folder / WEIGHTS)
    table = GradeTable.model_validate(json.loads((folder / METADATA).read_text())["kneeimg"])
    sha256 = write_ensemble(tmp_path / "again", tensors, table, {"name": "again"})
    assert sha256 == table.weights_sha256  # the same bytes for the same arrays
    again, ensemble = read_ensemble(tmp_path / "again"), shipped_ensemble()
    assert again.crop == ensemble.crop
    assert again.thresholds == ensemble.thresholds
    assert again.provenance == {"name": "again"}
    for one, other in zip(again.networks, ensemble.networks, strict=True):
        np.testing.assert_array_equal(one.stem.weight, other.stem.weight)
        np.testing.assert_array_equal(one.weight, other.weight)


def test_other_weights_than_those_of_the_metadata_are_refused(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(content))
    with pytest.raises(ModelError) as refused:
        read_ensemble(folder)
    assert refused.value.code is ReasonCode.MODEL_HASH_MISMATCH
    assert "second_opinion = false" in str(refused.value)


@pytest.mark.parametrize("absent", [WEIGHTS, METADATA])
def test_an_absent_file_is_refused_with_what_to_do(folder: Path, absent: Path) -> None:
    (folder / absent).unlink()
    with pytest.raises(ModelError) as refused:
        read_ensemble(folder)
    assert refused.value.code is ReasonCode.MODEL_REFUSED
    assert absent.name in str(refused.value)
    assert "second_opinion = false" in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "kl-cnn-2"},
        {"thresholds": [1, 2, 3]},
        {"members": 0},
        {"network": {"name": "os.system"}},
        {"surprise": 1},
    ],
)
def test_metadata_of_another_kind_are_refused(folder: Path, change: dict[str, object]) -> None:
    with pytest.raises(ModelError) as refused:
        read_ensemble(changed(folder, **change))
    assert refused.value.code is ReasonCode.MODEL_REFUSED


def test_more_networks_than_there_are_weights_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="lack an array"):
        read_ensemble(changed(folder, members=6))


def test_the_shipped_networks_say_what_they_said_of_a_phantom_film() -> None:
    # golden: changes only with the weights, the level film, or the phantom
    film = knee_film(FilmKnee(side=Side.LEFT, medial_jsw_mm=2.0), FilmSetup(pixel_mm=0.4))
    opinion = film_opinion(film.radiograph.image, film.margins, (0.4, 0.4), shipped_ensemble())
    again = film_opinion(film.radiograph.image, film.margins, (0.4, 0.4), shipped_ensemble())
    assert again.probabilities == opinion.probabilities
    np.testing.assert_allclose(opinion.probabilities, GOLDEN, atol=2e-3)


GOLDEN = (0.0302, 0.0958, 0.3866, 0.4724, 0.0150)
