"""The command line: help that teaches, exit status, JSON, refusals, nothing heavy at start."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kneeimg.cli import app
from kneeimg.cli.frame import json_ready
from kneeimg.core.anatomy import Side
from kneeimg.core.label_map import LabelMap
from kneeimg.core.volume import Volume
from kneeimg.errors import REASONS
from kneeimg.io.dicom import Origin, write_mr_series
from kneeimg.io.label_maps import write_label_map
from kneeimg.io.nifti import write_volume
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom

COMMANDS = ("demo", "inspect", "run", "segment", "measure", "measure mr", "measure film", "change",
            "precision", "report", "trial")  # fmt: skip


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="session")
def knee() -> LabelMap:
    grid = slice_grid("sagittal", (1.5, 0.8, 0.8), (64, 140, 140))
    return KneePhantom(Side.RIGHT).label_map(grid)


@pytest.fixture(scope="session")
def mask(knee: LabelMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mask") / "knee.nii.gz"
    write_label_map(knee, path)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str) -> None:
    status, out, _ = invoke(*command.split(), "--help")
    assert status == 0
    if command != "measure":
        assert "Example" in out
    assert "diagnosis" in out or "No patient" in out or "Nothing is" in out or "nothing is" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("measure", "mr"),
        ("run", "x"),
        ("codes", "NOT_A_CODE"),
        ("measure", "mr", "x", "--side", "both"),
    ],
)
def test_usage_errors_exit_with_1(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments)[0] == 1


def test_version() -> None:
    from kneeimg import __version__

    assert invoke("--version")[1].strip() == f"kneeimg {__version__}"


def test_every_code_is_explained() -> None:
    status, out, _ = invoke("codes", "--json")
    assert status == 0
    assert set(json.loads(out)) == {code.value for code in REASONS}
    assert "interpolated" in invoke("codes", "missing_slices")[1]


def test_start_up_loads_nothing_heavy() -> None:
    code = (
        "import sys, kneeimg.cli; heavy = {'numpy', 'scipy', 'pandas', 'pydicom', 'nibabel',"
        " 'SimpleITK', 'matplotlib', 'skimage', 'vtkmodules', 'torch', 'monai'};"
        " print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_measure_mr_gives_every_planned_row_as_json(mask: Path) -> None:
    from kneeimg.measure.planned import planned_knee

    status, out, _ = invoke("measure", "mr", mask, "--side", "right", "--json")
    content = json.loads(out)
    assert status == 0
    assert "Not for diagnosis" in content["notice"]
    found = [(row["region"], row["quantity"], row["unit"]) for row in content["measurements"]]
    assert found == list(planned_knee())
    assert all((row["value"] is None) == (row["status"] != "ok") for row in content["measurements"])


def test_measure_mr_table_and_files(mask: Path, tmp_path: Path) -> None:
    status, out, _ = invoke("measure", "mr", mask, "--side", "right", "-o", tmp_path / "new")
    assert status == 0
    assert "ThCtAB_aMe" in out
    names = {path.name.split("_")[-1] for path in (tmp_path / "new").iterdir()}
    assert {
        "femur.vtp",
        "tibia.vtp",
        "patella.vtp",
        "thickness.nii.gz",
        "qc.png",
        "flat.png",
    } <= names


def test_a_side_that_contradicts_the_fibula_is_refused(mask: Path) -> None:
    status, out, err = invoke("measure", "mr", mask, "--side", "left", "--json")
    assert status == 3
    assert json.loads(out)["finding"]["code"] == "LATERALITY_CONFLICT"
    assert "what" not in out or "action" in out
    assert "LATERALITY_CONFLICT" in err


def test_unknown_label_values_are_named(knee: LabelMap, tmp_path: Path) -> None:
    labels = knee.labels.copy()
    labels[:2] = 42
    write_label_map(LabelMap(knee.labels, knee.grid), tmp_path / "good.nii.gz")
    import nibabel as nib

    image = nib.load(tmp_path / "good.nii.gz")
    nib.save(nib.Nifti1Image(labels, image.affine, image.header), tmp_path / "bad.nii.gz")
    status, _, err = invoke("measure", "mr", tmp_path / "bad.nii.gz", "--side", "right")
    assert status == 3
    assert "UNKNOWN_LABEL" in err
    assert "42" in err


def test_a_place_that_cannot_be_written_is_an_environment_error(mask: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in ("file", "file/below"):
        command = ("measure", "mr", mask, "--side", "right", "-o", tmp_path / out)
        status, _, err = invoke(*command)
        assert status == 4
        assert "OUTPUT_NOT_WRITABLE" in err


def test_change_of_a_mask_against_itself_is_zero(mask: Path, tmp_path: Path) -> None:
    status, out, _ = invoke(
        "change", mask, mask, "--side", "right", "--days", 365, "--json", "-o", tmp_path
    )
    rows = json.loads(out)["change"]
    assert status == 0
    assert all(abs(row["change"]) < 1e-9 for row in rows if row["status"] == "ok")
    assert any(row["region"] == "MT" and row["status"] == "ok" for row in rows)
    assert any(path.suffix == ".png" for path in tmp_path.iterdir())


@pytest.fixture
def series(knee: LabelMap, tmp_path: Path) -> Path:
    image = Volume((knee.labels * 100).astype(np.uint16), knee.grid, "a.u.")
    origin = Origin(patient_id="SECRET-77", description="SAG DESS")
    write_mr_series(image, tmp_path / "scan", side=None, origin=origin)
    return tmp_path / "scan"


def test_inspect_shows_size_spacing_and_the_missing_side(series: Path) -> None:
    status, out, _ = invoke("inspect", series)
    assert status == 0
    for part in ("SAG DESS", "sagittal", "140 × 140 × 64", "0.8 × 0.8 × 1.5", "NO_LATERALITY"):
        assert part in out
    assert "SECRET" not in out
    assert "NO_LATERALITY" not in invoke("inspect", series, "--side", "right")[1]


def test_inspect_json_gives_selector_and_verdict(series: Path) -> None:
    content = json.loads(invoke("inspect", series, "--json", "--side", "left")[1])
    (entry,) = content["series"]
    assert entry["verdict"] == "ok"
    assert entry["selector"].startswith("[[series]]")
    assert "SECRET" not in json.dumps(content)


def test_inspect_shows_which_rule_takes_a_series(series: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('[[series]]\nkind = "film"\n[[series]]\nkind = "mri"\ndescription = "DESS"\n')
    out = invoke("inspect", series, "--study", study, "--side", "left")[1]
    assert "rule 2" in out


def test_inspect_redacts_folders_named_after_the_person(series: Path, tmp_path: Path) -> None:
    scans = tmp_path / "clinic"
    shutil.move(series, scans / "secret-77_scans" / "dess")
    for flags in ((), ("--json",)):
        _, out, err = invoke("inspect", scans, *flags)
        assert "SECRET-77" not in (out + err).upper()
        assert "[redacted]" in out


def test_inspect_names_a_missing_slice(series: Path) -> None:
    middle = sorted(series.iterdir())[30]
    middle.unlink()
    out = invoke("inspect", series)[1]
    assert "MISSING_SLICES" in out


def test_a_typo_in_the_study_file_is_named_and_nothing_is_written(
    series: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.toml"
    study.write_text('[[serie]]\nkind = "mri"\n')
    status, _, err = invoke("run", series, "-o", tmp_path / "out", "--study", study)
    assert status == 1
    assert "BAD_STUDY_FILE" in err
    assert "series" in err
    assert not (tmp_path / "out").exists()


def test_run_of_a_folder_without_masks_refuses_every_case(series: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, text, _ = invoke(
        "run", series, "-o", out, "--side", "right", "--workers", "1", "--model", "none", "--json"
    )
    assert status == 3
    assert "NO_MASK" in text
    assert "switched off" in text
    assert (out / "report" / "index.html").exists()


def test_report_of_a_folder_that_is_no_result_is_refused(tmp_path: Path) -> None:
    status, _, err = invoke("report", tmp_path / "nothing")
    assert status == 1
    assert "nothing" in re.sub(r"[│\s]", "", err)  # the box breaks long paths anywhere


def test_json_has_no_nan() -> None:
    assert json_ready({"a": [float("nan"), 1.0, (float("inf"),)]}) == {"a": [None, 1.0, [None]]}


@pytest.fixture
def grey_model(grey_net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from kneeimg.networks.bundle import write_bundle
    from kneeimg.networks.cascade import KneeCascade

    write_bundle(KneeCascade(grey_net.SPEC), tmp_path / "grey", version="1")
    monkeypatch.setattr("kneeimg.segment.bundle.load_cascade", lambda _: grey_net.grey_cascade())
    return tmp_path / "grey"


def test_segment_a_volume(grey_net: Any, grey_model: Path, tmp_path: Path) -> None:
    labels = grey_net.phantom_labels(Side.RIGHT)
    image = write_volume(grey_net.grey_image(labels), tmp_path / "knee.nii.gz")
    out = tmp_path / "seg"
    call = ("segment", image, "-o", out, "--model", grey_model, "--device", "cpu")
    status, text, _ = invoke(*call, "--side", "right", "--precision", "fp32", "--no-cleanup")
    assert status == 0
    assert "femoral cartilage" in text
    assert (out / "knee_qc.png").is_file()
    status, text, _ = invoke(*call, "--json")
    assert status == 0
    content = json.loads(text)
    assert content["side"] is None
    assert content["findings"][0]["code"] == "NO_LATERALITY"


def test_segment_refuses_what_is_no_knee_and_writes_nothing(
    knee: LabelMap, grey_model: Path, tmp_path: Path
) -> None:
    blank = Volume(np.zeros(knee.grid.shape, np.uint8), knee.grid, "a.u.")
    image = write_volume(blank, tmp_path / "air.nii.gz")
    call = ("segment", image, "-o", tmp_path / "seg", "--side", "left", "--model")
    status, _, err = invoke(*call, grey_model)
    assert status == 3
    assert "NOT_A_KNEE" in err
    assert not (tmp_path / "seg").exists()
    status, _, err = invoke(*call, "no-such-model")
    assert status == 1
    assert "no-such-model" in err
