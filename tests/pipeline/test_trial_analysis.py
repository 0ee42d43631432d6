"""The analysis by arm of a results folder: planted effects, named faults, nothing silent."""

from __future__ import annotations

import csv
import doctest
import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from kneeimg.cli import app
from kneeimg.core.result_tables import CHANGE_COLUMNS, MEASUREMENT_COLUMNS
from kneeimg.errors import InputError, OutputError, StudyError
from kneeimg.io.tables import write_csv, write_parquet
from kneeimg.pipeline.trial import TrialResult, Unblinded, analyse_trial, exclusion_findings
from kneeimg.settings.trial import TrialSettings
from kneeimg.trial.columns import TABLES
from kneeimg.trial.statistics.ancova import ancova
from kneeimg.trial.statistics.proportions import newcombe

ROOT = Path(__file__).resolve().parents[2]
QUICK = TrialSettings(permutations=199, resamples=299)
ARMS = ("placebo", "verum")
EFFECT_MM = {"M06": 0.06, "M12": 0.12}

Row = dict[str, Any]


def arm_of(number: int) -> str:
    return ARMS[number % 2]


def change_row(person: str, region: str, quantity: str, visit: str, **other: object) -> Row:
    row = {
        "participant": person, "side": "right", "kind": "mri", "region": region,
        "quantity": quantity, "visit_from": "BL", "visit_to": visit,
        "days": {"M06": 182, "M12": 365}.get(visit, 91), "unit": "mm", "status": "ok",
        "reason": "", "change_class": "no repeatability data", "sdc": math.nan, "sdc_source": "",
        "change_pct": math.nan, "drift": "",
    }  # fmt: skip
    return row | other


def valued(row: Row, baseline: float, change: float, sdc: float | None = None) -> Row:
    row |= {"baseline": baseline, "followup": baseline + change, "change": change}
    row["change_pct"] = 100 * change / baseline if baseline else math.nan
    if sdc is not None:
        beyond = "loss" if change < 0 else "gain"
        row["change_class"] = beyond if abs(change) > sdc else "within measurement error"
        row |= {"sdc": sdc, "sdc_source": "scan-rescan"}
    return row


def study_rows(people: int = 25) -> list[Row]:
    """Verum gains what `EFFECT_MM` says, against placebo; MT has an SDC, the sums have none."""
    rng = np.random.default_rng(25)
    rows = []
    for number in range(people):
        person, verum = f"P{number + 1:02d}", arm_of(number) == "verum"
        base = {region: rng.normal(mean, 0.3) for region, mean in REGIONS.items()}
        for visit, effect in EFFECT_MM.items():
            for region in REGIONS:
                change = rng.normal(effect * verum - 0.04, 0.05)
                row = change_row(person, region, "ThCtAB_aMe", visit)
                rows.append(valued(row, base[region], change, 0.08 if region == "MT" else None))
            bare = change_row(person, "MT", "dABp", visit, unit="%")
            rows.append(valued(bare, 0.0, 0.0))  # nobody has denuded bone
            film = change_row(person, "medial", "mJSW", visit, kind="film")
            rows.append(valued(film, rng.normal(4, 0.5), rng.normal(0, 0.2)))
    return rows


REGIONS = {"MFTC": 3.6, "FTJ": 7.4, "MT": 1.7}


def write_results(
    out: Path, change: Sequence[Row], index_knees: dict[str, str] | None = None
) -> Path:
    tables = out / "tables"
    write_csv(tables / "change.csv", CHANGE_COLUMNS, change)
    write_parquet(tables / "change.parquet", CHANGE_COLUMNS, change)
    write_csv(tables / "measurements.csv", MEASUREMENT_COLUMNS, [])
    people = index_knees or dict.fromkeys(sorted({r["participant"] for r in change}), "right")
    rows = [{"participant_id": f"sub-{p}", "index_knee": k} for p, k in people.items()]
    write_csv(out / "participants.tsv", ("participant_id", "index_knee"), rows)
    return out


