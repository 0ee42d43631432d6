"""TensorBoard curves of a training, where TensorBoard is installed."""

from __future__ import annotations

import math
from pathlib import Path

from kneeimg.networks.spec import CLASS_NAMES
from kneeimg.training.loop import Step


class Board:
    """Curves in a folder; without TensorBoard nothing is written, the log files say the same."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._writer = None
        else:
            self._writer = SummaryWriter(str(folder), flush_secs=30)

    def step(self, step: Step) -> None:
        """Loss, seconds and Dice of a step."""
        self._write(step.iteration, {"loss": step.loss, "seconds": step.seconds})
        names = [f"dice/{name}" for name in CLASS_NAMES[1:]]
        self._write(step.iteration, dict(zip(names, step.dice, strict=True)))

    def validation(self, iteration: int, dice: float, thickness_error_mm: float) -> None:
        """What a checkpoint reached on the people it is chosen on."""
        values = {"cartilage_dice": dice, "thickness_error_mm": thickness_error_mm}
        self._write(iteration, {f"validation/{name}": value for name, value in values.items()})

    def _write(self, iteration: int, values: dict[str, float]) -> None:
        if self._writer is None:
            return
        for name, value in values.items():
            if not math.isnan(value):
                self._writer.add_scalar(name, value, iteration)
