"""Margins written as JSON come back as they were; what is no margins file is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kneeimg.core.margins import Compartment
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.errors import InputError
from kneeimg.io.margins import margins_from_json, margins_to_json
from kneeimg.phantoms.film import FilmKnee, FilmSetup, exact_margins

FILM = Radiograph(np.zeros((4, 4), dtype=np.float32), None, SpacingSource.NONE, None)


def test_margins_come_back():
    margins = exact_margins(FilmKnee(beam_angle_deg=3.0), FilmSetup())
    again = margins_from_json(json.loads(json.dumps(margins_to_json(margins, FILM))))
    for name in ("femur", "tibia", "femoral_edges", "rim"):
        for compartment in Compartment:
            first, second = (getattr(m, name)[compartment] for m in (margins, again))
            np.testing.assert_array_equal(first.points, second.points)
            np.testing.assert_array_equal(first.confidence, second.confidence)
    np.testing.assert_array_equal(margins.tangent, again.tangent)
    assert (again.side, again.shape, again.method) == (margins.side, margins.shape, "exact")


def test_findings_come_back_and_a_missing_part_is_refused():
    values = margins_to_json(exact_margins(FilmKnee(), FilmSetup()), FILM)
    values["findings"] = [{"code": "BONE_ON_BONE", "message": "closed", "where": "medial"}]
    assert margins_from_json(values).findings[0].where == "medial"
    del values["tangent"]
    with pytest.raises(InputError, match="margins of a knee"):
        margins_from_json(values)
