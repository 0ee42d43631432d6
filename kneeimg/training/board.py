"""TensorBoard curves of a training, where TensorBoard is installed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from kneeimg.networks.spec import CLASS_NAMES
from kneeimg.training.loop import Step


def board(folder: Path) -> Callable[[Step], None]:
    """A function that takes every step to `folder`; it does nothing without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the log file says the same
        return lambda step: None
    writer = SummaryWriter(str(folder), flush_secs=30)

    def write(step: Step) -> None:
        writer.add_scalar("loss", step.loss, step.iteration)
        writer.add_scalar("seconds", step.seconds, step.iteration)
        for name, dice in zip(CLASS_NAMES[1:], step.dice, strict=False):
            if not math.isnan(dice):
                writer.add_scalar(f"dice/{name}", dice, step.iteration)

    return write