def write_arms(path: Path, people: int = 25, extra: str = "") -> Path:
    lines = [f"P{n + 1:02d},{arm_of(n)}" for n in range(people)]
    path.write_text("participant,arm\n" + "\n".join(lines) + "\n" + extra)
    return path


def write_symptoms(path: Path) -> Path:
    """VAS falls where cartilage grows; every third person has an adverse event at M06."""
    change = {
        (r["participant"], r["visit_to"]): r["change"]
        for r in study_rows()
        if r["region"] == "MFTC"
    }
    lines = ["participant,visit,VAS [mm],IL-6 [pg/ml],ae_count"]
    rng = np.random.default_rng(3)
    for number in range(25):
        person = f"P{number + 1:02d}"
        start = rng.uniform(45, 60)
        lines.append(f"{person},BL,{start:.1f},{rng.uniform(2, 9):.2f},0")
        for visit in EFFECT_MM:
            vas = start - 150 * change[person, visit] + rng.normal(0, 3)
            event = int(visit == "M06" and number % 3 == 0)
            lines.append(f"{person},{visit},{vas:.1f},{rng.uniform(2, 9):.2f},{event}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrialResult]:
    root = tmp_path_factory.mktemp("trial")
    out = write_results(root / "out", study_rows())
    arms, symptoms = write_arms(root / "arms.csv"), write_symptoms(root / "clinical.csv")
    settings = QUICK.model_copy(update={"mixed_model": True, "secondary": ("MT_*", "medial_mJSW")})
    return out, analyse_trial(out, arms, [symptoms], settings)


def analysed(
    tmp_path: Path, change: Sequence[Row], arms: str = "", **settings: object
) -> TrialResult:
    out = write_results(tmp_path / "out", change)
    file = tmp_path / "arms.csv"
    people = sorted({row["participant"] for row in change})
    lines = arms or "".join(f"{p},{arm_of(n)}\n" for n, p in enumerate(people))
    file.write_text("participant,arm\n" + lines)
    return analyse_trial(out, file, settings=QUICK.model_copy(update=settings))


def pick(result: TrialResult, table: str, **wanted: object) -> list[Row]:
    rows = result.tables[table]
    return [row for row in rows if all(row.get(k) == v for k, v in wanted.items())]


def only(result: TrialResult, table: str, **wanted: object) -> Row:
    (row,) = pick(result, table, **wanted)
    return row


def test_the_planted_difference_is_found_as_the_formula_gives_it(done) -> None:  # type: ignore[no-untyped-def]
    _, result = done
    for visit, effect in EFFECT_MM.items():
        row = only(result, "ancova", endpoint="MFTC_ThCtAB_aMe", visit=visit)
        own = [r for r in study_rows() if r["region"] == "MFTC" and r["visit_to"] == visit]
        arm = [arm_of(int(r["participant"][1:]) - 1) == "verum" for r in own]
        wanted = ancova([r["followup"] for r in own], [r["baseline"] for r in own], arm)
        assert (row["arm"], row["reference_arm"]) == ("verum", "placebo")
        assert (row["n_arm"], row["n_reference"]) == (12, 13)
        assert row["difference"] == pytest.approx(wanted.difference)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((wanted.low, wanted.high))
        assert row["ci_low"] < effect < row["ci_high"]
        assert row["permutations"] == 200
        assert row["mean_change_arm"] - row["mean_change_reference"] == pytest.approx(
            row["raw_difference"]
        )


def test_primary_outcomes_come_first_and_tests_are_counted(done) -> None:  # type: ignore[no-untyped-def]
    _, result = done
    rows = result.tables["ancova"]
    assert [r["endpoint"] for r in rows[:4]] == ["MFTC_ThCtAB_aMe"] * 2 + ["FTJ_ThCtAB_aMe"] * 2
    assert {r["role"]: r["n_tests"] for r in rows} == {"primary": 4, "secondary": 4, "clinical": 4}
    assert all(r["p_holm"] >= r["p_bh"] >= r["p"] for r in rows if r["status"] == "ok")
    assert result.statistics["tests"]["association"] == 36  # 3 outcomes, 2 visits, 2 x 3


def test_structure_and_symptoms_go_together_as_planted(done) -> None:  # type: ignore[no-untyped-def]
    _, result = done
    at = {"endpoint": "MFTC_ThCtAB_aMe", "visit": "M12", "population": "all"}
    row = only(result, "association", marker="vas", **at)
    assert (row["n"], row["marker_unit"]) == (25, "mm")
    assert row["spearman_low"] <= row["spearman"] <= row["spearman_high"] < -0.5
    assert row["pearson_low"] <= row["pearson"] <= row["pearson_high"] < -0.5
    noise = only(result, "association", marker="il6", **at)
    assert abs(noise["spearman"]) < 0.5 * abs(row["spearman"]) + 0.1


def test_responders_are_counted_against_the_sdc(done) -> None:  # type: ignore[no-untyped-def]
    _, result = done
    wanted = ("MT", "ThCtAB_aMe", "M12")
    own = [r for r in study_rows() if (r["region"], r["quantity"], r["visit_to"]) == wanted]
    gained = {
        arm: sum(r["change"] > 0.08 for r in own if arm_of(int(r["participant"][1:]) - 1) == arm)
        for arm in ARMS
    }
    at = {"endpoint": "MT_ThCtAB_aMe", "visit": "M12", "outcome": "improved"}
    placebo = only(result, "responders", arm="placebo", **at)
    verum = only(result, "responders", arm="verum", **at)
    assert (placebo["count"], verum["count"]) == (gained["placebo"], gained["verum"])
    assert (placebo["n"], verum["n"]) == (13, 12)
    difference = newcombe(gained["verum"], 12, gained["placebo"], 13)
    assert verum["share_difference"] == pytest.approx(difference.value)
    assert verum["difference_low"] == pytest.approx(difference.low)
    assert (verum["sdc"], verum["sdc_source"]) == (0.08, "scan-rescan")
    shares = [r["share"] for r in pick(result, "responders", arm="verum", visit="M12")
              if r["endpoint"] == "MT_ThCtAB_aMe"]  # fmt: skip
    assert sum(shares) == pytest.approx(1.0)


def test_without_repeatability_data_nobody_is_a_responder(done) -> None:  # type: ignore[no-untyped-def]
    _, result = done
    rows = pick(result, "responders", endpoint="MFTC_ThCtAB_aMe")
    assert {r["reason"] for r in rows} == {"NO_REPEATABILITY_DATA"}
    assert {(r["n"], r["n_no_data"]) for r in rows} == {(0, 12), (0, 13)}
    assert "count" not in rows[0]


def test_less_is_better_for_bare_bone_and_neither_for_the_bone_area(tmp_path: Path) -> None:
    rows = []
    for number in range(8):
        for quantity, change in (("dABp", -2.0 - number), ("tAB", 5.0 + number)):
            row = change_row(f"P{number + 1:02d}", "MT", quantity, "M12")
            rows.append(valued(row, 10.0 + number**2, change, 1.0))
    result = analysed(tmp_path, rows, primary=("MT_dABp", "MT_tAB"), visits=("M12",))
    better = pick(result, "responders", endpoint="MT_dABp", outcome="improved")
    assert [(r["count"], r["n"]) for r in better] == [(4, 4), (4, 4)]
    # no odds ratio exists when everybody improves, and the row says so
    assert better[1]["reason"] == "UNBOUNDED"
    assert better[1]["p_fisher"] == 1.0
    area = pick(result, "responders", endpoint="MT_tAB", outcome="improved")
    assert {r["reason"] for r in area} == {"NO_DIRECTION"}
    stable = pick(result, "responders", endpoint="MT_tAB", outcome="stable")
    assert [r["count"] for r in stable] == [0, 0]


def test_the_next_trial_is_sized_from_the_estimate_and_its_limits(done) -> None:  # type: ignore[no-untyped-def]
    _, result = done
    at = {"endpoint": "MFTC_ThCtAB_aMe", "visit": "M12", "power": 0.8}
    row = only(result, "sample_size", design="observed difference", **at)
    assert row["n_per_arm_best"] <= row["n_per_arm"] <= row["n_per_arm_worst"]
    slow = {
        r["slowing_pct"]: r
        for r in pick(result, "sample_size", design="slowing", arm="placebo", **at)
    }
    assert slow[50.0]["effect_size"] == pytest.approx(0.5 * slow[100.0]["effect_size"])
    assert slow[50.0]["n_per_arm"] > slow[100.0]["n_per_arm"]
    film = only(
        result, "sample_size", endpoint="medial_mJSW", visit="M12", power=0.8,
        design="observed difference",
    )  # fmt: skip
    # no difference was planted: UNBOUNDED, there is no size that is surely enough
    assert film["reason"] == "UNBOUNDED"
    assert "n_per_arm_worst" not in film
    assert film["n_per_arm"] >= film["n_per_arm_best"]


def test_adverse_events_are_counted_by_arm(done) -> None:  # type: ignore[no-untyped-def]
    _, result = done
    placebo, verum = result.tables["ae"]
    assert (placebo["with_event"], placebo["n_reported"], placebo["events"]) == (5, 13, 5)
    assert (verum["with_event"], verum["n_reported"], verum["reference_arm"]) == (4, 12, "placebo")
    assert verum["difference_low"] < verum["share_difference"] < verum["difference_high"]


def test_mixed_model_and_ancova_tell_the_same_story(done) -> None:  # type: ignore[no-untyped-def]
    _, result = done
    for visit in EFFECT_MM:
        at = {"endpoint": "MFTC_ThCtAB_aMe", "visit": visit}
        mixed, single = only(result, "mixed", **at), only(result, "ancova", **at)
        assert mixed["difference"] == pytest.approx(single["difference"], abs=0.02)
        assert (mixed["n_participants"], mixed["n_values"]) == (25, 50)
        assert "large-sample" in mixed["method"]
    flat = pick(result, "mixed", endpoint="MT_dABp")
    assert {r["reason"] for r in flat} == {"NO_VARIANCE"}


#: Columns that may be empty in a row without a reason, because they do not apply to it.
_NOT_FOR_EVERY_ROW = {
    "ancova": set(),
    "responders": {"share_difference", "difference_low", "difference_high", "odds_ratio",
                   "odds_ratio_low", "odds_ratio_high", "p_fisher"},
    "srm": {"mean_change_pct"},
    "sample_size": {"slowing_pct"},
    "association": set(),
    "mixed": set(),
    "ae": {"share_difference", "difference_low", "difference_high", "p_fisher"},
    "values": {"days", "change_pct", "sdc"},
    "excluded": {"line"},
}  # fmt: skip


def test_no_number_is_absent_without_a_reason(done) -> None:  # type: ignore[no-untyped-def]
    out, result = done
    assert set(_NOT_FOR_EVERY_ROW) == set(TABLES)
    for name, columns in TABLES.items():
        frame = pd.read_parquet(out / "tables" / "trial" / f"{name}.parquet")
        assert list(frame.columns) == [column.name for column in columns]
        assert len(frame) == len(result.tables[name])
        if "reason" not in frame:
            continue
        assert set(frame["status"]) <= {"ok", "not_measurable"}
        assert (frame.loc[frame["status"] != "ok", "reason"] != "").all()
        assert (frame.loc[frame["reason"] != "", "message"] != "").all()
        said = frame[frame["reason"] == ""]
        numbers = [c.name for c in columns if c.type != "text"]
        empty = {column for column in numbers if said[column].isna().any()}
        assert empty <= _NOT_FOR_EVERY_ROW[name], name
        assert np.isfinite(frame[numbers].fillna(0.0).to_numpy(dtype=float)).all()


def test_csv_and_parquet_hold_the_same(done) -> None:  # type: ignore[no-untyped-def]
    out, _ = done
    for name, columns in TABLES.items():
        folder = out / "tables" / "trial"
        frame = pd.read_parquet(folder / f"{name}.parquet")
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == len(frame)
        for column in columns:
            if column.type == "text":
                continue
            text = [float(row[column.name]) if row[column.name] else math.nan for row in rows]
            np.testing.assert_array_equal(text, frame[column.name].to_numpy(dtype=float))


def test_statistics_say_what_made_the_numbers(done) -> None:  # type: ignore[no-untyped-def]
    out, _ = done
    said = json.loads((out / "trial" / "statistics.json").read_text())
    digest = hashlib.sha256((out / "tables" / "change.parquet").read_bytes()).hexdigest()
    assert said["inputs"]["tables/change.parquet"]["sha256"] == digest
    assert said["inputs"]["arms"]["file"] == "arms.csv"
    assert (said["seed"], said["arms"]) == (QUICK.seed, {"placebo": 13, "verum": 12})
    assert {"kneeimg", "numpy", "scipy", "statsmodels"} <= set(said["software"])
    assert said["settings"]["permutations"] == 199


def test_a_second_run_and_other_company_change_nothing(done, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out, result = done
    arms = write_arms(tmp_path / "arms.csv")
    told: list[Unblinded] = []
    fewer = QUICK.model_copy(update={"secondary": ()})
    again = analyse_trial(out, arms, settings=fewer, target=tmp_path / "again", then=[told.append])
    (known,) = told
    assert (known.out, known.target, known.order) == (out, tmp_path / "again", ARMS)
    assert known.arms["P02"] == "verum"
    for row in again.tables["ancova"]:
        same = only(result, "ancova", endpoint=row["endpoint"], visit=row["visit"])
        assert row == same  # seeds belong to the outcome, not to its place in a list
    first = {p.name: p.read_bytes() for p in again.files}
    analyse_trial(out, arms, settings=fewer, target=tmp_path / "again")
    assert {p.name: p.read_bytes() for p in again.files} == first


def test_bad_rows_are_listed_and_the_rest_is_analysed(tmp_path: Path) -> None:
    rows = [row for row in study_rows() if row["participant"] != "P25"]
    rows += [
        row | {"participant": "P26", "side": side}
        for row in rows[:10]
        for side in ("left", "right")
    ]
    people = {f"P{n + 1:02d}": "right" for n in range(24)} | {"P26": "n/a"}
    out = write_results(tmp_path / "out", rows, people)
    arms = write_arms(tmp_path / "arms.csv", 22, "P23,\nP77,verum\nP26,verum\nP01,verum\n")
    clinical = tmp_path / "clinical.csv"
    clinical.write_text("participant,visit,vas\nP02,BL,many\nP02,M06,101\nP88,BL,5\nP03,M99,5\n")
    result = analyse_trial(out, arms, [clinical], QUICK)
    found = [
        (r["source"], r["line"], r["participant"], r["code"]) for r in result.tables["excluded"]
    ]
    assert found == [
        ("arms.csv", 24, "P23", "NO_ARM"),
        ("arms.csv", 25, "P77", "UNKNOWN_PARTICIPANT"),
        ("arms.csv", 2, "P01", "DUPLICATE_ENTRY"),
        ("arms.csv", 27, "P01", "DUPLICATE_ENTRY"),
        ("results", None, "P24", "NO_ARM"),
        ("clinical.csv", 4, "P88", "UNKNOWN_PARTICIPANT"),
        ("clinical.csv", 5, "P03", "UNKNOWN_VISIT"),
        ("clinical.csv", 2, "P02", "NOT_A_NUMBER"),
        ("clinical.csv", 3, "P02", "OUT_OF_RANGE"),
        ("results", None, "P26", "AMBIGUOUS_KNEE"),
    ]
    row = only(result, "ancova", endpoint="MFTC_ThCtAB_aMe", visit="M12")
    assert (row["status"], row["n_arm"] + row["n_reference"]) == ("ok", 21)
    assert int(result.exit_status) == 2
    assert all(f.expected and f.where and f.action for f in exclusion_findings(result))
    values = pick(result, "values", participant="P26", endpoint="MFTC_ThCtAB_aMe")
    assert {r["reason"] for r in values} == {"AMBIGUOUS_KNEE"}
    vas = pick(result, "ancova", endpoint="vas")
    assert {r["reason"] for r in vas} == {"VISIT_MISSING"}


def test_one_arm_leaves_srm_and_says_so_elsewhere(tmp_path: Path) -> None:
    people = "".join(f"P{n + 1:02d},verum\n" for n in range(25))
    result = analysed(tmp_path, study_rows(), people)
    assert {r["reason"] for r in result.tables["ancova"]} == {"ONE_ARM"}
    srm = only(result, "srm", endpoint="MFTC_ThCtAB_aMe", visit="M12", arm="verum")
    assert (srm["status"], srm["n"]) == ("ok", 25)
    assert int(result.exit_status) == 3
    sizes = pick(result, "sample_size", design="observed difference")
    assert {r["reason"] for r in sizes} == {"ONE_ARM"}


def test_three_arms_are_each_compared_with_the_reference(tmp_path: Path) -> None:
    people = "".join(f"P{n + 1:02d},{'abc'[n % 3]}\n" for n in range(25))
    result = analysed(tmp_path, study_rows(), people, reference="b")
    rows = pick(result, "ancova", endpoint="MFTC_ThCtAB_aMe", visit="M12")
    assert [(r["arm"], r["reference_arm"]) for r in rows] == [("a", "b"), ("c", "b")]


def test_few_flat_and_missing_values_have_reasons(tmp_path: Path) -> None:
    rows = []
    for number in range(10):
        person = f"P{number + 1:02d}"
        flat = change_row(person, "MT", "ThCtAB_aMe", "M12")
        rows.append(valued(flat, 2.0, 0.0))
        gone = change_row(
            person, "LT", "ThCtAB_aMe", "M12", status="not_measurable", reason="REGION_EMPTY"
        )
        rows.append(gone | dict.fromkeys(("baseline", "followup", "change"), math.nan))
        if number < 5:
            few = change_row(person, "cMF", "ThCtAB_aMe", "M12")
            rows.append(valued(few, 1.8 + number / 10, 0.1 * number))
    names = tuple(f"{r}_ThCtAB_aMe" for r in ("MT", "LT", "cMF", "cFM"))
    result = analysed(tmp_path, rows, primary=names, visits=("M06", "M12"))
    at = {r["endpoint"][:3]: r["reason"] for r in pick(result, "ancova", visit="M12")}
    assert at == {
        "MT_": "NO_VARIANCE",
        "LT_": "VISIT_MISSING",
        "cMF": "TOO_FEW_PARTICIPANTS",
        "cFM": "UNKNOWN_OUTCOME",
    }
    never = [r for r in pick(result, "ancova", visit="M06") if r["endpoint"] != names[3]]
    assert {r["reason"] for r in never} == {"VISIT_MISSING"}
    lt = pick(result, "values", endpoint="LT_ThCtAB_aMe", visit="M12")
    assert {r["reason"] for r in lt} == {"REGION_EMPTY"}  # why each person has no value
    assert int(result.exit_status) == 3


def test_the_index_knee_counts_and_drift_is_counted(tmp_path: Path) -> None:
    rows = study_rows()
    rows[0]["drift"] = "model: A -> B"
    rows += [row | {"side": "left", "change": 9.9, "drift": ""} for row in rows]
    result = analysed(tmp_path, rows, all_visits=True)
    assert result.statistics["visits"] == ["M06", "M12"]
    row = only(result, "ancova", endpoint="MFTC_ThCtAB_aMe", visit="M06")
    assert (row["n_arm"], row["n_reference"], row["n_drift"]) == (12, 13, 1)
    assert abs(row["mean_change_arm"]) < 0.2


def test_changes_from_another_baseline_are_left_out(tmp_path: Path) -> None:
    rows = study_rows()
    odd = [row | {"visit_from": "M01"} for row in rows if row["participant"] == "P01"]
    result = analysed(tmp_path, [r for r in rows if r["participant"] != "P01"] + odd)
    assert result.statistics["baseline"] == "BL"
    row = only(result, "values", participant="P01", endpoint="FTJ_ThCtAB_aMe", visit="M12")
    assert row["reason"] == "VISIT_MISSING"


def test_a_folder_without_change_is_refused(tmp_path: Path) -> None:
    out = write_results(tmp_path / "out", [], {"P01": "right"})
    with pytest.raises(InputError, match="OUTPUT_CHANGED"):
        analyse_trial(out, write_arms(tmp_path / "arms.csv"))
    with pytest.raises(InputError, match="OUTPUT_CHANGED"):
        analyse_trial(tmp_path, tmp_path / "arms.csv")


def test_a_target_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    out = write_results(tmp_path / "out", study_rows(8))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        analyse_trial(
            out, write_arms(tmp_path / "arms.csv", 8), settings=QUICK, target=tmp_path / "file"
        )


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="twice"):
        TrialSettings(visits=("M06", "M06"))
    with pytest.raises(ValueError, match="Extra inputs"):
        TrialSettings.model_validate({"arms": "x"})


def test_only_the_analysis_reads_the_sealed_arms() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "kneeimg").rglob("*.py")
        if re.search(
            r"^from kneeimg\.trial\.sealed import .*(Arms|read_arms)", path.read_text(), re.M
        )
    }
    assert readers == {"kneeimg/pipeline/trial.py"}


