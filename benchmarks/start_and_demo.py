"""Start-up and the whole synthetic trial: seconds against their limits.

python benchmarks/start_and_demo.py            start-up only
python benchmarks/start_and_demo.py --demo     and the demo (minutes)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HELP_LIMIT_S = 0.3
DEMO_LIMIT_S = 180.0


def seconds(*command: str) -> float:
    """Wall time of a command that must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def row(what: str, found_s: float, limit_s: float) -> None:
    print(f"{what:34s} {found_s:8.2f} {limit_s:8.2f} {found_s / limit_s:8.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", action="store_true", help="also run the synthetic trial")
    given = parser.parse_args()
    print(f"{'what':34s} {'seconds':>8s} {'limit':>8s} {'ratio':>8s}")
    kneeimg = (sys.executable, "-m", "kneeimg")
    runs = [seconds(*kneeimg, "--help") for _ in range(7)]
    row("kneeimg --help (median of 7)", sorted(runs)[3], HELP_LIMIT_S)
    if given.demo:
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "demo")
            row("kneeimg demo", seconds(*kneeimg, "demo", out), DEMO_LIMIT_S)
            row("kneeimg demo, second time", seconds(*kneeimg, "demo", out), DEMO_LIMIT_S)


if __name__ == "__main__":
    main()
