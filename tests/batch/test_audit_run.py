"""What a run leaves in the audit log, and what exclusion, lock and blinding do to results."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kneeimg.batch import BatchSummary
from kneeimg.batch.blinding import blind_pictures, unblind
from kneeimg.batch.derived import recorded
from kneeimg.batch.exclusions import ScanChoice, exclude_scans, include_scans, known_exclusions
from kneeimg.core.audit import Entry
from kneeimg.errors import ExitStatus, InputError, OutputError, ReasonCode, StudyError
from kneeimg.io.atomic import sha256_file
from kneeimg.io.audit_log import AuditLog
from kneeimg.io.audit_verify import verify_audit
from kneeimg.io.freeze import lock_results, unlock_results
from kneeimg.io.results import KneeRecord
from kneeimg.pipeline import runner
from kneeimg.pipeline.cases import Case, Plan

Run = Callable[..., BatchSummary]
MakeStudy = Callable[..., Plan]
Tree = Callable[[Path], dict[str, bytes]]
TABLES = ("measurements.csv", "measurements.parquet", "measurements_wide.csv", "change.csv")


def _entries(out: Path) -> tuple[Entry, ...]:
    return AuditLog(out).entries()


def _kinds(out: Path) -> list[str]:
    return [entry.what for entry in _entries(out)]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def with_pictures(stage: Callable[..., None]) -> None:
    """The cheap stage, with QC pictures that are pictures: a heading, and a body of its own."""
    import io

    from PIL import Image, ImageDraw
    from PIL.PngImagePlugin import PngInfo

    from kneeimg.io.atomic import write_bytes
    from kneeimg.io.results import knee_file

    cheap = runner._STAGES["mri"]

    def staged(case: Case, folder: Path) -> tuple[KneeRecord, ...]:
        records = cheap(case, folder)
        visit = case.visit
        number = int(visit.participant[1:]) * 50 + int(visit.visit[1:])
        image = Image.new("RGB", (200, 120), "#101010")
        draw = ImageDraw.Draw(image)
        draw.text((5, 8), f"{visit.participant} {visit.visit}", fill="white")
        draw.rectangle((20, 60, 180, 100), fill=(number % 256, 90, 30))
        info = PngInfo()
        info.add_text("Title", f"{visit.participant} {visit.visit}")
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", pnginfo=info)
        name = knee_file(visit.participant, visit.visit, visit.side, "qc.png")
        write_bytes(folder / name, buffer.getvalue())
        return records

    stage(staged)


def test_a_run_records_start_cases_and_end(make_study: MakeStudy, run: Run, out: Path) -> None:
    plan = make_study("P01_M00", "P01_M12_bad", "P02_M00_bug")
    run(plan, out, user="Dr B")
    start, *cases, end = _entries(out)
    assert (start.what, end.what) == ("run.start", "run.end")
    assert [(e.what, e.subject["participant"], e.detail.get("codes")) for e in cases] == [
        ("case.measured", "P01", None),
        ("case.refused", "P01", ["NO_BONE"]),
        ("case.failed", "P02", ["INTERNAL_ERROR"]),
    ]
    assert {entry.who["stated"] for entry in _entries(out)} == {"Dr B"}
    measured = cases[0]
    folder = "sub-P01/ses-M00/mri"
    assert set(measured.outputs) == {
        f"{folder}/manifest.json",
        f"{folder}/sub-P01_ses-M00_side-R_measurements.json",
        f"{folder}/sub-P01_ses-M00_side-R_qc.png",
    }
    assert all(measured.outputs[name] == sha256_file(out / name) for name in measured.outputs)
    mask = out.parent / "in/P01_M00.nii.gz"
    assert dict(measured.inputs) == {"P01_M00.nii.gz": sha256_file(mask)}
    assert set(end.outputs) >= {"disposition.csv", *(f"tables/{name}" for name in TABLES)}
    assert end.detail["counts"] == {"measured": 1, "refused": 2}
    assert verify_audit(out).problems == ()


def test_a_second_run_says_that_all_was_kept(make_study: MakeStudy, run: Run, out: Path) -> None:
    plan = make_study("P01_M00", "P02_M00")
    run(plan, out)
    run(plan, out)
    assert _kinds(out)[4:] == ["run.start", "run.end"]
    assert _entries(out)[-1].detail["kept"] == 2
    assert _entries(out)[-2].detail["changed"] == {}
    assert verify_audit(out).problems == ()


def test_force_needs_a_reason_and_records_old_and_new(
    make_study: MakeStudy, run: Run, out: Path, tree: Tree
) -> None:
    plan = make_study("P01_M00")
    assert run(plan, out, force=True).n_cases == 1  # nothing to overwrite yet
    before, log = tree(out), _entries(out)
    for reason in ("", " .. "):
        with pytest.raises(StudyError) as caught:
            run(plan, out, force=True, reason=reason)
        assert caught.value.code is ReasonCode.REASON_MISSING
    assert (tree(out), _entries(out)) == (before, log)
    run(plan, out, force=True, reason="mask redrawn")
    entry = _entries(out)[4]
    manifest = "sub-P01/ses-M00/mri/manifest.json"
    assert (entry.what, entry.why) == ("case.overwritten", "mask redrawn")
    assert entry.detail["replaces"] == log[1].outputs[manifest]
    assert entry.detail["changed"] == ["asked for again"]
    assert entry.detail["event"] == "case.measured"


def test_other_settings_and_inputs_are_recorded_with_both_hashes(
    make_study: MakeStudy, run: Run, out: Path, other_settings: Callable[[Case], Case]
) -> None:
    plan = make_study("P01_M00", "P02_M00")
    run(plan, out)
    first = _entries(out)
    (out.parent / "in/P02_M00.nii.gz").write_bytes(b"another mask")
    settings = plan.settings.model_copy(
        update={"morphometry": plan.settings.morphometry.model_copy(update={"femur_fraction": 0.6})}
    )
    changed = replace(plan, cases=(other_settings(plan.cases[0]), plan.cases[1]), settings=settings)
    run(changed, out)
    start, one, two, _ = _entries(out)[len(first) :]
    old, new = start.detail["changed"]["settings"]
    assert old == first[0].detail["settings"] != new
    assert one.what == two.what == "case.overwritten"
    assert one.detail["changed"] == ["settings"]
    assert two.detail["changed"] == ["inputs"]
    assert one.why == "measured again: settings"
    assert two.inputs != first[2].inputs
    assert one.detail["replaces"] == first[1].outputs["sub-P01/ses-M00/mri/manifest.json"]
    assert verify_audit(out).problems == ()


def test_an_edited_output_is_found_and_its_repair_recorded(
    make_study: MakeStudy, run: Run, out: Path
) -> None:
    plan = make_study("P01_M00")
    run(plan, out)
    picture = out / "sub-P01/ses-M00/mri/sub-P01_ses-M00_side-R_qc.png"
    picture.write_bytes(b"edited")
    (out / "tables/measurements.csv").write_text("edited")
    where = {finding.where for finding in verify_audit(out).problems}
    assert where == {picture.relative_to(out).as_posix(), "tables/measurements.csv"}
    run(plan, out)
    start, case, _ = _entries(out)[-3:]
    assert start.detail["differing"] == ["tables/measurements.csv"]
    assert case.detail["changed"] == ["an output no longer matched its manifest"]
    assert verify_audit(out).problems == ()


def test_a_file_that_a_run_does_not_write_stays_a_problem(
    make_study: MakeStudy, run: Run, out: Path
) -> None:
    plan = make_study("P01_M00")
    run(plan, out)
    with recorded(out, "trial.analysed", user="Dr B") as detail:
        (out / "tables/trial.csv").write_text("estimate\n0.1\n")
        detail["rows"] = 1
    entry = _entries(out)[-1]
    assert dict(entry.outputs) == {"tables/trial.csv": sha256_file(out / "tables/trial.csv")}
    assert entry.detail == {"rows": 1}
    (out / "tables/trial.csv").write_text("estimate\n9.9\n")
    run(plan, out)
    assert [f.where for f in verify_audit(out).problems] == ["tables/trial.csv"]


def test_results_of_a_run_that_could_not_record_them_are_adopted_and_named(
    make_study: MakeStudy, run: Run, out: Path
) -> None:
    plan = make_study("P01_M00", "P02_M00")
    run(plan, out)
    lines = (out / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (out / "audit.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:70])  # killed just here
    assert verify_audit(out).problems
    run(plan, out)
    kinds = _kinds(out)
    assert kinds == [
        "run.start", "case.measured", "log.repaired", "run.start", "results.adopted", "run.end",
    ]  # fmt: skip
    assert _entries(out)[3].detail["after_unended_run"] == 1
    assert _entries(out)[4].subject["manifest"] == "sub-P02/ses-M00/mri/manifest.json"
    assert verify_audit(out).problems == ()


def test_what_the_plan_no_longer_holds_is_recorded_as_withdrawn(
    make_study: MakeStudy, run: Run, out: Path
) -> None:
    plan = make_study("P01_M00", "P01_M12")
    run(plan, out)
    order = {"P01": ("M00",)}
    run(replace(plan, cases=plan.cases[:1], visit_order=order), out)
    withdrawn = next(entry for entry in _entries(out) if entry.what == "results.withdrawn")
    assert withdrawn.subject["manifest"] == "sub-P01/ses-M12/mri/manifest.json"
    assert set(withdrawn.outputs.values()) == {None}
    assert len(withdrawn.outputs) == 3
    assert verify_audit(out).problems == ()


def test_study_files_are_recorded_by_hash_and_names_only(
    make_study: MakeStudy, run: Run, out: Path
) -> None:
    plan = make_study("P01_M00")
    file = out.parent / "in/participants.csv"
    run(plan, out, files=[file])
    assert dict(_entries(out)[0].inputs) == {"participants.csv": sha256_file(file)}
    assert str(out.parent).encode() not in (out / "audit.jsonl").read_bytes()


def test_exclusion_empties_the_rows_and_the_next_run_agrees(
    make_study: MakeStudy, run: Run, out: Path, tree: Tree
) -> None:
    plan = make_study("P01_M00", "P01_M12", "P02_M00")
    run(plan, out)
    before = tree(out)
    entries = exclude_scans(out, ScanChoice("P01", "M12"), "motion, reader A", "Dr B")
    assert [(e.what, e.why, e.who["stated"]) for e in entries] == [
        ("scan.excluded", "motion, reader A", "Dr B")
    ]
    rows = _rows(out / "tables/measurements.csv")
    assert len(rows) == len(before["tables/measurements.csv"].splitlines()) - 1
    mine = [row for row in rows if (row["participant"], row["visit"]) == ("P01", "M12")]
    assert {(r["value"], r["status"], r["reason"]) for r in mine} == {
        ("", "not_measurable", "EXCLUDED")
    }
    assert all(row["status"] == "ok" for row in rows if row not in mine)
    assert pq.read_table(out / "tables/measurements.parquet")["value"].null_count == len(mine)
    wide = _rows(out / "tables/measurements_wide.csv")
    assert {name for name, cell in wide[1].items() if cell} == {
        "participant", "side", "visit", "day",
    }  # fmt: skip
    gone = next(r for r in _rows(out / "disposition.csv") if r["visit"] == "M12")
    assert (gone["status"], gone["code"], gone["message"]) == (
        "excluded", "EXCLUDED", "excluded: motion, reader A",
    )  # fmt: skip
    after = tree(out)
    kept = [name for name in before if name.startswith("sub-")]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert verify_audit(out).problems == ()
    summary = run(plan, out)
    assert tree(out) == after  # the run writes the very same tables
    assert summary.counts["excluded"] == 1
    assert summary.exit_status is ExitStatus.MEASURED
    standing = known_exclusions(out, AuditLog(out).entries())
    assert [item.reason for item in standing.values()] == ["motion, reader A"]


def test_rewriting_tables_without_an_exclusion_changes_no_byte(
    make_study: MakeStudy, run: Run, out: Path, tree: Tree
) -> None:
    from kneeimg.batch.exclusions import apply_to_tables

    run(make_study("P01_M00", "P01_M12_bad"), out)
    before = tree(out)
    apply_to_tables(out, AuditLog(out))
    assert tree(out) == before


def test_included_again_the_tables_are_as_before(
    make_study: MakeStudy, run: Run, out: Path, tree: Tree
) -> None:
    plan = make_study("P01_M00", "P01_M12")
    run(plan, out)
    before = tree(out)
    exclude_scans(out, ScanChoice("P01", "M12", "right", "mri"), "motion")
    include_scans(out, ScanChoice("P01", "M12"), "the other visit was meant")
    assert any("older than" in note.message for note in verify_audit(out).notes)
    run(plan, out)
    assert not any("older than" in note.message for note in verify_audit(out).notes)
    after = tree(out)
    assert after.pop("exclusions.csv") == b"participant,visit,side,kind,reason\n"
    assert after == before


@pytest.mark.parametrize(
    "choice",
    [("P09", "M00"), ("P01", "M09"), ("P01", "M00", "left"), ("P01", "M00", "", "film"),
     ("P01", "M12")],
)  # fmt: skip
def test_only_a_measured_scan_can_be_excluded(
    make_study: MakeStudy, run: Run, out: Path, choice: tuple[str, ...]
) -> None:
    run(make_study("P01_M00", "P01_M12_bad"), out)
    for change in (exclude_scans, include_scans):
        with pytest.raises(StudyError) as caught:
            change(out, ScanChoice(*choice), "for a reason")
        assert caught.value.code is ReasonCode.NO_SUCH_SCAN


def test_exclusion_needs_a_reason_and_is_not_done_twice(
    make_study: MakeStudy, run: Run, out: Path
) -> None:
    run(make_study("P01_M00"), out)
    with pytest.raises(StudyError, match="REASON_MISSING"):
        exclude_scans(out, ScanChoice("P01", "M00"), " ")
    exclude_scans(out, ScanChoice("P01", "M00"), "motion")
    with pytest.raises(StudyError, match="NO_SUCH_SCAN"):
        exclude_scans(out, ScanChoice("P01", "M00"), "motion")


def test_a_log_that_was_moved_away_does_not_bring_scans_back(
    make_study: MakeStudy, run: Run, out: Path
) -> None:
    plan = make_study("P01_M00", "P02_M00")
    run(plan, out)
    exclude_scans(out, ScanChoice("P01", "M00"), "motion")
    (out / "audit.jsonl").rename(out.parent / "elsewhere.jsonl")
    with pytest.raises(OutputError) as caught:
        run(plan, out)
    assert caught.value.code is ReasonCode.AUDIT_BROKEN


def test_a_broken_log_stops_a_run_before_it_writes(
    make_study: MakeStudy, run: Run, out: Path, tree: Tree
) -> None:
    plan = make_study("P01_M00")
    run(plan, out)
    log = out / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"cases":1', b'"cases":2', 1))
    before = tree(out)
    with pytest.raises(OutputError) as caught:
        run(plan, out)
    assert caught.value.code is ReasonCode.AUDIT_BROKEN
    assert tree(out) == before


def test_locked_results_refuse_every_writer(
    make_study: MakeStudy, run: Run, out: Path, tree: Tree, tmp_path: Path
) -> None:
    plan = make_study("P01_M00", "P02_M00")
    run(plan, out)
    exclude_scans(out, ScanChoice("P02", "M00"), "motion")
    lock_results(out, "database lock")
    before, log = tree(out), _entries(out)
    writers: list[Callable[[], object]] = [
        lambda: run(plan, out),
        lambda: run(plan, out, force=True, reason="once more"),
        lambda: exclude_scans(out, ScanChoice("P01", "M00"), "motion"),
        lambda: include_scans(out, ScanChoice("P02", "M00"), "was right"),
        lambda: blind_pictures(out, tmp_path / "qc"),
        lambda: recorded(out, "report.written").__enter__(),
    ]
    for writer in writers:
        with pytest.raises(OutputError) as caught:
            writer()
        assert caught.value.code is ReasonCode.LOCKED
    assert (tree(out), _entries(out)) == (before, log)
    unlock_results(out, "query 14")
    run(plan, out)
    assert verify_audit(out).problems == ()


@pytest.mark.usefixtures("with_pictures")
def test_blinded_pictures_tell_nothing(
    make_study: MakeStudy, run: Run, out: Path, tmp_path: Path
) -> None:
    from PIL import Image

    names = [f"P{p:02}_M{v:02}" for p in (1, 2, 3) for v in (0, 6, 12)]
    run(make_study(*names, "P04_M00_bad"), out)
    exclude_scans(out, ScanChoice("P03", "M12"), "motion")
    folder = tmp_path / "qc"
    made = blind_pictures(out, folder)
    pictures = sorted(folder.glob("*.png"))
    assert made.n_pictures == len(pictures) == 8  # neither refused nor excluded
    rows = _rows(folder / "qc.csv")
    assert [row["picture"] for row in rows] == [path.name for path in pictures]
    assert not any(row["verdict"] or row["reason"] or row["comment"] for row in rows)
    for path in pictures:
        with Image.open(path) as image:
            assert image.info == {}
            pixels = np.asarray(image).reshape(-1, 3)
        assert len(np.unique(pixels[: 34 * 200], axis=0)) == 1
        assert len(np.unique(pixels, axis=0)) == 2  # the body is there
        data = path.read_bytes()
        assert not [n for n in range(1, 4) if f"P{n:02}".encode() in data]
    assert {path.stat().st_mtime for path in (*folder.iterdir(), folder)} == {315532800.0}
    said = "".join(path.name for path in pictures) + (folder / "qc.csv").read_text()
    assert not [word for word in ("P01", "M06", "sub-", "ses-", "arm") if word in said]
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.key.parent.stat().st_mode) == 0o700
    assert b"P01" not in _entries(out)[-1].line()  # the log does not hold the key


@pytest.mark.usefixtures("with_pictures")
def test_codes_and_order_are_new_each_time(
    make_study: MakeStudy, run: Run, out: Path, tmp_path: Path
) -> None:
    import json

    run(make_study(*[f"P{p:02}_M00" for p in range(1, 13)]), out)
    orders = []
    for name in ("a", "b"):
        key = json.loads(blind_pictures(out, tmp_path / name).key.read_text())["pictures"]
        orders.append([key[code]["participant"] for code in sorted(key)])
        assert sorted(orders[-1]) == [f"P{p:02}" for p in range(1, 13)]
    assert orders[0] != orders[1]  # 1 in 12! by chance
    assert sorted(orders[0]) not in orders
    codes = [path.name for name in "ab" for path in (tmp_path / name).glob("*.png")]
    assert len(set(codes)) == 24


@pytest.mark.usefixtures("with_pictures")
def test_verdicts_come_back_and_fails_are_excluded(
    make_study: MakeStudy, run: Run, out: Path, tmp_path: Path
) -> None:
    import json

    plan = make_study("P01_M00", "P01_M06", "P02_M00")
    run(plan, out)
    folder = tmp_path / "qc"
    key = json.loads(blind_pictures(out, folder).key.read_text())["pictures"]
    bad = next(
        c for c, shot in key.items() if (shot["participant"], shot["visit"]) == ("P01", "M06")
    )
    form = folder / "qc.csv"
    blank = form.read_text()
    with pytest.raises(StudyError, match="no verdict"):
        unblind(form, out)
    lines = ["\ufeffcode;picture;verdict;reason;comment"]  # as a spreadsheet saves it
    for code in key:
        said = "Fail;;" if code == bad else "pass;;fine"
        lines.append(f"{code};{code}.png;{said}")
    form.write_text("\n".join(lines))
    with pytest.raises(StudyError) as caught:
        unblind(form, out)
    assert caught.value.code is ReasonCode.REASON_MISSING
    assert "blinding.opened" not in _kinds(out)  # the key stays sealed
    form.write_text("\n".join(lines).replace("Fail;;", "Fail;ghosting;"))
    result = unblind(form, out)
    assert result.excluded == (("P01", "M06", "right", "mri"),)
    assert sorted(v.verdict for v in result.verdicts) == ["fail", "pass", "pass"]
    excluded = next(e for e in _entries(out) if e.what == "scan.excluded")
    assert excluded.why == "blinded quality control: ghosting"
    assert excluded.detail["code"] == bad
    assert verify_audit(out).problems == ()
    assert unblind(form, out).excluded == ()  # a second time does no more
    run(plan, out)
    reasons = {(r["visit"], r["reason"]) for r in _rows(out / "tables/measurements.csv")}
    assert reasons == {("M00", ""), ("M06", "EXCLUDED")}
    form.write_text(blank.replace(bad, "ABCDEF"))
    with pytest.raises(StudyError, match="each code must stand in it once"):
        unblind(form, out)


@pytest.mark.usefixtures("with_pictures")
def test_verdicts_on_pictures_that_are_no_more_are_refused(
    make_study: MakeStudy, run: Run, out: Path, tmp_path: Path
) -> None:
    plan = make_study("P01_M00", "P02_M00")
    run(plan, out)
    folder = tmp_path / "qc"
    blind_pictures(out, folder)
    form = folder / "qc.csv"
    form.write_text(form.read_text().replace(".png,", ".png,pass"))
    picture = out / "sub-P01/ses-M00/mri/sub-P01_ses-M00_side-R_qc.png"
    picture.write_bytes(picture.read_bytes() + b" ")
    for attempt in (lambda: unblind(form, out), lambda: blind_pictures(out, tmp_path / "b")):
        with pytest.raises(InputError) as caught:
            attempt()
        assert caught.value.code is ReasonCode.OUTPUT_CHANGED


@pytest.mark.parametrize("where", ["out/qc", "", "full"])
def test_the_reader_gets_a_folder_apart(
    make_study: MakeStudy, run: Run, out: Path, tmp_path: Path, where: str
) -> None:
    run(make_study("P01_M00"), out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="new or empty"):
        blind_pictures(out, tmp_path / where)


def test_exclusion_while_a_run_writes_is_refused(
    make_study: MakeStudy, run: Run, out: Path
) -> None:
    fcntl = pytest.importorskip("fcntl")
    run(make_study("P01_M00"), out)
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(OutputError, match="another run"):
            exclude_scans(out, ScanChoice("P01", "M00"), "motion")
    finally:
        os.close(handle)
    assert "scan.excluded" not in _kinds(out)
