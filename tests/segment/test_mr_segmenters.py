"""The segmenter protocol, and the mask that already exists."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.segment import mr

GRID = Grid((3, 4, 5), np.diag([0.7, 0.4, 0.4, 1.0]), "1.2.3")
LABELS = LabelMap(np.ones((3, 4, 5), np.uint8), GRID)


def _image(grid: Grid) -> Volume:
    return Volume(np.zeros(grid.shape), grid, "a.u.")


def test_existing_mask_is_a_segmenter_without_weights() -> None:
    mask = mr.ExistingMask(LABELS)
    assert isinstance(mask, mr.Segmenter)
    assert mask.card.name == "existing-mask"
    assert mask.card.sha256 == ""
    assert mask.segment(_image(GRID)) is LABELS


@pytest.mark.parametrize(
    "affine, shape",
    [
        (np.diag([0.7, 0.4, 0.4, 1.0]), (3, 4, 6)),
        (np.diag([0.7, 0.4, 0.5, 1.0]), (3, 4, 5)),
        (np.diag([-0.7, 0.4, 0.4, 1.0]), (3, 4, 5)),
    ],
)
def test_mask_on_another_grid_is_refused(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    with pytest.raises(MaskError) as caught:
        mr.ExistingMask(LABELS).segment(_image(Grid(shape, affine, "1.2.3")))
    assert caught.value.code is ReasonCode.MASK_GRID_MISMATCH
