"""Training a knee model: pool, coarse network, fine network, bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kneeimg.errors import StudyError
from kneeimg.pipeline.pool import make_pool
from kneeimg.settings.toml import load_toml

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from kneeimg.networks.cascade import KneeCascade
    from kneeimg.networks.subpixel import SubpixelNet
    from kneeimg.pipeline.checkpoint_choice import CheckpointChoice, Validation
    from kneeimg.settings.training import TrainingSettings
    from kneeimg.training.config import TrainFile
    from kneeimg.training.loop import Step, Trainer

Stage = Literal["coarse", "fine"]
_STAGES: tuple[Stage, Stage] = ("coarse", "fine")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Training:
    """A train file and where it lies; its paths are relative to it.

    Attributes
    ----------
    config : The validated file.
    folder : Folder of the train file.
    """

    config: TrainFile
    folder: Path

    @classmethod
    def read(cls, path: Path) -> Training:
        """Read a train file.

        Raises
        ------
        StudyError
            It is missing, is not TOML, or has an unknown key or a value out of range.
        """
        from kneeimg.training.config import TrainFile

        return cls(load_toml(path, TrainFile), path.resolve().parent)

    @property
    def output(self) -> Path:
        """Folder of checkpoints, logs and the bundle."""
        return self.folder / self.config.output

    @property
    def pool(self) -> Path:
        """Folder of the knees that are scanned."""
        return self.folder / self.config.data.pool

    def settings(self, stage: Stage) -> TrainingSettings:
        """Settings of a stage; neither learns from the people of `[data]` and `[validation]`."""
        settings: TrainingSettings = getattr(self.config, stage)
        held_out = (
            *self.config.data.held_out,
            *self.config.validation.people,
            *settings.held_out,
        )
        return settings.model_copy(update={"held_out": tuple(dict.fromkeys(held_out))})


def prepare_pool(training: Training, progress: Progress) -> int:
    """Make what the pool lacks; without a datalist the pool is taken as it is."""
    from kneeimg.training.datalist import read_datalist

    data = training.config.data
    if not data.datalist:
        return 0
    path = training.folder / data.datalist
    donor = training.folder / data.donor if data.donor else None
    return make_pool(
        read_datalist(path),
        path.parent,
        training.pool,
        variants=data.variants,
        donor=donor,
        progress=progress,
    )


def train_stage(
    training: Training,
    stage: Stage,
    on_step: Callable[[Step], None],
    on_validation: Callable[[Validation], None],
    until: int | None = None,
) -> Path:
    """Train one network, going on from its last checkpoint; returns the checkpoint's path.

    The fine stage is validated on the people of `[validation]`, and the checkpoint that did best
    there is kept beside the last one.

    Raises
    ------
    StudyError
        The pool is empty, the split is impossible, the checkpoint belongs to another training, the
        loss is no number, or the fine stage has no coarse network to stand on.
    OutputError
        A checkpoint cannot be written.
    """
    from kneeimg.training.loop import CHECKPOINT

    with _processes(training) as (device, rank, world):
        trainer = _trainer(training, stage, device, rank, world)
        choice = _choice(training, stage, device) if rank == 0 else None
        for step in trainer.steps(until):
            if rank == 0:
                on_step(step)
            if choice is not None and choice.due(step.iteration):
                trainer.save()
                model = _cascade(training, {"fine": trainer.average})
                checkpoint = training.output / stage / CHECKPOINT
                on_validation(choice.validate(model, step.iteration, checkpoint))
        trainer.save()
    return training.output / stage / CHECKPOINT


def _choice(training: Training, stage: Stage, device: torch.device) -> CheckpointChoice | None:
    """What chooses the checkpoint of the fine stage; the coarse one draws nothing to measure."""
    from kneeimg.pipeline.checkpoint_choice import CheckpointChoice
    from kneeimg.training.pool import list_pool

    if stage == "coarse" or not training.config.validation.people:
        return None
    _weights(
        training, "coarse"
    )  # without one nothing can be validated: say so before the first step
    folder = training.output / stage
    return CheckpointChoice(
        training.config.validation, list_pool(training.pool), folder, device.type
    )


def _trainer(
    training: Training, stage: Stage, device: torch.device, rank: int, world: int
) -> Trainer:
    import torch

    from kneeimg.networks.spec import build_network
    from kneeimg.training.batches import Batches
    from kneeimg.training.loop import Trainer, prior_matched
    from kneeimg.training.pool import list_pool, split

    settings, spec = training.settings(stage), training.config.model
    learn, _ = split(list_pool(training.pool), settings.held_out)
    torch.manual_seed(settings.seed)
    network = prior_matched(build_network(getattr(spec, stage)))
    _begin_from(training, stage, network)
    network = network.to(device)
    coarse = None
    if stage == "fine" and settings.simulated_coarse < 1.0:
        coarse = _trained_coarse(training, device)
    batches = Batches(learn, settings, spec, coarse, device)
    return Trainer(network, batches, settings, training.output / stage, rank=rank, world=world)


def _begin_from(training: Training, stage: Stage, network: SubpixelNet) -> None:
    """Load the weights of the bundle that is trained on."""
    given = _given_weights(training, stage)
    if given is None:
        return
    try:
        network.load_state_dict(dict(given))
    except RuntimeError as error:
        raise StudyError(
            "the weights to begin from are of another network",
            where=training.config.begin_from,
            expected=f"[model.{stage}] as in the bundle",
            found=str(error).splitlines()[0],
        ) from error


def _given_weights(training: Training, stage: Stage) -> Mapping[str, Tensor] | None:
    """Weights of the bundle to begin from; None where training starts from scratch."""
    given = training.config.begin_from
    if not given:
        return None
    from kneeimg.networks.bundle import load_cascade, read_bundle
    from kneeimg.segment.models import require_bundle

    beside = training.folder / given
    action = "correct begin_from in the train file"
    folder = beside if beside.is_dir() else require_bundle(given, action=action)
    return load_cascade(read_bundle(folder)).get_submodule(stage).state_dict()


def _trained_coarse(training: Training, device: torch.device) -> SubpixelNet:
    """The coarse network that the fine one stands on."""
    from kneeimg.networks.spec import build_network

    network = build_network(training.config.model.coarse)
    network.load_state_dict(dict(_weights(training, "coarse")))
    return network.to(device).eval()


def _weights(training: Training, stage: Stage) -> Mapping[str, Tensor]:
    """Averaged weights of a stage's best checkpoint; if it has none, those to begin from."""
    from kneeimg.training.checkpoint import load_checkpoint
    from kneeimg.training.loop import CHECKPOINT

    path = _best_checkpoint(training, stage)
    if path is not None:
        return load_checkpoint(path).average
    given = _given_weights(training, stage)
    if given is None:
        raise StudyError(
            f"there is no {stage} network yet",
            where=training.output.name,
            expected=f"{stage}/{CHECKPOINT}, or weights to begin from",
            action=f"kneeimg train CONFIG --stage {stage}, or set begin_from",
        )
    return given


