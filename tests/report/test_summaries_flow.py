"""Means of the rows as given, film thresholds, and the count of every planned scan."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from kneeimg.core.result_tables import CHANGE_COLUMNS, DISPOSITION_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.report import flow, summaries
from kneeimg.report.results import Results
from kneeimg.report.tables import clean_table


def change(participant, value, **more):
    row = {
        "participant": participant, "side": "right", "kind": "mri", "region": "FTJ", "unit": "mm",
        "quantity": "ThCtAB_aMe", "visit_from": "BL", "visit_to": "M12", "days": 365.0,
        "change": value, "status": "ok", "change_class": "no repeatability data",
    }  # fmt: skip
    return row | more


def scan(participant, visit, status="measured", code="", kind="mri", **more):
    return {
        "participant": participant, "visit": visit, "kind": kind, "status": status, "code": code,
    } | more  # fmt: skip


def results(changes=(), scans=()) -> Results:
    return Results(
        clean_table(pd.DataFrame(), MEASUREMENT_COLUMNS),
        clean_table(pd.DataFrame(list(changes)), CHANGE_COLUMNS),
        clean_table(pd.DataFrame(list(scans)), DISPOSITION_COLUMNS),
    )


def test_mean_and_interval_are_those_of_the_rows_with_a_value():
    rows = [change(f"P{n}", x) for n, x in enumerate((-0.1, -0.2, -0.3))]
    rows.append(change("P9", np.nan, status="not_measurable", reason="NO_BASELINE"))
    (mean,) = summaries.mean_changes(results(rows))
    assert (mean.n, mean.region, mean.visit) == (3, "FTJ", "M12")
    assert mean.mean == pytest.approx(-0.2)
    # t(0.975, 2) = 4.302653, SD 0.1
    assert mean.high - mean.mean == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert math.isnan(mean.sdc)


def test_one_knee_has_a_mean_without_an_interval():
    (mean,) = summaries.mean_changes(results([change("P1", 0.1)]))
    assert mean.mean == 0.1
    assert math.isnan(mean.low)


def test_singles_are_sorted_from_loss_to_gain():
    rows = [change("P1", 0.1), change("P2", -0.3, change_class="loss", sdc=0.2)]
    found = summaries.singles(results(rows), "FTJ", "ThCtAB_aMe", "M12")
    assert [(s.participant, s.change_class) for s in found] == [
        ("P2", "loss"),
        ("P1", "no repeatability data"),
    ]
    assert found[0].sdc == 0.2


@pytest.mark.parametrize(
    "quantity, said, beyond",
    [
        ("mJSW", "progression", [1]),
        ("mJSW", "none", [0]),
        ("mJSW", "", []),
        ("fJSW_0250", "strict", [1, 1]),
        ("fJSW_0250", "lenient", [0, 1]),
        ("fJSW_0250", "none", [0, 0]),
    ],
)
def test_film_progression_is_what_the_table_says(quantity, said, beyond):
    row = change("P1", -9.0, kind="film", region="medial", quantity=quantity, progression=said)
    found = summaries.film_progression(results([row]))
    assert [f.beyond for f in found] == beyond
    assert all(f.n == 1 for f in found)
    assert {f.who for f in found} <= {("P1",), ()}


def trial_scans():
    rows = [scan(p, v) for p in ("P1", "P2", "P3") for v in ("BL", "M06")]
    rows[1] = scan("P1", "M06", "missing", "VISIT_MISSING")
    rows[3] = scan("P2", "M06", "refused", "MISSING_SLICES")
    # the same planned scan twice: the wrong knee came, so the planned one is missing
    rows += [scan("P4", "BL", "missing", "VISIT_MISSING", side="right")]
    rows += [scan("P4", "BL", "refused", "LATERALITY_CONFLICT", side="left")]
    rows += [scan("P4", "M06"), scan("P3", "BL", "skipped", "DUPLICATE_SCAN")]
    return rows


def test_every_planned_scan_is_counted_once():
    changes = [
        change("P3", -0.1, visit_to="M06"),
        change("P4", np.nan, visit_to="M06", status="not_measurable", reason="NO_BASELINE"),
    ]
    steps = flow.flow_steps(results(changes, trial_scans()), "mri")
    assert [(s.title, s.count) for s in steps] == [
        ("Planned", 8), ("Found", 7), ("Measured", 5), ("Compared with baseline", 1),
    ]  # fmt: skip
    assert [(s.left_title, s.left_count, s.left_lines) for s in steps[:3]] == [
        ("Missing", 1, ("VISIT_MISSING: 1",)),
        ("Refused", 2, ("LATERALITY_CONFLICT: 1", "MISSING_SLICES: 1")),
        ("Not compared", 1, ("NO_BASELINE: 1",)),
    ]
    assert steps[1].lines == ("and 1 more that were not needed",)
    assert steps[2].lines == ("BL 3 · M06 2",)


def test_counts_add_up_from_box_to_box():
    planned, found, measured, compared = flow.flow_steps(results((), trial_scans()), "mri")
    assert planned.count - planned.left_count == found.count
    assert found.count - found.left_count == measured.count
    baselines = 3
    assert measured.count - baselines - measured.left_count == compared.count


def test_boxes_do_not_overlap_and_lie_inside_the_picture():
    (diagram,) = flow.flow_diagrams(results((), trial_scans()))
    for box in diagram.boxes:
        assert 0 <= box.x < box.x + box.width <= diagram.width
        assert 0 <= box.y < box.y + box.height <= diagram.height
    main = [box for box in diagram.boxes if not box.aside]
    assert len(main) == 4
    for above, below in pairwise(main):
        assert above.y + above.height < below.y


def test_a_kind_that_is_not_in_the_study_has_no_diagram():
    given = results((), [scan("P1", "BL", kind="film")])
    assert [d.title for d in flow.flow_diagrams(given)] == ["Films"]
    assert flow.flow_sentences(given)[0].startswith("Films: planned 1, missing 0")
