"""Samples for each stage, each a pure function of the seed and the number of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate

from kneeimg.networks.arithmetic import choose_precision
from kneeimg.networks.cascade import intensity_range, probabilities, scaled
from kneeimg.networks.spec import CLASS_NAMES, CascadeSpec
from kneeimg.networks.subpixel import SubpixelNet
from kneeimg.settings.training import TrainingSettings
from kneeimg.training.pool import PoolKnee, load_knee
from kneeimg.training.scans import Knee, Sample, SyntheticScan
from kneeimg.training.tissues import IGNORED_CLASS

Triple = tuple[int, int, int]
TripleMm = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's input and target.

    Attributes
    ----------
    input : (n, channels, i, j, k).
    target : (n, i, j, k) uint8 classes.
    unknown : Classes that the target does not know.
    """

    input: Tensor
    target: Tensor
    unknown: tuple[int, ...] = ()


class Batches:
    """Draws what a stage learns from.

    Parameters
    ----------
    knees : The pool that may be seen.
    settings, spec : What is drawn, and for which networks.
    coarse : The coarse network whose classes the fine one sees; None uses disturbed truth alone.
    device : Where scans are made.
    """

    def __init__(
        self,
        knees: Sequence[PoolKnee],
        settings: TrainingSettings,
        spec: CascadeSpec,
        coarse: SubpixelNet | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._knees = tuple(knees)
        self._settings = settings
        self._spec = spec
        self.coarse = coarse
        self._device = torch.device(device)
        self._loaded: tuple[int, Knee] | None = None
        self._scan: tuple[int, _SeenScan] | None = None

    def at(self, step: int) -> Batch:
        """The batch of a step; the same step always gives the same batch."""
        if self._settings.stage == "coarse":
            return self._coarse_batch(step)
        return self._fine_batch(step)

    def _knee(self, scan: int) -> Knee:
        turn, within = divmod(scan // self._settings.scans_per_knee, len(self._knees))
        order = np.random.default_rng([self._settings.seed, 11, turn]).permutation(len(self._knees))
        number = int(order[within])
        if self._loaded is None or self._loaded[0] != number:
            self._loaded = (number, load_knee(self._knees[number], self._device))
        return self._loaded[1]

    def scan(self, number: int) -> SyntheticScan:
        """The synthetic scan of this number."""
        settings = self._settings
        size, mm = settings.coarse_size, self._spec.coarse_spacing_mm
        view = (size[0] * mm[0], size[1] * mm[1], size[2] * mm[2])
        seed = (settings.seed, 13, number)
        return SyntheticScan(self._knee(number), view, settings.pose, settings.scan, seed)

    def _coarse_sample(self, scan: SyntheticScan, rng: np.random.Generator) -> Sample:
        sample = scan.sample(
            self._settings.coarse_size, self._spec.coarse_spacing_mm, (0.0, 0.0, 0.0), (1, 2, 2)
        )
        return _cut_view(sample, rng)

    def _coarse_batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self._settings.seed, 17, step])
        scan = self.scan(step)
        sample = self._coarse_sample(scan, rng)
        image = scaled(sample.image, *intensity_range(sample.image))
        return Batch(image[None, None], sample.target[None], scan.knee.unknown)

    def _fine_batch(self, step: int) -> Batch:
        number, patch = divmod(step, self._settings.patches_per_scan)
        seen = self._seen_scan(number)
        rng = np.random.default_rng([self._settings.seed, 19, number, patch])
        spacing = self._spec.fine_spacing_mm
        centre = seen.scan.joint_point(seen.coarse, rng)
        sample = seen.scan.sample(self._settings.patch, spacing, centre, (1, 2, 2), draw=1 + patch)
        image = scaled(sample.image, *seen.levels)
        context = _box_of(seen.classes, seen.coarse, sample)
        channels = torch.cat([image[None], context])
        return Batch(channels[None], sample.target[None], seen.scan.knee.unknown)

    def _seen_scan(self, number: int) -> _SeenScan:
        if self._scan is None or self._scan[0] != number:
            rng = np.random.default_rng([self._settings.seed, 23, number])
            scan = self.scan(number)
            coarse = self._coarse_sample(scan, rng)
            levels = intensity_range(coarse.image)
            if self.coarse is None or rng.uniform() < self._settings.simulated_coarse:
                classes = disturbed_truth(coarse.target, rng)
            else:
                image = scaled(coarse.image, *levels)[None, None]
                with torch.no_grad():
                    classes = probabilities(self.coarse, image, self._precision)[0, 1:]
            self._scan = (number, _SeenScan(scan, coarse, levels, classes))
        return self._scan[1]

    @property
    def _precision(self) -> torch.dtype:
        return choose_precision(self._settings.precision, self._device.type)


