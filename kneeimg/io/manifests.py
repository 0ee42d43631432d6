"""The manifest of a case: what went in, what measured it, what came out, written last.

A case is done when its manifest stands and every hash in it still holds. There is no time stamp,
so that the same inputs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kneeimg.errors import InputError
from kneeimg.io.atomic import canonical_json, sha256_file, sha256_text, write_json
from kneeimg.io.results import read_json

FORMAT = 1


class Verdict(StrEnum):
    """What a manifest says about redoing a case."""

    DONE = "done"
    ABSENT = "absent"
    STALE = "stale"  # other inputs, settings or software
    CHANGED = "changed"  # an output no longer matches


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input by the name under which it may be shown, with its content hash."""

    name: str
    sha256: str


def hash_inputs(files: Iterable[tuple[str, Path]]) -> tuple[InputFile, ...]:
    """Name and SHA-256 of each input file, in the order of the names."""
    return tuple(InputFile(name, sha256_file(path)) for name, path in sorted(files))


def case_key(
    case: Mapping[str, Any],
    *,
    inputs: Sequence[InputFile],
    settings: Mapping[str, Any],
    software_version: str,
    model: Mapping[str, str],
) -> str:
    """Hash of everything that decides the result of a case."""
    content = {
        "format": FORMAT,
        "case": dict(case),
        # names are shown, contents decide: a moved input is the same input
        "inputs": [file.sha256 for file in inputs],
        "settings": dict(settings),
        "software": software_version,
        "model": dict(model),
    }
    return sha256_text(canonical_json(content))


def write_manifest(
    path: Path,
    case: Mapping[str, Any],
    *,
    key: str,
    inputs: Sequence[InputFile],
    settings: Mapping[str, Any],
    software_version: str,
    model: Mapping[str, str],
    status: str,
    outputs: Sequence[Path],
) -> None:
    """Write the manifest beside its outputs, by atomic rename. It must be the last file."""
    write_json(
        path,
        {
            "format": FORMAT,
            "key": key,
            "case": dict(case),
            "status": status,
            "software": {"name": "kneeimg", "version": software_version},
            "model": dict(model),
            "inputs": [{"file": file.name, "sha256": file.sha256} for file in inputs],
            "settings": dict(settings),
            "outputs": {output.name: sha256_file(output) for output in sorted(outputs)},
        },
    )


def check_manifest(path: Path, key: str) -> Verdict:
    """Whether the case of this manifest is done for exactly this key and still intact."""
    if not path.is_file():
        return Verdict.ABSENT
    try:
        manifest = read_json(path)
        outputs = dict(manifest["outputs"])
        found_key = manifest["key"]
    except (InputError, KeyError, TypeError, ValueError):
        return Verdict.CHANGED
    if found_key != key:
        return Verdict.STALE
    for name, sha256 in outputs.items():
        output = path.parent / name
        if not output.is_file() or sha256_file(output) != sha256:
            return Verdict.CHANGED
    return Verdict.DONE


def listed_outputs(path: Path) -> tuple[Path, ...]:
    """Files that a manifest lists, existing or not; none if there is no readable manifest."""
    try:
        names = list(read_json(path)["outputs"])
    except (InputError, KeyError, TypeError):
        return ()
    # names only: a manifest edited by hand must not reach outside its own folder
    return tuple(path.parent / Path(name).name for name in names)
