"""Where the tABs of two visits end in different places: drawn otherwise, or lost.

Where one visit's tAB reaches beyond the other's by no more than the width of a rim, the border was
drawn otherwise. Where it reaches further anywhere, the whole patch, up to the border, was bare at
the other visit. The rule is the same in both directions, so that neither loss nor gain is favoured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kneeimg.core.anatomy import Plate
from kneeimg.core.surface import RigidTransform, Surface
from kneeimg.geometry.meshes import connected_parts
from kneeimg.longitudinal.reading import read_at
from kneeimg.settings.change import ChangeSettings
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: The border belongs to a deep part that comes this near, in widths of the rim. Opposite of a
#: straight front it lies one width away, at the corners of a bite of 10 mm² up to 1.7 widths (34
#: plates: 1.25 found 76 % of such bites to within a tenth of their area, 1.75 finds 91 %).
_BESIDE_DEEP = 1.75


@dataclass(frozen=True, slots=True, eq=False)
class Widened:
    """Bone outside the baseline's tAB that belongs to the comparison.

    Attributes
    ----------
    vertices : (n,) numbers of vertices of the baseline.
    ray_mm : (n,) the follow-up's rays there.
    plate, subregion : (n,) where the follow-up sees them.
    shares : (n, C) how much of each belongs to every cell there; None when the follow-up has none.
    """

    vertices: NDArray[np.int64]
    ray_mm: FloatArray
    plate: NDArray[np.uint8]
    subregion: NDArray[np.uint8]
    shares: NDArray[np.float32] | None = None


def deep_parts(beyond_mm: FloatArray, border_mm: FloatArray, rim_mm: float) -> Bools:
    """Which points of one visit's tAB, not held by the other's, are no matter of drawing.

    Parameters
    ----------
    beyond_mm : (n, 3) those points.
    border_mm : (m, 3) bone outside the first visit's tAB, from which depth counts.
    rim_mm : Parts nowhere deeper than this are borders drawn otherwise.

    Returns
    -------
    (n,) True deeper than `rim_mm`, and between there and the border.

    Examples
    --------
    A strip of 2 mm is none, a bite of 4 mm is one up to the border:

    >>> depth = np.arange(0.5, 4.0)
    >>> bite = np.stack([depth, np.zeros(4), np.zeros(4)], axis=1)
    >>> deep_parts(bite, np.zeros((1, 3)), 2.0).tolist()
    [True, True, True, True]
    >>> deep_parts(bite[:2], np.zeros((1, 3)), 2.0).tolist()
    [False, False]
    """
    if not len(beyond_mm) or not len(border_mm):
        return np.zeros(len(beyond_mm), dtype=bool)
    deep: Bools = np.asarray(cKDTree(border_mm).query(beyond_mm)[0] > rim_mm)
    if deep.any():
        deep |= cKDTree(beyond_mm[deep]).query(beyond_mm)[0] <= _BESIDE_DEEP * rim_mm
    return deep


def widened(
    baseline: Surface,
    followup: Surface,
    to_baseline: RigidTransform,
    settings: ChangeSettings,
    morphometry: MorphometrySettings,
) -> Widened | None:
    """Bone outside the baseline's tAB that the follow-up's holds, deeper than the rim.

    Parameters
    ----------
    baseline, followup, to_baseline, settings, morphometry : As for `pair_bone`.

    Notes
    -----
    Bone that grew between the visits lies off the baseline's surface, and points of a flank and of
    the plate beside it then have one closest point. So a vertex counts only if the point that was
    read for it is nearest to bare bone of the baseline as well.
    """
    inside = np.asarray(baseline.fields["plate"]) != int(Plate.NONE)
    theirs = np.asarray(followup.fields["plate"]) != int(Plate.NONE)
    if not inside.any() or not theirs.any() or theirs.all():
        return None
    moved = to_baseline.inverse().apply(baseline.vertices)
    outside = ~inside & np.isfinite(baseline.fields["ray_mm"])
    number = _near(moved, outside, followup.vertices[theirs], settings.max_gap_mm)
    found = read_at(followup, moved[number], settings.max_gap_mm, morphometry)
    held = found.within & np.isfinite(found.ray_mm)
    held[held] = ~inside[cKDTree(moved).query(found.feet_mm[held])[1]]
    border = followup.vertices[~theirs]
    held[held] = deep_parts(found.feet_mm[held], border, settings.rim_mm)
    if not held.any():
        return None
    held &= _joined(baseline, inside, number, held)
    own = np.flatnonzero(theirs)
    source = own[cKDTree(followup.vertices[own]).query(found.feet_mm[held])[1]]
    plate = np.asarray(followup.fields["plate"], dtype=np.uint8)
    part = np.asarray(followup.fields.get("subregion", np.zeros_like(plate)), dtype=np.uint8)
    shares = followup.fields.get("shares")
    return Widened(
        number[held],
        found.ray_mm[held],
        plate[source],
        part[source],
        None if shares is None else np.asarray(shares[source], dtype=np.float32),
    )


def _near(moved: FloatArray, some: Bools, others: FloatArray, reach_mm: float) -> NDArray[np.int64]:
    """Numbers of the chosen points within reach of others; the shaft is never searched."""
    low, high = others.min(axis=0) - reach_mm, others.max(axis=0) + reach_mm
    number = np.flatnonzero(some & np.all((moved >= low) & (moved <= high), axis=1))
    gap_mm = cKDTree(others).query(moved[number], distance_upper_bound=reach_mm)[0]
    result: NDArray[np.int64] = number[np.isfinite(gap_mm)]
    return result


def _joined(baseline: Surface, inside: Bools, number: NDArray[np.int64], held: Bools) -> Bools:
    """(n,) vertices that hang together with the baseline's tAB: no island elsewhere on the bone."""
    both = inside.copy()
    both[number[held]] = True
    part = connected_parts(baseline.faces, len(both), both)
    return np.isin(part[number], part[inside])
