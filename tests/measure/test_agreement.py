"""Agreement of segmentations on shapes whose overlap and distances are known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kneeimg.core.anatomy import Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import GeometryError
from kneeimg.measure.agreement import (
    ThicknessAgreement,
    limits_of_agreement,
    tissue_agreement,
)

GRID = Grid((20, 30, 30), np.diag([2.0, 0.5, 0.5, 1.0]), "1.2.3")


def slab(first: int, last: int) -> LabelMap:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[4:16, 5:25, first:last] = Tissue.FEMUR
    return LabelMap(labels, GRID)


def test_a_shifted_slab() -> None:
    one = tissue_agreement(slab(5, 15), slab(7, 17), [Tissue.FEMUR])[0]
    assert one.dice == pytest.approx(0.8)
    assert one.reference_mm3 == one.found_mm3 == 12 * 20 * 10 * 0.5
    assert one.volume_bias_pct == 0.0
    # the flat faces lie 2 voxels of 0.5 mm apart
    assert one.hd95_mm == pytest.approx(1.0)
    assert 0.3 < one.assd_mm < 1.0


def test_a_thicker_slab_has_a_volume_bias() -> None:
    one = tissue_agreement(slab(5, 15), slab(5, 17), [Tissue.FEMUR])[0]
    assert one.volume_bias_pct == pytest.approx(20.0)
    swapped = tissue_agreement(slab(5, 17), slab(5, 15), [Tissue.FEMUR])[0]
    assert swapped.dice == one.dice
    assert swapped.assd_mm == pytest.approx(one.assd_mm)


def test_what_neither_holds_is_not_measured() -> None:
    one = tissue_agreement(slab(5, 15), slab(5, 15), [Tissue.TIBIA])[0]
    assert math.isnan(one.dice)
    assert math.isnan(one.volume_bias_pct)


def test_other_grids_are_refused() -> None:
    other = LabelMap(slab(5, 15).labels, Grid(GRID.shape, GRID.affine, "9.9"))
    with pytest.raises(GeometryError):
        tissue_agreement(slab(5, 15), other, [Tissue.FEMUR])


def test_limits_count_what_was_not_measured() -> None:
    found = [2.1, 1.9, 2.2, math.nan]
    pairs = [ThicknessAgreement("MT", "ThCtAB_aMe", "mm", 2.0, value) for value in found]
    limits = limits_of_agreement(pairs)
    assert (limits.n, limits.missing) == (3, 1)
    assert limits.bias == pytest.approx(0.2 / 3)
    assert limits.sd == pytest.approx(np.std([0.1, -0.1, 0.2], ddof=1))
    assert limits.high - limits.low == pytest.approx(2 * 1.96 * limits.sd)
    assert limits.worst == pytest.approx(0.2)
