"""`kneeimg train`: teach the segmentation model on your own data."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kneeimg.cli.frame import refusals

if TYPE_CHECKING:
    from kneeimg.pipeline.checkpoint_choice import Validation
    from kneeimg.pipeline.training import Training
    from kneeimg.training.loop import Step


def train(
    config: Annotated[
        Path,
        typer.Argument(
            help="Train file (TOML); see docs/training.md.",
            metavar="CONFIG",
            exists=True,
            dir_okay=False,
        ),
    ],
    stage: Annotated[
        Literal["all", "pool", "coarse", "fine", "bundle"],
        typer.Option(help="Do one part only; each goes on from where it stopped."),
    ] = "all",
    until: Annotated[
        int | None, typer.Option(min=1, help="Stop a stage at this iteration for now.")
    ] = None,
) -> None:
    """Train a knee model from label maps, labelled images, or both.

    Label maps alone are enough: kneeimg draws the soft tissue around them, lets disease wear the
    cartilage and scans the knee with any contrast, resolution and artefact. The parts are

      pool     every knee made ready to be scanned, once

      coarse   the network that finds the knee in the whole view

      fine     the network that draws the cartilage inside the joint

      bundle   a MONAI bundle with both, for `kneeimg segment --model`

    Stop at any time and start again: a training goes on from its last checkpoint and gives the
    result that it would have given in one go. On several graphics cards:

      torchrun --nproc-per-node 4 -m kneeimg train CONFIG

    Examples:

      kneeimg train train.toml

      kneeimg train train.toml --stage coarse --until 5000

    Exit status: 0 done, 1 a mistake in the train file or the data, 4 environment.

    For research. Not for diagnosis.
    """
    from kneeimg.pipeline.training import Training

    with refusals():
        training = Training.read(config)
        if stage in ("all", "pool"):
            _pool(training)
        if stage in ("all", "coarse"):
            _stage(training, "coarse", until)
        if stage in ("all", "fine"):
            _stage(training, "fine", until)
        if stage in ("all", "bundle"):
            _bundle(training)


def _pool(training: Training) -> None:
    from kneeimg.cli.run import progress_bar
    from kneeimg.pipeline.training import prepare_pool

    with progress_bar() as progress:
        made = prepare_pool(training, progress)
    typer.echo(f"pool: {made} knees made")


def _stage(training: Training, stage: Literal["coarse", "fine"], until: int | None) -> None:
    from kneeimg.pipeline.training import train_stage
    from kneeimg.training.board import Board

    board = Board(training.output / stage / "board")
    total = training.settings(stage).iterations
    with _shown(stage, min(until or total, total)) as show:

        def on_step(step: Step) -> None:
            board.step(step)
            show(step)

        def on_validation(found: Validation) -> None:
            board.validation(found.iteration, found.dice, found.thickness_error_mm)
            typer.echo(_validated(found), err=True)

        path = train_stage(training, stage, on_step, on_validation, until)
    typer.echo(f"{stage}: {path}")


def _validated(found: Validation) -> str:
    refused = f", {found.refused} refused" if found.refused else ""
    kept = "; the best so far, kept" if found.best else ""
    return (
        f"validation at {found.iteration}: cartilage Dice {found.dice:.3f}, thickness off by "
        f"{1000 * found.thickness_error_mm:.0f} µm{refused}{kept}"
    )


def _bundle(training: Training) -> None:
    from kneeimg.pipeline.training import export_bundle

    typer.echo(f"bundle: {export_bundle(training)}")


@contextmanager
def _shown(stage: str, total: int) -> Iterator[Callable[[Step], None]]:
    """A bar on a terminal, a line every fifty steps otherwise; averages, not single steps."""
    averages = _Averages()
    if not sys.stderr.isatty():

        def line(step: Step) -> None:
            averages.add(step)
            if step.iteration % 50 == 0 or step.iteration == total:
                typer.echo(f"[{stage} {step.iteration}/{total}] {averages.text()}", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        TextColumn(stage),
        BarColumn(),
        MofNCompleteColumn(),
        Remaining(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("first step", total=total)

        def draw(step: Step) -> None:
            averages.add(step)
            bar.update(task, completed=step.iteration, description=averages.text())

        yield draw


class _Averages:
    """Running means of the loss and of the bones' and cartilages' Dice."""

    _KEEP = 0.98

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def add(self, step: Step) -> None:
        bones, cartilages = step.dice[0:6:2], step.dice[1:6:2]
        self._take("loss", step.loss)
        for name, group in (("bone", bones), ("cartilage", cartilages)):
            seen = [dice for dice in group if not math.isnan(dice)]
            if seen:
                self._take(name, sum(seen) / len(seen))
        self._take("s/step", step.seconds)

    def _take(self, name: str, value: float) -> None:
        before = self._values.get(name, value)
        self._values[name] = self._KEEP * before + (1.0 - self._KEEP) * value

    def text(self) -> str:
        return "  ".join(f"{name} {value:.3f}" for name, value in self._values.items())
