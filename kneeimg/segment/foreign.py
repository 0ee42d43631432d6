"""Models that kneeimg did not make: TorchScript and ONNX files with a description beside them.

A TorchScript file is a program. torch interprets it, and it may read and write files: it is loaded
only when the user says that they trust it. An ONNX file is a graph of operators. A pickled state
dict is neither, and is never opened.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kneeimg.core.anatomy import LabelScheme, Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import Finding, KneeimgError, MaskError, ModelError, ReasonCode, StudyError
from kneeimg.segment.devices import choose_device
from kneeimg.segment.mr import ModelCard
from kneeimg.segment.network import Clock, NetworkSegmenter
from kneeimg.settings.foreign_model import LETTER_AXES, ForeignInput, ForeignModelFile
from kneeimg.settings.segmentation import SegmentationSettings
from kneeimg.settings.toml import load_toml

if TYPE_CHECKING:
    from torch import Tensor

    Predictor = Callable[[Tensor], Tensor]

TORCHSCRIPT_SUFFIXES = (".ts", ".torchscript", ".pt", ".pth")
ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """A model file, what it wants to see, and its hash.

    Attributes
    ----------
    path : The `.onnx` or TorchScript file.
    about : The TOML file beside it.
    scheme : How its label values name tissues.
    sha256 : Hash of both files: another description is another model.
    """

    path: Path
    about: ForeignModelFile
    scheme: LabelScheme
    sha256: str

    @property
    def card(self) -> ModelCard:
        """Name and version of the description, hash of both files."""
        return ModelCard(self.about.name, self.about.version, self.sha256)


def read_foreign(path: Path, scheme: LabelScheme) -> ForeignModel:
    """A model file with its description; the model itself is not opened yet.

    Raises
    ------
    StudyError
        The description (`model.toml` beside `model.onnx`) is absent or has a mistake.
    MaskError
        UNKNOWN_LABEL: a channel has a value that the scheme does not name.
    ModelError
        MODEL_REFUSED: not a kind of file that is opened.
    """
    if path.suffix.lower() not in (*TORCHSCRIPT_SUFFIXES, ONNX_SUFFIX):
        raise ModelError(
            "not a kind of model that kneeimg opens",
            where=path.name,
            expected=f"{ONNX_SUFFIX}, or TorchScript ({', '.join(TORCHSCRIPT_SUFFIXES)})",
            found=path.suffix or "no suffix",
        )
    description = path.with_suffix(".toml")
    about = load_toml(description, ForeignModelFile)
    strange = [value for value in about.output.values if value not in scheme.tissues]
    if strange:
        raise MaskError(
            f"output channels that the scheme {scheme.name} does not name",
            code=ReasonCode.UNKNOWN_LABEL,
            where=description.name,
            expected=", ".join(map(str, sorted(scheme.tissues))),
            found=", ".join(map(str, strange)),
            action="choose the scheme of the model (--scheme), or write one",
        )
    digest = hashlib.sha256(path.read_bytes())
    digest.update(description.read_bytes())
    digest.update(repr(sorted(scheme.tissues.items())).encode())
    return ForeignModel(path, about, scheme, digest.hexdigest())


class ForeignSegmenter(NetworkSegmenter):
    """A foreign model as a segmenter.

    Parameters
    ----------
    model : The file and its description.
    settings : Device, trust, clean-up, limits of confidence.

    Raises
    ------
    ModelError
        MODEL_NOT_TRUSTED for TorchScript without `trust`; MODEL_REFUSED if it cannot be loaded.
    StudyError
        onnxruntime is not installed.
    """

    def __init__(self, model: ForeignModel, settings: SegmentationSettings | None = None) -> None:
        super().__init__(model.card, settings or SegmentationSettings())
        self._model = model
        self._device = choose_device(self._settings.device)
        if model.path.suffix.lower() == ONNX_SUFFIX:
            self._device = "cpu"
            self._predict = onnx_predictor(model.path)
        else:
            self._predict = _torchscript(model.path, self._device, self._settings.trust)

    def _label_map(
        self, image: Volume, side: Side | None, clock: Clock
    ) -> tuple[LabelMap, tuple[Finding, ...]]:
        """Probabilities of each tissue that the scheme names."""
        with clock.step("network"):
            probabilities, frame = self._run(image, side)
        with clock.step("resampling"):
            return self._by_tissue(probabilities, frame, image.grid), ()

    def _run(self, image: Volume, side: Side | None) -> tuple[Tensor, Grid]:
        import torch

        from kneeimg.networks.frame import resample
        from kneeimg.segment.carry import as_tensor

        wanted = self._model.about.input
        frame = frame_for(image.grid, side, wanted)
        shown = resample(as_tensor(image.data, self._device)[None], image.grid, frame)
        shown = normalised(turned(shown, wanted.orientation), wanted)
        with torch.no_grad():
            output = self._windowed(shown[None])[0]
        return turned_back(output, wanted.orientation), frame

    def _windowed(self, shown: Tensor) -> Tensor:
        from monai.inferers.utils import sliding_window_inference

        window = self._model.about.window
        try:
            result = sliding_window_inference(
                shown,
                roi_size=window.size,
                sw_batch_size=1,
                predictor=self._probabilities,
                overlap=window.overlap,
                mode="gaussian",
            )
        except KneeimgError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            raise self._failed(f"{type(error).__name__}: {str(error)[:200]}") from error
        assert not isinstance(result, tuple | dict)
        return result

    def _probabilities(self, x: Tensor) -> Tensor:
        output = self._predict(x)
        expected = (x.shape[0], len(self._model.about.output.values), *x.shape[2:])
        shape = tuple(getattr(output, "shape", ()))
        if shape != expected:
            raise self._failed(f"an output of {shape}", f"an output of {expected}")
        return activated(output.float(), self._model.about.output.activation)

    def _failed(self, found: str, expected: str = "probabilities of each channel") -> ModelError:
        return ModelError(
            "the foreign model does not do what its description says",
            where=self._model.path.name,
            expected=expected,
            found=found,
            action="correct the TOML file beside the model",
        )

    def _by_tissue(self, probabilities: Tensor, frame: Grid, grid: Grid) -> LabelMap:
        import torch

        from kneeimg.segment.carry import soft_label_map

        scheme, values = self._model.scheme, self._model.about.output.values
        tissues = [scheme.tissues[value] for value in values]
        present = [t for t in dict.fromkeys(tissues) if t is not Tissue.BACKGROUND]
        # medial and lateral cartilage of the tibia are one tissue here
        summed = [
            probabilities[[n for n, own in enumerate(tissues) if own is tissue]].sum(dim=0)
            for tissue in present
        ]
        return soft_label_map(torch.stack(summed).clamp(0.0, 1.0), frame, grid, present)


def frame_for(grid: Grid, side: Side | None, wanted: ForeignInput) -> Grid:
    """The grid in L, P, S order on which a foreign model sees an image."""
    from kneeimg.networks.frame import frame_of

    axes, _ = grid.closest_lps()
    spacing = np.asarray(grid.spacing_mm)[list(axes)]
    if wanted.spacing_mm is not None:
        for letter, mm in zip(wanted.orientation, wanted.spacing_mm, strict=True):
            spacing[LETTER_AXES[letter]] = mm
    if wanted.mirror_left and side is None:
        raise MaskError(
            "the model sees left knees mirrored, and nothing says which knee this is",
            code=ReasonCode.NO_LATERALITY,
            expected="left or right",
            found="no source",
            action="give the side (--side, or the study file)",
        )
    shown = side if wanted.mirror_left and side is not None else Side.RIGHT
    return frame_of(grid, shown, (float(spacing[0]), float(spacing[1]), float(spacing[2])))


def turned(x: Tensor, orientation: str) -> Tensor:
    """(c, L, P, S) array with its axes as a model wants them.

    Examples
    --------
    >>> import torch
    >>> turned(torch.zeros(1, 2, 3, 4), "SAR").shape
    torch.Size([1, 4, 3, 2])
    """
    order = [1 + LETTER_AXES[letter] for letter in orientation]
    return x.permute(0, *order).flip(_flipped(orientation)).contiguous()


def turned_back(x: Tensor, orientation: str) -> Tensor:
    """The inverse of :func:`turned`."""
    order = [1 + LETTER_AXES[letter] for letter in orientation]
    back = [1 + order.index(axis) for axis in (1, 2, 3)]
    return x.flip(_flipped(orientation)).permute(0, *back).contiguous()


def _flipped(orientation: str) -> list[int]:
    return [1 + axis for axis, letter in enumerate(orientation) if letter in "RAI"]


def normalised(x: Tensor, wanted: ForeignInput) -> Tensor:
    """Grey values as a model wants them."""
    from kneeimg.networks.cascade import levelled

    if wanted.normalisation == "none":
        return x
    if wanted.normalisation == "zscore":
        return (x - x.mean()) / x.std().clamp(min=1e-8)
    low, high = np.percentile(x.cpu().numpy(), wanted.percentiles)
    return levelled(x, float(low), max(float(high), float(low) + 1e-6)).clamp(max=1.0)


def activated(output: Tensor, activation: str) -> Tensor:
    """Probabilities of an output (n, c, i, j, k)."""
    if activation == "softmax":
        return output.softmax(dim=1)
    return output.sigmoid() if activation == "sigmoid" else output


def _torchscript(path: Path, device: str, trust: bool) -> Predictor:
    import torch

    if not trust:
        raise ModelError(
            "a TorchScript file is a program, and it was not said that it may run",
            code=ReasonCode.MODEL_NOT_TRUSTED,
            where=path.name,
            expected="--trust, if you know where the file comes from",
            found="no consent",
            action="export the model as ONNX, or add --trust",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
            module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            "the file is no TorchScript model",
            where=path.name,
            expected="a file made by torch.jit.save; a state dict is a pickle and is never opened",
            found=str(error).strip().splitlines()[0][:200],
        ) from error
    module.eval()
    predictor: Predictor = module
    return predictor


def onnx_predictor(path: Path) -> Predictor:
    """A function that runs an ONNX file on a tensor.

    Raises
    ------
    StudyError
        onnxruntime is not installed.
    ModelError
        The file is no ONNX model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise StudyError(
            "ONNX models need onnxruntime, which is not installed",
            action='pip install "kneeimg[onnx]"',
        ) from error
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    threads = torch.get_num_threads()
    options.intra_op_num_threads = threads
    try:
        session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelError(
            "the file is no ONNX model that can be run",
            where=path.name,
            found=str(error).strip().splitlines()[0][:200],
        ) from error
    name = session.get_inputs()[0].name

    def predict(x: Tensor) -> Tensor:
        (output, *_) = session.run(None, {name: x.cpu().numpy()})
        return torch.from_numpy(output)

    return predict
