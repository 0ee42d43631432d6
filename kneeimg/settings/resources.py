"""Files that ship with kneeimg: configs/ and models/, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from kneeimg.errors import StudyError

_PACKAGE = Path(__file__).resolve().parents[1]


def _resource(kind: str, name: str) -> Path:
    # In the wheel the folders lie inside the package; in a checkout they stand beside it.
    roots = (_PACKAGE / "_data" / kind, _PACKAGE.parent / kind)
    for root in roots:
        if (root / name).exists():
            return root / name
    known = sorted(p.name for root in roots if root.is_dir() for p in root.iterdir())
    raise StudyError(
        f"kneeimg ships no {kind} named {name!r}",
        expected=f"one of {', '.join(known) or 'none'}",
        found=name,
    )


def config_path(name: str) -> Path:
    """Path of a shipped file or folder below `configs/`."""
    return _resource("configs", name)


def model_path(name: str) -> Path:
    """Path of a shipped file or folder below `models/`."""
    return _resource("models", name)
