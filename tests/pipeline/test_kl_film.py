"""KL support on the way from a film file to rows, files and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kneeimg.cli import app
from kneeimg.core.anatomy import Side
from kneeimg.core.kl_support import KlSupport
from kneeimg.core.measurement import Status
from kneeimg.errors import ReasonCode
from kneeimg.io.kl_cnn import shipped_ensemble
from kneeimg.io.kl_model import shipped_kl_model
from kneeimg.measure.kl_features import planned_kl
from kneeimg.measure.kl_opinion import OPINION_ROWS, comparison_text
from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film
from kneeimg.pipeline.film import MeasuredFilm, measure_film
from kneeimg.pipeline.planned import complete, planned_rows
from kneeimg.settings.film import FilmSettings
from kneeimg.settings.kl_support import KlSupportSettings
from kneeimg.settings.study import StageSettings

KNEE = FilmKnee(side=Side.LEFT, medial_jsw_mm=3.0)


@pytest.fixture(scope="module")
def film() -> MeasuredFilm:
    phantom = knee_film(KNEE, FilmSetup(pixel_mm=0.3))
    return measure_film(phantom.radiograph, Side.LEFT, FilmSettings())


def test_the_rows_of_a_film_are_the_planned_ones(film: MeasuredFilm) -> None:
    planned = planned_rows("film", StageSettings())
    rows = complete(film.measurements, planned)
    assert [(row.region, row.quantity, row.unit) for row in rows] == list(planned)
    assert {*planned_kl(), *OPINION_ROWS} <= set(planned)


def test_the_grade_rows_say_what_the_support_says(film: MeasuredFilm) -> None:
    rows = {row.name: row for row in film.measurements}
    chances = [rows[f"knee_KL_P{grade}"].value for grade in range(5)]
    assert chances == list(film.support.probabilities)
    assert sum(chances) == pytest.approx(1.0)
    grade = rows["knee_KL_grade"]
    assert (grade.status is Status.OK) == film.support.certain
    codes = {finding.code for finding in film.support.findings}
    assert codes <= set(rows["knee_KL_P0"].flags)
    assert film.support.model_sha256 == shipped_kl_model().sha256
    assert set(film.support.contributions) == {f.name for f in shipped_kl_model().features}


def test_a_film_unlike_the_training_films_gets_no_grade_and_keeps_its_joint_space() -> None:
    # a lateral space wider than in any film that the model learned from
    wide = knee_film(FilmKnee(side=Side.LEFT, lateral_jsw_mm=9.8), FilmSetup(pixel_mm=0.3))
    film = measure_film(wide.radiograph, Side.LEFT, FilmSettings())
    support = film.support
    assert isinstance(support, KlSupport)
    assert {finding.code for finding in support.findings} >= {ReasonCode.KL_OUT_OF_RANGE}
    assert not {finding.code for finding in film.findings} & {ReasonCode.KL_OUT_OF_RANGE}
    assert support.outside
    assert set(support.outside) <= {feature.name for feature in shipped_kl_model().features}
    assert not support.certain
    assert support.grade is None


def test_the_command_prints_and_writes_it(tmp_path: Path) -> None:
    image = knee_film(KNEE, FilmSetup(pixel_mm=0.3)).radiograph.image
    path = tmp_path / "film.png"
    grey = 255 * (image - image.min()) / np.ptp(image)
    Image.fromarray(grey.astype(np.uint8)).save(path)
    out = tmp_path / "out"
    found = CliRunner().invoke(
        app, ["measure", "film", str(path), "--side", "left", "--json", "-o", str(out)]
    )
    assert found.exit_code == 0, found.output
    printed = json.loads(found.output)["kl_support"]
    (written,) = out.glob("*kl_support.json")
    assert json.loads(written.read_text()) == printed
    assert printed["notice"] == "Support, not a diagnosis."
    assert printed["second_opinion"]["model_sha256"] == shipped_ensemble().sha256
    assert printed["comparison"].startswith("Features and networks ")
    plain = CliRunner().invoke(app, ["measure", "film", str(path), "--side", "left"])
    assert "KL support, not a diagnosis: KL0" in plain.output
    assert "second opinion (networks), not a diagnosis: KL0" in plain.output


def test_the_second_opinion_stands_in_rows_of_its_own(film: MeasuredFilm) -> None:
    rows = {row.name: row for row in film.measurements}
    assert film.opinion is not None
    chances = [rows[f"knee_KLN_P{grade}"].value for grade in range(5)]
    assert chances == list(film.opinion.probabilities)
    assert [rows[f"knee_KL_P{grade}"].value for grade in range(5)] == list(
        film.support.probabilities
    )
    assert (rows["knee_KLN_grade"].status is Status.OK) == film.opinion.certain
    assert film.kl_as_dict()["comparison"] == comparison_text(film.support, film.opinion)


def test_the_second_opinion_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    off = FilmSettings(kl_support=KlSupportSettings(second_opinion=False))
    monkeypatch.setattr("kneeimg.io.kl_cnn.shipped_ensemble", lambda: pytest.fail("was asked"))
    phantom = knee_film(KNEE, FilmSetup(pixel_mm=0.3))
    film = measure_film(phantom.radiograph, Side.LEFT, off)
    planned = planned_rows("film", StageSettings(film=off))
    assert not set(OPINION_ROWS) & set(planned)
    complete(film.measurements, planned)
    assert film.opinion is None
    assert "second_opinion" not in film.kl_as_dict()


def test_measuring_a_film_loads_no_network_framework() -> None:
    code = (
        "import sys; from kneeimg.pipeline.film import measure_film; "
        "from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film; "
        "from kneeimg.settings.film import FilmSettings; "
        "film = measure_film(knee_film(FilmKnee(), FilmSetup(pixel_mm=0.4)).radiograph, None, "
        "FilmSettings()); "
        "assert film.opinion is not None; "
        "assert not {'torch', 'monai'} & set(sys.modules), 'a framework was loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
