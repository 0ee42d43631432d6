"""`kneeimg study`: help that teaches, exit status, JSON, and nothing private or overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kneeimg.cli import app
from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.io.dicom import Origin, write_mr_series


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    grid = Grid((5, 8, 8), np.diag([1.0, 0.5, 0.5, 1.0]), "1.2.3")
    image = Volume(np.arange(5 * 8 * 8, dtype=np.int16).reshape(5, 8, 8), grid, "a.u.")
    for month in ("01", "07"):
        folder = tmp_path / "scans" / f"HOSP-1-{month}"
        origin = Origin(patient_id="HOSP-1", study_date=f"2024-{month}-10", description="DESS")
        write_mr_series(image, folder, side=Side.LEFT, origin=origin)
        (folder / "dseg.nii.gz").write_bytes(b"mask")
    return tmp_path / "scans"


@pytest.mark.parametrize("command", ["init", "check"])
def test_help_teaches(command: str) -> None:
    status, out, _ = invoke("study", command, "--help")
    assert status == 0
    assert "Example" in out
    assert "Exit status" in out
    assert command in invoke("study", "--help")[1]


def test_init_then_check(scans: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    status, out, _ = invoke("study", "init", scans, "-o", study)
    assert status == 0
    assert "keep it sealed" in out
    assert "1 participants, 2 scans, visits BL, M06" in out
    assert "HOSP" not in out
    status, out, _ = invoke("study", "check", study, scans, "--on", "2024-08-01")
    assert status == 0
    assert "mri left" in out
    assert "Nothing needs attention" in out
    (scans / "HOSP-1-07").rename(tmp_path / "gone")
    status, out, _ = invoke(
        "study", "check", study / "study.toml", scans, "--json", "--on", "2030-01-01"
    )
    assert status == 2
    content = json.loads(out)
    assert content["exit_status"] == 2
    assert content["counts"] == {"missing": 1}
    (finding,) = content["findings"]
    assert (finding["code"], finding["visit"], finding["side"]) == ("VISIT_MISSING", "M06", "left")
    assert {"expected", "found", "action"} <= finding.keys()
    assert "HOSP" not in out


def test_init_overwrites_only_when_told(scans: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / "participants.csv").write_text("mine")
    status, _, err = invoke("study", "init", scans, "-o", study)
    assert status == 1
    assert "participants.csv" in err
    assert [path.name for path in study.iterdir()] == ["participants.csv"]
    assert (study / "participants.csv").read_text() == "mine"
    status, out, _ = invoke("study", "init", scans, "-o", study, "--force", "--json")
    assert status == 0
    assert json.loads(out)["written"] == ["study.toml", "participants.csv", "key.csv"]


def test_check_names_a_mistake_of_the_study_file(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("[study]\nname = 'x'\n")
    status, _, err = invoke("study", "check", tmp_path / "study.toml", scans)
    assert status == 1
    assert "study.name" in err
