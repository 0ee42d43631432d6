"""What the scanner does: slices, partial volume, noise, coil, artefacts.

A true image on a regular box becomes the image that a scan of given voxel size shows there. Each
axis is a matrix: one that integrates the truth over the acquired voxels, one that reads the
acquired voxels back at the box by linear interpolation, as a viewer or `resample` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from kneeimg.settings.training import ScanSettings

TripleMm = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Acquisition:
    """The scanner's part of one synthetic scan.

    Attributes
    ----------
    voxel_mm : (3,) acquired voxel size along i, j, k.
    pitch_mm : (3,) distance between acquired voxels; more than `voxel_mm` where slices have gaps.
    phase : (3,) where the acquired grid begins, in 0..1 of a pitch.
    noise : SD of the noise in signal units.
    bias : (1, 1, a, b, c) logarithm of the coil's sensitivity on a lattice over the view.
    gamma : Exponent of the signal: scanners and exports do not agree on a scale.
    ghost : Strength of a shifted copy; 0 for none.
    ghost_axis, ghost_shift_mm : Where it lies.
    fat_shift_mm : (3,) chemical shift of fat against water.
    band : Strength of slow stripes; 0 for none.
    band_waves : (3,) waves of the stripes across the view.
    """

    voxel_mm: TripleMm
    pitch_mm: TripleMm
    phase: TripleMm
    noise: float
    bias: Tensor
    gamma: float
    ghost: float
    ghost_axis: int
    ghost_shift_mm: float
    fat_shift_mm: TripleMm
    band: float
    band_waves: TripleMm


def draw_acquisition(settings: ScanSettings, rng: np.random.Generator) -> Acquisition:
    """One scanner and protocol."""
    slices = 0 if rng.uniform() < settings.sagittal else int(rng.integers(1, 3))
    low, high = settings.in_plane_mm
    voxel = [float(rng.uniform(low, high))] * 3
    thin, thick = settings.slice_mm
    # as many thin-slice 3-D scans as thick ones: log-uniform
    voxel[slices] = float(np.exp(rng.uniform(np.log(thin), np.log(thick))))
    pitch = list(voxel)
    if voxel[slices] > 1.8 and rng.uniform() < 0.7:
        pitch[slices] *= float(rng.uniform(1.0, 1.25))
    fat = [0.0, 0.0, 0.0]
    if rng.uniform() < settings.chemical_shift:
        fat[int(rng.integers(1, 3))] = float(rng.uniform(-1.0, 1.0))
    bias = rng.standard_normal((1, 1, 4, 4, 4)) * settings.bias * rng.uniform()
    phase = rng.uniform(size=3)
    waves = rng.uniform(-8, 8, 3)
    return Acquisition(
        voxel_mm=(voxel[0], voxel[1], voxel[2]),
        pitch_mm=(pitch[0], pitch[1], pitch[2]),
        phase=(float(phase[0]), float(phase[1]), float(phase[2])),
        noise=float(settings.noise * rng.uniform() ** 1.5),
        bias=torch.as_tensor(bias, dtype=torch.float32),
        gamma=float(np.exp(rng.uniform(-0.25, 0.25))),
        ghost=float(rng.uniform(0.03, 0.12)) if rng.uniform() < settings.ghosting else 0.0,
        ghost_axis=int(rng.integers(0, 3)),
        ghost_shift_mm=float(rng.uniform(8, 40) * rng.choice([-1, 1])),
        fat_shift_mm=(fat[0], fat[1], fat[2]),
        band=float(rng.uniform(0.03, 0.12)) if rng.uniform() < settings.bands else 0.0,
        band_waves=(float(waves[0]), float(waves[1]), float(waves[2])),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A regular box of the scan.

    Attributes
    ----------
    shape : Voxels along i, j, k.
    spacing_mm : Voxel size.
    centre_mm : Middle of the box, from the middle of the view.
    view_mm : Size of the whole view.
    """

    shape: tuple[int, int, int]
    spacing_mm: TripleMm
    centre_mm: TripleMm
    view_mm: TripleMm

    def lines_mm(self, axis: int) -> Tensor:
        """(n,) position of the voxels along an axis."""
        n = self.shape[axis]
        return (torch.arange(n) - (n - 1) / 2.0) * self.spacing_mm[axis] + self.centre_mm[axis]


