"""`kneeimg precision`: repeats are found in a results folder, compared and written."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kneeimg import __version__
from kneeimg.cli import app
from kneeimg.core.anatomy import Side
from kneeimg.core.measurement import Measurement
from kneeimg.core.visit import Visit
from kneeimg.errors import InputError, ReasonCode, StudyError
from kneeimg.io.atomic import sha256_file, staging_folder, write_json
from kneeimg.io.audit_log import AuditLog
from kneeimg.io.audit_verify import verify_audit
from kneeimg.io.freeze import lock_results
from kneeimg.io.precision import header_path, read_precision
from kneeimg.io.results import DESCRIPTION, KneeRecord, knee_file, record_to_json, scan_folder
from kneeimg.pipeline.planned import planned_rows, row_context
from kneeimg.pipeline.precision import precision_of_csv, precision_of_results
from kneeimg.pipeline.repeatability import load_repeatability, settings_hash
from kneeimg.pipeline.repeated_scans import FinishedScan, repeated_scans
from kneeimg.pipeline.runner import Signature, publish_stage
from kneeimg.settings.study import StageSettings

SETTINGS = StageSettings()
SD_MM = 0.1


def film(participant: str, visit: str, value: float, side: Side = Side.RIGHT) -> KneeRecord:
    rows = tuple(
        Measurement(r, q, value, u, method="duryea") for r, q, u in planned_rows("film", SETTINGS)
    )
    context = row_context("film", SETTINGS, "", spacing_source="user")
    return KneeRecord(Visit(participant, visit, side, 0), "film", "measured", rows, context)


def publish_record(out: Path, record: KneeRecord, settings: StageSettings = SETTINGS) -> None:
    """A finished case, as a run leaves it."""
    visit = record.visit
    manifest = out / scan_folder(visit.participant, visit.visit, record.kind) / "manifest.json"
    with staging_folder(out, "case") as stage:
        name = knee_file(visit.participant, visit.visit, visit.side, "measurements.json")
        write_json(stage / name, record_to_json(record))
        used = settings.model_dump(mode="json", include={"reading", "film"})
        publish_stage(stage, manifest, Signature({}, {}, (), used, {"sha256": ""}), "measured")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Ten people with visits A and B, twelve hours apart; the error has a known SD."""
    out = tmp_path / "out"
    out.mkdir()
    write_json(out / DESCRIPTION, {"Name": "RT1", "GeneratedBy": [{"Name": "kneeimg"}]})
    rng = np.random.default_rng(5)
    for number in range(10):
        truth = rng.uniform(3.0, 5.0)
        for visit in ("A", "B"):
            publish_record(out, film(f"P{number}", visit, truth + rng.normal(0.0, SD_MM)))
    return out


