"""One side from many sources."""

from __future__ import annotations

import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.laterality import combine_sides, require_side
from kneeimg.errors import InputError, ReasonCode


def test_first_source_that_speaks_is_named() -> None:
    sources = [("study file", None), ("tag", Side.LEFT), ("fibula", Side.LEFT)]
    assert combine_sides(sources) == (Side.LEFT, "tag")
    assert require_side(sources) is Side.LEFT


def test_silence() -> None:
    assert combine_sides([]) is None
    with pytest.raises(InputError) as caught:
        require_side([("tag", None)], where="knee.dcm")
    assert caught.value.code is ReasonCode.NO_LATERALITY
    assert "knee.dcm" in str(caught.value)


def test_any_two_that_disagree_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        require_side([("--side", Side.LEFT), ("tag", None), ("fibula", Side.RIGHT)])
    assert caught.value.code is ReasonCode.LATERALITY_CONFLICT
    assert "--side: left, fibula: right" in str(caught.value)
