"""Synthetic scans of a tissue map: the same scan seen as a whole and as windows of the joint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate

from kneeimg.networks.spec import BONE_CLASSES, CARTILAGE_CLASSES
from kneeimg.settings.training import PoseSettings, ScanSettings
from kneeimg.training.acquisition import Acquisition, Box, acquire, draw_acquisition
from kneeimg.training.contrast import Contrast, Seam, draw_contrast, draw_seam
from kneeimg.training.pose import Pose, draw_pose
from kneeimg.training.tissues import IGNORED_CLASS, Substance

TripleMm = tuple[float, float, float]
Triple = tuple[int, int, int]

_FATS = (Substance.SUBCUTANEOUS_FAT, Substance.INTERMUSCULAR_FAT, Substance.FAT_PAD)
_CARTILAGES = (
    Substance.FEMORAL_CARTILAGE,
    Substance.TIBIAL_CARTILAGE,
    Substance.PATELLAR_CARTILAGE,
)

#: Width of the patches in which a line between two cartilages comes and goes.
_SEAM_PATCH_MM = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Knee:
    """A knee ready to be scanned: a tissue map, or a real scan with its labels.

    Attributes
    ----------
    content : (i, j, k) uint8 codes of `Substance`, or float16 signal in 0..1 of a real scan; a
        right knee in the network frame.
    classes : (i, j, k) uint8 network classes, 255 ignored.
    spacing_mm : Voxel size.
    unknown : Classes that the labels of a real scan do not know.
    """

    content: Tensor
    classes: Tensor
    spacing_mm: TripleMm
    unknown: tuple[int, ...] = ()

    @property
    def is_real(self) -> bool:
        """Whether the content is the signal of a real scan."""
        return self.content.is_floating_point()


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image and what is in it.

    Attributes
    ----------
    image : (i, j, k) signal, not scaled.
    target : (i, j, k) uint8 classes, 255 ignored.
    box : Where it lies in the scan.
    """

    image: Tensor
    target: Tensor
    box: Box


