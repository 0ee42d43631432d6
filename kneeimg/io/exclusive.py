"""One writer at a time in a results folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from kneeimg.errors import OutputError
from kneeimg.io.atomic import output_errors


@contextlib.contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Only one command at a time writes to a results folder; the lock leaves no file.

    It ends with the process, however that ends.

    Raises
    ------
    OutputError
        If another one is writing.
    """
    try:
        import fcntl
    except ImportError:  # not on this system
        yield
        return
    with output_errors(out):
        handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                "another run is writing to this results folder",
                where=out.name,
                action="wait for it to end, or choose another folder",
            ) from error
        yield
    finally:
        os.close(handle)