@dataclass(frozen=True, slots=True, eq=False)
class _SeenScan:
    """A scan with its coarse view, the levels that scale it and the coarse foreground classes."""

    scan: SyntheticScan
    coarse: Sample
    levels: tuple[float, float]
    classes: Tensor


def _cut_view(sample: Sample, rng: np.random.Generator) -> Sample:
    """Sometimes the view ends early: nothing there but the noise floor, and nothing to learn."""
    image, target = sample.image, sample.target
    if rng.uniform() < 0.4:
        image, target = image.clone(), target.clone()
        for _ in range(int(rng.integers(1, 4))):
            axis, n = (a := int(rng.integers(3))), sample.image.shape[int(a)]
            width = int(rng.integers(1, max(2, n // 5)))
            end = slice(0, width) if rng.uniform() < 0.5 else slice(n - width, n)
            index = tuple(end if dim == axis else slice(None) for dim in range(3))
            image[index] = float(image.min())
            target[index] = 0
    return Sample(image, target, sample.box)


def disturbed_truth(target: Tensor, rng: np.random.Generator) -> Tensor:
    """(classes - 1, i, j, k) what a coarse network might say of this view.

    The truth, softened, moved by a smooth field of up to two voxels, with holes and false islands.
    """
    truth = torch.stack([(target == value).float() for value in range(1, len(CLASS_NAMES))])
    unknown = (target == IGNORED_CLASS).float()
    truth[0] = truth[0] + 0.5 * unknown
    knots = [max(2, n // 12) for n in target.shape]
    moved = _moved(truth, rng.standard_normal((3, *knots)) * rng.uniform(0.2, 1.2))
    for _ in range(int(rng.integers(0, 3))):
        moved = avg_pool3d(moved[None], 3, stride=1, padding=1)[0]
    doubt = torch.as_tensor(rng.standard_normal((8, *knots)), dtype=torch.float32)
    doubt = interpolate(doubt[None].to(target.device), size=target.shape, mode="trilinear")[0]
    strength = float(rng.uniform(0.0, 0.5))
    logits = torch.log(moved.clamp(1e-4, 1 - 1e-4)) + strength * 2.0 * doubt
    rest = torch.log((1.0 - moved.sum(dim=0)).clamp(1e-3, 1.0))
    return torch.softmax(torch.cat([rest[None], logits]), dim=0)[1:]


def _moved(classes: Tensor, field: np.ndarray) -> Tensor:
    shape = classes.shape[1:]
    shift = torch.as_tensor(field, dtype=torch.float32, device=classes.device)
    shift = interpolate(shift[None], size=shape, mode="trilinear", align_corners=True)[0]
    lines = [torch.arange(n, dtype=torch.float32, device=classes.device) for n in shape]
    index = torch.stack(torch.meshgrid(*lines, indexing="ij")) + shift
    size = torch.tensor(shape, dtype=torch.float32, device=classes.device).reshape(3, 1, 1, 1)
    unit = index * (2.0 / (size - 1)) - 1.0
    return torch.nn.functional.grid_sample(
        classes[None],
        unit.permute(1, 2, 3, 0).flip(-1)[None],
        padding_mode="border",
        align_corners=True,
    )[0]


def _box_of(classes: Tensor, coarse: Sample, fine: Sample) -> Tensor:
    """(classes - 1, i, j, k) coarse classes read at the voxels of a window."""
    units = []
    for axis in range(3):
        line = fine.box.lines_mm(axis) - coarse.box.centre_mm[axis]
        half = (coarse.box.shape[axis] - 1) * coarse.box.spacing_mm[axis] / 2.0
        units.append((line / half).to(classes.device))
    places = torch.stack(torch.meshgrid(*units, indexing="ij"), dim=-1)
    return torch.nn.functional.grid_sample(
        classes[None], places.flip(-1)[None], padding_mode="border", align_corners=True
    )[0]