def acquire(truth: Tensor, box: Box, scan: Acquisition, generator: torch.Generator) -> Tensor:
    """(i, j, k) the image that the scan shows of a true signal on the same box.

    Parameters
    ----------
    truth : (i, j, k) signal without noise.
    generator : Source of the noise, on the device of `truth`.
    """
    image = truth * _sensitivity(box, scan).to(truth.device)
    if scan.ghost:
        step = round(scan.ghost_shift_mm / box.spacing_mm[scan.ghost_axis])
        image = image + scan.ghost * torch.roll(image, step, dims=scan.ghost_axis)
    axes = [_axis_matrices(box, axis, scan) for axis in range(3)]
    there, back, averaged = zip(*axes, strict=True)
    acquired = _along_axes(image, [matrix.to(truth.device) for matrix in there])
    acquired = _noisy(acquired, scan.noise / float(np.sqrt(np.prod(averaged))), generator)
    shown = _along_axes(acquired, [matrix.to(truth.device) for matrix in back])
    return shown.clamp(min=0.0) ** scan.gamma


def _along_axes(image: Tensor, matrices: list[Tensor]) -> Tensor:
    """Apply one matrix along each axis, the one that shrinks the image most first."""
    for axis in sorted(range(3), key=lambda n: matrices[n].shape[0] / matrices[n].shape[1]):
        image = torch.tensordot(matrices[axis], image, dims=([1], [axis])).movedim(0, axis)
    return image


def _axis_matrices(box: Box, axis: int, scan: Acquisition) -> tuple[Tensor, Tensor, float]:
    """Truth to acquired voxels, acquired voxels back, and how many were averaged, on one axis.

    A box much coarser than the scan stands for the averages over its voxels, so they are made at
    once and the noise shrinks accordingly.
    """
    truth, step = box.lines_mm(axis), box.spacing_mm[axis]
    pitch, width = scan.pitch_mm[axis], scan.voxel_mm[axis]
    averaged = 1.0
    if pitch < 0.6 * step:
        averaged, pitch, width = step / pitch, step, step
    first = int(torch.floor(truth[0] / pitch - scan.phase[axis])) - 1
    last = int(torch.ceil(truth[-1] / pitch - scan.phase[axis])) + 1
    acquired = (torch.arange(first, last + 1) + scan.phase[axis]) * pitch
    return _integrating(acquired, truth, width, step), _reading(truth, acquired), averaged


def _integrating(acquired: Tensor, truth: Tensor, width: float, step: float) -> Tensor:
    """(acquired, truth) weights: a Gaussian as wide as a voxel, never narrower than a step."""
    sigma = max(0.42 * width, 0.45 * step)
    weights = torch.exp(-0.5 * ((acquired[:, None] - truth[None]) / sigma) ** 2)
    # beyond the box the nearest truth counts
    nearest = (acquired[:, None] - truth[None]).abs().argmin(dim=1)
    weights[torch.arange(len(acquired)), nearest] += 1e-6
    return weights / weights.sum(dim=1, keepdim=True)


def _reading(wanted: Tensor, acquired: Tensor) -> Tensor:
    """(wanted, acquired) linear interpolation."""
    pitch = acquired[1] - acquired[0]
    weights = 1.0 - (wanted[:, None] - acquired[None]).abs() / pitch
    return weights.clamp(min=0.0)


def _noisy(image: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    """Magnitude of a complex image with Gaussian noise (Rician)."""
    if sd <= 0:
        return image
    noise = torch.randn((2, *image.shape), generator=generator, device=image.device) * sd
    return torch.sqrt((image + noise[0]) ** 2 + noise[1] ** 2)


def _sensitivity(box: Box, scan: Acquisition) -> Tensor:
    """(i, j, k) coil sensitivity and stripes over the box."""
    small = [max(2, n // 8) for n in box.shape]
    unit = []
    for axis, n in enumerate(small):
        line = box.lines_mm(axis)
        unit.append(torch.linspace(float(line[0]), float(line[-1]), n) * 2.0 / box.view_mm[axis])
    places = torch.stack(torch.meshgrid(*unit, indexing="ij"), dim=-1)
    log = torch.nn.functional.grid_sample(
        scan.bias, places.flip(-1)[None], padding_mode="border", align_corners=True
    )
    if scan.band:
        waves = torch.tensor(scan.band_waves)
        log = log + scan.band * torch.sin(np.pi * (places * waves).sum(dim=-1))[None, None]
    return interpolate(log, size=box.shape, mode="trilinear", align_corners=True)[0, 0].exp()
