"""A training from the train file: stages, several processes, the checkpoint that is kept."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from kneeimg.cli import app
from kneeimg.core.anatomy import Tissue
from kneeimg.errors import Finding, ReasonCode, StudyError
from kneeimg.measure.agreement import ThicknessAgreement, TissueAgreement
from kneeimg.pipeline.checkpoint_choice import summarise
from kneeimg.pipeline.evaluation import Case
from kneeimg.pipeline.training import Training, export_bundle, trained_cascade
from kneeimg.training.checkpoint import load_checkpoint

TRAIN_FILE = """
name = "tiny"
device = "cpu"
threads = 1
[data]
pool = "pool"
[model.coarse]
filters = [4, 4, 4]
fold = [2, 2, 2]
[model.fine]
in_channels = 9
filters = [4, 4, 4]
fold = [1, 2, 2]
[coarse]
iterations = 4
coarse_size = [16, 16, 16]
precision = "fp32"
[fine]
iterations = 4
coarse_size = [16, 16, 16]
patch = [8, 32, 32]
precision = "fp32"
"""


@pytest.fixture
def train_file(tmp_path: Path) -> Path:
    """Three people with a block of bone under a slab of cartilage, and a tiny network."""
    (tmp_path / "pool").mkdir()
    for person, height in (("A", 60), ("B", 64), ("C", 62)):
        codes = np.full((56, 100, 100), 3, np.uint8)
        codes[10:46, 20:80, :height] = 13
        codes[10:46, 20:80, height : height + 8] = 18
        np.savez_compressed(
            tmp_path / "pool" / f"{person}_V1_v00.npz",
            substances=codes,
            spacing_mm=np.array((0.7, 0.4, 0.4)),
        )
    path = tmp_path / "train.toml"
    path.write_text(TRAIN_FILE, "utf-8")
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def case(dice: float, *errors_mm: float) -> Case:
    tissue = TissueAgreement(Tissue.FEMORAL_CARTILAGE, dice, 0.2, 1.0, 100.0, 100.0)
    plates = zip(("MT", "LT", "P"), errors_mm, strict=False)
    pairs = [ThicknessAgreement(r, "ThCtAB_aMe", "mm", 2.0, 2.0 + e) for r, e in plates]
    area = ThicknessAgreement("MT", "tAB", "mm2", 900.0, 1900.0)
    return Case("a", (tissue,), (*pairs, area))


def test_thickness_counts_beside_dice() -> None:
    exact, overlapping = case(0.80, 0.05, -0.05), case(0.85, 0.2, -0.2)
    first = summarise(1000, [exact], [])
    second = summarise(2000, [overlapping], [first.score])
    assert first.score == pytest.approx(0.25)
    assert second.score == pytest.approx(0.35)
    assert (first.best, second.best) == (True, False)


def test_a_scan_that_cannot_be_measured_counts_against_a_checkpoint() -> None:
    refused = Case("b", finding=Finding(ReasonCode.NOT_A_KNEE, "no knee"))
    found = summarise(1000, [case(0.9, 0.1), refused], [])
    assert found.refused == 1
    assert found.dice == pytest.approx(0.45)
    assert found.thickness_error_mm == pytest.approx(0.55)
    # a plate that was not found is as bad as one that is a millimetre off
    assert summarise(1000, [case(0.9, 0.1, math.nan)], []).thickness_error_mm == pytest.approx(0.55)


def test_both_stages_then_a_bundle_without_a_validation(train_file: Path) -> None:
    run("train", train_file, "--stage", "coarse")
    run("train", train_file, "--stage", "fine", "--until", "2")
    training = Training.read(train_file)
    bundle = export_bundle(training)
    about = json.loads((bundle / "configs" / "metadata.json").read_text("utf-8"))["training"]
    assert about["coarse"]["iterations"] == 4
    assert about["fine"]["iterations"] == 2


@pytest.mark.slow
def test_the_checkpoint_that_did_best_is_kept_and_shipped(train_file: Path) -> None:
    with train_file.open("a", encoding="utf-8") as file:
        file.write('[validation]\npeople = ["B"]\nevery = 2\nfamilies = ["t1"]\n')
    training = Training.read(train_file)
    assert training.settings("coarse").held_out == ("B",)
    run("train", train_file, "--stage", "coarse")
    fine = training.output / "fine"
    output = run("train", train_file, "--stage", "fine", "--until", "2")
    assert "the best so far, kept" in output
    # a network of two steps sees no knee: nothing overlaps, thickness counts as 1 mm off
    (line,) = [json.loads(x) for x in (fine / "validation.jsonl").read_text("utf-8").splitlines()]
    assert (line["iteration"], line["refused"], line["score"]) == (2, 1, 2.0)
    # had an earlier one done better, it would stay
    (fine / "validation.jsonl").write_text(json.dumps({**line, "score": 0.5}) + "\n", "utf-8")
    run("train", train_file, "--stage", "fine")
    assert load_checkpoint(fine / "last.pt").iteration == 4
    assert load_checkpoint(fine / "best.pt").iteration == 2
    about = json.loads((export_bundle(training) / "configs" / "metadata.json").read_text("utf-8"))[
        "training"
    ]
    assert about["fine"]["iterations"] == 2


def test_a_stranger_cannot_be_validated_on(train_file: Path) -> None:
    with train_file.open("a", encoding="utf-8") as file:
        file.write('[validation]\npeople = ["Z"]\n')
    result = CliRunner().invoke(app, ["train", str(train_file), "--stage", "coarse"])
    assert result.exit_code != 0
    assert "Z" in result.output


def test_the_fine_stage_needs_a_coarse_one(train_file: Path) -> None:
    from kneeimg.pipeline.training import train_stage

    with pytest.raises(StudyError, match="coarse"):
        train_stage(Training.read(train_file), "fine", lambda step: None, lambda found: None)


def test_weights_to_begin_from_are_a_folder_beside_the_file_or_a_model(train_file: Path) -> None:
    from kneeimg.pipeline.training import train_stage

    begin = train_file.read_text("utf-8")
    quiet = (lambda step: None, lambda found: None)
    train_file.write_text(f'begin_from = "knee_mp"\n{begin}', "utf-8")
    with pytest.raises(StudyError, match="begin_from in the train file"):
        train_stage(Training.read(train_file), "coarse", *quiet)
    train_file.write_text(f'begin_from = "knee_mr"\n{begin}', "utf-8")
    with pytest.raises(StudyError, match="of another network"):
        train_stage(Training.read(train_file), "coarse", *quiet)


def test_a_stage_that_is_not_trained_keeps_the_weights_to_begin_from(train_file: Path) -> None:
    run("train", train_file, "--stage", "coarse")
    run("train", train_file, "--stage", "fine")
    first = Training.read(train_file)
    export_bundle(first)
    again = train_file.with_name("again.toml")
    begin = 'begin_from = "run/bundle/tiny"\noutput = "again"\n'
    again.write_text(begin + train_file.read_text("utf-8"), "utf-8")
    run("train", again, "--stage", "fine")
    second = Training.read(again)
    taken = trained_cascade(second).coarse.state_dict()
    for name, value in trained_cascade(first).coarse.state_dict().items():
        assert torch.equal(taken[name], value), name
    bundle = export_bundle(second)
    about = json.loads((bundle / "configs" / "metadata.json").read_text("utf-8"))["training"]
    assert about["coarse"] == {"begin_from": "run/bundle/tiny"}
    assert about["fine"] == {"begin_from": "run/bundle/tiny", "iterations": 4, "seed": 1}


@pytest.mark.slow
def test_two_processes_learn_together(train_file: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", "29617", "-m", "kneeimg", "train", str(train_file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--stage", "coarse"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    coarse = train_file.parent / "run" / "coarse"
    found = load_checkpoint(coarse / "last.pt")
    assert found.iteration == 4
    steps = (coarse / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(step)["iteration"] for step in steps] == [1, 2, 3, 4]  # one process logs
    # together they saw twice as many knees, so the weights are others than one process finds
    alone = train_file.with_name("alone.toml")
    text = train_file.read_text("utf-8").replace('name = "tiny"', 'name = "tiny"\noutput = "alone"')
    alone.write_text(text, "utf-8")
    run("train", alone, "--stage", "coarse")
    other = load_checkpoint(train_file.parent / "alone" / "coarse" / "last.pt")
    name = next(iter(found.model))
    assert not np.allclose(found.model[name], other.model[name])
