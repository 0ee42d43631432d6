"""Triangle meshes in millimetres and the rigid motion between frames of reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kneeimg.errors import GeometryError
from kneeimg.geometry.affines import apply_affine, from_linear


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Triangles with outward orientation and named values at their vertices.

    Attributes
    ----------
    vertices : (V, 3) float64, patient LPS+, mm.
    faces : (F, 3) int64 vertex numbers, counter-clockwise seen from outside.
    fields : Name to (V,) or (V, C) array, e.g. `thickness_mm`, `state`, `plate`.
    frame_uid : Frame of reference of the vertices; None if unknown.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    fields: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    frame_uid: str | None = None

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1:] != (3,):
            raise GeometryError(f"vertices must be (V, 3), got {self.vertices.shape}")
        if self.faces.ndim != 2 or self.faces.shape[1:] != (3,):
            raise GeometryError(f"faces must be (F, 3), got {self.faces.shape}")
        for name, values in self.fields.items():
            if len(values) != len(self.vertices):
                raise GeometryError(f"{name}: {len(values)} for {len(self.vertices)} vertices")

    def with_fields(self, **fields: NDArray[Any]) -> Surface:
        """The same mesh with these fields added or replaced."""
        return replace(self, fields={**self.fields, **fields})


@dataclass(frozen=True, slots=True, eq=False)
class RigidTransform:
    """Rotation and translation from one frame of reference to another.

    Attributes
    ----------
    rotation : (3, 3) proper rotation.
    translation_mm : (3,) mm; a point p of `from_uid` goes to rotation @ p + translation_mm.
    from_uid, to_uid : Frames of reference; None if unknown.
    """

    rotation: NDArray[np.float64]
    translation_mm: NDArray[np.float64]
    from_uid: str | None = None
    to_uid: str | None = None

    def __post_init__(self) -> None:
        gap = np.abs(self.rotation @ self.rotation.T - np.eye(3)).max()
        if gap > 1e-6 or np.linalg.det(self.rotation) < 0:
            raise GeometryError("not a proper rotation", found=str(self.rotation))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(4, 4) homogeneous matrix."""
        return from_linear(self.rotation, self.translation_mm)

    def apply(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """(..., 3) mm in `from_uid` to (..., 3) mm in `to_uid`."""
        return apply_affine(self.matrix, points_mm)

    def move(self, surface: Surface) -> Surface:
        """The surface in `to_uid`; refused if it lies in another frame than `from_uid`."""
        if surface.frame_uid != self.from_uid:
            raise GeometryError(
                "a transform moves only what lies in its own frame",
                expected=str(self.from_uid),
                found=str(surface.frame_uid),
            )
        return replace(surface, vertices=self.apply(surface.vertices), frame_uid=self.to_uid)

    def inverse(self) -> RigidTransform:
        """The motion back, `to_uid` to `from_uid`."""
        back = self.rotation.T
        return RigidTransform(back, -back @ self.translation_mm, self.to_uid, self.from_uid)
