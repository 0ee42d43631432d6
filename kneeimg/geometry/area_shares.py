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

from kneeimg.geometry.meshes import triangle_areas

FloatArray = NDArray[np.float64]
Faces = NDArray[np.int64]

#: Rounds of the search for a level; two or three settle it.
_ROUNDS = 40
#: The search ends this near to the share that is asked for, in shares of the whole.
_NEAR_ENOUGH = 1e-9


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
        cut = _crossed(under, self.faces)
        share = under.astype(np.float64)
        if not len(cut):
            return share
        faces = self.faces.take(cut, axis=0)
        more = 3.0 * hats_below(level.take(faces)) - under.take(faces)
        more *= self.face_mm2.take(cut)[:, None]
        corner = faces.ravel()
        added = np.bincount(corner, more.ravel(), minlength=len(share))
        at = np.unique(corner)
        share[at] += added[at] / np.maximum(self.around_mm2[at], 1e-12)
        return np.clip(share, 0.0, 1.0)

    def level_with_share(self, level: FloatArray, weight: FloatArray, share: float) -> float:
        """The value of a level below which a given share of a weight lies.

        Parameters
        ----------
        level : (V,) values at the vertices.
        weight : (V,) what is to be shared, spread over each vertex's area; 0 elsewhere.
        share : 0 to 1.

        Notes
        -----
        Between the bounds that whole vertices give, by false position: the weight below a level
        grows steadily with it.
        """
        low, high = _bounds(level, self.faces, weight, share)
        goal = share * float(weight.sum())
        some, fixed = self._between(level, weight, low, high)

        def excess(value: float) -> float:
            return fixed + float(some.weight @ some.shares.below(some.level - value)) - goal

        return _root(excess, low, high, _NEAR_ENOUGH * max(float(weight.sum()), 1e-12))

    def _between(
        self, level: FloatArray, weight: FloatArray, low: float, high: float
    ) -> tuple[_Some, float]:
        """The triangles that borders between two levels may cross, and the weight below all."""
        touched = np.zeros(len(level), dtype=bool)
        within = (level >= low) & (level <= high)
        above, below = level > high, level < low
        inside = within[self.faces].any(axis=1)
        inside |= above[self.faces].any(axis=1) & below[self.faces].any(axis=1)
        faces = self.faces[inside]
        touched[faces] = True
        used = np.flatnonzero(touched)
        number = np.cumsum(touched) - 1
        own = AreaShares(number[faces], self.face_mm2[inside], self.around_mm2[used])
        # triangles left out lie on one side as a whole, so `below` of these vertices is complete
        return _Some(own, level[used], weight[used]), float(weight[below & ~touched].sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Some:
    """A part of a surface with its levels and weights."""

    shares: AreaShares
    level: FloatArray
    weight: FloatArray


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


def _crossed(under: NDArray[np.bool_], faces: Faces) -> NDArray[np.int64]:
    """Numbers of the triangles with corners on both sides."""
    a, b, c = (under.take(corner) for corner in faces.T)
    return np.flatnonzero((a != b) | (b != c))


def _bounds(
    level: FloatArray, faces: Faces, weight: FloatArray, share: float
) -> tuple[float, float]:
    """Levels with surely less and surely no less than a share of the weight below them."""
    own = np.flatnonzero(weight > 0)
    order = own[np.argsort(level[own], kind="stable")]
    running = np.cumsum(weight[order])
    place = min(int(np.searchsorted(running, share * running[-1])), len(order) - 1)
    whole = float(level[order[place]])
    corners = level[faces[(weight > 0)[faces].any(axis=1)]]
    reach = float(np.ptp(corners, axis=1).max(initial=0.0)) if len(corners) else 0.0
    reach += 1e-9 + 1e-9 * abs(whole)
    return whole - reach, whole + reach


def _root(excess: Callable[[float], float], low: float, high: float, enough: float) -> float:
    """Where a function that grows from `low` to `high` is 0, by false position (Illinois)."""
    at_low, at_high = excess(low), excess(high)
    middle, side = 0.5 * (low + high), 0
    for _ in range(_ROUNDS):
        if at_high - at_low <= 0:
            break
        middle = low - at_low * (high - low) / (at_high - at_low)
        value = excess(middle)
        if abs(value) <= enough:
            break
        if value < 0:
            low, at_low = middle, value
            at_high *= 0.5 if side < 0 else 1.0  # an end that stays twice loses weight
        else:
            high, at_high = middle, value
            at_low *= 0.5 if side > 0 else 1.0
        side = -1 if value < 0 else 1
    return middle
