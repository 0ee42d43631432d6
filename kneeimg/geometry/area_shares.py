"""How a border divides the area of a surface, vertex by vertex, where it cuts through triangles.

A vertex that belongs to one region as a whole makes every border jump by rows of vertices: those of
one slice of voxels fall to one side at once. Here a border is the zero of a level that is linear in
every triangle; triangles that it crosses are cut, and the area on either side is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kneeimg.geometry.meshes import mixed_faces, touching_numbers, triangle_areas

FloatArray = NDArray[np.float64]
Faces = NDArray[np.int64]

#: Most rounds of the search for a level; ten settle it.
_ROUNDS = 60
#: The search ends this near to the share that is asked for.
_NEAR_ENOUGH = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class AreaShares:
    """Triangles, ready to be divided by borders.

    A vertex owns of every triangle around it the area weighted with its hat function (1 at the
    vertex, 0 at the two others), a third in all. Sums over vertices of values × share are then the
    integrals over one side of the border of what is linear in every triangle.

    Attributes
    ----------
    faces : (F, 3) vertex numbers.
    face_mm2 : (F,) area of the triangles.
    around_mm2 : (V,) area of all triangles around each vertex.
    """

    faces: Faces
    face_mm2: FloatArray
    around_mm2: FloatArray

    @classmethod
    def of(cls, vertices_mm: FloatArray, faces: Faces) -> AreaShares:
        """From vertices (V, 3) and triangles (F, 3)."""
        face_mm2 = triangle_areas(vertices_mm, faces)
        around = np.zeros(len(vertices_mm))
        for corner in faces.T:
            around += np.bincount(corner, face_mm2, minlength=len(around))
        return cls(faces, face_mm2, around)

    def below(self, level: FloatArray) -> FloatArray:
        """(V,) share of each vertex's area where a level is negative, 0 to 1.

        Parameters
        ----------
        level : (V,) values at the vertices, of any unit; linear in between. The share on the
            other side is 1 less this one.

        Examples
        --------
        A square of two triangles, cut in the middle:

        >>> vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
        >>> shares = AreaShares.of(vertices, np.array([[0, 1, 2], [1, 3, 2]]))
        >>> left = shares.below(vertices[:, 0] - 0.5)
        >>> float((left * shares.around_mm2 / 3).sum())
        0.5
        """
        under = level < 0
        cut = mixed_faces(self.faces, under)
        share = under.astype(np.float64)
        if not len(cut):
            return share
        faces = self.faces.take(cut, axis=0)
        more = 3.0 * hats_below(level.take(faces)) - under.take(faces)
        more *= self.face_mm2.take(cut)[:, None]
        added = np.bincount(faces.ravel(), more.ravel(), minlength=len(share))
        share += added / np.maximum(self.around_mm2, 1e-12)
        return np.clip(share, 0.0, 1.0)

    def levels_with_shares(
        self, level: FloatArray, weight: FloatArray, shares: tuple[float, ...]
    ) -> tuple[float, ...]:
        """The values of a level below which given shares of a weight lie.

        Parameters
        ----------
        level : (V,) values at the vertices.
        weight : (V,) what is to be shared, spread over the area of each vertex; 0 elsewhere.
        shares : Each 0 to 1.

        Notes
        -----
        By false position: the weight below a level grows steadily with it, because `below` does.
        """
        corner_weight = (weight / np.maximum(self.around_mm2, 1e-12)).take(self.faces)
        corner_weight *= self.face_mm2[:, None]
        used = np.flatnonzero(corner_weight.any(axis=1))
        corner_weight = corner_weight.take(used, axis=0)
        corners = level.take(self.faces.take(used, axis=0))
        low, high, of_face = corners.min(axis=1), corners.max(axis=1), corner_weight.sum(axis=1)
        whole = float(of_face.sum())
        if whole <= 0:
            return (float("nan"),) * len(shares)

        def share_below(value: float) -> float:
            cut = np.flatnonzero((low < value) & (high > value))
            hats = hats_below(corners.take(cut, axis=0) - value)
            part = 3.0 * float(np.vdot(corner_weight.take(cut, axis=0), hats))
            return (float(of_face @ (high <= value)) + part) / whole

        ends = float(low.min()), float(high.max())
        return tuple(_place(share_below, share, *ends) for share in shares)

    def around(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], AreaShares]:
        """Numbers of some vertices and their neighbours, and the triangles around the former."""
        number, faces, which = faces_around(self.faces, chosen)
        return number, AreaShares(faces, self.face_mm2[which], self.around_mm2[number])


def faces_around(
    faces: Faces, chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Faces, NDArray[np.int64]]:
    """Triangles around some vertices.

    Returns
    -------
    number : (n,) the vertices of these triangles.
    faces : (m, 3) the triangles, in places of `number`.
    which : (m,) their numbers.
    """
    which = touching_numbers(faces, chosen)
    corners = [corner.take(which) for corner in faces.T]
    used = chosen.copy()
    for corner in corners:
        used[corner] = True
    place = np.cumsum(used) - 1
    return np.flatnonzero(used), np.stack([place.take(c) for c in corners]).T, which


def hats_below(level: FloatArray) -> FloatArray:
    """(N, 3) integrals of the hat functions of triangles of area 1 over where a level is negative.

    Parameters
    ----------
    level : (N, 3) values at the corners.

    Notes
    -----
    A border cuts off one corner a at the parts s and t of its sides ab and ac. The hats are linear,
    so over this corner of area s t they integrate to s t times their mean at its three points.

    Examples
    --------
    >>> hats_below(np.array([[-1.0, 1.0, 1.0]])).sum()
    np.float64(0.25)
    """
    under = level < 0
    count = under.sum(axis=1)
    lone = np.where(count == 1, under.argmax(axis=1), (~under).argmax(axis=1))
    rows = np.arange(len(level))
    order = (lone[:, None] + np.arange(3)) % 3
    a, b, c = (level[rows, order[:, n]] for n in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        s, t = a / (a - b), a / (a - c)
    area = s * t
    corner = np.empty_like(level)
    corner[rows, order[:, 0]] = area * (3.0 - s - t) / 3.0
    corner[rows, order[:, 1]] = area * s / 3.0
    corner[rows, order[:, 2]] = area * t / 3.0
    third = 1.0 / 3.0
    whole = (count == 1)[:, None]
    hats: FloatArray = np.where(whole, corner, third - corner)
    hats[count == 3] = third
    hats[count == 0] = 0.0
    return hats


def _place(growing: Callable[[float], float], goal: float, low: float, high: float) -> float:
    """Where a function that grows from `low` to `high` reaches a value, by false position.

    The Illinois variant: an end that stays twice loses weight.
    """
    at_low, at_high = growing(low) - goal, growing(high) - goal
    middle, side = 0.5 * (low + high), 0
    for _ in range(_ROUNDS):
        if at_high - at_low <= 0:
            break
        middle = low - at_low * (high - low) / (at_high - at_low)
        value = growing(middle) - goal
        if abs(value) <= _NEAR_ENOUGH:
            break
        if value < 0:
            low, at_low = middle, value
            at_high *= 0.5 if side < 0 else 1.0
        else:
            high, at_high = middle, value
            at_low *= 0.5 if side > 0 else 1.0
        side = -1 if value < 0 else 1
    return middle
