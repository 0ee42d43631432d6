"""Echo trains from DICOM, by phantom and on two real scans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kneeimg.errors import DicomError, GeometryError, ReasonCode
from kneeimg.io.dicom import (
    MrProtocol,
    Origin,
    find_echoes,
    find_series,
    read_echoes,
    read_spoiler,
    write_mr_series,
)
from kneeimg.measure.relaxometry import t2_map
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.relaxation import decay_echoes
from kneeimg.pipeline.relaxometry import steady_state_of

GRID = slice_grid("sagittal", (3.0, 1.0, 1.0), (6, 20, 24))
TE_MS = (10.0, 20.0, 30.0, 40.0)


def write_train(folder: Path, name: str = "T2", te_ms: tuple[float, ...] = TE_MS) -> None:
    for number, echo in enumerate(decay_echoes(np.full(GRID.shape, 40.0), te_ms, GRID), start=1):
        protocol = MrProtocol(echo_time_ms=te_ms[number - 1], echo_number=number)
        image = echo.with_data(np.rint(echo.data).astype(np.uint16), unit="a.u.")
        write_mr_series(
            image,
            folder / f"echo{number}",
            side=None,
            origin=Origin(description=name),
            protocol=protocol,
        )


def test_echoes_of_one_scan_in_order(tmp_path: Path) -> None:
    write_train(tmp_path)
    records = find_echoes(find_series(tmp_path))
    volumes, te_ms = read_echoes(records[::-1])
    assert te_ms == TE_MS
    assert {volume.grid.shape for volume in volumes} == {volumes[0].grid.shape}
    assert t2_map(volumes, te_ms).t2.data == pytest.approx(40.0, abs=0.2)  # whole numbers stored
    assert read_spoiler(records[0]) is None


def test_one_echo_is_no_train_and_two_trains_are_ambiguous(tmp_path: Path) -> None:
    write_train(tmp_path / "one", te_ms=TE_MS[:1])
    with pytest.raises(DicomError) as caught:
        find_echoes(find_series(tmp_path))
    assert caught.value.code is ReasonCode.NO_RULE_MATCHES
    write_train(tmp_path / "two", "T2 again")
    write_train(tmp_path / "three", "T2 once more")
    with pytest.raises(DicomError) as caught:
        find_echoes(find_series(tmp_path))
    assert caught.value.code is ReasonCode.AMBIGUOUS_SERIES


def test_echoes_on_different_grids_or_at_one_time_are_refused(tmp_path: Path) -> None:
    write_train(tmp_path)
    records = find_echoes(find_series(tmp_path))
    affine = np.array(records[1].affine)
    affine[0, 3] += 1.0
    with pytest.raises(GeometryError, match="different grids"):
        read_echoes((records[0], replace(records[1], affine=affine)))
    with pytest.raises(DicomError) as caught:
        read_echoes((records[0], replace(records[1], echo_time_ms=records[0].echo_time_ms)))
    assert caught.value.code is ReasonCode.CONFLICTING_DUPLICATE
    with pytest.raises(DicomError, match="no echo time"):
        read_echoes((replace(records[0], echo_time_ms=None),))


@pytest.mark.real
@pytest.mark.slow
def test_real_multi_echo_spin_echo(real_data: Path) -> None:
    """No mask comes with this scan: boxes in muscle and in the cartilage of a femoral condyle."""
    folder = real_data / "mri" / "dicom" / "mese"
    if not folder.is_dir():
        pytest.skip("no multi-echo scan")
    records = find_echoes(find_series(folder))
    volumes, te_ms = read_echoes(records)
    assert len(volumes) == 8
    assert np.diff(te_ms) == pytest.approx(6.312)
    assert steady_state_of(records, te_ms) is None
    muscle, cartilage = (np.zeros(volumes[0].grid.shape, dtype=bool) for _ in range(2))
    muscle[180:205, 150:190, 11] = True
    cartilage[176:179, 98:128, 5] = True
    found = t2_map(volumes, te_ms, voxels=muscle | cartilage)
    assert "mono-exponential (echoes 2-8)" in found.method
    assert found.valid[muscle].mean() > 0.95
    assert found.valid[cartilage].mean() > 0.95
    assert 30.0 < np.nanmedian(found.t2.data[muscle]) < 35.0
    assert 30.0 < np.nanmedian(found.t2.data[cartilage]) < 60.0


@pytest.mark.real
@pytest.mark.slow
def test_real_dual_echo_steady_state(real_data: Path) -> None:
    """No mask: a box in muscle, and the tissue that is bright in the first echo of one slice."""
    folder = real_data / "mri" / "dicom" / "qdess"
    if not folder.is_dir():
        pytest.skip("no dual-echo scan")
    records = find_echoes(find_series(folder))
    volumes, te_ms = read_echoes(records)
    scan = steady_state_of(records, te_ms)
    assert scan is not None
    assert scan.spoiler_area == pytest.approx(31.32)
    assert scan.spoiler_ms == pytest.approx(1.76)
    middle = np.zeros(volumes[0].grid.shape, dtype=bool)
    middle[380:420, 60:100, 20] = True
    muscle = middle.copy()
    middle[:, :, 40] = volumes[0].data[:, :, 40] > 0.2 * np.percentile(volumes[0].data, 99.5)
    found = t2_map(volumes, te_ms, steady_state=scan, voxels=middle)
    assert found.method.startswith("T2 dual-echo steady state")
    assert 20.0 < np.nanmedian(found.t2.data[muscle]) < 40.0
    assert 15.0 < np.median(found.t2.data[found.valid]) < 70.0
