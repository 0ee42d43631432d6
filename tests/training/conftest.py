"""A phantom knee on the canonical grid, made once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kneeimg.core.anatomy import Side
from kneeimg.core.label_map import LabelMap
from kneeimg.phantoms.grids import sagittal_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.training.anatomy_source import KneeLabels, resample


@pytest.fixture(scope="session")
def phantom_map() -> LabelMap:
    """Hard labels of a right phantom, 0.7 x 0.5 x 0.5 mm, no menisci."""
    return KneePhantom(Side.RIGHT).label_map(
        sagittal_grid((0.7, 0.5, 0.5), (150, 260, 260)), hard=True
    )


@pytest.fixture(scope="session")
def phantom_labels(phantom_map: LabelMap) -> KneeLabels:
    """The same as codes of a right knee."""
    return KneeLabels.of(phantom_map, Side.RIGHT)


@pytest.fixture(scope="session")
def phantom_codes(phantom_labels: KneeLabels) -> NDArray[np.uint8]:
    """Bones and cartilage on the canonical grid; read-only."""
    codes = resample(phantom_labels)
    codes.flags.writeable = False
    return codes
