"""The train loop of one stage: resumable, deterministic, on a processor or on graphics cards."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kneeimg.errors import StudyError
from kneeimg.networks.arithmetic import choose_precision
from kneeimg.networks.subpixel import SubpixelNet
from kneeimg.settings.training import TrainingSettings
from kneeimg.training.batches import Batch, Batches
from kneeimg.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from kneeimg.training.losses import segmentation_loss
from kneeimg.training.tissues import IGNORED_CLASS

CHECKPOINT = "last.pt"
LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Step:
    """What one step says of itself.

    Attributes
    ----------
    iteration : Steps done, this one included.
    loss : Its loss.
    dice : Dice by class on the step's own batch, NaN for a class that is not in view.
    seconds : How long it took.
    """

    iteration: int
    loss: float
    dice: tuple[float, ...]
    seconds: float


class Trainer:
    """Trains one network and keeps everything needed to go on.

    Parameters
    ----------
    network : Network of the stage, on its device.
    batches : Where samples come from.
    settings : What is trained.
    folder : Checkpoints and log; a `last.pt` there is gone on from.
    rank, world : Which of how many processes this is; each takes its own samples.
    """

    def __init__(
        self,
        network: SubpixelNet,
        batches: Batches,
        settings: TrainingSettings,
        folder: Path,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.network = network
        self.settings = settings
        self.folder = folder
        self.iteration = 0
        self._saved_at: int | None = None
        self._batches = batches
        self._rank, self._world = rank, world
        self._device = next(network.parameters()).device
        self._stepper: nn.Module = _distributed(network, self._device) if world > 1 else network
        chosen = settings.optimiser
        self._optimiser = torch.optim.AdamW(
            network.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay
        )
        # bf16 has the range of fp32, so the scaler is idle; it is there for fp16 cards
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=False)
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        if (folder / CHECKPOINT).is_file():
            self._resume(load_checkpoint(folder / CHECKPOINT, self._device))

    def _resume(self, found: Checkpoint) -> None:
        same = ("stage", "seed")
        mine = self.settings.model_dump(mode="json")
        other = {
            key: found.settings.get(key) for key in same if found.settings.get(key) != mine[key]
        }
        if other:
            raise StudyError(
                "the folder holds a checkpoint of another training",
                where=self.folder.name,
                expected=", ".join(f"{key} {mine[key]}" for key in other),
                found=", ".join(f"{key} {value}" for key, value in other.items()),
                action="choose another folder, or the settings that the training began with",
            )
        self.network.load_state_dict(dict(found.model))
        self.average = {k: v.clone() for k, v in found.average.items()}
        self._optimiser.load_state_dict(dict(found.optimiser))
        self._scaler.load_state_dict(dict(found.scaler))
        torch.set_rng_state(found.rng)
        self.iteration = found.iteration

    def steps(self, until: int | None = None) -> Iterator[Step]:
        """Train up to an iteration, one step at a time; checkpoints are written on the way."""
        end = min(until or self.settings.iterations, self.settings.iterations)
        self.network.train()
        while self.iteration < end:
            with _denormals_as_zero():
                step = self._step()
            if self.iteration % self.settings.save_every == 0 or self.iteration == end:
                self.save()
            yield step

    def _step(self) -> Step:
        started = time.perf_counter()
        batch = self._batches.at(self.iteration * self._world + self._rank)
        rate = learning_rate(self.iteration, self.settings)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        precision = choose_precision(self.settings.precision, self._device.type)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=precision is torch.bfloat16):
            logits = self._stepper(batch.input)
        loss = segmentation_loss(
            logits, batch.target, batch.unknown, dice=dice_weight(self.iteration, self.settings)
        )
        if not bool(torch.isfinite(loss)):
            self._stop_with_batch(batch, float(loss.detach()))
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.optimiser.clip)
        self._optimiser.step()
        self.iteration += 1
        self._follow()
        dice = batch_dice(logits.detach(), batch.target)
        step = Step(self.iteration, float(loss.detach()), dice, time.perf_counter() - started)
        self._log(step)
        return step

    def _follow(self) -> None:
        """Move the running average of the weights; quickly at first."""
        keep = min(self.settings.optimiser.average, (1 + self.iteration) / (10 + self.iteration))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value.detach().to(self.average[name].dtype), 1.0 - keep)

    def _stop_with_batch(self, batch: Batch, loss: float) -> None:
        path = self.folder / f"bad-batch-{self.iteration}.pt"
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.save({"input": batch.input.cpu(), "target": batch.target.cpu()}, path)
        raise StudyError(
            "the loss is not a number any more; the batch is saved and the last checkpoint intact",
            where=path.name,
            expected="a finite loss",
            found=str(loss),
            action="look at the batch; lower optimiser.learning_rate or use precision fp32",
        )

    def save(self) -> None:
        """Write the checkpoint, by the first process only and once for each step."""
        if self._rank or self._saved_at == self.iteration:
            return
        save_checkpoint(
            Checkpoint(
                iteration=self.iteration,
                settings=self.settings.model_dump(mode="json"),
                model=self.network.state_dict(),
                average=self.average,
                optimiser=self._optimiser.state_dict(),
                scaler=self._scaler.state_dict(),
                rng=torch.get_rng_state(),
            ),
            self.folder / CHECKPOINT,
        )
        self._saved_at = self.iteration

    def _log(self, step: Step) -> None:
        if self._rank:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        line = {
            "iteration": step.iteration,
            "loss": round(step.loss, 5),
            "dice": [None if math.isnan(d) else round(d, 4) for d in step.dice],
            "seconds": round(step.seconds, 3),
        }
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Numbers below 1e-38 count as 0: with them a step on a processor takes many times as long.

    For the step alone: code that steps to the next larger number, as scipy's `KDTree` does, never
    arrives while this holds, and what is measured between two steps goes through such code.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def learning_rate(iteration: int, settings: TrainingSettings) -> float:
    """Rise, plateau, fall.

    >>> from kneeimg.settings.training import OptimiserSettings
    >>> chosen = TrainingSettings(stage="fine", iterations=100,
    ...     optimiser=OptimiserSettings(learning_rate=1.0, warm_up=10, cool_down=50))
    >>> [round(learning_rate(n, chosen), 2) for n in (0, 4, 30, 75, 99)]
    [0.1, 0.5, 1.0, 0.5, 0.02]
    """
    chosen = settings.optimiser
    rate = chosen.learning_rate
    if iteration < chosen.warm_up:
        return rate * (iteration + 1) / chosen.warm_up
    left = settings.iterations - iteration
    if left <= chosen.cool_down:
        return rate * left / chosen.cool_down
    return rate


def dice_weight(iteration: int, settings: TrainingSettings) -> float:
    """1, and 0 in the last `edge_steps`.

    >>> chosen = TrainingSettings(stage="fine", iterations=10, edge_steps=3)
    >>> [dice_weight(n, chosen) for n in (0, 6, 7, 9)]
    [1.0, 1.0, 0.0, 0.0]
    """
    return 0.0 if iteration >= settings.iterations - settings.edge_steps else 1.0


def batch_dice(logits: Tensor, target: Tensor) -> tuple[float, ...]:
    """Dice of each foreground class on one batch; NaN where the target does not hold it."""
    best = logits.max(dim=1).indices  # argmax takes five times as long on a processor
    known = target != IGNORED_CLASS
    dice = []
    for value in range(1, logits.shape[1]):
        here = (target == value) & known
        seen = (best == value) & known
        size = int(here.sum())
        both = int((here & seen).sum())
        dice.append(2.0 * both / (size + int(seen.sum())) if size else math.nan)
    return tuple(dice)


def prior_matched(network: SubpixelNet, shares: Mapping[int, float] | None = None) -> SubpixelNet:
    """Set the biases of a new network's head to the logarithm of the class shares.

    Without this the first hundreds of steps go into learning that most voxels are background.
    """
    from kneeimg.networks.spec import CLASS_NAMES

    head = network.get_submodule("body.output_block.conv.conv")
    if not isinstance(head, nn.Conv3d) or head.bias is None:
        raise TypeError(f"the head of the network is {type(head).__name__}, not a convolution")
    usual = {0: 0.78, 1: 0.1, 2: 0.012, 3: 0.08, 4: 0.006, 5: 0.012, 6: 0.003, 7: 0.002, 8: 0.002}
    chosen = dict(shares or usual)
    logs = torch.tensor([math.log(chosen[n]) for n in range(len(CLASS_NAMES))])
    with torch.no_grad():
        head.bias.copy_(logs.repeat_interleave(head.bias.numel() // len(CLASS_NAMES)))
    return network


def _distributed(network: nn.Module, device: torch.device) -> nn.Module:
    from torch.nn.parallel import DistributedDataParallel

    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids)
