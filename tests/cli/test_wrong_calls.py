"""A wrong call ends with one clear message and what to do, and never with a traceback."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kneeimg.cli import app

#: Every command that reads something, with X for what it reads.
CALLS = (
    "inspect X",
    "run X -o out",
    "segment X -o out",
    "study init X -o drafts",
    "study check X",
    "measure mr X --side left",
    "measure film X",
    "measure t2 X --mask X --side left",
    "change X X --side left",
    "precision X -o p.csv",
    "report X",
    "trial X --arms note.txt",
    'exclude X --participant P01 --visit M06 --reason "motion, reader A"',
    'include X --participant P01 --visit M06 --reason "motion, reader A"',
    "blind X -o qc",
    "unblind note.txt X",
    'lock X --reason "data lock of the trial"',
    'unlock X --reason "data lock of the trial"',
    "audit verify X",
    "audit show X",
    "train X",
    "evaluate X -o out",
)
#: What is no mistake: looking at nothing.
FINE = {("inspect X", "empty"), ("inspect X", "note.txt")}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty folder and a text file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("hello\n", "utf-8")
    return tmp_path


def called(words: str) -> tuple[int, str]:
    """Exit status and everything printed; an exception that is not meant for the user is raised."""
    result = CliRunner().invoke(app, shlex.split(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("given", ["missing", "empty", "note.txt"])
@pytest.mark.parametrize("call", CALLS)
def test_a_path_that_is_not_what_is_needed(here: Path, call: str, given: str) -> None:
    status, output = called(call.replace("X", given))
    assert (status == 0) == ((call, given) in FINE), output
    assert status in (0, 1, 3), output
    if status:
        assert given in output
        assert "action:" in output or "Try 'kneeimg" in output or "see kneeimg" in output
    assert sorted(path.name for path in here.iterdir()) == ["empty", "note.txt"]


@pytest.mark.parametrize(
    "words, hint",
    [
        ("runn empty -o out", "Did you mean 'run'?"),
        ("run empty -o out --sid left", "--side"),
        ("run empty", "--out"),
        ("run empty -o out --side lef", "'left', 'right'"),
        ("run empty -o out --study missing.toml", "missing.toml"),
        ("run empty -o out --masks missing", "--masks"),
        ("measure mr note.txt --side left --scheme nope", "knee-v1"),
        ("segment empty -o out --model nope", "knee_mr"),
        ("segment empty -o out --device gpu", "cuda"),
        ("evaluate note.txt -o out --device gpu", "cuda"),
        ("codes NOPE", "kneeimg codes"),
        ("precision", "--csv"),
        ("demo note.txt", "note.txt"),
    ],
)
def test_a_word_that_is_not_known(here: Path, words: str, hint: str) -> None:
    status, output = called(words)
    assert status in (1, 3, 4), output
    assert hint in output
    assert sorted(path.name for path in here.iterdir()) == ["empty", "note.txt"]


def test_a_study_is_named_by_its_file_or_by_its_folder(here: Path) -> None:
    (here / "study.toml").write_text('[study]\nid = "T1"\nnope = 1\n', "utf-8")
    (here / "participants.csv").write_text("participant\nP01\n", "utf-8")
    for study in ("study.toml", "."):
        for call in (f"run empty -o out --study {study}", f"study check {study} empty"):
            status, output = called(call)
            assert status == 1
            assert "nope" in output