def pairs_file(folder: Path, lines: list[str]) -> Path:
    path = folder / "pairs.csv"
    path.write_text("participant,visit_a,visit_b\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return pairs_file(tmp_path, [f"P{n},A,B" for n in range(10)])


def test_visits_that_are_named_repeats(results: Path, pairs: Path) -> None:
    found = precision_of_results(results, pairs=pairs, date="2026-01-01")
    header = found.study.header
    assert (header.study, header.n_people, header.kind) == ("RT1", 10, "retest")
    assert header.software_version == __version__
    assert header.settings == {"film": settings_hash("film", SETTINGS)}
    rows = {(r.procedure, r.region, r.quantity): r for r in found.study.rows}
    own, paired = (rows[p, "medial", "mJSW"] for p in ("independent", "paired"))
    assert own.sdc95_low < 1.96 * math.sqrt(2) * SD_MM < own.sdc95_high
    assert paired.sdc95 == pytest.approx(own.sdc95)  # films are compared as they were measured
    assert (own.n_people, own.n_scans, own.df) == (10, 20, 10)
    assert own.icc_2_1 > 0.9
    assert len(rows) == 2 * len(planned_rows("film", SETTINGS))


def test_mirrored_knees_repeat_the_same(results: Path, pairs: Path, tmp_path: Path) -> None:
    right = precision_of_results(results, pairs=pairs).study.rows
    left = tmp_path / "left"
    left.mkdir()
    write_json(left / DESCRIPTION, {"Name": "RT1", "GeneratedBy": [{"Name": "kneeimg"}]})
    for path in sorted(results.glob("sub-*/ses-*/xr/*_measurements.json")):
        content = json.loads(path.read_text())
        value = content["measurements"][0]["value"]
        publish_record(left, film(content["participant"], content["visit"], value, Side.LEFT))
    assert precision_of_results(left, pairs=pairs).study.rows == right


def test_no_repeats_is_said(results: Path) -> None:
    with pytest.raises(InputError) as caught:
        precision_of_results(results)
    assert caught.value.code is ReasonCode.NO_REPEATS


def test_a_wrong_visit_is_named_with_its_line(results: Path, tmp_path: Path) -> None:
    pairs = pairs_file(tmp_path, ["P0,A,B", "P1,A,M99"])
    with pytest.raises(StudyError, match=r"pairs.csv, line 3(.|\n)*P1 M99"):
        precision_of_results(results, pairs=pairs)
    pairs.write_text("participant,visit\nP0,A\n")
    with pytest.raises(StudyError, match="no column visit_a, visit_b"):
        precision_of_results(results, pairs=pairs)


def test_changed_results_and_unlike_settings_are_refused(results: Path, pairs: Path) -> None:
    odd = StageSettings.model_validate({"film": {"check_fibula": False}})
    publish_record(results, film("P3", "B", 4.0), odd)
    with pytest.raises(InputError, match="same settings"):
        precision_of_results(results, pairs=pairs)
    record = next(results.glob("sub-P1/ses-A/xr/*_measurements.json"))
    record.write_text(record.read_text().replace("4", "5"))
    with pytest.raises(InputError) as caught:
        precision_of_results(results, pairs=pairs)
    assert caught.value.code is ReasonCode.OUTPUT_CHANGED
    with pytest.raises(InputError, match="no results"):
        precision_of_results(results.parent, pairs=pairs)


def test_scans_of_one_visit_repeat_and_their_average_does_not() -> None:
    def scan(name: str) -> FinishedScan:
        record = film("P0", "BL", 4.0)
        return FinishedScan(replace(record, visit=replace(record.visit, scan=name)), Path(), {})

    (group,) = repeated_scans([scan(""), scan("run-10"), scan("run-2"), scan("run-1")], None)
    assert [s.scan for s in group] == ["run-1", "run-2", "run-10"]
    assert repeated_scans([scan("")], None) == []


def test_repeats_by_another_method_are_left_out(results: Path, pairs: Path) -> None:
    other = film("P0", "B", 4.0)
    rows = tuple(replace(m, method="by hand") for m in other.measurements)
    publish_record(results, replace(other, measurements=rows))
    found = precision_of_results(results, pairs=pairs)
    assert [finding.where for finding in found.findings] == ["P0 B"]
    assert {row.n_people for row in found.study.rows} == {9}


def test_the_command_and_the_run_that_uses_its_table(
    results: Path, pairs: Path, tmp_path: Path
) -> None:
    table = tmp_path / "precision.csv"
    command = ["precision", str(results), "--pairs", str(pairs), "-o", str(table)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "SDC95" in done.stdout
    assert table.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert read_precision(table).header.study == "RT1"
    assert header_path(table).is_file()
    known = load_repeatability("precision.csv", tmp_path)
    assert known is not None
    assert known.rows[0].n_people == 10
    as_json = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert as_json["header"]["kind"] == "retest"
    assert len(as_json["rows"]) == len(known.rows)


def run_precision(results: Path, pairs: Path, table: Path) -> None:
    command = ["precision", str(results), "--pairs", str(pairs), "-o", str(table)]
    done = CliRunner().invoke(app, [*command, "--user", "Dr B"])
    assert done.exit_code == 0, done.output


def test_the_log_of_the_results_names_the_table(results: Path, pairs: Path, tmp_path: Path) -> None:
    table = tmp_path / "precision.csv"
    run_precision(results, pairs, table)
    (entry,) = AuditLog(results).entries()
    assert (entry.what, entry.who["stated"]) == ("precision.written", "Dr B")
    assert entry.inputs == {"pairs.csv": sha256_file(pairs)}
    assert entry.outputs == {}  # it lies elsewhere: verify cannot compare it
    assert entry.detail["elsewhere"]["precision.csv"] == sha256_file(table)
    assert set(entry.detail["elsewhere"]) == {"precision.csv", "precision.json", "precision.png"}


def test_a_table_among_the_results_is_verified(results: Path, pairs: Path) -> None:
    table = results / "tables" / "precision.csv"
    table.parent.mkdir()
    run_precision(results, pairs, table)
    changed = [f.where for f in verify_audit(results).problems if f.where.startswith("tables")]
    assert changed == []
    table.write_text(table.read_text() + "\n")
    changed = [f.where for f in verify_audit(results).problems if f.where.startswith("tables")]
    assert changed == ["tables/precision.csv"]


def test_locked_results_keep_their_log(results: Path, pairs: Path, tmp_path: Path) -> None:
    lock_results(results, "database lock")
    before = AuditLog(results).path.read_bytes()
    table = tmp_path / "elsewhere" / "precision.csv"
    table.parent.mkdir()
    run_precision(results, pairs, table)
    assert AuditLog(results).path.read_bytes() == before
    (entry,) = AuditLog(table.parent).entries()
    assert set(entry.outputs) == {"precision.csv", "precision.json", "precision.png"}
    assert entry.detail["results"] == results.name
    inside = ["precision", str(results), "--pairs", str(pairs), "-o", str(results / "p.csv")]
    done = CliRunner().invoke(app, inside)
    assert done.exit_code == 4
    assert "LOCKED" in done.output
    assert not (results / "p.csv").exists()


def test_a_plain_table_of_values(tmp_path: Path) -> None:
    path = tmp_path / "reader.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["participant", "side", "region", "quantity", "value", "unit"])
        for number, (first, second) in enumerate([(2.0, 2.2), (1.8, 1.8), (1.5, 1.6)]):
            for value in (first, second):
                writer.writerow([f"P{number}", "right", "MT", "ThCtAB_aMe", value, "mm"])
        writer.writerow(["P9", "right", "MT", "ThCtAB_aMe", "", "mm"])
    (row,) = precision_of_csv(path, study="readers").study.rows
    assert row.rms_sd == pytest.approx(math.sqrt((0.04 + 0.0 + 0.01) / 6))
    assert (row.n_people, row.unit) == (3, "mm")
    out = tmp_path / "p.csv"
    done = CliRunner().invoke(app, ["precision", "--csv", str(path), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert read_precision(out).header.software_version == ""
    path.write_text(path.read_text().replace("2.2", "two"))
    with pytest.raises(StudyError, match="not a number"):
        precision_of_csv(path)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--csv", "x.csv", "."], ["--csv", "missing.csv"], [".", "-o", "table.txt"]],
)
def test_usage_errors(arguments: list[str], tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("participant,region,quantity,value\n")
    assert CliRunner().invoke(app, ["precision", *arguments]).exit_code == 1
