"""A small z-buffer: triangles in, the face and the place on it that each pixel sees out.

Orthographic, vectorised over triangles; drawing 200 000 triangles as polygons takes matplotlib
several seconds, this takes a fraction of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 4_000_000  # fragments held at once, about 100 MB
_EDGE = -1e-6  # a pixel centre on a shared edge belongs to both triangles, never to none


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the pixels of a picture see.

    Attributes
    ----------
    rows, columns : (N,) pixels that see the mesh; row 0 is the bottom.
    faces : (N, 3) vertex numbers of the face seen there.
    weights : (N, 3) float32 barycentric weights of the three vertices, sum 1; single precision
        is ample for a colour and halves the time.
    shape : (rows, columns) of the picture.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    faces: NDArray[np.int64]
    weights: NDArray[np.float32]
    shape: tuple[int, int]

    def interpolate(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """(N,) or (N, C) vertex values, interpolated linearly on the face; NaN vertices left out.

        NaN only where every vertex of the face is NaN.
        """
        single = values.astype(np.float32)
        known = np.isfinite(single).astype(np.float32)
        filled = np.nan_to_num(single)
        shape = (len(self.rows),) + (1,) * (values.ndim - 1)
        total = np.zeros((len(self.rows), *values.shape[1:]), dtype=np.float32)
        blend = np.zeros_like(total)
        for n in range(3):
            vertex = self.faces[:, n]
            weight = self.weights[:, n].reshape(shape)
            total += weight * known[vertex]
            blend += weight * filled[vertex]
        with np.errstate(invalid="ignore", divide="ignore"):
            result: NDArray[np.float32] = np.where(total > 0, blend / total, np.float32(np.nan))
        return result

    def nearest(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """(N,) value of the vertex with the largest weight, for codes that cannot be mixed."""
        which = np.argmax(self.weights, axis=1)
        result: NDArray[np.generic] = values[self.faces[np.arange(len(which)), which]]
        return result


def see(points_px: NDArray[np.float64], faces: NDArray[np.int64], shape: tuple[int, int]) -> Seen:
    """The nearest front face at every pixel centre.

    Parameters
    ----------
    points_px : (V, 3) right-handed picture coordinates in pixels: x right, y up, z to the viewer;
        pixel (row, column) has its centre at x = column, y = row.
    faces : (F, 3) counter-clockwise seen from outside; faces turned away are not drawn.
    shape : (rows, columns) of the picture.
    """
    x, y, z = (np.ascontiguousarray(points_px[:, n]) for n in range(3))
    a, b, c = (np.ascontiguousarray(faces[:, n]) for n in range(3))
    twice_area = (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])
    front = np.flatnonzero(twice_area > 1e-9)
    a, b, c = a[front], b[front], c[front]
    low_x, width = _pixel_span(x[a], x[b], x[c], shape[1])
    low_y, height = _pixel_span(y[a], y[b], y[c], shape[0])
    kept = np.flatnonzero((width > 0) & (height > 0))
    a, b, c = a[kept], b[kept], c[kept]
    candidates = _Candidates(
        corner=np.stack([x[a], y[a], z[a]]),
        edge_b=np.stack([x[b] - x[a], y[b] - y[a], z[b] - z[a]]),
        edge_c=np.stack([x[c] - x[a], y[c] - y[a], z[c] - z[a]]),
        low=np.stack([low_x[kept], low_y[kept]]),
        size=np.stack([width[kept], height[kept]]),
    )
    pixel, depth, face, weight_b, weight_c = _fragments(candidates, shape[1])
    # Written far to near: of several values for one pixel numpy keeps the last.
    order = np.argsort(depth, kind="stable")
    owner = np.full(shape[0] * shape[1], -1, dtype=np.int64)
    owner[pixel[order]] = order
    hit = np.flatnonzero(owner >= 0)
    best = owner[hit]
    weights = np.stack([1.0 - weight_b[best] - weight_c[best], weight_b[best], weight_c[best]], 1)
    weights = weights.astype(np.float32)
    return Seen(hit // shape[1], hit % shape[1], faces[front[kept[face[best]]]], weights, shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Front faces whose bounding box holds at least one pixel centre, one per column.

    Attributes
    ----------
    corner : (3, n) first vertex, pixels.
    edge_b, edge_c : (3, n) from there to the second and third vertex.
    low, size : (2, n) first pixel, and number of pixels, of the box in x and y.
    """

    corner: NDArray[np.float64]
    edge_b: NDArray[np.float64]
    edge_c: NDArray[np.float64]
    low: NDArray[np.int64]
    size: NDArray[np.int64]


def _pixel_span(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel and number of pixels between three coordinates, inside 0 … limit - 1."""
    low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c)), 0).astype(np.int64)
    high = np.minimum(np.floor(np.maximum(np.maximum(a, b), c)), limit - 1).astype(np.int64)
    return low, high - low + 1


def _fragments(candidates: _Candidates, columns: int) -> tuple[NDArray[Any], ...]:
    """Pixel, depth, face and weights of every pixel centre inside a face.

    Faces with bounding boxes of one size are handled together, as one array.
    """
    key = candidates.size[0] * (1 << 20) + candidates.size[1]
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    parts = []
    for group in np.split(order, starts[1:]):
        if len(group) == 0:
            continue
        step = max(1, _CHUNK // int(np.prod(candidates.size[:, group[0]])))
        for begin in range(0, len(group), step):
            parts.append(_inside(candidates, group[begin : begin + step], columns))
    if not parts:
        empty = np.zeros(0)
        return empty.astype(np.int64), empty, empty.astype(np.int64), empty, empty
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _inside(
    candidates: _Candidates, group: NDArray[np.int64], columns: int
) -> tuple[NDArray[Any], ...]:
    """Pixel centres inside the faces of a group, whose bounding boxes have one size."""
    width, height = (int(n) for n in candidates.size[:, group[0]])
    dx, dy = (d.ravel() for d in np.meshgrid(np.arange(width), np.arange(height)))
    low = candidates.low[:, group, None]
    corner, b, c = (
        values[:, group, None]
        for values in (candidates.corner, candidates.edge_b, candidates.edge_c)
    )
    column, row = low[0] + dx, low[1] + dy  # (faces, box pixels)
    area = b[0] * c[1] - b[1] * c[0]
    x, y = column - corner[0], row - corner[1]
    weight_b = (x * c[1] - y * c[0]) / area
    weight_c = (b[0] * y - b[1] * x) / area
    inside = (weight_b >= _EDGE) & (weight_c >= _EDGE) & (weight_b + weight_c <= 1 - _EDGE)
    depth = corner[2] + weight_b * b[2] + weight_c * c[2]
    face = np.broadcast_to(group[:, None], inside.shape)
    pixel = row * columns + column
    return pixel[inside], depth[inside], face[inside], weight_b[inside], weight_c[inside]
