"""Reading a scan that is to be segmented alone, without a study file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.errors import DicomError, ReasonCode
from kneeimg.io.dicom import MrProtocol, Origin, write_mr_series
from kneeimg.pipeline.segmenting import read_scan


def scan(level: float) -> Volume:
    grid = Grid((6, 16, 18), np.diag([1.0, 0.5, 0.5, 1.0]), "1.2.826.0.1.3680043.8.498.1")
    return Volume(np.full(grid.shape, level, dtype=np.int16), grid, "a.u.")


def test_an_echo_is_chosen_on_the_command_line(tmp_path: Path) -> None:
    for echo in (1, 2):
        protocol = MrProtocol(echo_time_ms=6.3 * echo, echo_number=echo)
        image = scan(100.0 * echo)
        write_mr_series(image, tmp_path, side=None, protocol=protocol, first_number=20 * echo)
    with pytest.raises(DicomError, match="choose an echo with --echo") as caught:
        read_scan(tmp_path, None)
    assert caught.value.code is ReasonCode.AMBIGUOUS_SERIES
    assert "study file" not in str(caught.value)
    assert read_scan(tmp_path, 2).image.data.mean() == pytest.approx(200.0, rel=0.01)


def test_series_that_no_echo_tells_apart_need_a_folder_each(tmp_path: Path) -> None:
    for name in ("SAG DESS", "COR IW"):
        image, origin = scan(100.0), Origin(description=name)
        write_mr_series(image, tmp_path / name, side=None, origin=origin)
    with pytest.raises(DicomError, match="give the folder of one series"):
        read_scan(tmp_path, None)
