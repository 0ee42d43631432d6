"""What every kind of mask file has in common once its voxels are read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kneeimg.core.anatomy import KNEE_V1, Tissue
from kneeimg.core.grid import Grid
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import MaskError, ReasonCode
from kneeimg.io.label_sides import side_shown


def soft_label_map(
    fractions: Mapping[Tissue, NDArray[np.float32]], grid: Grid, where: str
) -> LabelMap:
    """Label map of the fractions of its tissues, with the side that the winning labels show.

    Raises
    ------
    MaskError
        EMPTY_MASK if the background wins everywhere, LATERALITY_CONFLICT.
    """
    label_map = LabelMap.from_probabilities(dict(fractions), grid)
    if not label_map.labels.any():
        raise no_voxel(where, "the background is the likeliest everywhere")
    side = side_shown(label_map.labels, label_map.labels, KNEE_V1, grid, where)
    return LabelMap(label_map.labels, grid, dict(fractions), side)


def no_voxel(where: str, found: str) -> MaskError:
    """A mask file without a labelled voxel."""
    return MaskError(
        "the mask holds no labelled voxel", code=ReasonCode.EMPTY_MASK, where=where, found=found
    )
