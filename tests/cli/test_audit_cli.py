"""The commands around the audit log, on a results folder made by the real pipeline."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kneeimg.cli import app
from kneeimg.core.anatomy import Side
from kneeimg.io.label_maps import write_label_map
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom

COMMANDS = (
    "exclude", "include", "lock", "unlock", "blind", "unblind", "audit verify", "audit show",
)  # fmt: skip


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One knee at two visits."""
    folder = tmp_path_factory.mktemp("scans")
    grid = slice_grid("sagittal", (1.8, 1.0, 1.0), (54, 112, 112))
    first = folder / "sub-P01_ses-M00_side-R_dseg.nii.gz"
    write_label_map(KneePhantom(Side.RIGHT).label_map(grid), first)
    shutil.copy(first, folder / "sub-P01_ses-M12_side-R_dseg.nii.gz")
    return folder


@pytest.fixture(scope="module")
def measured(scans: Path) -> Path:
    out = scans.parent / f"{scans.name}-out"
    status, _, _ = invoke("run", scans, "-o", out, "--workers", 1, "--user", "Dr B")
    assert status == 0
    return out


@pytest.fixture
def out(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "out"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str) -> None:
    status, text, _ = invoke(*command.split(), "--help")
    assert status == 0
    assert "Example" in text
    assert "othing is" in text or "deleted" in text


def test_verify_and_show(out: Path) -> None:
    status, text, _ = invoke("audit", "verify", out)
    assert status == 0
    assert "all as recorded" in text
    status, text, _ = invoke("audit", "verify", out, "--json")
    found = json.loads(text)
    assert (status, found["intact"], found["problems"]) == (0, True, [])
    assert invoke("audit", "verify", out, "--head", found["head"])[0] == 0
    assert invoke("audit", "verify", out, "--head", "0" * 64)[0] == 2
    _, text, _ = invoke("audit", "show", out)
    assert "Dr B" in text
    assert "pair.compared" in text
    _, text, _ = invoke("audit", "show", out, "--json", "--what", "case.", "--last", 1)
    [entry] = json.loads(text)
    assert entry["what"] == "case.measured"
    assert entry["subject"]["visit"] == "M12"


def test_verify_names_what_differs_and_exits_with_2(out: Path) -> None:
    table = out / "tables/measurements.csv"
    table.write_text(table.read_text().replace("P01", "P02", 1))
    status, _, errors = invoke("audit", "verify", out)
    assert status == 2
    assert "tables/measurements.csv" in errors
    assert "OUTPUT_CHANGED" in errors
    assert invoke("audit", "verify", out / "tables")[0] == 3  # no log there


def _reasons(out: Path) -> dict[tuple[str, str], str]:
    with (out / "tables/change.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["status"], row["change"]) for row in rows} == {("not_measurable", "")}
    return {(row["region"], row["quantity"]): row["reason"] for row in rows}


@pytest.mark.slow
def test_exclude_run_include_with_the_real_pipeline(out: Path, scans: Path) -> None:
    scan = ("--participant", "P01", "--visit", "M12")
    assert invoke("exclude", out, *scan)[0] == 1  # no reason
    status, text, _ = invoke("exclude", out, *scan, "--reason", "motion", "--user", "Dr C")
    assert (status, "excluded: P01 M12 right mri" in text) == (0, True)
    assert "EXCLUDED" in (out / "report/index.html").read_text()
    change = (out / "tables/change.csv").read_text()
    rows = [line for line in change.splitlines()[1:] if "M12" in line]
    reasons = _reasons(out)
    assert rows
    assert set(reasons.values()) == {"EXCLUDED", "TISSUE_MISSING"}  # no menisci at baseline
    before = (out / "tables/measurements.csv").read_bytes()
    map_file = out / "sub-P01/longitudinal/sub-P01_ses-M12_side-R_femur_change.vtp"
    assert map_file.is_file()
    assert invoke("run", scans, "-o", out, "--workers", 1)[0] == 0
    assert (out / "tables/measurements.csv").read_bytes() == before
    again = _reasons(out)
    assert {name: again[name] for name in again} == {name: reasons[name] for name in again}
    assert not map_file.exists()  # no analysis uses it
    assert (out / "sub-P01/ses-M12/mri/sub-P01_ses-M12_side-R_femur.vtp").is_file()
    assert invoke("audit", "verify", out)[0] == 0
    assert invoke("include", out, *scan, "--reason", "was right")[0] == 0
    assert invoke("run", scans, "-o", out, "--workers", 1)[0] == 0
    assert map_file.is_file()
    assert "EXCLUDED" not in (out / "tables/measurements.csv").read_text()
    assert invoke("audit", "verify", out)[0] == 0


def test_lock_report_unlock(out: Path, scans: Path) -> None:
    assert invoke("lock", out)[0] == 1  # no reason
    status, text, _ = invoke("lock", out, "--reason", "database lock")
    assert (status, text.startswith("locked")) == (0, True)
    for command in (("run", scans, "-o", out), ("report", out)):
        status, _, errors = invoke(*command)
        assert (status, "LOCKED" in errors) == (4, True)
    assert invoke("audit", "verify", out)[0] == 0
    assert invoke("unlock", out, "--reason", "query 14")[0] == 0
    assert invoke("unlock", out, "--reason", "query 14")[0] == 3
    assert invoke("report", out, "--user", "Dr B")[0] == 0
    _, text, _ = invoke("audit", "show", out, "--last", 3, "--json")
    kinds = [entry["what"] for entry in json.loads(text)]
    assert kinds == ["results.locked", "results.unlocked", "report.written"]
    assert invoke("audit", "verify", out)[0] == 0


def test_redo_needs_a_reason(out: Path, scans: Path) -> None:
    status, _, errors = invoke("run", scans, "-o", out, "--redo")
    assert (status, "REASON_MISSING" in errors) == (1, True)


def test_blind_and_unblind(out: Path, tmp_path: Path) -> None:
    status, text, _ = invoke("blind", out, "-o", tmp_path / "qc", "--kind", "mri")
    assert (status, "2 pictures" in text) == (0, True)
    form = tmp_path / "qc/qc.csv"
    assert invoke("unblind", form, out)[0] == 1  # nothing is filled in
    lines = form.read_text().splitlines()
    failed = lines[1].split(",")[0]
    form.write_text("\n".join([lines[0], f"{failed},,fail,ghosting,", f"{lines[2][:-3]},pass,,"]))
    status, text, _ = invoke("unblind", form, out, "--json")
    found = json.loads(text)
    assert status == 0
    assert [v["code"] for v in found["verdicts"] if v["verdict"] == "fail"] == [failed]
    assert len(found["excluded"]) == 1
    assert invoke("audit", "verify", out)[0] == 0


def test_change_with_a_folder_leaves_a_log(scans: Path, tmp_path: Path) -> None:
    first, second = sorted(scans.glob("*.nii.gz"))
    out = tmp_path / "change"
    assert invoke("change", first, second, "--side", "right", "-o", out)[0] == 0
    _, text, _ = invoke("audit", "show", out, "--json")
    [entry] = json.loads(text)
    assert entry["what"] == "change.measured"
    assert set(entry["inputs"]) == {first.name, second.name}
    assert entry["outputs"]
    assert invoke("audit", "verify", out)[0] == 0
