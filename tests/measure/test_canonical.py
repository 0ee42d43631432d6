"""Cutting a label map out: boxes in every orientation, against plain searches."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from kneeimg.core.anatomy import Bone, Side, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.measure.canonical import Box, canonical_knee


def _box(mask: np.ndarray) -> Box:
    i, j, k = (slice(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(mask))
    return i, j, k


def _labels() -> np.ndarray:
    rng = np.random.default_rng(5)
    labels = np.zeros((11, 9, 13), dtype=np.uint8)
    inner = labels[2:10, 1:7, 3:12]
    inner[...] = rng.choice([0, 0, 0, 1, 2, 3, 5, 10], size=inner.shape)
    labels[1, 2, 3], labels[10, 7, 12] = 12, 6  # the fibula reaches beyond the others
    return labels


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
@pytest.mark.parametrize("side", list(Side))
def test_boxes_are_those_of_a_plain_search(
    order: tuple[int, int, int], signs: tuple[int, int, int], side: Side
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(order)] * signs
    labels = _labels()
    knee = canonical_knee(LabelMap(labels, Grid(labels.shape, affine, None)), side)
    turned = knee.label_map.labels
    assert turned.flags.c_contiguous
    assert np.array_equal(np.bincount(turned.ravel()), np.bincount(labels.ravel()))
    assert knee.labelled == _box(turned != 0)
    present = [t for bone in Bone for t in (bone.tissue, bone.cartilage) if (labels == t).any()]
    assert Tissue.TIBIAL_CARTILAGE not in present
    assert knee.boxes == {tissue: _box(turned == tissue) for tissue in present}
    index = np.argwhere(turned == int(Tissue.FIBULA)).astype(np.int32)
    assert knee.own_index(index).tolist() == [[1, 2, 3]]
