"""The two networks of a knee model as ONNX files, and a cascade that runs them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from kneeimg.networks.cascade import KneeCascade
from kneeimg.networks.spec import NetworkSpec, Triple

#: Operator set of the files; every onnxruntime since 1.14 runs it.
OPSET = 18


def export_onnx(model: KneeCascade, folder: Path) -> tuple[Path, Path]:
    """Write `coarse.onnx` and `fine.onnx`: input (1, c, i, j, k) to logits (1, classes, i, j, k).

    The sides of the input are free, each a multiple of what the network takes; the weights lie in
    the files. Normalising, resampling and windows are not part of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    coarse = _export(model.coarse, model.spec.coarse, folder / "coarse.onnx")
    return coarse, _export(model.fine, model.spec.fine, folder / "fine.onnx")


def _export(network: nn.Module, spec: NetworkSpec, path: Path) -> Path:
    sides = [4 * m for m in spec.multiple]
    example = torch.zeros(1, spec.in_channels, *sides)
    free = {
        2 + axis: m * torch.export.Dim(f"n{letter}", min=2, max=256)
        for axis, (m, letter) in enumerate(zip(spec.multiple, "ijk", strict=True))
    }
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about torch's own code
            program = torch.onnx.export(
                network.eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes=({0: None, 1: None, **free},),
                verbose=False,
            )
            assert program is not None
            program.save(str(path), external_data=False)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    return path


class OutsideNet(nn.Module):
    """A network that another program runs, in place of one of a cascade's.

    Parameters
    ----------
    predict : Input (n, c, i, j, k) to logits (n, classes, i, j, k).
    multiple : Each side of an input must be a multiple of this many voxels.
    """

    def __init__(self, predict: Callable[[Tensor], Tensor], multiple: Triple) -> None:
        super().__init__()
        self.predict = predict
        self.multiple = multiple

    def forward(self, x: Tensor) -> Tensor:
        """Logits of an input."""
        return self.predict(x.float())


def with_predictors(
    model: KneeCascade,
    coarse: Callable[[Tensor], Tensor],
    fine: Callable[[Tensor], Tensor],
) -> KneeCascade:
    """A cascade of the same spec whose networks are run outside of torch, e.g. by onnxruntime."""
    other = KneeCascade(model.spec)
    other.coarse = OutsideNet(coarse, model.spec.coarse.multiple)  # type: ignore[assignment]
    other.fine = OutsideNet(fine, model.spec.fine.multiple)  # type: ignore[assignment]
    return other
