"""A run that is killed at any write, and started again: same bytes, and a log that verifies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kneeimg.pipeline.cases import Plan

_PROGRAM = Path(__file__).with_name("kill_at_every_write.py")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_many_writes_and_run_again_gives_the_same_bytes(
    make_study: Callable[..., Plan], tmp_path: Path
) -> None:
    make_study("P01_M00", "P01_M12_bad", "P02_M00")
    (tmp_path / "work").mkdir()
    command = [sys.executable, str(_PROGRAM), str(tmp_path / "in"), str(tmp_path / "work"), "12"]
    here = os.environ | {"PYTHONPATH": str(_PROGRAM.parents[2])}  # this tree, whatever is installed
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=here)
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["kills"] >= 12
    assert found["calls"] > 40
    assert found["files"] >= 15
    assert found["repaired"] >= 5  # a line was torn, and the log says so: start, 3 cases, end
    assert found["adopted"] >= 3  # a case was finished and not recorded yet
