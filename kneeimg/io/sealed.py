"""Files that only their owner may read: the key of a blinded reading."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kneeimg.io.atomic import TEMPORARY_SUFFIX, output_errors, sync_folder

_OWNER_ONLY, _OWNER_FOLDER = 0o600, 0o700


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON atomically with mode 0600, never readable by others in between.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"
    with output_errors(path):
        path.parent.mkdir(mode=_OWNER_FOLDER, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    sync_folder(path.parent)
