"""`kneeimg measure t2`: DICOM echoes and a mask in, T2 rows and a map out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kneeimg.cli import app
from kneeimg.core.anatomy import Side
from kneeimg.core.label_map import LabelMap
from kneeimg.errors import InputError
from kneeimg.io.dicom import MrProtocol, write_mr_series
from kneeimg.io.label_maps import write_label_map
from kneeimg.measure.t2_regions import planned_t2
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.relaxation import decay_echoes, layered_t2_ms
from kneeimg.settings.relaxometry import RelaxometrySettings

GRID = slice_grid("sagittal", (2.0, 0.6, 0.6), (48, 160, 160))
TE_MS = (10.0, 20.0, 30.0, 40.0, 50.0)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, LabelMap]:
    folder = tmp_path_factory.mktemp("t2")
    phantom = KneePhantom(Side.RIGHT, menisci=True)
    t2_ms = layered_t2_ms(phantom, GRID, 30.0, 50.0)
    for number, echo in enumerate(decay_echoes(t2_ms, TE_MS, GRID, amplitude=4000.0), start=1):
        image = echo.with_data(np.rint(echo.data).astype(np.uint16), unit="a.u.")
        protocol = MrProtocol(echo_time_ms=TE_MS[number - 1], echo_number=number)
        write_mr_series(image, folder / "t2map" / str(number), side=None, protocol=protocol)
    label_map = phantom.label_map(GRID, hard=True)
    mask = folder / "t2map_dseg.nii.gz"
    write_label_map(label_map, mask)
    return folder / "t2map", mask, label_map


def test_rows_and_files(scan: tuple[Path, Path, LabelMap], tmp_path: Path) -> None:
    series, mask, _ = scan
    done = CliRunner().invoke(
        app,
        ["measure", "t2", str(series), "--mask", str(mask), "--side", "right"]
        + ["-o", str(tmp_path / "out"), "--json"],
    )
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["measurements"]
    assert [(r["region"], r["quantity"], r["unit"]) for r in rows] == list(planned_t2())
    value = {f"{r['region']}_{r['quantity']}": r["value"] for r in rows}
    assert value["MT_T2_mean"] == pytest.approx(40.0, abs=1.0)
    assert value["MT_T2_deep"] < 37.0 < 43.0 < value["MT_T2_superficial"]
    assert value["MM_T2_mean"] == pytest.approx(35.0, abs=0.5)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"t2map_right_T2map.nii.gz", "t2map_right_T2r2.nii.gz", "t2map_right_T2.json"}
    record = json.loads((tmp_path / "out" / "t2map_right_T2.json").read_text(encoding="utf-8"))
    assert "mono-exponential" in record["method"]
    assert record["voxels_valid"] == record["voxels_fitted"]


def test_options_reach_the_fit(
    scan: tuple[Path, Path, LabelMap], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RelaxometrySettings] = []

    def stop(*given: object) -> None:
        seen.extend(each for each in given if isinstance(each, RelaxometrySettings))
        raise InputError("far enough")

    monkeypatch.setattr("kneeimg.pipeline.relaxometry.measure_t2_series", stop)
    words = ["measure", "t2", str(scan[0]), "--mask", str(scan[1]), "--side", "right"]
    CliRunner().invoke(app, [*words, "--noise-sd", "2.5", "--skip-echoes", "0"])
    assert [(each.noise_sd, each.skip_echoes) for each in seen] == [(2.5, 0)]


def test_a_mask_on_another_grid_is_refused(
    scan: tuple[Path, Path, LabelMap], tmp_path: Path
) -> None:
    other = slice_grid("sagittal", (2.0, 0.6, 0.6), (40, 160, 160))
    mask = tmp_path / "other.nii.gz"
    write_label_map(KneePhantom(Side.RIGHT).label_map(other, hard=True), mask)
    done = CliRunner().invoke(
        app, ["measure", "t2", str(scan[0]), "--mask", str(mask), "--side", "right"]
    )
    assert done.exit_code != 0
    assert "MASK_GRID_MISMATCH" in done.output
