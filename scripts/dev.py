"""Set up kneeimg in `.venv` and do one job with it. Needs nothing but Python >= 3.11.

    python3 scripts/dev.py demo demo-out   synthetic trial: DICOM in, tables, change and report out
    python3 scripts/dev.py test            the whole gate: format, lint, types, imports, all tests
    python3 scripts/dev.py check           the same without the tests
    python3 scripts/dev.py setup           only install

The environment is made once and made again when pyproject.toml or constraints.txt change.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENV = ROOT / ".venv"
BIN = ENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")


def say(text: str) -> None:
    print(f"[kneeimg] {text}", flush=True)


def fail(text: str) -> None:
    say(text)
    sys.exit(4)


def run(title: str, *command: str | Path) -> None:
    """Run one command from the project's root; stop with its exit status if it fails."""
    say(title)
    start = time.perf_counter()
    status = subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode
    if status:
        say(f"{title}: failed with status {status}")
        sys.exit(status)
    say(f"{title}: done in {time.perf_counter() - start:.0f} s")


def fingerprint(extra: str) -> str:
    """Hash of everything that decides what is installed."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}{extra}".encode())
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def create_environment() -> None:
    say(f"creating a virtual environment in {ENV.name}/")
    try:
        venv.EnvBuilder(with_pip=True, clear=ENV.exists()).create(ENV)
    except subprocess.CalledProcessError:
        fail("this Python cannot make environments; on Debian: apt-get install python3-venv")


def setup(extra: str = "") -> None:
    """Install kneeimg (with an extra) unless the same was installed before.

    An environment with the `dev` extra also serves where no extra is asked for.
    """
    for known in dict.fromkeys((extra, "dev")):
        stamp = ENV / f".kneeimg-{known or 'run'}"
        if PYTHON.exists() and stamp.exists() and stamp.read_text() == fingerprint(known):
            say("environment is up to date")
            return
    if not PYTHON.exists():
        create_environment()
    target = f".[{extra}]" if extra else "."
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(
        "installing kneeimg and what it needs (a minute or two)",
        *pip,
        *("--constraint", ROOT / "constraints.txt", "--editable", target),
    )
    (ENV / f".kneeimg-{extra or 'run'}").write_text(fingerprint(extra))


def check() -> None:
    run("format", PYTHON, "-m", "ruff", "format", "--check", ".")
    run("lint", PYTHON, "-m", "ruff", "check", ".")
    run("types", PYTHON, "-m", "mypy")
    run("import contracts", BIN / "lint-imports")


def test(arguments: list[str]) -> None:
    workers = str(min(os.cpu_count() or 1, 8))
    # one worker per core already; more threads in each would only wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run("tests", PYTHON, "-m", "pytest", "-n", workers, *arguments)


def main(arguments: list[str]) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever Python is there
        fail(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    job, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if job == "demo":
        setup()
        command = [BIN / "kneeimg", "demo", *(rest or ["demo-out"])]
        sys.exit(subprocess.run([str(part) for part in command], check=False).returncode)
    elif job in ("test", "check"):
        setup("dev")
        check()
        if job == "test":
            test(rest)
    elif job == "setup":
        setup("dev")
    else:
        say("jobs: demo [OUT], test, check, setup")
        print(__doc__)
        sys.exit(0 if job in ("-h", "--help") else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
