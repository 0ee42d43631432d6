"""The train loop: it learns, goes on as if never stopped, and stops when something is wrong."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from kneeimg.errors import OutputError, StudyError
from kneeimg.networks.spec import CascadeSpec, NetworkSpec, build_network
from kneeimg.settings.training import (
    OptimiserSettings,
    PoseSettings,
    ScanSettings,
    TrainingSettings,
)
from kneeimg.training import loop
from kneeimg.training.batches import Batches
from kneeimg.training.checkpoint import load_checkpoint, weights_digest
from kneeimg.training.loop import Trainer, prior_matched
from kneeimg.training.losses import segmentation_loss
from kneeimg.training.pool import PoolKnee, list_pool, load_knee, split

SPEC = CascadeSpec(
    coarse=NetworkSpec(filters=(8, 16, 16), fold=(2, 2, 2)),
    fine=NetworkSpec(in_channels=9, filters=(8, 16, 16), fold=(1, 2, 2)),
    window=(16, 32, 32),
)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Two people with a block of bone under a slab of cartilage."""
    folder = tmp_path / "pool"
    folder.mkdir()
    for person, height in (("A", 60), ("B", 64)):
        codes = np.full((56, 100, 100), 3, np.uint8)
        codes[10:46, 20:80, :height] = 13
        codes[10:46, 20:80, height : height + 8] = 18
        np.savez_compressed(
            folder / f"{person}_V1_v00.npz", substances=codes, spacing_mm=np.array((0.7, 0.4, 0.4))
        )
    return folder


def trainer(pool: Path, folder: Path, stage: str = "coarse", **changes: object) -> Trainer:
    torch.manual_seed(0)
    settings = TrainingSettings(
        stage=stage,  # type: ignore[arg-type]
        iterations=60,
        coarse_size=(16, 16, 16),
        patch=(8, 32, 32),
        save_every=4,
        precision="fp32",
        optimiser=OptimiserSettings(learning_rate=1e-2, warm_up=5),
        scan=ScanSettings(families={"t1": 1.0}, noise=0.02),
        pose=PoseSettings(rotation_deg=5, elastic_mm=0, shift_mm=4),
    ).model_copy(update=changes)
    network = prior_matched(build_network(getattr(SPEC, stage)))
    return Trainer(network, Batches(list_pool(pool), settings, SPEC), settings, folder)


def test_it_learns_bone(pool: Path, tmp_path: Path) -> None:
    steps = list(trainer(pool, tmp_path / "run", coarse_size=(24, 24, 24)).steps())
    first, last = (np.nanmean([s.dice[0] for s in part]) for part in (steps[:8], steps[-8:]))
    assert last > 0.6 > first + 0.2


@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_going_on_gives_the_same_weights(pool: Path, tmp_path: Path, stage: str) -> None:
    whole = trainer(pool, tmp_path / "whole", stage)
    list(whole.steps(8))
    list(trainer(pool, tmp_path / "parts", stage).steps(5))
    rest = trainer(pool, tmp_path / "parts", stage)
    # the last checkpoint in the folder is that of step 5, where the first part ended
    assert rest.iteration == 5
    list(rest.steps(8))
    assert weights_digest(rest.network.state_dict()) == weights_digest(whole.network.state_dict())
    assert weights_digest(rest.average) == weights_digest(whole.average)


def test_after_a_step_small_numbers_are_numbers_again(pool: Path, tmp_path: Path) -> None:
    for _ in trainer(pool, tmp_path).steps(until=1):
        # a KDTree of scipy never ends while numbers like this count as zero
        assert np.nextafter(np.float64(0.0), 1.0) * 1.0 > 0.0


@pytest.mark.parametrize("there", [True, False])
def test_half_precision_is_used_where_the_processor_computes_it(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: there, raising=False)
    run = trainer(pool, tmp_path, precision="auto")
    seen: list[bool] = []
    run.network.register_forward_pre_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    list(run.steps(1))
    assert seen == [there]


