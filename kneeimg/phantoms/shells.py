"""Bone and cartilage solids whose thickness, volume and areas are known in closed form.

Each solid lies in its own coordinates, axis along +z, and is placed by a rigid pose. Bone and
cartilage are written as femur and femoral cartilage unless told otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.surface import RigidTransform
from kneeimg.phantoms.canvas import Canvas
from kneeimg.phantoms.partial_volume import Raster, bone_and_cartilage

FloatArray = NDArray[np.float64]


def centred() -> RigidTransform:
    """The pose of a solid at the origin with its axis along +z."""
    return RigidTransform(np.eye(3), np.zeros(3))


@dataclass(frozen=True)
class Solid(ABC):
    """A bone with a sheet of cartilage on it.

    Attributes
    ----------
    thickness_mm : Thickness along the bone normal (of a wedge: in its middle).
    bone : Which bone and cartilage labels to write.
    pose : From the solid's own coordinates to the scanner's frame.
    """

    thickness_mm: float
    bone: Bone = field(default=Bone.FEMUR, kw_only=True)
    pose: RigidTransform = field(default_factory=centred, kw_only=True)

    @abstractmethod
    def bone_level(self, points: FloatArray) -> FloatArray:
        """(N,) own coordinates: negative inside bone."""

    @abstractmethod
    def sheet_levels(self, points: FloatArray) -> FloatArray:
        """(3, N) own coordinates: bone surface below the sheet, articular surface, border."""

    @property
    @abstractmethod
    def reach_mm(self) -> float:
        """Radius of a ball about the origin that holds the solid."""

    @property
    @abstractmethod
    def tab_mm2(self) -> float:
        """Bone area covered by the sheet."""

    @property
    @abstractmethod
    def ac_mm2(self) -> float:
        """Area of the articular surface."""

    @property
    @abstractmethod
    def vc_mm3(self) -> float:
        """Volume of the sheet."""

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box around the solid, own coordinates."""
        return np.array([[-self.reach_mm] * 3, [self.reach_mm] * 3])

    @property
    def greatest_mm(self) -> float:
        """Greatest thickness anywhere."""
        return self.thickness_mm

    def truth(self) -> dict[str, float]:
        """Exact quantities by name, mm, mm², mm³.

        The mean over bone and the mean over the articular surface are both `thickness_mm`, also
        for the wedge, whose thickness varies symmetrically about its middle.
        """
        return {
            "VC": self.vc_mm3,
            "tAB": self.tab_mm2,
            "cAB": self.tab_mm2,
            "dAB": 0.0,
            "AC": self.ac_mm2,
            "ThCtAB_aMe": self.thickness_mm,
            "ThCcAB_aMe": self.thickness_mm,
        }

    def label_map(self, grid: Grid, *, hard: bool = False) -> LabelMap:
        """The solid on a voxel grid, as exact voxel fractions or as whole voxels."""
        raster = Raster(self.pose.inverse().matrix @ grid.affine, grid.shape)
        canvas = Canvas(grid)
        part = bone_and_cartilage(raster, self, hard=hard)
        canvas.draw(part, self.bone.tissue, self.bone.cartilage)
        return canvas.label_map(hard=hard)


@dataclass(frozen=True)
class SphericalShell(Solid):
    """A ball of bone all covered by cartilage.

    Examples
    --------
    >>> round(SphericalShell(2.0, radius_mm=20.0).truth()["tAB"], 3)
    5026.548
    """

    radius_mm: float = 20.0

    def bone_level(self, points: FloatArray) -> FloatArray:
        """Signed distance to the ball."""
        result: FloatArray = np.linalg.norm(points, axis=1) - self.radius_mm
        return result

    def sheet_levels(self, points: FloatArray) -> FloatArray:
        """Concentric spheres without a border."""
        distance = self.bone_level(points)
        return np.stack([distance, distance - self.thickness_mm, np.full(len(points), -1e3)])

    @property
    def reach_mm(self) -> float:
        """Outer radius."""
        return self.radius_mm + self.thickness_mm

    @property
    def tab_mm2(self) -> float:
        """4 π r²."""
        return 4.0 * np.pi * self.radius_mm**2

    @property
    def ac_mm2(self) -> float:
        """4 π (r + t)²."""
        return 4.0 * np.pi * self.reach_mm**2

    @property
    def vc_mm3(self) -> float:
        """4/3 π ((r + t)³ - r³)."""
        return 4.0 / 3.0 * np.pi * (self.reach_mm**3 - self.radius_mm**3)


