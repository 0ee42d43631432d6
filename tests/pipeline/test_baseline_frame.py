"""Follow-up films are compared at the places of their baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.margins import Compartment, JointMargins, MarginLine
from kneeimg.core.measurement import Measurement
from kneeimg.core.radiograph import Radiograph, SpacingSource
from kneeimg.errors import InputError, ReasonCode
from kneeimg.io.atomic import write_json
from kneeimg.io.margins import margins_from_json, margins_to_json, spacing_from_json
from kneeimg.measure.joint_space import measure_joint_space
from kneeimg.phantoms.film import FilmKnee, FilmSetup, exact_margins
from kneeimg.pipeline.baseline_frame import BASELINE_WIDTH, in_baseline_frame
from kneeimg.settings.film import JointSpaceSettings

SETUP = FilmSetup(pixel_mm=0.2)
KNEE = FilmKnee(side=Side.LEFT)
SETTINGS = JointSpaceSettings()
FILM = Radiograph(
    np.zeros(SETUP.shape, dtype=np.float32), (0.2, 0.2), SpacingSource.USER, Side.LEFT
)


def wider(margins: JointMargins, by_mm: float) -> JointMargins:
    """The same knee with its lateral femoral edge seen farther out."""
    edge = margins.femoral_edges[Compartment.LATERAL]
    moved = MarginLine.certain(edge.points + (by_mm / 0.2, 0.0))
    return replace(margins, femoral_edges={**margins.femoral_edges, Compartment.LATERAL: moved})


def measured(margins: JointMargins) -> tuple[Measurement, ...]:
    return measure_joint_space(margins, FILM.spacing_mm, SETTINGS)


def named(rows: tuple[Measurement, ...]) -> dict[str, Measurement]:
    return {row.name: row for row in rows}


@pytest.fixture
def followup(tmp_path: Path) -> tuple[tuple[Measurement, ...], Path]:
    margins = wider(exact_margins(KNEE, SETUP), 4.0)
    path = tmp_path / "margins.json"
    write_json(path, margins_to_json(margins, FILM))
    return measured(margins), path


def test_margins_are_read_as_they_were_written() -> None:
    margins = exact_margins(replace(KNEE, beam_angle_deg=4.0), SETUP)
    values = margins_to_json(margins, FILM)
    again, spacing = margins_from_json(values), spacing_from_json(values)
    assert spacing == FILM.spacing_mm
    assert named(measured(again)) == named(measured(margins))
    with pytest.raises(InputError):
        margins_from_json({"side": "left"})


def test_x_is_counted_in_widths_of_the_baseline(followup) -> None:
    own, path = followup
    baseline = measured(exact_margins(KNEE, SETUP))
    rows = named(in_baseline_frame(baseline, own, path, SETTINGS))
    truth, apart = named(baseline), named(own)
    assert abs(apart["lateral_fJSW_0900"].value - truth["lateral_fJSW_0900"].value) > 0.5
    for name in ("lateral_fJSW_0900", "medial_fJSW_0150", "medial_JSA", "lateral_nfJSW_0900"):
        assert rows[name].value == pytest.approx(truth[name].value, abs=1e-6)
        assert rows[name].method.endswith(BASELINE_WIDTH)
    assert rows["knee_femoral_width"].value == pytest.approx(84.0, abs=0.01)  # its own


def test_without_a_common_width_nothing_is_changed(followup, tmp_path: Path) -> None:
    own, path = followup
    baseline = measured(exact_margins(KNEE, SETUP))
    assert in_baseline_frame(baseline, own, tmp_path / "none.json", SETTINGS) == own
    blind = tuple(
        Measurement.missing(r.region, r.quantity, r.unit, ReasonCode.NO_PIXEL_SPACING)
        if r.unit.startswith("mm")
        else r
        for r in baseline
    )
    assert in_baseline_frame(blind, own, path, SETTINGS) == own
