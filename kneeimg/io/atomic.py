"""Files that appear whole or not at all: temporary file, fsync, rename.

A kill at any moment leaves either the old file or the new one. Temporary names all carry
`TEMPORARY_SUFFIX`, so that the next run can clear away what a killed one left behind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kneeimg.errors import OutputError, ReasonCode

TEMPORARY_SUFFIX = ".kneeimg-tmp"
STAGING = ".kneeimg-staging"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Translate an OSError that happens while writing `path` into an OutputError."""
    try:
        yield
    except OSError as error:
        if _is_full(error):
            raise _full(path.name) from error
        raise OutputError(
            "the output cannot be written",
            where=path.name,
            found=os.strerror(error.errno) if error.errno else type(error).__name__,
            action="choose an output folder that you may write to",
        ) from error


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL


def _full(where: str) -> OutputError:
    return OutputError(
        "no space left for the output",
        code=ReasonCode.OUTPUT_FULL,
        where=Path(where).name,
        action="free some space and run again: finished cases are kept",
    )


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file by temporary file, fsync and rename; folders are made.

    A `private` file can be read by its owner alone, from the first byte on.

    Raises
    ------
    OutputError
        OUTPUT_FULL or OUTPUT_NOT_WRITABLE; an older file of this name is then untouched.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if private:
                temporary.unlink(missing_ok=True)  # an old one would keep its permissions
            with open(temporary, "wb", opener=_private if private else None) as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """UTF-8 text with `\\n` line ends, atomically; see :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8"), private=private)


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no NaN.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Indented JSON, keys in the order given, atomically; NaN is refused."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def sha256_text(text: str) -> str:
    """Hex SHA-256 of UTF-8 text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def staging_folder(out: Path, name: str) -> Iterator[Path]:
    """An empty folder below OUT for the files of one case, removed afterwards."""
    folder = out / STAGING / name
    with output_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        yield folder
    except OutputError as error:
        if error.code is not ReasonCode.OUTPUT_FULL and _is_full(error.__cause__):
            raise _full(error.finding.where) from error.__cause__
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            (out / STAGING).rmdir()  # only when it is the last


def publish(staged: Path, target: Path) -> None:
    """Move a finished file from the staging folder to its place, atomically."""
    with output_errors(target):
        with staged.open("rb") as stream:
            os.fsync(stream.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged, target)


def clear_leftovers(out: Path) -> int:
    """Remove what a killed run left below OUT: temporary files and the staging folder."""
    leftovers = list(out.rglob(f".*{TEMPORARY_SUFFIX}"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    staging = out / STAGING
    if staging.is_dir():
        shutil.rmtree(staging, ignore_errors=True)
        leftovers.append(staging)
    return len(leftovers)


def require_writable(out: Path) -> None:
    """Raise OutputError OUTPUT_NOT_WRITABLE unless files can be made below `out`."""
    probe = out / f".probe{TEMPORARY_SUFFIX}"
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
