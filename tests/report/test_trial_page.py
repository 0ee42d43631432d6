"""The page by arm: only after unblinding, only numbers of the tables, nothing unescaped."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from kneeimg.core.result_tables import CHANGE_COLUMNS, DISPOSITION_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.errors import InputError
from kneeimg.report import arm_flow, trial_page
from kneeimg.report.html import render_report, write_report
from kneeimg.report.results import Results
from kneeimg.report.tables import clean_table
from kneeimg.report.trial_plots import trial_plots
from kneeimg.report.trial_tables import read_trial_tables

NASTY = "<script>alert(1)</script>"
OUTCOME = {
    "role": "primary", "endpoint": "FTJ_ThCtAB_aMe", "kind": "mri", "region": "FTJ",
    "quantity": "ThCtAB_aMe", "unit": "mm", "visit": "M12", "status": "ok", "reason": "",
    "message": "",
}  # fmt: skip
ARMS = {"arm": "B", "reference_arm": "A"}


def ancova(**more):
    return OUTCOME | ARMS | {
        "n_arm": 12, "n_reference": 13, "difference": 0.1234, "ci_low": -0.01, "ci_high": 0.26,
        "mean_change_arm": 0.05, "mean_change_reference": -0.07, "p": 0.0004, "p_holm": 0.0456,
    } | more  # fmt: skip


def value(participant, arm, change):
    return OUTCOME | {
        "participant": participant, "arm": arm, "days": 366, "change": change, "sdc": 0.2,
        "change_class": "within measurement error",
    }  # fmt: skip


def write(folder, **tables):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    return read_trial_tables(folder)


@pytest.fixture
def trial(tmp_path):
    return write(
        tmp_path,
        ancova=[ancova(role="secondary", endpoint="MT_x", region="MT"), ancova()],
        responders=[
            OUTCOME | ARMS | {"outcome": o, "n": 10, "count": c, "share": c / 10, "sdc": 0.2}
            for o, c in (("worsened", 7), ("stable", 3))
        ],
        srm=[
            OUTCOME | {"arm": arm, "n": 12, "mean_change": m, "change_low": m - 0.1,
                       "change_high": m + 0.1, "srm": -0.5, "ci_low": -0.9, "ci_high": -0.1}
            for arm, m in (("A", -0.07), ("B", 0.05))
        ],
        values=[value("P1", "A", -0.1), value("P2", "B", 0.2), value("P3", "", 0.0)],
        excluded=[{"source": "arms.csv", "line": 3, "participant": "P9", "code": "X",
                   "message": NASTY}],
    )  # fmt: skip


def results(**more) -> Results:
    def empty(columns):
        return clean_table(pd.DataFrame(), columns)

    return Results(
        empty(MEASUREMENT_COLUMNS), empty(CHANGE_COLUMNS), empty(DISPOSITION_COLUMNS), **more
    )


def pages_of(given):
    return {n: c.decode() for n, c in render_report(given) if n.endswith(".html")}


def text_of(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_before_unblinding_there_is_no_page_by_arm():
    pages = pages_of(results())
    assert "trial.html" not in pages
    assert "trial.html" not in pages["index.html"]


def test_the_page_by_arm_shows_estimates_with_their_intervals(trial):
    page = text_of(pages_of(results(trial=trial))["trial.html"])
    assert "Unblinded." in page
    assert "+0.123 (−0.010 to +0.260)" in page
    assert "+0.050 −0.070" in page
    assert "&lt; 0.001" in page
    assert "0.046" in page
    assert "70 %" in page
    assert "For research. Not a medical device, not for diagnosis." in page


def test_what_the_tables_say_is_escaped(trial):
    page = pages_of(results(trial=trial))["trial.html"]
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_primary_outcomes_come_first(trial):
    (section, *_) = trial_page.sections(trial)
    assert [line.role for line in section.lines] == ["primary", "secondary"]


def test_participants_without_an_arm_are_in_no_arm(trial):
    assert trial_page.arms_of(trial) == [("A", 1), ("B", 1)]


def test_everybody_of_an_arm_is_analysed_or_absent_with_a_reason(tmp_path):
    def at(visit, participant, arm, **more):
        return value(participant, arm, 0.1) | {"visit": visit} | more

    gone = {"status": "not_measurable", "reason": "VISIT_MISSING"}
    rows = [at(v, f"P{n}", "A" if n < 3 else "B") for v in ("M06", "M12") for n in range(5)]
    rows[1] |= gone  # P1 misses M06 alone
    rows[8] |= gone | {"reason": "MISSING_SLICES"}  # P3 misses M12
    rows += [at("M06", "P9", ""), at("M06", "P0", "A", endpoint="MT_x", **gone)]
    given = write(tmp_path / "flow", values=rows)
    steps = dict(arm_flow.arm_steps(given))
    assert [(s.title, s.count, s.left_count, s.left_lines) for s in steps["A"]] == [
        ("In the arm", 3, 1, ("VISIT_MISSING: 1",)),
        ("Analysed at M06", 2, 0, ()),
        ("Analysed at M12", 3, 0, ()),
    ]
    assert [s.count for s in steps["B"]] == [2, 2, 1]
    page = text_of(pages_of(results(trial=given))["trial.html"])
    assert "Without a value at M12: 1 MISSING_SLICES: 1" in page
    assert "A: in the arm 3, without a value at M06 1 (VISIT_MISSING: 1), analysed at M06 2" in page


def test_plots_are_made_from_the_tables_that_are_there(trial):
    names = [(section, plot.name.rpartition("/")[2]) for section, plot in trial_plots(trial)]
    assert names == [
        ("ancova", "trial_difference_1.png"),
        ("courses", "trial_courses.png"),
        ("courses", "trial_waterfall_FTJ_ThCtAB_aMe.png"),
        ("responders", "trial_responders_1.png"),
        ("srm", "trial_srm.png"),
    ]


@pytest.mark.parametrize("tables", [{}, {"values": [value("P1", "A", -0.1)]}])
def test_tables_that_are_absent_are_left_out(tmp_path, tables):
    trial = write(tmp_path, **tables)
    assert trial_page.sections(trial) == []
    assert bool(trial) is bool(tables)
    assert ("trial.html" in pages_of(results(trial=trial))) is bool(tables)


def test_a_reason_that_all_rows_share_stands_once(tmp_path):
    rows = [ancova(reason="NO_REPEATABILITY", message="no data", visit=v) for v in ("M6", "M12")]
    page = text_of(pages_of(results(trial=write(tmp_path, ancova=rows)))["trial.html"])
    assert page.count("NO_REPEATABILITY: no data") == 1


def test_an_arm_called_na_stays_an_arm(tmp_path):
    trial = write(tmp_path, values=[value("P1", "NA", -0.1)])
    assert trial.arms() == {"P1": "NA"}


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "ancova.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="call `kneeimg trial` again"):
        read_trial_tables(tmp_path)


def test_the_page_and_its_plots_go_when_the_analysis_is_withdrawn(tmp_path, trial):
    out = tmp_path / "OUT"
    (out / "tables").mkdir(parents=True)
    pd.DataFrame([{"participant": "P1", "visit": "BL", "status": "measured"}]).to_csv(
        out / "disposition.csv", index=False
    )
    folder = out / "tables" / "trial"
    write(folder, values=[value("P1", "A", -0.1), value("P2", "B", 0.2)])
    write_report(out)
    assert (out / "report" / "trial.html").is_file()
    assert list((out / "report" / "pictures").glob("trial_*.png"))
    (folder / "values.csv").unlink()
    write_report(out)
    assert not (out / "report" / "trial.html").exists()
    assert not list((out / "report").glob("pictures/trial_*.png"))
