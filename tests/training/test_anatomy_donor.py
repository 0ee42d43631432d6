"""Soft tissue brought from one knee to another."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kneeimg.errors import MaskError, ReasonCode
from kneeimg.training.anatomy_atlas import OAI_VALUES, knee_of
from kneeimg.training.anatomy_donor import COARSE_MM, Donor, structures_on
from kneeimg.training.anatomy_source import KneeLabels, Window
from kneeimg.training.tissues import Substance

BONES = {"femur": (13, 18), "tibia": (15, 19), "patella": (17, 20)}


@pytest.mark.parametrize("scale", [1.0, 1.12])
def test_a_structure_lands_where_it_was(
    phantom_labels: KneeLabels, phantom_codes: NDArray[np.uint8], scale: float
) -> None:
    """The knee is its own donor, once in its size and once larger: a marked block comes back."""
    marked = phantom_labels.codes.copy()
    condyles = np.argwhere(marked == int(Substance.FEMORAL_CARTILAGE))
    start = np.array([condyles[:, 0].mean(), condyles[:, 1].max() + 12, condyles[:, 2].mean()])
    block = tuple(slice(int(s), int(s) + 16) for s in start)
    marked[block] = 99
    step = np.array(phantom_labels.spacing_mm)
    donor = Donor.of(marked, tuple(step * scale), {99: Substance.MUSCLE}, BONES)
    found = np.argwhere(structures_on(phantom_codes, donor) == 99) * np.array(COARSE_MM)
    expected = (start.astype(int) + 7.5) * step - Window.around(phantom_labels).origin_mm
    assert np.abs(found.mean(axis=0) - expected).max() < 1.5
    volume = len(found) * float(np.prod(COARSE_MM))
    assert volume == pytest.approx(16**3 * float(np.prod(step)), rel=0.15)


def test_an_unknown_value_is_refused() -> None:
    values = np.array([[[0, 1, 42]]])
    with pytest.raises(MaskError) as caught:
        knee_of(values, (1.0, 1.0, 1.0), OAI_VALUES)
    assert caught.value.code is ReasonCode.UNKNOWN_LABEL
    assert "42" in str(caught.value)