def trained_cascade(training: Training) -> KneeCascade:
    """Both networks with the averaged weights of their best checkpoints.

    The best one of the fine network is the one that `[validation]` chose, else the last one. A
    stage that was not trained keeps the weights that the training began from.

    Raises
    ------
    StudyError
        If a stage has neither.
    """
    return _cascade(training, {})


def _cascade(training: Training, weights: Mapping[Stage, Mapping[str, Tensor]]) -> KneeCascade:
    """Both networks; a stage without given weights takes its best."""
    import torch

    from kneeimg.networks.cascade import KneeCascade

    with torch.random.fork_rng():  # the training must not notice that a network was made
        model = KneeCascade(training.config.model)
    for stage in _STAGES:
        state = weights.get(stage) or _weights(training, stage)
        model.get_submodule(stage).load_state_dict(dict(state))
    return model.eval()


def _best_checkpoint(training: Training, stage: Stage) -> Path | None:
    """The checkpoint that validation chose, else the last one, else None."""
    from kneeimg.pipeline.checkpoint_choice import BEST
    from kneeimg.training.loop import CHECKPOINT

    paths = (training.output / stage / name for name in (BEST, CHECKPOINT))
    return next((path for path in paths if path.is_file()), None)


@contextmanager
def _processes(training: Training) -> Iterator[tuple[torch.device, int, int]]:
    """Device and place of this process; several work together when `torchrun` started them."""
    import torch
    import torch.distributed as together

    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    device = _device(training.config.device, local)
    if training.config.threads:
        torch.set_num_threads(training.config.threads)
    if world > 1:
        together.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device, rank, world
    finally:
        if world > 1:
            together.destroy_process_group()


def _device(wanted: str, local: int) -> torch.device:
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise StudyError(
            "no graphics card is there",
            expected='device = "cuda" needs one that this torch can use',
            found=f"torch {torch.__version__}",
            action='set device = "auto" or "cpu"',
        )
    return torch.device("cuda", local) if there and wanted != "cpu" else torch.device("cpu")


def export_bundle(training: Training) -> Path:
    """Write the trained networks as a model folder that `kneeimg segment --model` takes."""
    from kneeimg.networks.bundle import write_bundle

    stages = {stage: _origin(training, stage) for stage in _STAGES}
    root = training.output / "bundle" / training.config.name
    write_bundle(
        trained_cascade(training),
        root,
        version=training.config.version,
        maturity="preview",  # until `kneeimg evaluate` has shown otherwise
        about={"training": {**stages, "held_out": list(training.settings("fine").held_out)}},
    )
    return root


def _origin(training: Training, stage: Stage) -> dict[str, object]:
    """Where the weights of a stage are from, for the bundle's metadata."""
    from kneeimg.training.checkpoint import load_checkpoint

    begun: dict[str, object] = (
        {"begin_from": training.config.begin_from} if training.config.begin_from else {}
    )
    path = _best_checkpoint(training, stage)
    if path is None:
        return begun
    trained = load_checkpoint(path).iteration
    return {**begun, "iterations": trained, "seed": training.settings(stage).seed}
