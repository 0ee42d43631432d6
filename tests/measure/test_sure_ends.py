"""Where margins are sure, from their outer end inward."""

from __future__ import annotations

import numpy as np
import pytest

from kneeimg.measure.sure_ends import first_sure

S = np.linspace(0.0, 0.4, 401)
CERTAIN = (S, np.ones(401))


def unsure(*pieces: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A margin that is unsure between pairs of places."""
    confidence = np.ones(401)
    for low, high in pieces:
        confidence[(low <= S) & (high >= S)] = 0.1
    return S, confidence


@pytest.mark.parametrize(
    "margin, start",
    [
        (CERTAIN, 0.05),
        (unsure((0.0, 0.0703)), 0.071),
        (unsure((0.08, 0.0903)), 0.091),  # what is sure again beyond a gap is another line
        (unsure((0.0, 0.1203)), 0.121),
        (unsure((0.095, 0.1103)), 0.111),
        (unsure((0.0, 0.3)), 0.15),
        (unsure((0.2, 0.3)), 0.05),
    ],
)
def test_the_sure_piece_around_what_is_needed(margin, start):
    for pair in ([margin, CERTAIN], [CERTAIN, margin], [margin, margin]):
        assert first_sure(pair, 0.05, 0.10, 0.15, 0.3) == pytest.approx(start, abs=1e-9)


def test_the_unsurer_margin_counts():
    pair = [unsure((0.0, 0.0603)), unsure((0.0, 0.0803))]
    assert first_sure(pair, 0.05, 0.10, 0.15, 0.3) == pytest.approx(0.081)


def test_a_margin_that_does_not_reach_is_not_sure_there():
    short = (S[S > 0.0795], np.ones(int((S > 0.0795).sum())))
    assert first_sure([short, CERTAIN], 0.05, 0.10, 0.15, 0.3) == pytest.approx(0.08)


def test_ends_that_coincide():
    assert first_sure([unsure((0.0, 0.4)), CERTAIN], 0.2, 0.2, 0.2, 0.3) == pytest.approx(0.2)
