"""Tiny DICOM scans for what is decided from headers alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from kneeimg.core.anatomy import Side
from kneeimg.core.grid import Grid
from kneeimg.core.volume import Volume
from kneeimg.io.dicom import MrProtocol, Origin, write_mr_series

FIRST_DAY = date(2024, 1, 10)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


@pytest.fixture
def write_scan(scans: Path) -> Callable[..., Path]:
    """Function that writes one MR series of 6 slices below `scans`, with a stand-in for a mask."""

    def write(
        name: str,
        *,
        person: str | None = "HOSP-1",
        day: int | None = 0,
        side: Side | None = Side.RIGHT,
        mask: bool = True,
        description: str = "SAG 3D DESS",
        number: int = 1,
        voxel_mm: float = 0.5,
        protocol: MrProtocol | None = None,
    ) -> Path:
        grid = Grid((6, 8, 8), np.diag([1.0, voxel_mm, voxel_mm, 1.0]), "1.2.3")
        image = Volume(np.arange(6 * 8 * 8, dtype=np.int16).reshape(6, 8, 8), grid, "a.u.")
        scanned = "" if day is None else (FIRST_DAY + timedelta(days=day)).isoformat()
        origin = Origin(
            patient_id=person,
            study_date=scanned,
            description=description,
            series_number=number,
            seed=name,
        )
        folder = scans / name
        write_mr_series(image, folder, side=side, origin=origin, protocol=protocol or MrProtocol())
        if mask:
            (folder / "dseg.nii.gz").write_bytes(b"mask of " + name.encode())
        return folder

    return write
