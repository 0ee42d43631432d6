"""The baseline's joint surface carried to the follow-up: the same bone points at both visits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kneeimg.core.anatomy import Plate, Subregion
from kneeimg.core.surface import RigidTransform, Surface
from kneeimg.longitudinal.border import Widened, deep_parts, widened
from kneeimg.longitudinal.reading import read_at
from kneeimg.measure.tab import with_tab
from kneeimg.settings.change import ChangeSettings
from kneeimg.settings.morphometry import MorphometrySettings

FloatArray = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Amounts that lie over single vertices and are summed over a region.
_AMOUNTS = ("volume_mm3", "articular_mm2", "articular_mm3")


@dataclass(frozen=True, slots=True, eq=False)
class PairedBone:
    """One bone at two visits on the vertices of its baseline surface.

    Attributes
    ----------
    baseline, followup : The same mesh with the same `plate` and `subregion` and each visit's
        `ray_mm`, `thickness_mm`, `state`, cartilage volume and articular area. A vertex that is
        undetermined at one visit is undetermined in both.
    widened : (V,) vertices beyond the baseline's border that the follow-up's tAB holds.
    """

    baseline: Surface
    followup: Surface
    widened: Bools


def pair_bone(
    baseline: Surface,
    followup: Surface,
    to_baseline: RigidTransform,
    settings: ChangeSettings,
    morphometry: MorphometrySettings,
) -> PairedBone:
    """Read the follow-up on the baseline's tAB.

    Parameters
    ----------
    baseline, followup : Surfaces of :func:`kneeimg.measure.morphometry.measure_knee`.
    to_baseline : Follow-up frame to baseline frame.
    settings : Largest gap between the bones, width of the unsure border.
    morphometry : Threshold between covered and denuded.

    Notes
    -----
    A baseline vertex takes the follow-up's ray distance at the closest point of the follow-up
    bone, interpolated in its triangle. Cartilage volume and articular area of the follow-up go to
    the nearest tAB vertex of the baseline, as they do within one visit, so their sums are kept.

    Where the border of a plate is drawn varies between visits. Carried as it is, the baseline's
    tAB never sees cartilage beyond its border, but counts cartilage that ends before it as bare:
    it leans towards loss (10 to 25 µm per plate on noise-free phantoms, 25 to 100 µm between
    manual segmentations: more than a year of disease). Therefore the visits are treated alike:

    - where one tAB reaches beyond the other by no more than `rim_mm`, the border was drawn
      otherwise, and the strip leaves both visits;
    - where it reaches further, cartilage was lost (or came), and the whole patch counts, up to the
      border: tAB of the comparison is the baseline's, widened by what the follow-up covers so far
      beyond it, and the other visit is bare there.

    With `rim_mm` = 0 the baseline's tAB is carried unchanged.
    """
    inside = np.asarray(baseline.fields["plate"]) != int(Plate.NONE)
    from_baseline = to_baseline.inverse()
    number = np.flatnonzero(inside)
    points = from_baseline.apply(baseline.vertices[number])
    found = read_at(followup, points, settings.max_gap_mm, morphometry)
    ray_before = np.asarray(baseline.fields["ray_mm"], dtype=np.float64).copy()
    ray_after = np.full(len(inside), np.nan)
    ray_after[number] = found.ray_mm
    lost = inside & (np.isnan(ray_after) | np.isnan(ray_before))
    ray_before[lost] = ray_after[lost] = np.nan
    unsure, more = np.zeros(len(inside), dtype=bool), None
    if settings.rim_mm > 0:
        beyond = number[~found.within & ~lost[number]]
        deep = deep_parts(baseline.vertices[beyond], baseline.vertices[~inside], settings.rim_mm)
        unsure[beyond[~deep]] = True
        more = widened(baseline, followup, to_baseline, settings, morphometry)
    added = np.zeros(len(inside), dtype=bool)
    if more is not None:
        added[more.vertices], ray_after[more.vertices] = True, more.ray_mm
    baseline = _with_plates(baseline, unsure, more)
    plate = baseline.fields["plate"]
    before = with_tab(baseline.with_fields(ray_mm=ray_before), plate, morphometry)
    number = np.flatnonzero(inside | added)
    points = from_baseline.apply(baseline.vertices[number])
    amounts = _carried_amounts(followup, points, number, len(inside))
    after = with_tab(baseline.with_fields(ray_mm=ray_after, **amounts), plate, morphometry)
    return PairedBone(before, after, added)


def _with_plates(surface: Surface, without: Bools, more: Widened | None) -> Surface:
    """The surface with `plate`, `subregion` and `shares` of the comparison."""
    plate = np.asarray(surface.fields["plate"], dtype=np.uint8)
    part = np.asarray(surface.fields.get("subregion", np.zeros_like(plate)), dtype=np.uint8)
    plate = np.where(without, np.uint8(Plate.NONE), plate)
    part = np.where(without, np.uint8(Subregion.NONE), part)
    surface = surface.with_fields(plate=plate, subregion=part)
    if more is None:
        return surface
    plate[more.vertices], part[more.vertices] = more.plate, more.subregion
    return _with_shares(surface, more)


def _with_shares(surface: Surface, more: Widened) -> Surface:
    """Shares of the added bone from the follow-up; none at all when one visit has none."""
    fields = dict(surface.fields)
    shares = fields.pop("shares", None)
    if shares is not None and more.shares is not None:
        shares = np.array(shares)
        shares[more.vertices] = more.shares
        fields["shares"] = shares
    return replace(surface, fields=fields)


def _carried_amounts(
    followup: Surface, points: FloatArray, vertices: NDArray[np.int64], count: int
) -> dict[str, FloatArray]:
    """Follow-up amounts at the baseline vertices; `points` are those in the follow-up frame."""
    values = {name: np.asarray(followup.fields[name], dtype=np.float64) for name in _AMOUNTS}
    some = np.flatnonzero(values["volume_mm3"] + values["articular_mm2"] > 0)
    if not len(points) or not len(some):
        return {name: np.zeros(count) for name in _AMOUNTS}
    owner = vertices[cKDTree(points).query(followup.vertices[some])[1]]
    return {
        name: np.bincount(owner, weights=amount[some], minlength=count).astype(np.float64)
        for name, amount in values.items()
    }
