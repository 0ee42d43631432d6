"""One bone from one direction, shaded, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import Bone
from kneeimg.core.surface import Surface
from kneeimg.geometry.meshes import vertex_normals
from kneeimg.report import palette
from kneeimg.report.figures.canvas import Plane
from kneeimg.report.figures.paint import OVERSAMPLING, Colours, Painter, inside_plates, rgb
from kneeimg.report.figures.render import Seen, see

_MARGIN_MM = 7.0
_LIGHT = np.array([-0.30, 0.38, 0.87], dtype=np.float32)  # from the upper left, picture coordinates
_AMBIENT = 0.62  # colour is data: shading only hints at the form

#: Patient directions as LPS unit vectors.
_DIRECTIONS: Mapping[str, tuple[int, int, int]] = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}


@dataclass(frozen=True, slots=True)
class View:
    """A bone seen from one direction; the viewer stands on the side of right × up."""

    bone: Bone
    name: str
    plane: Plane

    def axes(self) -> NDArray[np.float64]:
        """(3, 3) rows: patient directions to the right, up and toward the viewer."""
        right = np.array(_DIRECTIONS[self.plane.right], dtype=np.float64)
        up = np.array(_DIRECTIONS[self.plane.up], dtype=np.float64)
        return np.stack([right, up, np.cross(right, up)])


VIEWS: tuple[View, ...] = (
    View(Bone.FEMUR, "Femur from the front", Plane("L", "S")),
    View(Bone.FEMUR, "Femur from below", Plane("L", "A")),
    View(Bone.FEMUR, "Femur from behind", Plane("R", "S")),
    View(Bone.TIBIA, "Tibia from above", Plane("R", "A")),
    View(Bone.PATELLA, "Patella from behind", Plane("R", "S")),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """Half width and half height of every view in mm: one scale for all."""

    half_width_mm: float
    half_height_mm: float


def centre_and_size(
    surface: Surface, view: View
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle and size (right, up) of the joint surface in a view, mm."""
    inside = inside_plates(surface)
    points = surface.vertices[inside] if inside.any() else surface.vertices
    points = view.axes()[:2] @ points.T
    low, high = points.min(axis=1), points.max(axis=1)
    return (low + high) / 2, high - low


def common_frame(surfaces: Mapping[Bone, Surface], aspect: float) -> Frame:
    """The frame in which every view of these bones fits; `aspect` is width over height."""
    sizes = [
        centre_and_size(surfaces[view.bone], view)[1] for view in VIEWS if view.bone in surfaces
    ]
    width, height = np.max(sizes, axis=0) + 2 * _MARGIN_MM if sizes else (100.0, 80.0)
    width = max(width, height * aspect)
    return Frame(float(width / 2), float(width / aspect / 2))


def with_normals(surface: Surface) -> Surface:
    """The surface with the field `normals`, once for all its views."""
    if "normals" in surface.fields:
        return surface
    return surface.with_fields(normals=vertex_normals(surface.vertices, surface.faces))


def render_view(
    surface: Surface,
    view: View,
    centre_mm: NDArray[np.float64],
    frame: Frame,
    shape: tuple[int, int],
    paint: Painter,
) -> Colours:
    """(rows, columns, 3) picture, row 0 at the bottom, of a bone on white paper."""
    rows, columns = shape[0] * OVERSAMPLING, shape[1] * OVERSAMPLING
    per_mm = columns / (2 * frame.half_width_mm)
    axes = view.axes()
    points = surface.vertices @ axes.T
    points[:, :2] = (points[:, :2] - centre_mm) * per_mm
    points[:, 2] *= per_mm
    points[:, :2] += (columns / 2 - 0.5, rows / 2 - 0.5)
    seen = see(points, surface.faces, (rows, columns))
    colour = paint(surface, seen)
    normals = seen.interpolate(with_normals(surface).fields["normals"]) @ axes.T.astype(np.float32)
    colour = colour * _shade(normals)[:, None]
    picture = np.ones((rows, columns, 3), dtype=np.float32)
    picture[seen.rows, seen.columns] = colour
    _draw_outlines(picture, surface, seen)
    return _shrink(picture)


def _shrink(picture: Colours) -> Colours:
    """Mean over squares of `OVERSAMPLING` pixels: smooth edges."""
    n = OVERSAMPLING
    parts = [picture[row::n, column::n] for row in range(n) for column in range(n)]
    return np.asarray(sum(parts[1:], parts[0]) / n**2, dtype=np.float32)


def _shade(normals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lambert's law on top of a strong ambient part."""
    length = np.linalg.norm(normals, axis=1)
    cosine = (normals @ _LIGHT) / np.where(length > 0, length, 1.0) / np.linalg.norm(_LIGHT)
    return np.asarray(_AMBIENT + (1 - _AMBIENT) * np.clip(cosine, 0.0, 1.0), dtype=np.float32)


def _draw_outlines(picture: Colours, surface: Surface, seen: Seen) -> None:
    """Thin dark lines where two plates, or a plate and plain bone, meet."""
    if "plate" not in surface.fields:
        return
    code = np.full(seen.shape, -1, dtype=np.int64)
    code[seen.rows, seen.columns] = seen.nearest(surface.fields["plate"])
    line = np.zeros(seen.shape, dtype=bool)
    for axis in (0, 1):
        first = code.take(range(seen.shape[axis] - 1), axis)
        second = code.take(range(1, seen.shape[axis]), axis)
        differ = (first != second) & (first >= 0) & (second >= 0)
        pad = ((0, 1), (0, 0)) if axis == 0 else ((0, 0), (0, 1))
        line |= np.pad(differ, pad)
    picture[line] = 0.25 * picture[line] + 0.75 * rgb(palette.PLATE_LINE)
