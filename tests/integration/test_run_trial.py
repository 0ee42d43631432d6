"""A trial from DICOM to tables: complete, private, repeatable, and safe to kill."""

from __future__ import annotations

import csv
import gzip
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kneeimg.batch import BatchSummary, run_study
from kneeimg.io.audit_verify import verify_audit
from kneeimg.io.meshes import read_sided_surface
from kneeimg.pipeline.planned import planned_rows
from kneeimg.settings.study import StageSettings

pytestmark = pytest.mark.slow


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        os.path.relpath(path, folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "audit.jsonl"  # it tells the time
    }


def _differing(first: dict[str, bytes], second: dict[str, bytes]) -> list[str]:
    return [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def done(trial, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BatchSummary]:  # type: ignore[no-untyped-def]
    out = tmp_path_factory.mktemp("results") / "out"
    return out, run_study(trial.scans, out, study_file=trial.study, workers=2)


def test_every_planned_row_is_there_once(done) -> None:  # type: ignore[no-untyped-def]
    out, summary = done
    rows = _rows(out / "tables/measurements.csv")
    settings = StageSettings()
    mri, film = len(planned_rows("mri", settings)), len(planned_rows("film", settings))
    keys = Counter(
        (r["participant"], r["visit"], r["side"], r["kind"], r["region"], r["quantity"])
        for r in rows
    )
    assert set(keys.values()) == {1}
    per_scan = Counter((r["participant"], r["visit"], r["kind"], r["side"]) for r in rows)
    assert per_scan == {
        ("P01", "BL", "mri", "right"): mri,
        ("P01", "M06", "mri", "right"): mri,
        ("P01", "BL", "film", "right"): film,
        ("P02", "BL", "mri", "left"): mri,
        ("P02", "M06", "mri", "left"): mri,  # never came
        ("P02", "BL", "film", "left"): film,  # never came
    }
    assert summary.n_rows == len(rows)


def test_the_analysis_dataset_holds_every_measurement_and_every_change(done) -> None:  # type: ignore[no-untyped-def]
    out, _ = done
    adknee = {
        (r["SUBJID"], r["AVISIT"], r["LAT"].lower(), r["REGION"], r["QUANTITY"]): r
        for r in _rows(out / "tables/adam/ADKNEE.csv")
    }
    measured = _rows(out / "tables/measurements.csv")
    for row in measured:
        found = adknee[
            row["participant"], row["visit"], row["side"], row["region"], row["quantity"]
        ]
        assert (found["AVAL"], found["AVALRSN"]) == (row["value"], row["reason"])
        assert found["ABLFL"] == ("Y" if row["visit"] == "BL" and row["value"] else "")
    compared = [r for r in _rows(out / "tables/change.csv") if r["change"]]
    assert compared
    # an ordered value is a change itself and has no baseline
    ordered = [row for row in compared if not row["baseline"]]
    assert len(ordered) == 18 * len({(r["participant"], r["visit_to"]) for r in ordered}) > 0
    for row in compared:
        where = row["participant"], row["visit_to"], row["side"], row["region"], row["quantity"]
        if row in ordered:
            assert float(adknee[where]["AVAL"]) == float(row["change"])
            continue
        assert float(adknee[where]["CHG"]) == float(row["change"])
        if adknee[where]["CHGMTHD"] == "DIFFERENCE":
            assert abs(float(adknee[where]["CHGDIFF"])) < 1e-9
    by_change = {r["CHGMTHD"] for r in adknee.values() if r["CHG"]}
    assert by_change == {"PAIRED", "DIFFERENCE"}
    assert sum(bool(r["CHG"]) for r in adknee.values()) == len(compared) - len(ordered)
    assert "TRTP" not in next(iter(adknee.values()))
    names = {path.name for path in (out / "tables/adam").iterdir()}
    formats = {f"ADKNEE.{ending}" for ending in ("json", "xpt", "csv", "parquet")}
    assert names == {*formats, "define.xml", "study.json"}


def test_statuses_and_codes(done) -> None:  # type: ignore[no-untyped-def]
    out, summary = done
    found = {
        (r["participant"], r["visit"], r["kind"]): (r["status"], r["code"])
        for r in _rows(out / "disposition.csv")
    }
    assert found["P01", "BL", "mri"][0] == "measured"
    assert found["P01", "M06", "mri"][0] == "measured"
    assert found["P01", "BL", "film"][0] == "measured"
    # the labels of a right knee in a scan that says left
    assert found["P02", "BL", "mri"] == ("refused", "LATERALITY_CONFLICT")
    assert found["P02", "M06", "mri"] == ("missing", "VISIT_MISSING")
    assert int(summary.exit_status) == 2
    assert summary.crashed == ()


def test_values_are_measured_and_plausible(done) -> None:  # type: ignore[no-untyped-def]
    out, _ = done
    rows = _rows(out / "tables/measurements.csv")
    values = {
        (r["region"], r["quantity"]): float(r["value"])
        for r in rows
        if (r["participant"], r["visit"], r["status"]) == ("P01", "BL", "ok")
    }
    assert 1.3 < values["MT", "ThCtAB_aMe"] < 2.2
    assert 2.0 < values["medial", "mJSW"] < 8.0


def test_same_scan_at_two_visits_changes_by_nothing(done) -> None:  # type: ignore[no-untyped-def]
    out, summary = done
    rows = [r for r in _rows(out / "tables/change.csv") if r["kind"] == "mri"]
    assert {r["participant"] for r in rows} == {"P01"}
    assert {(r["visit_from"], r["visit_to"], r["days"]) for r in rows} == {("BL", "M06", "180")}
    changes = [float(r["change"]) for r in rows if r["quantity"] == "ThCtAB_aMe" and r["change"]]
    assert len(changes) >= 10
    assert np.abs(changes).max() < 0.005
    assert summary.n_change_rows == len(_rows(out / "tables/change.csv"))


def test_layout_and_surfaces(done) -> None:  # type: ignore[no-untyped-def]
    out, _ = done
    folder = out / "sub-P01/ses-BL/mri"
    stem = "sub-P01_ses-BL_side-R_"
    assert {p.name for p in folder.iterdir()} == {
        "manifest.json",
        *(
            stem + name
            for name in (
                "dseg.nii.gz", "thickness.nii.gz", "femur.vtp", "tibia.vtp", "patella.vtp",
                "measurements.json", "qc.png", "thickness.png",
            )
        ),
    }  # fmt: skip
    surface, side = read_sided_surface(folder / f"{stem}femur.vtp")
    assert side is not None
    assert side.value == "right"
    assert "thickness_mm" in surface.fields
    assert {p.name for p in (out / "sub-P01/ses-BL/xr").iterdir()} == {
        "manifest.json",
        *(
            stem + name
            for name in ("margins.json", "measurements.json", "kl_support.json", "qc.png")
        ),
    }
    assert (out / "sub-P01/longitudinal/sub-P01_ses-M06_side-R_femur_change.vtp").is_file()
    assert (out / "report/index.html").is_file()
    assert not (out / "logs").exists()


def test_nothing_private_in_any_byte(trial, done) -> None:  # type: ignore[no-untyped-def]
    out, _ = done
    log = {"audit.jsonl": (out / "audit.jsonl").read_bytes()}
    for name, content in (_tree(out) | log).items():
        plain = gzip.decompress(content) if name.endswith(".gz") else content
        low = (name.encode() + content + plain).lower()
        for text in trial.private:
            assert text.lower().encode() not in low, f"{text} in {name}"


def test_second_run_keeps_everything(trial, done) -> None:  # type: ignore[no-untyped-def]
    out, _ = done
    before = _tree(out)
    summary = run_study(trial.scans, out, study_file=trial.study, workers=1)
    assert summary.n_reused == summary.n_cases == 4
    assert _differing(_tree(out), before) == []


_RUN = """
import sys
from pathlib import Path
from kneeimg.batch import run_study
if __name__ == "__main__":
    run_study(Path(sys.argv[1]), Path(sys.argv[2]), study_file=Path(sys.argv[3]), workers=2)
"""


def test_killed_at_any_moment_and_run_again_gives_the_same_bytes(
    trial,  # type: ignore[no-untyped-def]
    done,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    reference = _tree(done[0])
    script = tmp_path / "go.py"
    script.write_text(_RUN)
    out = tmp_path / "out"
    command = [sys.executable, str(script), str(trial.scans), str(out), str(trial.study)]
    rng = np.random.default_rng(int.from_bytes(os.urandom(4), "big"))
    kills = 0
    for _ in range(5):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + rng.uniform(1.0, 12.0)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert _differing(_tree(out), reference) == []
    assert verify_audit(out).problems == ()