def test_the_page_of_tables_is_current() -> None:
    page = (ROOT / "docs" / "trial-tables.md").read_text(encoding="utf-8")
    for name, columns in TABLES.items():
        assert f"\n## {name}\n" in page, "run scripts/make_trial_tables.py"
        for column in columns:
            assert f"| `{column.name}` | {column.type} | {column.meaning} |" in page
    assert page.count("\n| `") == sum(len(columns) for columns in TABLES.values())


def test_the_worked_example_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = ROOT / "docs" / "trial-analysis.md"
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (result.failed, result.attempted > 5) == (0, True)


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_command_shows_the_primary_outcomes(tmp_path: Path) -> None:
    out = write_results(tmp_path / "out", study_rows())
    arms = write_arms(tmp_path / "arms.csv")
    quick = tmp_path / "trial.toml"
    quick.write_text("permutations = 199\nresamples = 199\nsecondary = []\n")
    status, text, _ = invoke("trial", out, "--arms", arms, "--settings", quick)
    assert status == 0
    assert "verum − placebo" in text
    assert "13" in text
    assert (out / "tables" / "trial" / "ancova.csv").is_file()
    arms.write_text(arms.read_text() + "P77,verum\n")
    status, text, _ = invoke(
        "trial", out, "--arms", arms, "--settings", quick, "--json", "--visit", "M12",
        "--reference", "verum", "-o", tmp_path / "other",
    )  # fmt: skip
    said = json.loads(text)
    assert (status, said["visits"], said["reference_arm"]) == (2, ["M12"], "verum")
    assert said["excluded"] == {"UNKNOWN_PARTICIPANT": 1}
    assert len(said["primary_results"]) == 2
    assert (tmp_path / "other" / "trial" / "statistics.json").is_file()


def test_the_command_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    out = write_results(tmp_path / "out", study_rows(6))
    arms = write_arms(tmp_path / "arms.csv", 6)
    assert invoke("trial", out)[0] == 1
    status, _, said = invoke("trial", out, "--arms", arms, "--reference", "other")
    assert (status, "reference arm" in said) == (1, True)
    typo = tmp_path / "trial.toml"
    typo.write_text("permutation = 99\n")
    status, _, said = invoke("trial", out, "--arms", arms, "--settings", typo)
    assert (status, "did you mean permutations?" in said) == (1, True)
    with pytest.raises(StudyError):
        analyse_trial(out, typo)
