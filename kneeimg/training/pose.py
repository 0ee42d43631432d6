"""Where a knee lies in a synthetic scan: turned, scaled, bent, each bone moved on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate

from kneeimg.settings.training import PoseSettings

#: Classes of the three bones with their cartilage and, for the tibia, the menisci.
_MOVING = ((1, 2), (3, 4, 7, 8), (5, 6))


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A smooth map from positions in the scan to positions in the source knee.

    Positions are mm from the centre of the scan and of the source, along i, j, k.

    Attributes
    ----------
    matrix : (3, 3) turns and scales a position in the scan.
    shift_mm : (3,) centre of the scan in the source.
    field : (3, a, b, c) further displacement in mm, on a lattice over the source.
    source_shape, source_spacing_mm : The source grid.
    """

    matrix: Tensor
    shift_mm: Tensor
    field: Tensor
    source_shape: tuple[int, int, int]
    source_spacing_mm: Tensor

    def source_index(
        self,
        shape: tuple[int, int, int],
        spacing_mm: Tensor,
        centre_mm: Tensor,
    ) -> Tensor:
        """(3, i, j, k) fractional index in the source of each voxel of a box in the scan.

        Parameters
        ----------
        shape, spacing_mm : Voxels of the box.
        centre_mm : (3,) middle of the box in the scan.
        """
        device = self.matrix.device
        lines = [
            (torch.arange(n, device=device) - (n - 1) / 2.0) * spacing_mm[axis] + centre_mm[axis]
            for axis, n in enumerate(shape)
        ]
        views = [
            line.reshape([-1 if n == a else 1 for n in range(3)]) for a, line in enumerate(lines)
        ]
        half = (torch.tensor(self.source_shape, device=device) - 1) / 2.0
        rows = []
        for n in range(3):
            m = self.matrix[n]
            row = m[0] * views[0] + m[1] * views[1] + m[2] * views[2] + self.shift_mm[n]
            rows.append(row / self.source_spacing_mm[n] + half[n])
        index = torch.stack(rows)
        return index + self._displacement(index) / self.source_spacing_mm.reshape(3, 1, 1, 1)

    def _displacement(self, index: Tensor) -> Tensor:
        """Displacement in mm at source indices, found on a coarser box and interpolated."""
        fewer = [max(2, n // 4) for n in index.shape[1:]]
        small = interpolate(index[None], size=fewer, mode="trilinear", align_corners=True)
        size = torch.tensor(self.source_shape, device=index.device, dtype=torch.float32)
        unit = small[0] / ((size - 1) / 2).reshape(3, 1, 1, 1) - 1.0
        moved = torch.nn.functional.grid_sample(
            self.field[None],
            unit.permute(1, 2, 3, 0).flip(-1)[None],
            padding_mode="border",
            align_corners=True,
        )
        return interpolate(moved, size=index.shape[1:], mode="trilinear", align_corners=True)[0]


def draw_pose(
    classes: Tensor,
    spacing_mm: tuple[float, float, float],
    settings: PoseSettings,
    rng: np.random.Generator,
) -> Pose:
    """A random pose of a knee whose class map is given."""
    device = classes.device
    matrix = _rotation(rng.uniform(-1, 1, 3) * settings.rotation_deg) * _scales(settings, rng)
    shift = rng.uniform(-1, 1, 3) * settings.shift_mm
    return Pose(
        matrix=torch.as_tensor(matrix, dtype=torch.float32, device=device),
        shift_mm=torch.as_tensor(shift, dtype=torch.float32, device=device),
        field=_field(classes, spacing_mm, settings, rng),
        source_shape=(classes.shape[0], classes.shape[1], classes.shape[2]),
        source_spacing_mm=torch.tensor(spacing_mm, device=device),
    )


def _scales(settings: PoseSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    """(3,) source mm per scan mm: small for a knee that appears large."""
    low, high = settings.scale
    size = rng.uniform(low, high) * (1.0 + 0.2 * (high - low) * rng.uniform(-0.5, 0.5, 3))
    scales: NDArray[np.float64] = 1.0 / size
    return scales


def _rotation(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial.transform import Rotation

    matrix: NDArray[np.float64] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return matrix


def _field(
    classes: Tensor,
    spacing_mm: tuple[float, float, float],
    settings: PoseSettings,
    rng: np.random.Generator,
) -> Tensor:
    """(3, a, b, c) displacement in mm on a lattice of about 6 mm over the source."""
    steps = [max(1, round(6.0 / mm)) for mm in spacing_mm]
    lattice = [max(2, n // step) for n, step in zip(classes.shape, steps, strict=True)]
    size_mm = [n * mm for n, mm in zip(classes.shape, spacing_mm, strict=True)]
    knots = [max(4, round(mm / settings.elastic_step_mm) + 1) for mm in size_mm]
    amount = settings.elastic_mm * rng.uniform()
    noise = torch.as_tensor(rng.standard_normal((1, 3, *knots)) * amount, dtype=torch.float32)
    elastic = interpolate(
        noise.to(classes.device), size=lattice, mode="trilinear", align_corners=True
    )[0]
    return elastic + _bone_motion(classes, steps, lattice, size_mm, settings, rng)


def _bone_motion(
    classes: Tensor,
    steps: list[int],
    lattice: list[int],
    size_mm: list[float],
    settings: PoseSettings,
    rng: np.random.Generator,
) -> Tensor:
    """(3, a, b, c) each bone's own rigid motion, blended between the bones."""
    places = torch.stack(
        torch.meshgrid(
            *[
                (torch.arange(n) / (n - 1) - 0.5) * mm
                for n, mm in zip(lattice, size_mm, strict=True)
            ],
            indexing="ij",
        )
    ).to(classes.device)
    thinned = classes[:: max(1, steps[0] // 3), :: max(1, steps[1] // 4), :: max(1, steps[2] // 4)]
    total = torch.full(lattice, 0.02, device=classes.device)
    moved = torch.zeros((3, *lattice), device=classes.device)
    for group in _MOVING:
        here = torch.zeros_like(thinned, dtype=torch.float32)
        for value in group:
            here += thinned == value
        weight = interpolate(here[None, None], size=lattice, mode="trilinear")[0, 0]
        for _ in range(2):  # soft tissue follows its bone and lets go smoothly
            weight = avg_pool3d(weight[None], 3, stride=1, padding=1)[0]
        mass = weight.sum()
        turn = torch.as_tensor(
            _rotation(rng.standard_normal(3) * settings.bone_turn_deg) - np.eye(3),
            dtype=torch.float32,
            device=classes.device,
        )
        shift = torch.as_tensor(
            rng.standard_normal(3) * settings.bone_shift_mm,
            dtype=torch.float32,
            device=classes.device,
        )
        if mass > 0:
            centre = (places * weight).sum(dim=(1, 2, 3)) / mass
            arm = places - centre.reshape(3, 1, 1, 1)
            moved += weight * (torch.einsum("xy,yabc->xabc", turn, arm) + shift.reshape(3, 1, 1, 1))
            total += weight
    return moved / total