class SyntheticScan:
    """One scan of one knee; everything random is drawn when it is made.

    Parameters
    ----------
    knee : What is scanned.
    view_mm : Size of the view.
    pose, scan : What may vary.
    seed : Everything follows from it.
    """

    def __init__(
        self,
        knee: Knee,
        view_mm: TripleMm,
        pose: PoseSettings,
        scan: ScanSettings,
        seed: tuple[int, ...],
    ) -> None:
        rng = np.random.default_rng(seed)
        self.knee = knee
        self.view_mm = view_mm
        self.contrast: Contrast = draw_contrast(scan.families, rng)
        self.acquisition: Acquisition = draw_acquisition(scan, rng)
        self.pose: Pose = draw_pose(knee.classes, knee.spacing_mm, pose, rng)
        device = knee.content.device
        self._generator = torch.Generator(device)
        self._noise_seed = int(rng.integers(2**62))
        self._mean = torch.as_tensor(self.contrast.mean, device=device)
        self._texture = torch.as_tensor(self.contrast.texture, device=device)
        self._real_range = float(rng.uniform(0.0, 0.05)), float(rng.uniform(0.85, 1.1))
        self._grain_mm = float(np.exp(rng.uniform(np.log(0.8), np.log(5.0))))
        self.seam: Seam | None = draw_seam(self.contrast, rng)

    def sample(
        self,
        shape: Triple,
        spacing_mm: TripleMm,
        centre_mm: TripleMm,
        finer: Triple,
        draw: int = 0,
    ) -> Sample:
        """Image and classes of a box of the scan.

        Parameters
        ----------
        shape, spacing_mm, centre_mm : Voxels, their size and the middle of the box.
        finer : The tissue is read at this many points per voxel along each axis and their signals
            are averaged: partial volume.
        draw : Number of the noise: the same number, the same noise.
        """
        self._generator.manual_seed(self._noise_seed + draw)
        box = Box(shape, spacing_mm, centre_mm, self.view_mm)
        target = self._read(self.knee.classes, shape, spacing_mm, centre_mm)
        many = (shape[0] * finer[0], shape[1] * finer[1], shape[2] * finer[2])
        points = [mm / n for mm, n in zip(spacing_mm, finer, strict=True)]
        read = self._read(self.knee.content, many, (points[0], points[1], points[2]), centre_mm)
        truth = self._recast(read) if self.knee.is_real else self._coloured(read, points)
        truth = avg_pool3d(truth[None], finer)[0]
        image = acquire(truth, box, self.acquisition, self._generator)
        return Sample(image, target, box)

    def _read(
        self, source: Tensor, shape: Triple, spacing_mm: TripleMm, centre_mm: TripleMm
    ) -> Tensor:
        """Nearest voxels of the source at the points of a box."""
        device = source.device
        index = self.pose.source_index(
            shape, torch.tensor(spacing_mm, device=device), torch.tensor(centre_mm, device=device)
        )
        i, j, k = (index[n].round().clamp(0, source.shape[n] - 1).to(torch.int64) for n in range(3))
        return torch.take(source, (i * source.shape[1] + j) * source.shape[2] + k)

    def _recast(self, signal: Tensor) -> Tensor:
        """A real signal with a little of its contrast changed."""
        low, high = self._real_range
        return (low + (high - low) * signal.float()).clamp(min=0.0)

    def _coloured(self, codes: Tensor, points_mm: list[float]) -> Tensor:
        truth = self._signal(codes.to(torch.int64), points_mm)
        truth = self._layered(truth, codes, points_mm)
        truth = self._seamed(truth, codes, points_mm)
        return self._fat_moved(truth, codes, points_mm)

    def _noise(self, shape: Triple, points_mm: list[float], grain_mm: float) -> Tensor:
        """(i, j, k) smooth noise of unit variance whose grains are about `grain_mm` wide."""
        device = self.knee.content.device
        small = [
            max(2, min(n, round(n * mm / grain_mm))) for n, mm in zip(shape, points_mm, strict=True)
        ]
        noise = torch.randn((1, 1, *small), generator=self._generator, device=device)
        return interpolate(noise, size=shape, mode="trilinear", align_corners=True)[0, 0] * 1.5

    def _signal(self, codes: Tensor, points_mm: list[float]) -> Tensor:
        shape = (codes.shape[0], codes.shape[1], codes.shape[2])
        grain = self._noise(shape, points_mm, self._grain_mm)
        broad = self._noise(shape, points_mm, 12.0)
        return torch.take(self._mean, codes) + torch.take(self._texture, codes) * (
            0.8 * grain + 0.6 * broad
        )

    def _layered(self, truth: Tensor, codes: Tensor, points_mm: list[float]) -> Tensor:
        """Cartilage brighter or darker at its surface than at the bone."""
        if abs(self.contrast.layering) < 0.1:
            return truth
        cartilage = _is_cartilage(codes)
        if not bool(cartilage.any()):
            return truth
        bone = (
            (codes >= int(Substance.CORTEX_FEMUR)) & (codes <= int(Substance.MARROW_PATELLA))
        ).float()
        near = _box_mean(bone, [max(1, round(0.8 / mm)) for mm in points_mm])
        change = 1.0 + self.contrast.layering * (0.25 - near) * 2.0
        return torch.where(cartilage, truth * change, truth)

    def _seamed(self, truth: Tensor, codes: Tensor, points_mm: list[float]) -> Tensor:
        """A line, here and there, where two cartilages touch."""
        if self.seam is None:
            return truth
        shape = (codes.shape[0], codes.shape[1], codes.shape[2])
        share = torch.zeros_like(truth)
        for axis, mm in enumerate(points_mm):
            # each cartilage gives half of the width, from the points that face the other one
            facing = _facing(codes, axis) * min(1.0, 0.5 * self.seam.width_mm / mm)
            share = torch.maximum(share, facing)
        patchy = (0.7 + 0.5 * self._noise(shape, points_mm, _SEAM_PATCH_MM)).clamp(0.0, 1.0)
        return truth + share * patchy * (self.seam.signal - truth)

    def _fat_moved(self, truth: Tensor, codes: Tensor, points_mm: list[float]) -> Tensor:
        shift = self.acquisition.fat_shift_mm
        if not any(shift):
            return truth
        fat = torch.zeros_like(codes, dtype=torch.bool)
        for code in _FATS:
            fat |= codes == int(code)
        for code in (Substance.MARROW_FEMUR, Substance.MARROW_TIBIA, Substance.MARROW_PATELLA):
            fat |= codes == int(code)
        steps = [round(mm / point) for mm, point in zip(shift, points_mm, strict=True)]
        water = torch.where(fat, torch.zeros_like(truth), truth)
        moved = torch.where(fat, truth, torch.zeros_like(truth))
        return water + torch.roll(moved, steps, dims=(0, 1, 2))

    def joint_point(
        self,
        coarse: Sample,
        rng: np.random.Generator,
        anywhere: float = 0.15,
    ) -> TripleMm:
        """A place to look at closely: near cartilage, or with probability `anywhere` any bone."""
        wanted = BONE_CLASSES if rng.uniform() < anywhere else CARTILAGE_CLASSES
        value = int(rng.choice(wanted))
        places = torch.nonzero(coarse.target == value)
        if len(places) == 0:
            places = torch.nonzero((coarse.target > 0) & (coarse.target != IGNORED_CLASS))
        if len(places) == 0:
            return coarse.box.centre_mm
        chosen = places[int(rng.integers(len(places)))].cpu().numpy()
        shape, spacing = np.array(coarse.box.shape), np.array(coarse.box.spacing_mm)
        point = (chosen - (shape - 1) / 2.0) * spacing + np.array(coarse.box.centre_mm)
        point = point + rng.uniform(-8, 8, 3)
        return float(point[0]), float(point[1]), float(point[2])


def _facing(codes: Tensor, axis: int) -> Tensor:
    """1 at points of a cartilage whose neighbour along an axis is another one, else 0."""
    facing = torch.zeros_like(codes, dtype=torch.float32)
    n = codes.shape[axis] - 1
    one, other = codes.narrow(axis, 0, n), codes.narrow(axis, 1, n)
    meet = ((one != other) & _is_cartilage(one) & _is_cartilage(other)).float()
    facing.narrow(axis, 0, n).copy_(meet)
    after = facing.narrow(axis, 1, n)
    after.copy_(torch.maximum(after, meet))
    return facing


def _is_cartilage(codes: Tensor) -> Tensor:
    found = torch.zeros_like(codes, dtype=torch.bool)
    for code in _CARTILAGES:
        found |= codes == int(code)
    return found


def _box_mean(volume: Tensor, steps: list[int]) -> Tensor:
    """Mean over the voxels of the view within so many steps along each axis, axis by axis."""
    for axis, reach in enumerate(steps):
        size = volume.shape[axis]
        places = torch.arange(size, device=volume.device)
        after, before = (places + reach + 1).clamp(max=size), (places - reach).clamp(min=0)
        sums = torch.cat([torch.zeros_like(volume.narrow(axis, 0, 1)), volume.cumsum(axis)], axis)
        width = [-1 if n == axis else 1 for n in range(3)]
        total = sums.index_select(axis, after) - sums.index_select(axis, before)
        volume = total / (after - before).reshape(width)
    return volume
