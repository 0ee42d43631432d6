"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real label maps, DICOM and films; skips where it is absent."""
    folder = Path(os.environ.get("KNEEIMG_REAL_DATA", _ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set KNEEIMG_REAL_DATA")
    return folder


def _module(name: str) -> Any:
    """A helper module beside this file, which several folders of tests use."""
    spec = importlib.util.spec_from_file_location(name, _ROOT / "tests" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def grey_net() -> Any:
    """Module `grey_net`: a cascade, an image and the labels that it must find in it."""
    return _module("grey_net")


@pytest.fixture(scope="session")
def seg_writer() -> Any:
    """Module `seg_writer`: DICOM segmentations as another program writes them."""
    return _module("seg_writer")
