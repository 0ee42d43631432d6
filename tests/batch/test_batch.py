"""Resume, isolation, full disks and the row-count law, with stages that cost nothing."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kneeimg.batch import BatchSummary, run_batch
from kneeimg.core.visit import Visit
from kneeimg.errors import ExitStatus, OutputError, ReasonCode
from kneeimg.io import atomic
from kneeimg.io.results import KneeRecord
from kneeimg.pipeline.cases import Case, Plan
from kneeimg.pipeline.planned import planned_rows
from kneeimg.pipeline.planning import plan_cases
from kneeimg.trial.study import load_study

Run = Callable[..., BatchSummary]
MakeStudy = Callable[..., Plan]
Tree = Callable[[Path], dict[str, bytes]]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_one_run_writes_the_documented_layout(
    make_study: MakeStudy, run: Run, tmp_path: Path, tree: Tree
) -> None:
    summary = run(make_study("P01_M00", "P01_M12"), tmp_path / "out")
    assert summary.exit_status is ExitStatus.MEASURED
    folder = "sub-P01/ses-M12/mri"
    files = {name for name in tree(tmp_path / "out") if not name.startswith("run-")}
    assert files >= {
        f"{folder}/manifest.json",
        f"{folder}/sub-P01_ses-M12_side-R_measurements.json",
        f"{folder}/sub-P01_ses-M12_side-R_qc.png",
        "tables/measurements.csv",
        "tables/measurements.parquet",
        "tables/measurements_wide.csv",
        "tables/change.csv",
        "tables/change.parquet",
        "disposition.csv",
        "participants.tsv",
        "dataset_description.json",
    }
    assert not [name for name in files if "tmp" in name or "staging" in name or "logs" in name]
    assert "BIDSVersion" not in (tmp_path / "out/dataset_description.json").read_text()


def test_second_run_does_nothing_and_changes_no_byte(
    make_study: MakeStudy, run: Run, stage: Callable[..., None], tmp_path: Path, tree: Tree
) -> None:
    plan = make_study("P01_M00", "P01_M12")
    run(plan, tmp_path / "out")
    before = tree(tmp_path / "out")

    def never(case: Case, folder: Path) -> tuple[KneeRecord, ...]:
        raise AssertionError(f"{case.name} was measured again")

    stage(never)
    summary = run(plan, tmp_path / "out")
    assert summary.n_reused == 2
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("damage", ["changed", "removed", "manifest", "manifest cut"])
def test_touched_output_is_measured_again(
    make_study: MakeStudy, run: Run, tmp_path: Path, tree: Tree, damage: str
) -> None:
    plan = make_study("P01_M00", "P02_M00")
    run(plan, tmp_path / "out")
    before = tree(tmp_path / "out")
    folder = tmp_path / "out/sub-P01/ses-M00/mri"
    picture, manifest = folder / "sub-P01_ses-M00_side-R_qc.png", folder / "manifest.json"
    if damage == "changed":
        picture.write_bytes(b"edited by hand")
    elif damage == "removed":
        picture.unlink()
    elif damage == "manifest":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:50])
    summary = run(plan, tmp_path / "out")
    assert summary.n_reused == 1
    assert summary.changed == (() if damage == "manifest" else ("P01_M00_mri_R",))
    assert tree(tmp_path / "out") == before


def test_other_input_other_settings_and_force_measure_again(
    make_study: MakeStudy, run: Run, tmp_path: Path, other_settings: Callable[[Case], Case]
) -> None:
    plan = make_study("P01_M00", "P02_M00")
    out = tmp_path / "out"
    run(plan, out)
    (tmp_path / "in/P01_M00.nii.gz").write_bytes(b"another mask, much longer")
    assert run(plan, out).n_reused == 1
    assert _rows(out / "tables/measurements.csv")[0]["value"] == "25.0"
    other = replace(plan, cases=tuple(other_settings(case) for case in plan.cases))
    assert run(other, out).n_reused == 0
    assert run(other, out, force=True, reason="test of force").n_reused == 0
    assert run(other, out).n_reused == 2


def test_output_that_is_no_longer_made_is_removed(
    make_study: MakeStudy, run: Run, tmp_path: Path
) -> None:
    plan = make_study("P01_M00")
    out = tmp_path / "out"
    run(plan, out)
    folder = out / "sub-P01/ses-M00/mri"
    (folder / "notes.txt").write_text("mine")
    bad = tmp_path / "in/P01_M00_bad.nii.gz"
    bad.write_bytes(b"another mask")
    case = plan.cases[0]
    assert case.mask is not None
    refused = replace(case, mask=replace(case.mask, path=bad), inputs=(("m", bad),))
    run(replace(plan, cases=(refused,)), out)
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "notes.txt",
        "sub-P01_ses-M00_side-R_measurements.json",
    ]


def test_every_planned_measurement_has_exactly_one_row(
    make_study: MakeStudy, run: Run, tmp_path: Path
) -> None:
    plan = make_study("P01_M00", "P01_M12_bad", "P02_M00_bug", "P03_M00")
    (tmp_path / "in/P03_M00.nii.gz").unlink()
    summary = run(plan, tmp_path / "out")
    rows = _rows(tmp_path / "out/tables/measurements.csv")
    planned = planned_rows("mri", plan.settings.stages())
    assert len(rows) == len(planned) * 4 == summary.n_rows
    keys = {(r["participant"], r["visit"], r["side"], r["region"], r["quantity"]) for r in rows}
    assert len(keys) == len(rows)
    reasons = {(r["participant"], r["visit"]): r["reason"] for r in rows}
    assert reasons == {
        ("P01", "M00"): "",
        ("P01", "M12"): "NO_BONE",
        ("P02", "M00"): "INTERNAL_ERROR",
        ("P03", "M00"): "BAD_MASK_FILE",
    }
    assert all((r["value"] == "") == (r["status"] == "not_measurable") for r in rows)
    table = pq.read_table(tmp_path / "out/tables/measurements.parquet")
    assert table.num_rows == len(rows)
    assert str(table.schema.field("value").type) == "double"
    assert table["value"].null_count == 3 * len(planned)


def test_disposition_names_code_expected_and_action(
    make_study: MakeStudy, run: Run, tmp_path: Path
) -> None:
    summary = run(make_study("P01_M00", "P01_M12_bad", "P02_M00_bug"), tmp_path / "out")
    rows = _rows(tmp_path / "out/disposition.csv")
    assert [(r["participant"], r["status"], r["code"]) for r in rows] == [
        ("P01", "measured", ""),
        ("P01", "refused", "NO_BONE"),
        ("P02", "refused", "INTERNAL_ERROR"),
    ]
    assert summary.exit_status is ExitStatus.SOME_REFUSED
    assert len(summary.refusals) == 2
    assert summary.crashed == ("P02_M00_mri_R",)


def test_a_bug_is_logged_without_its_text_and_tried_again(
    make_study: MakeStudy, run: Run, tmp_path: Path, tree: Tree
) -> None:
    plan = make_study("P02_M00_bug")
    summary = run(plan, tmp_path / "out")
    assert summary.exit_status is ExitStatus.ALL_REFUSED
    log = (tmp_path / "out/logs/P02_M00_mri_R.log").read_text()
    assert "RuntimeError" in log
    assert "cheap_stage" in log
    for name, content in tree(tmp_path / "out").items():
        assert b"SECRET" not in content, name
        assert b"/home/someone" not in content, name
    again = run(plan, tmp_path / "out")
    assert again.n_reused == 0


def test_refusal_is_kept_and_not_tried_again(
    make_study: MakeStudy, run: Run, tmp_path: Path, tree: Tree
) -> None:
    plan = make_study("P01_M00_bad")
    run(plan, tmp_path / "out")
    before = tree(tmp_path / "out")
    assert run(plan, tmp_path / "out").n_reused == 1
    assert tree(tmp_path / "out") == before


def test_full_disk_stops_with_a_code_and_keeps_old_results(
    make_study: MakeStudy,
    run: Run,
    tmp_path: Path,
    tree: Tree,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = make_study("P01_M00", "P02_M00")
    out = tmp_path / "out"
    run(plan, out)
    before = tree(out)
    (tmp_path / "in/P02_M00.nii.gz").write_bytes(b"a new mask")

    real = os.fsync

    def full(handle: int) -> None:
        name = os.readlink(f"/proc/self/fd/{handle}")
        if "sub-P02" in name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OutputError) as caught:
        run(plan, out)
    assert caught.value.code is ReasonCode.OUTPUT_FULL
    assert tree(out) == before
    monkeypatch.undo()


def test_unwritable_output_is_refused_before_anything_runs(
    make_study: MakeStudy, stage: Callable[..., None], tmp_path: Path
) -> None:
    plan = make_study("P01_M00")
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(OutputError) as caught:
        run_batch(plan, tmp_path / "out")
    assert caught.value.code is ReasonCode.OUTPUT_NOT_WRITABLE


def test_two_runs_at_once_are_refused(make_study: MakeStudy, run: Run, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    plan, out = make_study("P01_M00"), tmp_path / "out"
    out.mkdir()
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(OutputError, match="another run"):
            run(plan, out)
    finally:
        os.close(handle)


def test_leftovers_of_a_killed_run_are_cleared(
    make_study: MakeStudy, run: Run, tmp_path: Path, tree: Tree
) -> None:
    plan, out = make_study("P01_M00"), tmp_path / "out"
    run(plan, out)
    before = tree(out)
    (out / ".kneeimg-staging/P01_M00_mri_R").mkdir(parents=True)
    (out / ".kneeimg-staging/P01_M00_mri_R/half.vtp").write_bytes(b"half")
    (out / "tables/.measurements.csv.kneeimg-tmp").write_bytes(b"half")
    (out / "logs").mkdir()
    (out / "logs/P01_M00_mri_R.log").write_text("kneeimg failed on this case\nold")
    run(plan, out)
    assert tree(out) == before


def test_logs_of_others_stay(make_study: MakeStudy, run: Run, tmp_path: Path) -> None:
    plan, out = make_study("P01_M00"), tmp_path / "out"
    (out / "logs").mkdir(parents=True)
    (out / "logs/mine.log").write_text("not of kneeimg")
    run(plan, out)
    assert (out / "logs/mine.log").read_text() == "not of kneeimg"


def test_nothing_is_written_outside_out(
    make_study: MakeStudy, run: Run, tmp_path: Path, tree: Tree
) -> None:
    plan = make_study("P01_M00", "P01_M12_bug")
    before = tree(tmp_path)
    run(plan, tmp_path / "out")
    after = {k: v for k, v in tree(tmp_path).items() if not k.startswith("out/")}
    assert after == before


def test_ids_with_a_way_out_never_become_a_visit() -> None:
    from kneeimg.errors import StudyError

    with pytest.raises(StudyError):
        Visit("../../etc", "BL", None)


def test_progress_is_called_once_per_case(make_study: MakeStudy, run: Run, tmp_path: Path) -> None:
    lines: list[tuple[int, int, str]] = []
    run(
        make_study("P01_M00", "P02_M00_bad"),
        tmp_path / "out",
        progress=lambda done, total, what: lines.append((done, total, what)),
    )
    assert [line[:2] for line in lines] == [(1, 2), (2, 2)]
    assert lines[1][2] == "P02_M00_mri_R: refused NO_BONE"


def test_a_visit_that_is_gone_leaves_nothing_of_ours(
    make_study: MakeStudy, run: Run, tmp_path: Path, tree: Tree
) -> None:
    out = tmp_path / "out"
    run(make_study("P01_M00", "P01_M12"), out)
    assert (out / "sub-P01/ses-M12/mri/manifest.json").is_file()
    (out / "sub-P01/notes.txt").write_text("of the user")
    run(make_study("P01_M00"), out)
    run(make_study("P01_M00"), tmp_path / "fresh")
    left = tree(out)
    assert left.pop("sub-P01/notes.txt") == b"of the user"
    assert left == tree(tmp_path / "fresh")


def test_somebody_who_left_the_study_is_named_and_keeps_the_files(
    make_study: MakeStudy, run: Run, tmp_path: Path, tree: Tree
) -> None:
    out = tmp_path / "out"
    run(make_study("P01_M00", "P02_M00"), out)
    before = tree(out / "sub-P02")
    (out / "sub-notes").mkdir()  # no results of ours
    run(make_study("P01_M00"), out)
    assert tree(out / "sub-P02") == before
    rows = _rows(out / "disposition.csv")
    assert [(r["participant"], r["status"], r["code"]) for r in rows] == [
        ("P01", "measured", ""),
        ("P02", "skipped", "NOT_IN_STUDY"),
    ]
    assert "not in the study any more" in rows[1]["message"]
    assert rows[1]["expected"]
    assert rows[1]["found"]
    assert rows[1]["action"]
    assert {r["participant"] for r in _rows(out / "tables/measurements.csv")} == {"P01"}
    assert run(make_study("P01_M00", "P02_M00"), out).n_reused == 2


def test_repeats_are_kept_and_their_mean_stands_in_the_tables(
    make_study: MakeStudy, run: Run, tmp_path: Path, tree: Tree
) -> None:
    plan = make_study("P01_M00", "P01_M12")
    table = tmp_path / "in/scans.csv"
    lines = table.read_text().splitlines()
    (tmp_path / "in/again.nii.gz").write_bytes(b"xxx")
    lines = [lines[0] + ",scan", lines[1] + ",run-1", "P01,M00,R,again.nii.gz,9,run-2"]
    table.write_text("\n".join([*lines, "P01,M12,R,P01_M12.nii.gz,360,", ""]))
    plan = plan_cases(tmp_path / "in", load_study(tmp_path / "in/study.toml"))
    out = tmp_path / "out"
    summary = run(plan, out)
    assert summary.exit_status is ExitStatus.MEASURED
    assert summary.counts["measured"] == 3
    rows = _rows(out / "tables/measurements.csv")
    first = [r for r in rows if r["region"] == "MT" and r["quantity"] == "VC"]
    assert [(r["visit"], r["scan"], r["dtype"], r["value"], r["day"]) for r in first] == [
        ("M00", "", "AVERAGE", "2.0", "4"),
        ("M00", "run-1", "", "1.0", "0"),
        ("M00", "run-2", "", "3.0", "9"),
        ("M12", "", "", "2.0", "360"),
    ]
    wide = _rows(out / "tables/measurements_wide.csv")
    assert [(r["visit"], r["MT_VC"]) for r in wide] == [("M00", "2.0"), ("M12", "2.0")]
    folder = out / "sub-P01/ses-M00/mri"
    assert sorted(p.name for p in folder.glob("manifest*")) == [
        "manifest_side-R_run-1.json",
        "manifest_side-R_run-2.json",
    ]
    before = tree(out)
    assert run(plan, out).n_reused == 3
    assert tree(out) == before


def test_other_dates_measure_nothing_again_and_stand_in_the_tables(
    make_study: MakeStudy, run: Run, tmp_path: Path
) -> None:
    run(make_study("P01_M00", "P01_M12"), tmp_path / "out")
    table = tmp_path / "in/scans.csv"
    table.write_text(table.read_text().replace(",360", ",371"))
    plan = plan_cases(tmp_path / "in", load_study(tmp_path / "in/study.toml"))
    assert run(plan, tmp_path / "out").n_reused == 2
    assert {r["day"] for r in _rows(tmp_path / "out/tables/measurements.csv")} == {"0", "371"}