def test_a_step_is_saved_once(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda state, path: saved.append(state.iteration))
    run = trainer(pool, tmp_path / "run")
    for step in run.steps(5):
        if step.iteration == 4:  # as a validation does, which falls on a step that was just saved
            run.save()
    run.save()
    assert saved == [4, 5]


def test_another_training_is_not_gone_on_with(pool: Path, tmp_path: Path) -> None:
    list(trainer(pool, tmp_path / "run").steps(4))
    with pytest.raises(StudyError, match="another training"):
        trainer(pool, tmp_path / "run", seed=2)


def test_a_loss_that_is_no_number_stops_and_saves_the_batch(pool: Path, tmp_path: Path) -> None:
    run = trainer(pool, tmp_path / "run")
    list(run.steps(4))
    with torch.no_grad():
        next(run.network.parameters()).fill_(float("nan"))
    with pytest.raises(StudyError, match="not a number"):
        list(run.steps(8))
    saved = torch.load(tmp_path / "run" / "bad-batch-4.pt", weights_only=True)
    assert saved["target"].shape == (1, 16, 16, 16)
    weights = load_checkpoint(tmp_path / "run" / "last.pt").model
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_a_full_disk_leaves_the_old_checkpoint(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(pool, tmp_path / "run")
    list(run.steps(4))
    before = (tmp_path / "run" / "last.pt").read_bytes()

    def full(content: object, file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="the last one is intact"):
        list(run.steps(8))
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
    assert not list((tmp_path / "run").glob("*.part"))


def test_something_else_is_not_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(StudyError, match="not a checkpoint"):
        load_checkpoint(path)


def test_held_out_people_are_never_learned_from(pool: Path) -> None:
    learn, held = split(list_pool(pool), ["B"])
    assert {knee.participant for knee in learn} == {"A"}
    assert {knee.participant for knee in held} == {"B"}
    for wrong in (["C"], ["A", "B"]):
        with pytest.raises(StudyError, match="split"):
            split(list_pool(pool), wrong)


def test_an_empty_pool_and_a_strange_code_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="empty"):
        list_pool(tmp_path)
    path = tmp_path / "A_V1_v00.npz"
    np.savez(path, substances=np.full((8, 8, 8), 99, np.uint8), spacing_mm=np.ones(3))
    with pytest.raises(StudyError, match="99"):
        load_knee(PoolKnee(path, "A"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StudyError, match="cannot be read"):
        load_knee(PoolKnee(path, "A"))


def test_unknown_classes_and_ignored_voxels_cost_nothing() -> None:
    logits = torch.zeros(1, 9, 4, 4, 4)
    logits[:, 5] = 8.0  # sure of a patella
    background = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    told_off = segmentation_loss(logits, background)
    left_open = segmentation_loss(logits, background, unknown=(5,))
    assert left_open < 0.2 * told_off
    ignored = torch.full_like(background, 255)
    assert float(segmentation_loss(logits, ignored)) < 1e-3


@pytest.mark.parametrize("dice, low, high", [(0.0, 0.44, 0.46), (1.0, 0.6, 1.0)])
def test_only_cross_entropy_leaves_an_uncertain_edge_where_it_is(
    dice: float, low: float, high: float
) -> None:
    """A tissue of 100 sure voxels and an edge of 200 that belongs to it in 45 % of the knees."""
    target = torch.zeros(20, 1, 1, 4000, dtype=torch.uint8)
    target[..., :100] = 1
    target[:9, ..., 100:300] = 1
    edge = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.Adam([edge], lr=0.05)
    for _ in range(150):
        sure = torch.cat([torch.full((100,), 9.0), edge.expand(200), torch.full((3700,), -9.0)])
        logits = torch.stack([torch.zeros(4000), sure])[None, :, None, None].expand(
            20, -1, 1, 1, -1
        )
        optimiser.zero_grad()
        torch.autograd.backward(segmentation_loss(logits, target, dice=dice))
        optimiser.step()
    assert low < edge.sigmoid().item() < high