@dataclass(frozen=True)
class CylinderShell(Solid):
    """A rod of bone along z with a sleeve of cartilage that ends before the bone does."""

    radius_mm: float = 20.0
    sleeve_mm: float = 30.0
    bone_mm: float = 40.0

    def _from_wall(self, points: FloatArray) -> FloatArray:
        result: FloatArray = np.hypot(points[:, 0], points[:, 1]) - self.radius_mm
        return result

    def bone_level(self, points: FloatArray) -> FloatArray:
        """A rod with flat ends."""
        result: FloatArray = np.maximum(
            self._from_wall(points), np.abs(points[:, 2]) - self.bone_mm / 2.0
        )
        return result

    def sheet_levels(self, points: FloatArray) -> FloatArray:
        """Coaxial cylinders; the sleeve is cut at right angles."""
        distance = self._from_wall(points)
        border = np.abs(points[:, 2]) - self.sleeve_mm / 2.0
        return np.stack([distance, distance - self.thickness_mm, border])

    @property
    def reach_mm(self) -> float:
        """Distance to the farthest corner."""
        outer = self.radius_mm + self.thickness_mm
        return float(np.hypot(outer, max(self.bone_mm, self.sleeve_mm) / 2.0))

    @property
    def tab_mm2(self) -> float:
        """2 π r l."""
        return 2.0 * np.pi * self.radius_mm * self.sleeve_mm

    @property
    def ac_mm2(self) -> float:
        """2 π (r + t) l."""
        return 2.0 * np.pi * (self.radius_mm + self.thickness_mm) * self.sleeve_mm

    @property
    def vc_mm3(self) -> float:
        """π ((r + t)² - r²) l."""
        outer = self.radius_mm + self.thickness_mm
        return np.pi * (outer**2 - self.radius_mm**2) * self.sleeve_mm


@dataclass(frozen=True)
class Slab(Solid):
    """A flat round sheet on a round block of bone; tilt it by its pose."""

    sheet_radius_mm: float = 15.0
    bone_radius_mm: float = 20.0
    bone_depth_mm: float = 10.0

    def _local_mm(self, points: FloatArray) -> FloatArray:
        """Thickness above each point of the bone."""
        return np.full(len(points), self.thickness_mm)

    def bone_level(self, points: FloatArray) -> FloatArray:
        """A round block below z = 0."""
        across, height = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
        walls = across - self.bone_radius_mm
        result: FloatArray = np.maximum.reduce([height, walls, -height - self.bone_depth_mm])
        return result

    def sheet_levels(self, points: FloatArray) -> FloatArray:
        """Cartilage above z = 0."""
        across, height = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
        articular = height - self._local_mm(points)
        return np.stack([height, articular, across - self.sheet_radius_mm])

    @property
    def reach_mm(self) -> float:
        """Distance to the farthest corner."""
        top = float(np.hypot(self.sheet_radius_mm, self.greatest_mm))
        return max(float(np.hypot(self.bone_radius_mm, self.bone_depth_mm)), top)

    @property
    def tab_mm2(self) -> float:
        """π r²."""
        return np.pi * self.sheet_radius_mm**2

    @property
    def ac_mm2(self) -> float:
        """Same as the bone below."""
        return self.tab_mm2

    @property
    def vc_mm3(self) -> float:
        """π r² t."""
        return self.tab_mm2 * self.thickness_mm


@dataclass(frozen=True)
class Wedge(Slab):
    """A slab whose thickness grows along +x by `slope` mm per mm; `thickness_mm` in the middle."""

    slope: float = 0.05

    def __post_init__(self) -> None:
        if self.thickness_mm <= abs(self.slope) * self.sheet_radius_mm:
            raise ValueError(
                f"a slope of {self.slope} takes {self.thickness_mm} mm to zero within "
                f"{self.sheet_radius_mm} mm"
            )

    def _local_mm(self, points: FloatArray) -> FloatArray:
        return self.thickness_mm + self.slope * points[:, 0]

    @property
    def greatest_mm(self) -> float:
        """Thickness at the thick end."""
        return self.thickness_mm + abs(self.slope) * self.sheet_radius_mm

    @property
    def ac_mm2(self) -> float:
        """π r² seen on the slope."""
        return self.tab_mm2 * float(np.sqrt(1.0 + self.slope**2))
